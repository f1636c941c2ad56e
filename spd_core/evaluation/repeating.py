"""Repeats a comparison over prompts and seeds: writes, scores as the capability does, and counts."""

import time
from collections.abc import Mapping, Sequence

from spd_core.data.capability import Example, Settings
from spd_core.errors import Stopped
from spd_core.evaluation.lane_scores import text_score
from spd_core.evaluation.repeat_plan import PROMPTS, SEEDS, in_question, prompts_from, seeds_of
from spd_core.evaluation.repeat_table import Told, repeat_table
from spd_core.evaluation.repeats import Repeat, RepeatedPrompt, RepeatedText
from spd_core.evaluation.scoring import Runner
from spd_core.generation.compare import origin_of
from spd_core.generation.comparison import LaneText, PromptStyle
from spd_core.generation.differences import degeneration, first_divergence
from spd_core.generation.repeat import WrittenAgain, write_again
from spd_core.intervention.adapters import Adapter
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop, Tell, silent
from spd_core.recipes.lanes import LaneSpec, Sampling
from spd_core.sandbox.run import check_isolation, code_allowed, run_tests
from spd_core.storage import new_name, versions
from spd_core.subspace.analysis import Analysis


def repeat_lanes(
    lm: LanguageModel,
    analysis: Analysis,
    prompt: str,
    specs: Sequence[LaneSpec],
    sampling: Sampling,
    *,
    prompts: int = PROMPTS,
    seeds: int = SEEDS,
    style: PromptStyle = "raw",
    others: Mapping[str, Analysis] | None = None,
    adapters: Mapping[str, Adapter] | None = None,
    tell: Tell = silent,
    stop: Stop | None = None,
) -> Repeat:
    """Write the lanes after several prompts with several seeds, score and count them.

    Args:
        prompt: the first one; others are of the split that it is from. Alone where it is no example's.
        prompts, seeds: how many; seeds count up from that of the sampling.

    Raises:
        Stopped: before the first prompt was through.
        SpdError: as `compare`.
    """
    split, examples = prompts_from(analysis.capability, prompt, prompts)
    asked: list[Example | None] = [*examples] or [None]
    all_seeds = seeds_of(sampling, seeds)
    texts = [prompt if one is None else one.prompt for one in asked]
    settings, run = analysis.capability.settings, _runner(analysis.capability.settings)
    begun, done = time.monotonic(), list[tuple[RepeatedPrompt, WrittenAgain]]()
    written = write_again(
        lm, analysis, texts, all_seeds, specs, sampling, style=style, others=others, adapters=adapters,
        tell=tell, stop=stop,
    )  # fmt: skip
    for text, one, again in zip(texts, asked, written, strict=False):
        done.append((_scored(text, one, again, settings, run), again))
    if not done:
        raise Stopped("stopped before the first prompt was through, so that there is nothing to count")
    return _record(lm, analysis, specs, sampling, style, split or "", all_seeds, len(texts), done, begun)


def _runner(settings: Settings) -> Runner | None:
    """What runs code that a lane wrote, where that is allowed and can be isolated."""
    if settings.scorer != "python" or not code_allowed() or check_isolation():
        return None
    return run_tests


def _scored(
    prompt: str, example: Example | None, again: WrittenAgain, settings: Settings, run: Runner | None
) -> RepeatedPrompt:
    return RepeatedPrompt(
        prompt=prompt,
        answer=None if example is None else example.answer,
        read=again.read,
        special_tokens=again.special_tokens,
        prompt_tokens=again.prompt_tokens,
        texts=tuple(
            tuple(RepeatedText.of(lane, text_score(example, settings, lane.text, lane.finish, run)) for lane in lanes)
            for lanes in again.texts
        ),
    )


def _record(
    lm: LanguageModel,
    analysis: Analysis,
    specs: Sequence[LaneSpec],
    sampling: Sampling,
    style: PromptStyle,
    split: str,
    seeds: tuple[int, ...],
    prompts: int,
    done: Sequence[tuple[RepeatedPrompt, WrittenAgain]],
    begun: float,
) -> Repeat:
    through = len(done[0][0].texts)
    lanes = [_without_text(lane) for lane in done[0][1].texts[0]]
    subject, control = in_question(specs)
    told = [[_told(texts) for texts in one.texts] for one, _ in done]
    return Repeat(
        id=new_name(analysis.provenance.capability),
        **origin_of(lm, analysis, style),
        split=split,
        sampling=sampling,
        seeds=seeds[:through],
        lanes=tuple(lanes),
        prompts=tuple(one for one, _ in done),
        planned=(prompts, len(seeds)),
        table=repeat_table(told, subject, control),
        seconds=round(time.monotonic() - begun, 3),
        versions=versions(),
    )


def _without_text(lane: LaneText) -> LaneText:
    return lane.model_copy(update={"tokens": (), "seconds": 0.0})


def _told(texts: Sequence[RepeatedText]) -> list[Told]:
    """What is counted of the lanes' texts for one prompt and seed."""
    first = texts[0].ids
    return [
        Told(
            right=text.right,
            parts=first_divergence(text.ids, first),
            ended=text.finish == "eos",
            degenerate=bool(degeneration(text.ids, text.text)),
        )
        for text in texts
    ]

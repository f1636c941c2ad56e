"""Writes recorded texts again, token by token: the same noise writes the same, unless rounding tips a draw."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spd_core.errors import SpdError
from spd_core.evaluation.repeats import Repeat
from spd_core.generation.compare import ROWS, lanes_of
from spd_core.generation.comparison import Comparison, LaneText
from spd_core.generation.decode import Completion, generate
from spd_core.generation.differences import first_divergence
from spd_core.generation.repeat import write_again
from spd_core.intervention.adapters import Adapter, load_adapter
from spd_core.intervention.projection import Lane
from spd_core.library.replay_place import Replaying, here_and_then
from spd_core.library.replay_report import ReplayRow, Surrounding, exact_row, in_figures, not_replayed
from spd_core.library.things import Ref
from spd_core.models.loading import LanguageModel
from spd_core.progress import Progress
from spd_core.recipes.lanes import LaneSpec

_EXACT = "the same random numbers: every token id must be the same"
_TEXTS = "with the same random numbers, every token id of every text must be the same"


def replay_text(thing: str, recorded: Comparison, work: Replaying) -> tuple[list[ReplayRow], tuple[Surrounding, ...]]:
    """A row for each lane of a result: how many tokens come out the same."""
    try:
        lm = work.language_model(recorded.model, recorded.revision, recorded.dtype)
        lanes = _lanes([lane.spec for lane in recorded.lanes], recorded.analysis, work)
        rows = list(_rows(thing, recorded, _written(lm, recorded, lanes, work)))
    except SpdError as error:
        return [not_replayed(thing, "all lanes", str(error))], ()
    changed = [_adapter_row(thing, lane, made) for lane, made in zip(recorded.lanes, lanes, strict=True)]
    rows = [*(row for row in changed if row is not None), *rows]
    return rows, here_and_then(lm, recorded.device, recorded.dtype, recorded.versions)


def replay_repeat(thing: str, recorded: Repeat, work: Replaying) -> tuple[list[ReplayRow], tuple[Surrounding, ...]]:
    """A row for each lane of a repeat: how many of its texts come out the same."""
    specs = [lane.spec for lane in recorded.lanes]
    try:
        lm = work.language_model(recorded.model, recorded.revision, recorded.dtype)
        written = list(
            write_again(
                lm,
                work.capture(recorded.analysis),
                [one.prompt for one in recorded.prompts],
                recorded.seeds,
                specs,
                recorded.sampling,
                style=recorded.prompt_style,
                others={spec.capture: work.capture(spec.capture) for spec in specs if spec.capture},
                adapters={spec.adapter: _adapter(spec.adapter, work) for spec in specs if spec.adapter},
                tell=work.tell,
                stop=work.stop,
            )
        )
    except SpdError as error:
        return [not_replayed(thing, "all lanes", str(error))], ()
    rows = []
    for at, lane in enumerate(recorded.lanes):
        then = [list(texts[at].ids) for one in recorded.prompts[: len(written)] for texts in one.texts]
        now = [texts[at].ids for one in written for texts in one.texts]
        same = sum(a == b for a, b in zip(then, now, strict=False))
        rows.append(exact_row(thing, f"{lane.label}: texts", len(then), same, _TEXTS))
    if len(written) < len(recorded.prompts):
        rows.append(not_replayed(thing, f"{len(recorded.prompts) - len(written)} prompts", "stopped before them"))
    return rows, here_and_then(lm, recorded.device, recorded.dtype, recorded.versions)


def _lanes(specs: Sequence[LaneSpec], analysis: str, work: Replaying) -> list[Lane]:
    named = dict.fromkeys(spec.capture for spec in specs if spec.capture)
    adapters = {spec.adapter: _adapter(spec.adapter, work) for spec in specs if spec.adapter}
    return lanes_of(specs, work.capture(analysis), {name: work.capture(name) for name in named}, adapters)


def _adapter(ref: str, work: Replaying) -> Adapter:
    return load_adapter(work.find(Ref("adapter", ref)))


def _adapter_row(thing: str, lane: LaneText, made: Lane) -> ReplayRow | None:
    """Whether the adapter is the one that wrote."""
    if lane.adapter is None or made.adapter is None:
        return None
    what = f"{lane.label}: adapter {lane.adapter.ref}"
    return exact_row(thing, what, lane.adapter.fingerprint[:12], made.adapter.fingerprint[:12], "sha256 of its weights")


def _written(lm: LanguageModel, recorded: Comparison, lanes: Sequence[Lane], work: Replaying) -> list[Completion]:
    """What the lanes write now, in the batches in which they were written then."""
    limit, found = recorded.sampling.max_new_tokens, list[Completion]()

    def on_step(batch: Iterable[Completion]) -> None:
        done = len(found) + sum(1.0 if one.finish else len(one.tokens) / limit for one in batch)
        work.tell(Progress(done, len(lanes), "Writing the texts again"))

    for start in range(0, len(lanes), ROWS):
        options: dict[str, Any] = {"special_tokens": recorded.special_tokens, "first_lane": start, "measured": True}
        found += generate(
            lm,
            [recorded.read],
            lanes[start : start + ROWS],
            recorded.sampling,
            on_step=on_step,
            stop=work.stop,
            **options,
        )
    return found


def _rows(thing: str, recorded: Comparison, written: Sequence[Completion]) -> Iterator[ReplayRow]:
    for lane, now in zip(recorded.lanes, written, strict=True):
        if now.finish == "stopped":
            yield not_replayed(thing, f"{lane.label}: tokens", "stopped while it was written again")
        else:
            yield _row(thing, lane, now)


def _row(thing: str, lane: LaneText, now: Completion) -> ReplayRow:
    tokens = now.tokens[: len(lane.ids)] if lane.finish == "stopped" else now.tokens  # it was cut off by hand then
    fork = first_divergence(lane.ids, tokens)
    what, then, here = f"{lane.label}: tokens", f"{len(lane.ids)} tokens", f"{len(tokens)} tokens"
    alike = len(lane.ids) if fork is None else fork
    off = max((abs(lane.tokens[at].logprob - now.logprobs[at]) for at in range(alike)), default=0.0)
    near = (
        f"log-probabilities of the {alike} tokens before differ by at most {in_figures(off, 1)} nats" if alike else ""
    )
    if fork is None:
        reason = f"{_EXACT}; their log-probabilities differ by at most {in_figures(off, 1)} nats"
        return ReplayRow(thing, what, then, here, "none", "none", "matches", reason)
    tip = "a near tie that rounding decides can tip a draw, and all that follows"
    reason = "; ".join(part for part in (_EXACT, near, tip) if part)
    return ReplayRow(thing, what, then, here, f"from token {fork + 1}", "none", "differs", reason)

"""Writes the lanes of a comparison again, after several prompts and with several seeds: a single text is one draw.

For a prompt and a seed they write what `compare` writes. Knows neither answers nor what is made of the texts.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spd_core.generation.compare import check_memory, lane_text, lanes_of, prompt_text
from spd_core.generation.comparison import LaneText, PromptStyle
from spd_core.generation.decode import Completion, generate
from spd_core.generation.teacher_forcing import prompt_ids
from spd_core.intervention.adapters import Adapter
from spd_core.intervention.projection import Lane
from spd_core.models.loading import LanguageModel
from spd_core.progress import Progress, Stop, Tell, silent
from spd_core.recipes.lanes import LaneSpec, Sampling
from spd_core.subspace.analysis import Analysis

ROWS = 16
"""Most texts in one batch: the width that packed weights are laid out for. All are of one prompt, which is read once
in all lanes, as `compare` reads it: so numbers are rounded alike."""


@dataclass(frozen=True)
class WrittenAgain:
    """What all lanes wrote after one prompt.

    Attributes:
        read: the exact text that they continued, and whether the tokenizer added its special tokens.
        texts: [seeds][lanes].
    """

    read: str
    special_tokens: bool
    prompt_tokens: int
    texts: list[list[LaneText]]


def write_again(
    lm: LanguageModel,
    analysis: Analysis,
    prompts: Sequence[str],
    seeds: Sequence[int],
    specs: Sequence[LaneSpec],
    sampling: Sampling,
    *,
    style: PromptStyle = "raw",
    others: Mapping[str, Analysis] | None = None,
    adapters: Mapping[str, Adapter] | None = None,
    tell: Tell = silent,
    stop: Stop | None = None,
) -> Iterator[WrittenAgain]:
    """Each prompt with what the lanes write after it, once all seeds are through.

    A prompt at which it is stopped is left out whole: of a batch that was cut off, only the short texts would be there.
    Where there is one prompt alone, the seeds that are through stay.

    Args:
        sampling: its seed is not used; `seeds` are.
        tell: told after each token how many texts are finished, and how many tokens there are.
        stop: asked before each token, and each piece of a long prompt.

    Raises:
        SpdError: as `compare`.
    """
    lanes = lanes_of(specs, analysis, others or {}, adapters)
    work = _Work(lm, list(specs), lanes, sampling, len(prompts) * len(seeds), tell, stop)
    for prompt in prompts:
        text, special = prompt_text(lm, analysis, prompt, style)
        tokens = len(prompt_ids(lm, text, special))
        check_memory(lm, tokens, work.rows(len(seeds)), sampling.max_new_tokens, readers=1)
        texts = work.after(text, special, seeds)
        if len(texts) == len(seeds) or (texts and len(prompts) == 1):
            yield WrittenAgain(text, special, tokens, texts)
        if len(texts) < len(seeds):
            return


@dataclass
class _Work:
    """What stays the same from batch to batch, and how much is done."""

    lm: LanguageModel
    specs: list[LaneSpec]
    lanes: list[Lane]
    sampling: Sampling
    times: int
    tell: Tell
    stop: Stop | None
    texts: int = 0
    tokens: int = 0

    def rows(self, seeds: int) -> int:
        """Texts in the largest batch."""
        return min(seeds, self._seeds_at_once) * len(self.lanes)

    @property
    def _seeds_at_once(self) -> int:
        return max(ROWS // len(self.lanes), 1)

    def after(self, text: str, special: bool, seeds: Sequence[int]) -> list[list[LaneText]]:
        """[seeds][lanes] texts after one prompt; fewer seeds where it was stopped."""
        found: list[list[LaneText]] = []
        for start in range(0, len(seeds), self._seeds_at_once):
            batch = self._batch(text, special, seeds[start : start + self._seeds_at_once])
            if any(one.finish == "stopped" for one in batch):
                break
            width = len(self.lanes)
            found += [batch[at : at + width] for at in range(0, len(batch), width)]
        return found

    def _batch(self, text: str, special: bool, seeds: Sequence[int]) -> list[LaneText]:
        begun, seconds = time.monotonic(), [0.0] * (len(seeds) * len(self.lanes))

        def step(completions: list[Completion]) -> None:
            now = time.monotonic() - begun
            for at, completion in enumerate(completions):
                if not (completion.finish and seconds[at]):
                    seconds[at] = now
            finished = sum(bool(completion.finish) for completion in completions)
            self._told(finished, sum(len(completion.tokens) for completion in completions))

        written = generate(
            self.lm,
            [text] * len(seeds),
            self.lanes,
            self.sampling,
            special_tokens=special,
            batch_size=len(seeds),
            numbers=[0] * len(seeds),  # as `compare`, which writes one prompt at a time
            seeds=seeds,
            measured=True,
            on_step=step,
            tell=self._reading,
            stop=self.stop,
        )
        self.texts, self.tokens = self.texts + len(written), self.tokens + sum(len(one.tokens) for one in written)
        self._told(0, 0)
        specs = self.specs * len(seeds)
        return [lane_text(*one) for one in zip(specs, written, seconds, strict=True)]

    def _told(self, texts: int, tokens: int) -> None:
        total = self.times * len(self.lanes)
        self.tell(Progress(self.texts + texts, total, "Writing", tokens=self.tokens + tokens))

    def _reading(self, at: Progress) -> None:
        total = self.times * len(self.lanes)
        self.tell(Progress(self.texts, total, at.what, tokens=self.tokens))

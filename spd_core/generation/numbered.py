"""Prompts by their numbers, and what is written after a batch of them here; an engine does it in `engines/writing.py`.

Knows nothing of corpora or sets: these say which prompts make a batch, and keep what was written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from spd_core.generation.decode import Completion, generate
from spd_core.intervention.projection import Lane
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop
from spd_core.recipes.lanes import Sampling


@dataclass(frozen=True)
class NumberedPrompt:
    """A prompt to be continued: its number, on which its noise depends, and the text as the model shall read it.

    Attributes:
        special: the tokenizer adds its special tokens (not after a chat template).
    """

    number: int
    prompt: str
    special: bool = True


_Prompt = TypeVar("_Prompt", bound=NumberedPrompt)


def write_batch(
    lm: LanguageModel,
    lane: Lane,
    prompts: Sequence[_Prompt],
    sampling: Sampling,
    stop: Stop | None = None,
    *,
    measured: bool = False,
) -> Iterator[tuple[_Prompt, Completion]]:
    """Each prompt with what the model here writes after it as a lane; what a stop cuts off is left out.

    All prompts are one batch, or two where some are read without special tokens: which prompts it is called with
    decides how numbers are rounded. `measured` tells log-probability and entropy of every token, too.

    Raises:
        InputError, ModelError: as `generate`.
    """
    for special in (True, False):
        mine = [one for one in prompts if one.special == special]
        completions = generate(
            lm,
            [one.prompt for one in mine],
            [lane],
            sampling,
            special_tokens=special,
            batch_size=max(1, len(mine)),
            numbers=[one.number for one in mine],
            measured=measured,
            stop=stop,
        )
        yield from (pair for pair in zip(mine, completions, strict=True) if pair[1].finish in ("eos", "length"))

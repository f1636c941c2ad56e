"""How much memory a distillation takes at its peak, from the configuration of its model alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spd_core.distill.corpus import CorpusRow
from spd_core.recipes.distill import Recipe

if TYPE_CHECKING:
    from spd_core.models.loading import LanguageModel

_ENGINE_BYTES = 700 * 2**20
"""torch, transformers, peft and TRL in a process of their own."""


def memory_of(config: Any, recipe: Recipe, tokens: int) -> int:
    """Peak bytes of a distillation whose rows have up to `tokens` tokens: of writing or training, and its process."""
    from spd_core.models.loading import estimate_model

    training = estimate_model(
        config, recipe.dtype, (0,), batch_size=recipe.train.batch_size, tokens=tokens, supervised=tokens
    )
    writing = estimate_model(
        config,
        recipe.dtype,
        (0,),
        rows=recipe.corpus.batch_size,
        tokens=tokens,
        new_tokens=recipe.corpus.max_new_tokens,
    )
    return max(training.capture, writing.generation) + _ENGINE_BYTES


def longest_row(lm: "LanguageModel", rows: Sequence[CorpusRow]) -> int:
    """Tokens of the longest row, its prompt among them."""
    return max(len(lm.tokenizer(row.prompt)["input_ids"]) + len(row.tokens) for row in rows)


def check_training_memory(lm: "LanguageModel", longest: int, batch_size: int) -> None:
    """Refuse before training: on a CPU, running out of memory would end the whole process.

    Args:
        longest: tokens of the longest row.

    Raises:
        MemoryLimitError: a batch of the longest rows does not fit.
    """
    from spd_core.models.device import estimate_memory, refuse_beyond

    wanted = estimate_memory(lm.model.config, lm.dtype.itemsize, (0,), batch_size=batch_size, tokens=longest)
    what = f"training on {batch_size} rows of up to {longest} tokens"
    remedy = "choose a smaller train.batch_size, or fewer corpus.max_new_tokens"
    refuse_beyond(wanted.capture - wanted.load, lm.device, what, remedy)

"""How much memory a distillation takes at its peak, from the configuration of its model alone."""

from typing import Any

from spd_core.recipes.distill import Recipe

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

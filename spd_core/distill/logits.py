"""Log-probabilities and divergences from hidden states, in slices: no tensor of all positions by the vocabulary."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from spd_core.generation.choosing import statistics

SLICE = 512
"""Positions whose logits are in memory at once."""


def logprobs(model: Any, hidden: Tensor, tokens: Tensor) -> Tensor:
    """log π of tokens, float32, with a gradient to `hidden`.

    Args:
        hidden: [..., H], each of which predicts one token.
        tokens: [...].

    Returns:
        [...], in nats.
    """
    flat, chosen = hidden.reshape(-1, hidden.shape[-1]), tokens.reshape(-1)
    parts = [
        checkpoint(_slice, model, states, ids, use_reentrant=False)
        for states, ids in zip(flat.split(SLICE), chosen.split(SLICE), strict=True)
    ]
    return torch.cat(parts).reshape(tokens.shape)


def _slice(model: Any, hidden: Tensor, tokens: Tensor) -> Tensor:
    """[n] log π of [n] tokens from [n, H]."""
    found: Tensor = _logits(model, hidden).log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    return found


def _logits(model: Any, hidden: Tensor) -> Tensor:
    """[n, V] float32 from [n, H]."""
    scale, cap = logit_shape(model.config)
    logits: Tensor = model.get_output_embeddings()(hidden).float() * scale
    return logits if cap is None else cap * torch.tanh(logits / cap)


def measured(model: Any, hidden: Tensor, tokens: Tensor) -> tuple[list[float], list[float]]:
    """log π of tokens [n], and the entropy of the distribution that each is of, in nats, from [n, H]; no gradient."""
    found = [
        statistics(_logits(model, states), ids)
        for states, ids in zip(hidden.split(SLICE), tokens.split(SLICE), strict=True)
    ]
    return [one for own, _ in found for one in own], [one for _, own in found for one in own]


def divergences(model: Any, hidden: Tensor, reference: Tensor) -> Tensor:
    """KL(π_ref ‖ π) of each position, exact over the vocabulary, in nats, with a gradient to `hidden` [n, H]."""
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    head, (scale, cap) = model.get_output_embeddings(), logit_shape(model.config)
    given = (scale, cap, scale, cap)
    found: Tensor = ChunkedDivergenceFunction.apply(
        hidden, head.weight, head.bias, reference, head.weight, head.bias, 0.0, 1.0, *given
    )[0]
    return found


def logit_shape(config: Any) -> tuple[float, float | None]:
    """What a family does to its logits: the factor, and the softcap; as transformers names them."""
    text = config.get_text_config()
    factor = next(
        (float(own) for name in ("logit_scale", "output_multiplier", "lm_head_multiplier")
         if (own := getattr(text, name, None)) is not None),
        None,
    )  # fmt: skip
    if factor is None and (divisor := getattr(text, "logits_scaling", None)) is not None:
        factor = float(divisor) if text.model_type == "hyperclovax" else 1 / float(divisor)
    return 1.0 if factor is None else factor, getattr(text, "final_logit_softcapping", None)

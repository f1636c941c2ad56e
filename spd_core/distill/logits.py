"""Log-probabilities and divergences from hidden states, in slices: no tensor of all positions by the vocabulary."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

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
    scale, cap = logit_shape(model.config)
    logits = model.get_output_embeddings()(hidden).float() * scale  # [n, V]
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    found: Tensor = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    return found


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

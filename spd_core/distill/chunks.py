"""The objective of OmniOPD: which chunks of a rollout are audited, and what follows of how alike a teacher's are.

L = (− Σ_c π̂_c Σ_{t ∈ c} log π_θ(y_t) + β Σ_{t in no chunk} KL(π_ref ‖ π_θ)) ÷ D, of arXiv 2606.01476; what it leaves
open is a setting (`recipes/on_policy.py`). Pure: knows no model, no teacher and no trainer.
"""

import torch
from torch import Tensor


def choose_anchors(scores: Tensor, chunk_tokens: int, most: int) -> list[int]:
    """Starts of the chunks of one rollout, rising: greedily by falling score, the later of equals first.

    A start is passed over when its chunk would reach over the end, or over one that is chosen.

    Args:
        scores: [T], of each token: the entropy of the distribution that it was drawn from, in nats.
    """
    last = len(scores) - chunk_tokens
    order = sorted(range(last + 1), key=lambda t: (float(scores[t]), t), reverse=True)
    chosen: list[int] = []
    for t in order:
        if len(chosen) == most:
            break
        if all(abs(t - other) >= chunk_tokens for other in chosen):
            chosen.append(t)
    return sorted(chosen)


def target(k: Tensor, mean_logprob: Tensor, samples: int, prior: float) -> Tensor:
    """π̂ = (k + α π̄) ÷ (N + α), with π̄ = exp of the chunk's mean log-probability: the mean of the Dirichlet posterior.

    Args:
        k: [K], similarity summed over the N samples of each chunk.
        mean_logprob: [K], in nats.

    Returns:
        [K] in 0 to 1, without a gradient: it weighs what is learned, and is not learned.
    """
    return ((k + prior * mean_logprob.detach().exp()) / (samples + prior)).detach()


def chunk_positions(starts: Tensor, chunk_tokens: int) -> tuple[Tensor, Tensor]:
    """Rows and positions of all tokens of all chunks.

    Args:
        starts: [B, M] int64; −1 where there is no chunk.

    Returns:
        two tensors [K, C] int64, of the K chunks in the order of `starts`.
    """
    rows, places = torch.nonzero(starts >= 0, as_tuple=True)  # [K] each
    at = starts[rows, places][:, None] + torch.arange(chunk_tokens, device=starts.device)
    return rows[:, None].expand_as(at), at


def unaudited(starts: Tensor, mask: Tensor, chunk_tokens: int) -> Tensor:
    """[B, T] bool: the completion's tokens that are in no chunk.

    Args:
        mask: [B, T], 1 on the completion's tokens, its end among them, and 0 on padding.
    """
    rows, at = chunk_positions(starts, chunk_tokens)
    free = mask.bool().clone()
    free[rows, at] = False
    return free


def chunk_loss(logprobs: Tensor, k: Tensor, samples: int, prior: float) -> tuple[Tensor, Tensor]:
    """− Σ_c π̂_c Σ_j log π_θ of the chunks' tokens, and the [K] targets.

    Args:
        logprobs: [K, C] float32, with a gradient.
        k: [K].
    """
    aims = target(k, logprobs.mean(1), samples, prior)  # [K]
    return -(aims * logprobs.sum(1)).sum(), aims

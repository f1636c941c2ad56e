"""Chooses the next token of every row. Knows nothing of models, prompts or lanes.

Sampling is the Gumbel-max trick: argmax of log p plus Gumbel noise is a draw from p. Rows that share a generator
share the noise, and with the same distribution choose the same token.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from spd_core.recipes.lanes import Sampling

CANDIDATES = 128
"""Tokens among which top-p is looked for before all are sorted."""
_MARGIN = 2e-5
"""What two orders of adding the probabilities up may differ by, in float32; nearer to top-p, all are sorted."""


def choose(logits: Tensor, sampling: Sampling, noise: Sequence[torch.Generator]) -> Tensor:
    """[rows] next tokens, int64.

    Args:
        logits: [rows, vocabulary] float32.
        noise: a generator on the CPU for each row; each distinct one draws once. Not read by greedy.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    scores = logits / sampling.temperature
    draws = _Draws(noise, scores.shape[-1])
    if sampling.top_k or sampling.top_p == 1:
        return _among_all(scores, sampling, draws, range(len(scores)))
    values, ids, sure = nucleus(scores, sampling.top_p)
    chosen = _best(values + draws.of(ids).to(values.device), ids)
    unsure = torch.nonzero(~sure)[:, 0]
    if len(unsure):
        chosen[unsure] = _among_all(scores[unsure], sampling, draws, unsure.tolist())
    return chosen


def statistics(logits: Tensor, chosen: Tensor) -> tuple[list[float], list[float]]:
    """Log-probability of the chosen tokens `[rows]`, and entropy, of the untouched distributions, in nats."""
    logp = logits.log_softmax(-1)  # [rows, vocabulary]
    entropies = -(logp.exp() * logp).nan_to_num(0.0).sum(-1)  # 0 · −∞ counts 0
    return logp.gather(1, chosen[:, None])[:, 0].tolist(), entropies.tolist()


def nucleus(scores: Tensor, top_p: float) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest tokens of each row, as top-p leaves them, without sorting the rest.

    Returns:
        scores [rows, k], descending, −∞ where top-p drops the token; ids [rows, k]; and [rows] whether
        `TopPLogitsWarper`, which sorts and adds up all, would surely keep the same: the last of the k is dropped,
        no sum comes near top-p, and no two equal scores lie on both sides of it.
    """
    values, ids = scores.topk(min(CANDIDATES, scores.shape[-1]))
    probs = scores.softmax(-1).gather(-1, ids).double()
    above = probs.cumsum(-1) - probs  # [rows, k] mass of the tokens before; only the first may have none
    kept = above < top_p
    clear = ((above - top_p).abs() > _MARGIN).all(-1) & ~kept[:, -1]
    tied = ((values[:, :-1] == values[:, 1:]) & kept[:, :-1] & ~kept[:, 1:]).any(-1)
    return values.masked_fill(~kept, -torch.inf), ids, clear & ~tied


def truncated(scores: Tensor, sampling: Sampling) -> Tensor:
    """[rows, vocabulary] with −∞ where top-k or top-p drop the token: the plain form."""
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(None, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(None, scores)
    return scores


class _Draws:
    """The noise of one step: a vector over the vocabulary for every distinct generator.

    Exponential noise as `exponential_` draws it (−log1p(−u) of a uniform double u), to the last bit, but with the
    logarithms of those tokens alone that are looked at: they take most of the time.
    """

    def __init__(self, noise: Sequence[torch.Generator], vocabulary: int) -> None:
        distinct = list(dict.fromkeys(noise))
        self._uniform = torch.empty(len(distinct), vocabulary, dtype=torch.float64)
        for row, generator in zip(self._uniform, distinct, strict=True):
            row.uniform_(generator=generator)
        places = {generator: place for place, generator in enumerate(distinct)}
        self._places = [places[generator] for generator in noise]

    def of(self, ids: Tensor) -> Tensor:
        """[rows, k] standard Gumbel noise of these tokens, on the CPU."""
        return _gumbel(self._uniform[torch.tensor(self._places)[:, None], ids.cpu()])

    def rows(self, rows: Sequence[int]) -> Tensor:
        """[len(rows), vocabulary] standard Gumbel noise of all tokens, on the CPU."""
        return _gumbel(self._uniform[[self._places[row] for row in rows]])


def _gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise, float32: −log of exponential noise."""
    exponential = -torch.log1p(-uniform).float()
    return -exponential.clamp(min=torch.finfo(torch.float32).tiny).log()


def _among_all(scores: Tensor, sampling: Sampling, draws: _Draws, rows: Sequence[int]) -> Tensor:
    return (truncated(scores, sampling) + draws.rows(rows).to(scores.device)).argmax(-1)


def _best(totals: Tensor, ids: Tensor) -> Tensor:
    """The id of each row's largest total; of equal ones the smallest id, as `argmax` over the vocabulary has it."""
    largest = totals == totals.amax(-1, keepdim=True)
    return ids.masked_fill(~largest, torch.iinfo(ids.dtype).max).amin(-1)

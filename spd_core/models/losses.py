"""−log p of chosen tokens: the loss of an example, with logits at those positions alone.

Examples are padded on the right and no attention mask is given: under a causal mask no real token attends to what
follows it, so padding contributes nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spd_core.data.spans import Encoded
from spd_core.models.loading import LanguageModel


def longest_first(examples: Sequence[Encoded], batch_size: int) -> Iterator[list[Encoded]]:
    """Batches of examples of like length, from the longest to the shortest."""
    ordered = sorted(examples, key=lambda example: len(example.ids), reverse=True)
    for start in range(0, len(ordered), batch_size):
        yield ordered[start : start + batch_size]


def batch_losses(lm: LanguageModel, batch: Sequence[Encoded]) -> Tensor:
    """[batch] mean −log p over the supervised tokens of each example, in nats; float32 at least.

    Logits are computed at the supervised positions alone. The caller decides whether a graph is recorded, and
    holds the model's lock.
    """
    nll, row = token_losses(lm, batch)
    counts = torch.bincount(row, minlength=len(batch))
    return torch.zeros(len(batch), dtype=nll.dtype, device=nll.device).index_add(0, row, nll) / counts


def token_losses(lm: LanguageModel, batch: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    """[n] −log p of every supervised token, in nats, example by example; and [n] which example each belongs to."""
    logits, ids, row = _predicted(lm, batch)
    return F.cross_entropy(logits, ids, reduction="none"), row


def first_choices(lm: LanguageModel, batch: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    """[n] whether every supervised token is the model's most likely one; and [n] which example each belongs to."""
    logits, ids, row = _predicted(lm, batch)
    return logits.argmax(-1) == ids, row


def _predicted(lm: LanguageModel, batch: Sequence[Encoded]) -> tuple[Tensor, Tensor, Tensor]:
    """[n, vocabulary] logits for every supervised token, float32 at least; [n] its id; [n] its example."""
    ids = _padded_ids(batch).to(lm.device)  # [batch, seq]
    row, position = _supervised_positions(batch, lm.device)  # [n] each
    with _head_sees_only(lm.model, row, position - 1):  # the token at t is predicted at t − 1
        logits = lm.model(input_ids=ids, use_cache=False).logits[0]  # [n, vocabulary]
    return logits.to(torch.promote_types(logits.dtype, torch.float32)), ids[row, position], row


def _padded_ids(batch: Sequence[Encoded]) -> Tensor:
    """[batch, seq] ids, padded on the right with 0 (any valid id will do: it is never attended to)."""
    rows = [torch.tensor(example.ids) for example in batch]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)


def _supervised_positions(batch: Sequence[Encoded], device: torch.device) -> tuple[Tensor, Tensor]:
    pairs = [(row, t) for row, example in enumerate(batch) for t in example.supervised]
    row, position = torch.tensor(pairs, device=device).T
    return row, position


@contextmanager
def _head_sees_only(model: Any, row: Tensor, position: Tensor) -> Iterator[None]:
    """Hand the output embedding only the hidden states at (row, position), as `[1, n, hidden]`.

    Whatever the family does to its logits afterwards (soft-capping, scaling) still happens.
    """

    def select(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        hidden = args[0]  # [batch, seq, hidden]; of a divided model, on the GPU of its last layer
        return (hidden[row.to(hidden.device), position.to(hidden.device)][None],)

    handle = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()

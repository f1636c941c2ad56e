"""Slow, obvious versions of what the engine does, written from the method and not from the engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def _added(module: nn.Module, delta: Tensor) -> Iterator[None]:
    """`module` returns its output + `delta`: the gradient of delta is the gradient of the output."""
    original = module.forward
    module.forward = lambda *args, **kwargs: original(*args, **kwargs) + delta  # type: ignore[method-assign]
    try:
        yield
    finally:
        module.forward = original  # type: ignore[method-assign]


def gradient_rows(model: Any, ids: tuple[int, ...], supervised: tuple[int, ...], module: str) -> Tensor:
    """[T, width] gradient of the example's aligned loss with respect to a module's output; full logits."""
    linear = model.get_submodule(module)
    width = linear.weight.shape[1] if type(linear).__name__ == "Conv1D" else linear.weight.shape[0]
    delta = torch.zeros(1, len(ids), width, dtype=model.dtype, requires_grad=True)
    with _added(linear, delta):
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].to(torch.float64)
    logp = logits.log_softmax(-1)
    loss = -torch.stack([logp[t - 1, ids[t]] for t in supervised]).mean()
    loss.backward()
    assert delta.grad is not None
    return delta.grad[0].double()


def stacked_gradients(model: Any, examples: Any, site: Any) -> Tensor:
    """[M, d_kv] rows of every token of every example, one example at a time."""
    rows = [gradient_rows(model, e.ids, e.supervised, site.module)[:, list(site.columns)] for e in examples]
    return torch.cat(rows)


def right_singular_vectors(rows: Tensor, center: bool) -> tuple[Tensor, Tensor]:
    """Singular values [d] and vectors [d, d] of the stacked rows, by SVD."""
    centred = rows - rows.mean(0) if center else rows
    _, values, vh = torch.linalg.svd(centred, full_matrices=False)
    return values, vh.T

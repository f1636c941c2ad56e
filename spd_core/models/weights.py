"""Overwrites the weights of ordinary linear maps for a while, and restores them bit by bit. Knows nothing of why."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from spd_core.errors import ModelError
from spd_core.models.loading import LanguageModel


@contextmanager
def rewriting(lm: LanguageModel, paths: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The modules at these paths, whose weights may be overwritten inside the block; nobody else computes meanwhile.

    Gradients stay as they are switched: training and capturing work inside the block, too.

    Raises:
        ModelError: a module is not an ordinary floating-point linear map (quantized, or wrapped).
    """
    modules = {path: lm.model.get_submodule(path) for path in paths}
    for path, module in modules.items():
        _check_plain(path, module)
    with lm.lock:
        saved = [(module, [p.detach().clone() for p in module.parameters()]) for module in modules.values()]
        try:
            yield modules
        finally:
            with torch.no_grad():
                for module, originals in saved:
                    for parameter, original in zip(module.parameters(), originals, strict=True):
                        parameter.copy_(original)


def _check_plain(path: str, module: nn.Module) -> None:
    weight = getattr(module, "weight", None)
    if weight is not None and weight.is_meta:
        raise ModelError(f"cannot write into {path}: its weights are offloaded; use more GPUs, or a smaller model")
    if type(module) not in (nn.Linear, Conv1D) or weight is None or not weight.is_floating_point():
        kind = f"{type(module).__name__} ({weight.dtype})" if weight is not None else type(module).__name__
        raise ModelError(f"cannot write into {path}: {kind} is quantized or wrapped; load it un-quantized")


def weight_of(module: Any) -> Tensor:
    """[out, in] weight of a linear map; what is written into it is written into the module."""
    weight: Tensor = module.weight.detach()
    return weight.T if isinstance(module, Conv1D) else weight


def overwrite(path: str, parameter: Tensor, values: Tensor, rows: Any = slice(None)) -> None:
    """Write float64 values into `parameter[rows]`, cast once; in place, so that whoever cached the weight can tell.

    Raises:
        ModelError: they are not finite in the weight's dtype.
    """
    with torch.no_grad():
        parameter[rows] = values.to(parameter.dtype)
    if not torch.isfinite(parameter[rows]).all():
        raise ModelError(f"writing into {path} gives values that are not finite in {parameter.dtype}; use float32")

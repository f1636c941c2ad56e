"""Makes decoding several rows on a CPU cost little more than one: float32 weights packed once for oneDNN.

torch lays a weight out anew at every call, which for a few rows costs more than the product itself
(benchmarks/generation.py measures both). Knows nothing of lanes; without it everything gives the same text.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from spd_core.models.device import available_memory
from spd_core.models.loading import LanguageModel

_PACKED_FOR = 32
"""Rows that oneDNN is told to expect: of its layouts for 1, 4, 16 and 32 this one is nowhere far from the best, from
2 rows to whole prompts, with AVX2 as with AVX-512."""

_packed: Any = WeakTensorKeyDictionary()  # weight → (its version when it was packed, the packed weight)


def packed_linears(lm: LanguageModel, rows: int) -> AbstractContextManager[Any]:
    """A context, to be entered with the model's lock held, in which its linear maps use packed weights.

    Does nothing for one row (torch is as fast), on a GPU, in another dtype (bfloat16 without hardware for it gains
    nothing from it), or when a second copy of the weights does not fit easily.
    """
    weights = sum(parameter.nbytes for parameter in lm.model.parameters())
    usable = lm.device.type == "cpu" and lm.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    if rows < 2 or not usable or 3 * weights > available_memory(lm.device):
        return nullcontext()
    return _PackedLinears(lm.model)


def forget_packed() -> None:
    """Free all packed weights; whoever needs them packs again."""
    _packed.clear()


class _PackedLinears:
    """Stands in for the `forward` of every ordinary linear map; hooks on it see the same inputs and outputs.

    Not a `TorchFunctionMode`, which every one of the two thousand torch calls of a step would go through.
    """

    def __init__(self, model: nn.Module) -> None:
        linears = [module for module in model.modules() if type(module) is nn.Linear and "forward" not in vars(module)]
        self._forwards = [(module, partial(_product, module)) for module in linears if module.weight.is_contiguous()]

    def __enter__(self) -> None:
        for module, forward in self._forwards:
            vars(module)["forward"] = forward

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for module, _ in self._forwards:
            vars(module).pop("forward", None)


def _product(linear: nn.Linear, x: Tensor) -> Tensor:
    """`x Wᵀ + b` of inputs `[..., in]`."""
    if torch.is_grad_enabled() or x.dtype != torch.float32:
        return F.linear(x, linear.weight, linear.bias)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, _pack(linear.weight), linear.bias, "none", [], "")
    return product


def _pack(weight: Tensor) -> Tensor:
    """The packed form of a weight; packed again when the weight was changed in place since."""
    version, packed = _packed.get(weight, (None, None))
    if version != weight._version:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _PACKED_FOR)
        _packed[weight] = (weight._version, packed)
    result: Tensor = packed
    return result

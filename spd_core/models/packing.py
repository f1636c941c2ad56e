"""Makes decoding several rows on a CPU cost little more than one: float32 weights packed once for oneDNN.

torch repacks a weight at every call when a batch has 2 to 8 rows, which costs more than the product itself
(benchmarks/generation.py measures both). Knows nothing of lanes; without it everything gives the same text.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from spd_core.models.device import available_memory
from spd_core.models.loading import LanguageModel

MOST_ROWS = 8
_PACKED_FOR = 4
"""Rows that oneDNN is told to expect; its layout for 1 is slow for 2, and this one is as fast for 1."""

_packed: Any = WeakTensorKeyDictionary()  # weight → (its version when it was packed, the packed weight)


def packed_linears(lm: LanguageModel, rows: int) -> AbstractContextManager[Any]:
    """A context in which this thread's small float32 products on the CPU use packed weights.

    Does nothing for one row (torch is as fast, and the context itself costs a tenth), on a GPU, in another dtype
    (bfloat16 without hardware for it gains nothing from it), or when a second copy of the weights does not fit easily.
    """
    weights = sum(parameter.nbytes for parameter in lm.model.parameters())
    usable = lm.device.type == "cpu" and lm.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    if rows < 2 or not usable or 3 * weights > available_memory(lm.device):
        return nullcontext()
    return _PackedLinears()


def forget_packed() -> None:
    """Free all packed weights; whoever needs them packs again."""
    _packed.clear()


class _PackedLinears(TorchFunctionMode):
    """Replaces `F.linear` alone. A mode belongs to its thread, and leaves modules and weights as they are."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and not kwargs and not torch.is_grad_enabled():
            x, weight, bias = (*args, None)[:3]
            if x.numel() <= MOST_ROWS * x.shape[-1] and x.dtype == weight.dtype == torch.float32:
                return torch.ops.mkldnn._linear_pointwise(x, _pack(weight), bias, "none", [], "")
        return func(*args, **(kwargs or {}))


def _pack(weight: Tensor) -> Tensor:
    """The packed form of a weight; packed again when the weight was changed in place since."""
    version, packed = _packed.get(weight, (None, None))
    if version != weight._version:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _PACKED_FOR)
        _packed[weight] = (weight._version, packed)
    result: Tensor = packed
    return result

"""Makes decoding several rows on a CPU cost little more than one: weights packed once for oneDNN.

torch lays a weight out anew at every call, which for a few rows costs as much as the product itself
(benchmarks/generation.py measures both). Knows nothing of lanes; without it everything gives the same text.
"""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from spd_core.models.device import available_memory, native_bfloat16
from spd_core.models.loading import LanguageModel
from spd_core.models.pages import into_large_pages

_PACKED_FOR = 16
"""Rows that oneDNN is told to expect: of its layouts for 1, 4, 16 and 32 this one is nowhere far from the best, from
two rows to whole prompts, with AVX2 as with AVX-512."""
_FROM = {"AVX512": 3}
"""Rows from which packed float32 products are faster, by what the processor can; 2 where nothing is said."""
_MOST = {torch.bfloat16: 64}
"""Positions up to which packed products are plain ones bit for bit, where others would change texts: a last bit of
bfloat16 parts greedy texts at near ties. Longer prompts are left to torch, which is as fast with them."""
_SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Maps that most families feed the same tensor: one product for all of them is faster than one each."""

_fresh: list[Tensor] = []  # packed, and not in large pages yet
_packed: Any = WeakTensorKeyDictionary()  # first weight → (versions of all when they were packed, the packed weight)


def packed_linears(lm: LanguageModel, rows: int) -> AbstractContextManager[Any]:
    """A context, to be entered with the model's lock held, in which its linear maps use packed weights.

    Does nothing where torch is as fast (a row or two in float32), on a GPU, in bfloat16 without hardware for it, or
    when a second copy of the weights does not fit easily.
    """
    weights = sum(parameter.nbytes for parameter in lm.model.parameters())
    if not _pays(lm, rows) or 3 * weights > available_memory(lm.device):
        return nullcontext()
    return _PackedLinears(lm.model)


def _pays(lm: LanguageModel, rows: int) -> bool:
    """Whether packed products are faster, as measured (docs/measurements.md)."""
    if lm.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    processor = torch.backends.cpu.get_cpu_capability()
    if lm.dtype == torch.bfloat16:
        return processor == "AVX512" and native_bfloat16(lm.device)
    return lm.dtype == torch.float32 and rows >= _FROM.get(processor, 2)


def forget_packed() -> None:
    """Free all packed weights; whoever needs them packs again."""
    _packed.clear()


class _PackedLinears:
    """Stands in for the `forward` of every ordinary linear map; hooks on it see the same inputs and outputs.

    Not a `TorchFunctionMode`, which every one of the two thousand torch calls of a step would go through.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._products: list[_Product] = []

    def __enter__(self) -> None:
        if not self._products:  # looked for with the lock held: elsewhere, others may stand in just now
            modules = self._model.modules()
            self._products = [_Product(linears) for module in modules for linears in _fed_alike(module)]
        for product in self._products:
            product.look()
            for place, linear in enumerate(product.linears):
                vars(linear)["forward"] = partial(product.of, place)
        if _fresh:
            into_large_pages([(torch.ops.mkldnn.data_ptr(one), torch.ops.mkldnn._nbytes(one)) for one in _fresh])
            _fresh.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for product in self._products:
            product.forget()
            for linear in product.linears:
                vars(linear).pop("forward", None)


def _fed_alike(parent: nn.Module) -> list[tuple[nn.Linear, ...]]:
    """The ordinary linear maps right below a module, those that are fed alike together."""
    found = {name: child for name, child in parent.named_children() if _ordinary(child)}
    groups = []
    for names in _SIBLINGS:
        alike = tuple(found[name] for name in names if name in found)
        if len(alike) == len(names) and len({(one.in_features, one.bias is None) for one in alike}) == 1:
            groups.append(alike)
    together = {linear for group in groups for linear in group}
    return [*groups, *((linear,) for linear in found.values() if linear not in together)]


def _ordinary(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a map can be packed; not one in training: a fused optimizer changes weights and does not tell."""
    if type(module) is not nn.Linear or "forward" in vars(module):
        return False
    weight: Tensor = module.weight
    return weight.is_contiguous() and not weight.requires_grad


class _Product:
    """`x Wᵀ + b` of linear maps that are fed the same tensor: worked out for all when the first of them is asked."""

    def __init__(self, linears: tuple[nn.Linear, ...]) -> None:
        self.linears = linears
        self._widths = [linear.out_features for linear in linears]
        self._weights: list[Tensor] = []
        self._versions: list[int] = []
        self.forget()

    def look(self) -> None:
        """Take the weights and biases as they are now; a step asks for them more than a hundred times."""
        self._weights = [linear.weight for linear in self.linears]
        self._most = _MOST.get(self._weights[0].dtype, sys.maxsize) * self.linears[0].in_features  # numbers, not rows
        biases: list[Tensor] = [linear.bias for linear in self.linears if linear.bias is not None]
        self._bias = torch.cat(biases) if len(biases) > 1 else biases[0] if biases else None
        self._pack()

    def forget(self) -> None:
        """Keep no tensor."""
        self._input: Tensor | None = None
        self._parts: dict[int, Tensor] = {}

    def of(self, place: int, x: Tensor) -> Tensor:
        """What the map at this place makes of inputs `[..., in]`; each part is given away once."""
        if torch.is_grad_enabled() or x.dtype != self._weights[0].dtype or x.numel() > self._most:
            return F.linear(x, self.linears[place].weight, self.linears[place].bias)
        if len(self.linears) == 1:
            return self._all(x)
        if x is not self._input or place not in self._parts:
            self._input, self._parts = x, dict(enumerate(self._all(x).split(self._widths, -1)))
        part = self._parts.pop(place)
        if not self._parts:
            self.forget()
        return part

    def _all(self, x: Tensor) -> Tensor:
        if self._versions != [weight._version for weight in self._weights]:
            self._pack()
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, "none", [], "")
        return product

    def _pack(self) -> None:
        self._packed = _pack(self._weights)
        self._versions = [weight._version for weight in self._weights]


def _pack(weights: Sequence[Tensor]) -> Tensor:
    """The packed form of weights, one below the other; packed again when one was changed in place since."""
    versions = tuple((weight.data_ptr(), weight._version) for weight in weights)
    known, packed = _packed.get(weights[0], (None, None))
    if known != versions:
        parts = [weight.detach() for weight in weights]
        whole = torch.cat(parts) if len(parts) > 1 else parts[0]
        packed = torch.ops.mkldnn._reorder_linear_weight(whole, _PACKED_FOR)
        _packed[weights[0]] = (versions, packed)
        _fresh.append(packed)
    result: Tensor = packed
    return result

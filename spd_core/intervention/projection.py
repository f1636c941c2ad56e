"""Changes a forward pass: a linear map on keys and values, and a LoRA adapter, as hooks and as folded weights.

Both forms apply A = I + Σ (gᵢ − 1) uᵢ uᵢᵀ + (g − 1)(I − U Uᵀ) to the output of a projection: gᵢ is the gain of each
direction of the subspace, and g that of everything else. Projecting with strength α is gᵢ = 1 and g = 1 − α, so that
A = I + α(U Uᵀ − I); its complement is the reverse, and gains can be given one by one. What an adapter adds is added
before. Knows nothing of text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from spd_core.data.seen import Seen, all_seen
from spd_core.errors import InputError
from spd_core.intervention.adapters import Adapter, Delta, merged
from spd_core.models.families import Kind, Site
from spd_core.models.loading import LanguageModel
from spd_core.models.weights import overwrite, rewriting, weight_of
from spd_core.recipes.gains import SiteGains
from spd_core.subspace.subspace import Subspace


@dataclass(frozen=True)
class Lane:
    """One way of generating. `Lane()` is raw.

    Attributes:
        subspace: where keys and values are projected to; None leaves them alone.
        strength: α of K + α(K P − K): 0 is unmodified, 1 the paper.
        kinds: which of `"key"` and `"value"` are projected.
        layers: which of the subspace's layers; None takes all of them.
        complement: project onto the orthogonal complement, I − P, instead (a control).
        name: for people and files.
        adapter: the model is tuned by it, whether or not it is projected as well.
        gains: sites whose directions have gains of their own, instead of being projected.
    """

    subspace: Subspace | None = None
    strength: float = 1.0
    kinds: tuple[Kind, ...] = ("key", "value")
    layers: tuple[int, ...] | None = None
    complement: bool = False
    name: str = "raw"
    adapter: Adapter | None = None
    gains: tuple[SiteGains, ...] = ()

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites of its subspace that are of its kinds and layers."""
        found = () if self.subspace is None else self.subspace.sites
        return tuple(s for s in found if s.kind in self.kinds and (self.layers is None or s.layer in self.layers))

    @property
    def seen(self) -> Seen | None:
        """The prompts that its subspace and its adapter know; None where that is not known of one of them."""
        return all_seen(part.seen for part in (self.subspace, self.adapter) if part is not None)

    def maps(self, lm: LanguageModel) -> dict[Site, Tensor]:
        """[d_kv, d_kv] float64 matrix A for every site that this lane changes; symmetric.

        Raises:
            ModelError: the subspace was captured on another model.
            InputError: a layer that the subspace does not have, a strength that is not finite, or gains of sites or
                directions that it does not have.
        """
        if self.subspace is None:
            if self.gains:
                raise InputError(f"the lane {self.name!r} has gains and no subspace whose directions they are of")
            return {}
        self.subspace.check_model(lm)
        have = {site.layer for site in self.subspace.sites}
        unknown = sorted(set(self.layers or ()) - have)
        if unknown:
            raise InputError(f"layers {unknown} are not in the subspace; it has {sorted(have)}")
        if not torch.isfinite(torch.tensor(self.strength)):
            raise InputError(f"strength {self.strength} is not a finite number; use 0 (raw) to 1 (the paper)")
        mixed = self._mixed()
        return {site: self._map(site, mixed.get(site)) for site in self.sites if self.strength != 0 or site in mixed}

    def deltas(self, lm: LanguageModel) -> Mapping[str, Delta]:
        """What is added to linear maps, by their path in the model.

        Raises:
            ModelError: the adapter was trained on another model.
        """
        if self.adapter is None:
            return {}
        self.adapter.check_model(lm)
        return self.adapter.deltas

    def _mixed(self) -> dict[Site, SiteGains]:
        """The sites with gains of their own."""
        known = {(site.layer, site.kind): site for site in self.sites}
        misplaced = next((own for own in self.gains if (own.layer, own.kind) not in known), None)
        if misplaced is not None:
            have = ", ".join(f"layer {site.layer} {site.kind}s" for site in self.sites)
            raise InputError(f"there are gains for {misplaced.where}, and this lane has only {have}; choose of these")
        return {known[own.layer, own.kind]: own for own in self.gains}

    def _map(self, site: Site, own: SiteGains | None) -> Tensor:
        """[d_kv, d_kv] float64 A = I + U diag(gᵢ − 1) Uᵀ + (g − 1)(I − U Uᵀ)."""
        assert self.subspace is not None
        basis, projector = self.subspace.basis[site].double(), self.subspace.projector(site)
        inside, outside = self._changes(basis.shape[1]) if own is None else _changes(own, site, basis.shape[1])
        identity = torch.eye(len(projector), dtype=projector.dtype)
        return identity + (basis * inside) @ basis.T + outside * (identity - projector)

    def _changes(self, rank: int) -> tuple[Tensor, float]:
        """[rank] float64 gᵢ − 1 of a projected site, and g − 1."""
        inside, outside = (-self.strength, 0.0) if self.complement else (0.0, -self.strength)
        return torch.full((rank,), inside, dtype=torch.float64), outside


def _changes(own: SiteGains, site: Site, rank: int) -> tuple[Tensor, float]:
    """[rank] float64 gᵢ − 1 of a site with gains of its own, and g − 1.

    Raises:
        InputError: a direction beyond the rank.
    """
    if own.highest > rank:
        raise InputError(
            f"{site.label} has no direction {own.highest} at this rank; choose 1 to {rank}, or a higher rank"
        )
    inside = torch.full((rank,), own.others - 1, dtype=torch.float64)
    for number, gain in own.directions:
        inside[number - 1] = gain - 1
    return inside, own.others - 1


# --- hooks ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _RowMaps:
    """What happens to one site: `maps[i]` is applied to batch row `rows[i]`; rows None means one map for all."""

    columns: tuple[int, ...] | None
    rows: Tensor | None  # [n] int64
    maps: Tensor  # [n, d_kv, d_kv], or [d_kv, d_kv] when rows is None

    def apply(self, _inputs: Tensor, output: Tensor) -> Tensor:
        """The module's output `[batch, seq, width]` with this site's columns mapped; a new tensor."""
        x = output if self.columns is None else output[..., list(self.columns)]  # [batch, seq, d_kv]
        mapped = x.clone() if self.rows is not None else None
        chosen = x if self.rows is None else x[self.rows]
        y = (chosen.to(self.maps.dtype) @ self.maps).to(output.dtype)  # A is symmetric: x Aᵀ = x A
        if mapped is not None:
            mapped[self.rows] = y
            y = mapped
        if self.columns is None:
            return y
        whole = output.clone()
        whole[..., list(self.columns)] = y
        return whole


@dataclass(frozen=True)
class _RowDelta:
    """What is added to one linear map in some rows: y + scale · (x Aᵀ) Bᵀ; rows None means all."""

    rows: Tensor | None  # [n] int64
    a: Tensor  # [r, in]
    b: Tensor  # [out, r]
    scale: float

    def apply(self, inputs: Tensor, output: Tensor) -> Tensor:
        """The module's output `[batch, seq, out]` with the product of its inputs `[batch, seq, in]` added; new."""
        x, y = (inputs, output) if self.rows is None else (inputs[self.rows], output[self.rows])
        added = self.scale * ((x.to(self.a.dtype) @ self.a.T) @ self.b.T)
        tuned = (y.to(added.dtype) + added).to(output.dtype)
        if self.rows is None:
            return tuned
        whole = output.clone()
        whole[self.rows] = tuned
        return whole


Plan: TypeAlias = Mapping[nn.Module, tuple[_RowDelta | _RowMaps, ...]]
"""What the hooks do while it is active, in this order, by the module they sit on."""

_ACTIVE: ContextVar[Plan | None] = ContextVar("active_projection", default=None)


def _hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
    plan = _ACTIVE.get()
    if plan is None or module not in plan:
        return None
    for change in plan[module]:
        output = change.apply(args[0], output)
    return output


def install_hooks(lm: LanguageModel, more: Iterable[nn.Module] = ()) -> None:
    """Put the hooks on every site and on modules besides, once in the model's life. They do nothing until a plan is
    active.

    Hooks that come and go with every generation would meet in a model that several users share.
    """
    sites = dict.fromkeys(site.module for site in lm.sites)
    for module in (*map(lm.model.get_submodule, sites), *more):
        if _hook not in module._forward_hooks.values():
            module.register_forward_hook(_hook)


def plan_rows(lm: LanguageModel, lanes: Sequence[Lane]) -> Plan:
    """The plan in which row i of a batch belongs to `lanes[i]`. Lanes are checked before anything is installed.

    Raises:
        ModelError, InputError: see `Lane.maps` and `Lane.deltas`.
    """
    dtype = torch.promote_types(lm.dtype, torch.float32)  # bfloat16 keys are mapped in float32
    maps = {id(lane): lane.maps(lm) for lane in lanes}
    plan = _plan_deltas(lm, lanes, dtype)
    for site in dict.fromkeys(site for by_site in maps.values() for site in by_site):
        module = lm.model.get_submodule(site.module)
        rows = [row for row, lane in enumerate(lanes) if site in maps[id(lane)]]
        chosen = [maps[id(lanes[row])][site] for row in rows]
        alike = len(rows) == len(lanes) and all(matrix is chosen[0] for matrix in chosen)
        entry = _RowMaps(
            columns=site.columns if site.fused else None,
            rows=None if alike else torch.tensor(rows, device=lm.device),
            maps=(chosen[0] if alike else torch.stack(chosen)).to(lm.device, dtype),
        )
        plan[module] = (*plan.get(module, ()), entry)
    install_hooks(lm, plan)
    return plan


def _plan_deltas(
    lm: LanguageModel, lanes: Sequence[Lane], dtype: torch.dtype
) -> dict[nn.Module, tuple[_RowDelta | _RowMaps, ...]]:
    plan: dict[nn.Module, tuple[_RowDelta | _RowMaps, ...]] = {}
    for adapter in dict.fromkeys(lane.adapter for lane in lanes):
        chosen = [row for row, lane in enumerate(lanes) if lane.adapter is adapter]
        rows = None if len(chosen) == len(lanes) else torch.tensor(chosen, device=lm.device)
        for path, delta in lanes[chosen[0]].deltas(lm).items():
            module = lm.model.get_submodule(path)
            entry = _RowDelta(rows, delta.a.to(lm.device, dtype), delta.b.to(lm.device, dtype), delta.scale)
            plan[module] = (*plan.get(module, ()), entry)
    return plan


@contextmanager
def active(plan: Plan) -> Iterator[None]:
    """Let a plan act on forward passes of this thread (and of no other) inside the block."""
    token = _ACTIVE.set(plan)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


@contextmanager
def projecting(lm: LanguageModel, lane: Lane) -> Iterator[None]:
    """Every forward pass inside the block, of any batch size, runs as this lane."""
    with active(plan_rows(lm, [lane])):
        yield


# --- fold ----------------------------------------------------------------------------------------------------


@contextmanager
def folded(lm: LanguageModel, lane: Lane) -> Iterator[None]:
    """The same change written into the weights, W' = A W and b' = A b; restored bit by bit afterwards.

    Raises:
        ModelError: a projection is not an ordinary floating-point linear map (quantized), or the folded weights
            are not finite.
    """
    maps = lane.maps(lm)
    tuned = nullcontext() if lane.adapter is None else merged(lm, lane.adapter)
    with tuned, rewriting(lm, dict.fromkeys(site.module for site in maps)) as modules:
        for site, matrix in maps.items():
            _fold_site(site, modules[site.module], matrix.to(lm.device))
        yield


def _fold_site(site: Site, module: Any, matrix: Tensor) -> None:
    columns = list(site.columns)
    for parameter in (weight_of(module), *([] if module.bias is None else [module.bias])):  # [out, in], [out]
        overwrite(site.module, parameter, matrix @ parameter[columns].double(), columns)

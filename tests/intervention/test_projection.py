"""Hooks and folded weights against each other and against explicit projectors; no trace left."""

import copy
import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from spd_core.errors import InputError, ModelError
from spd_core.intervention.adapters import merged
from spd_core.intervention.projection import Lane, active, folded, install_hooks, plan_rows, projecting
from spd_core.recipes.gains import SiteGains
from spd_core.subspace.capture import capture_gradients
from spd_core.subspace.subspace import Subspace, fit
from tests.lora import adapter_of, peft_logits, peft_model
from tests.subspace.test_capture import random_examples
from tests.tiny import FAMILIES

IDS = torch.arange(2, 22)[None]


def subspace_of(lm: Any, rank: str = "4", layers: tuple[int, ...] = (1, 2)) -> Subspace:
    return fit(capture_gradients(lm, random_examples(12), layers), lm, rank=rank)


def logits(lm: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = lm.model(ids).logits
    return found


def site_outputs(lm: Any, lane: Lane) -> dict[str, torch.Tensor]:
    """What each site hands on, downstream of the projection hooks."""
    install_hooks(lm)
    seen: dict[str, torch.Tensor] = {}
    handles = [
        lm.model.get_submodule(site.module).register_forward_hook(
            lambda _m, _a, out, site=site: seen.update({site.label: out[..., list(site.columns)]})
        )
        for site in lm.sites
    ]
    with projecting(lm, lane):
        logits(lm)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", [{}, {"strength": 0.4}, {"complement": True}, {"kinds": ("value",)}])
def test_hooks_and_fold_give_equal_logits_in_every_family(
    family: str, options: dict[str, Any], tiny_lm: Callable[[str], Any]
) -> None:
    lm = tiny_lm(family)
    lane = Lane(subspace_of(lm), **options)
    before = logits(lm)
    with projecting(lm, lane):
        hooked = logits(lm)
    with folded(lm, lane):
        fold = logits(lm)
    torch.testing.assert_close(hooked, fold, rtol=1e-4, atol=1e-4)
    assert (hooked - before).abs().max() > 1e-2, "the projection must do something"
    assert torch.equal(logits(lm), before), "and leave no trace"


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_projected_outputs_are_the_explicit_formula(family: str, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    subspace = subspace_of(lm, layers=(1,))
    raw = site_outputs(lm, Lane())
    for alpha in (0.3, 1.0):
        projected = site_outputs(lm, Lane(subspace, strength=alpha))
        for site in subspace.sites:
            k, basis = raw[site.label].double(), subspace.basis[site].double()
            expected = k + alpha * (k @ basis @ basis.T - k)
            torch.testing.assert_close(projected[site.label].double(), expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(projected["layer 0 key"], raw["layer 0 key"])


def test_projecting_twice_is_projecting_once(tiny_lm: Callable[[str], Any]) -> None:
    subspace = subspace_of(tiny_lm("llama"))
    for site in subspace.sites:
        p = subspace.projector(site)
        torch.testing.assert_close(p @ p, p, atol=1e-6, rtol=0)
        torch.testing.assert_close(p, p.T)
        assert torch.linalg.matrix_rank(p, atol=1e-4) == 4


def test_full_rank_and_strength_zero_are_raw(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    before = logits(lm)
    with projecting(lm, Lane(subspace_of(lm, rank=str(lm.card.d_kv)))):
        torch.testing.assert_close(logits(lm), before, rtol=1e-4, atol=1e-4)
    with projecting(lm, Lane(subspace_of(lm), strength=0.0)):
        assert torch.equal(logits(lm), before)


def test_only_the_chosen_layers_and_kinds_change(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    raw = site_outputs(lm, Lane())
    lane = Lane(subspace_of(lm, layers=(1, 2)), kinds=("key",), layers=(1,))
    projected = site_outputs(lm, lane)
    changed = {label for label in raw if not torch.equal(raw[label], projected[label])}
    assert "layer 1 key" in changed
    assert "layer 1 value" not in changed
    assert not any(label.startswith("layer 0") for label in changed)


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_every_row_of_a_batch_has_its_own_lane(family: str, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    subspace = subspace_of(lm)
    lanes = [Lane(), Lane(subspace), Lane(subspace, complement=True), Lane()]
    with active(plan_rows(lm, lanes)):
        together = logits(lm, IDS.repeat(4, 1))
    for row, lane in enumerate(lanes):
        with projecting(lm, lane):
            torch.testing.assert_close(together[row], logits(lm)[0], rtol=1e-4, atol=1e-4)


def test_other_threads_are_not_projected(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    before = logits(lm)
    found: list[torch.Tensor] = []
    with projecting(lm, Lane(subspace_of(lm))):
        other = threading.Thread(target=lambda: found.append(logits(lm)))
        other.start()
        other.join()
    assert torch.equal(found[0], before)


def test_hooks_are_installed_once(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    lane = Lane(subspace_of(lm))
    for _ in range(3):
        with projecting(lm, lane):
            logits(lm)
    assert len(lm.model.get_submodule(lm.sites[0].module)._forward_hooks) == 1


@pytest.mark.parametrize("form", [projecting, folded])
def test_nothing_is_left_behind_after_an_exception(form: Any, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("qwen2")
    before = logits(lm)
    with pytest.raises(RuntimeError, match="boom"), form(lm, Lane(subspace_of(lm))):
        assert not torch.equal(logits(lm), before)
        raise RuntimeError("boom")
    assert torch.equal(logits(lm), before)


def test_a_fold_that_fails_half_way_is_undone(tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from spd_core.intervention import projection

    lm = tiny_lm("llama")
    before = logits(lm)
    real, calls = projection._fold_site, []

    def failing(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise ModelError("third site")
        real(*args)

    monkeypatch.setattr(projection, "_fold_site", failing)
    with pytest.raises(ModelError, match="third"), folded(lm, Lane(subspace_of(lm))):
        pass
    assert torch.equal(logits(lm), before)


class Int8Linear(torch.nn.Module):
    """Stands where a quantization library would put its own module."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.scale = weight.abs().max() / 127
        self.weight = torch.nn.Parameter((weight / self.scale).round().to(torch.int8), requires_grad=False)
        self.bias = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ (self.weight.to(x.dtype) * self.scale).T


def test_quantized_projections_are_refused_for_a_fold_and_hooked_all_the_same(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    lane = Lane(subspace_of(lm))
    quantized = dataclasses.replace(lm, model=copy.deepcopy(lm.model))
    attention = quantized.model.model.layers[1].self_attn
    attention.k_proj = Int8Linear(attention.k_proj.weight.data)
    before = logits(quantized)
    with pytest.raises(ModelError, match="k_proj.*quantized"), folded(quantized, lane):
        pass
    assert torch.equal(logits(quantized), before)
    with projecting(quantized, lane):
        assert not torch.equal(logits(quantized), before)


def test_lanes_that_cannot_be_are_refused(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    subspace = subspace_of(lm, layers=(2,))
    with pytest.raises(InputError, match=r"layers \[1\] are not in the subspace; it has \[2\]"):
        Lane(subspace, layers=(1,)).maps(lm)
    with pytest.raises(InputError, match="nan"):
        Lane(subspace, strength=float("nan")).maps(lm)
    with pytest.raises(ModelError):
        Lane(subspace).maps(tiny_lm("mistral"))


# --- gains ---------------------------------------------------------------------------------------------------


def site_gains(layer: int, kind: Any, *directions: tuple[int, float], others: float = 1.0) -> SiteGains:
    return SiteGains(layer=layer, kind=kind, directions=directions, others=others)


MIXED = (
    site_gains(1, "key", (1, 0.0), (3, 2.0)),
    site_gains(1, "value", (2, -1.0), others=0.25),
    site_gains(2, "value", (4, 1.5)),
)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_gains_multiply_single_directions_and_the_rest(family: str, tiny_lm: Callable[[str], Any]) -> None:
    """Site by site against the sum over directions, in float64."""
    lm = tiny_lm(family)
    subspace = subspace_of(lm)
    raw = site_outputs(lm, Lane())
    for own in MIXED:  # alone: downstream of another change, the raw outputs would be others
        mixed = site_outputs(lm, Lane(subspace, strength=0, gains=(own,)))
        site = next(site for site in subspace.sites if (site.layer, site.kind) == (own.layer, own.kind))
        k = raw[site.label].double()
        expected = own.others * k
        for number, gain in own.directions:
            u = subspace.basis[site][:, number - 1].double()
            expected = expected + (gain - own.others) * (k @ u)[..., None] * u
        torch.testing.assert_close(mixed[site.label].double(), expected, rtol=1e-4, atol=1e-5)
        others = [label for label in raw if label != site.label and int(label.split()[1]) <= own.layer]
        assert all(torch.equal(mixed[label], raw[label]) for label in others)
    maps = Lane(subspace, strength=0, gains=MIXED).maps(lm)
    assert {(site.layer, site.kind) for site in maps} == {(own.layer, own.kind) for own in MIXED}


@pytest.mark.parametrize("family", FAMILIES)
def test_gains_are_folded_as_they_are_hooked(family: str, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    before = logits(lm)
    for lane in (Lane(subspace_of(lm), strength=0, gains=MIXED), Lane(subspace_of(lm), 0.5, gains=MIXED[:1])):
        with projecting(lm, lane):
            hooked = logits(lm)
        with folded(lm, lane):
            torch.testing.assert_close(logits(lm), hooked, rtol=1e-4, atol=1e-4)
        assert (hooked - before).abs().max() > 1e-3
        assert torch.equal(logits(lm), before), "no trace"


@pytest.mark.parametrize("strength", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("complement", [False, True])
def test_a_projection_is_a_choice_of_gains(strength: float, complement: bool, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    subspace = subspace_of(lm)
    inside, outside = (1 - strength, 1.0) if complement else (1.0, 1 - strength)
    same = [
        site_gains(site.layer, site.kind, *((i, inside) for i in range(1, 5)), others=outside)
        for site in subspace.sites
    ]
    projected = Lane(subspace, strength, complement=complement).maps(lm)
    mixed = Lane(subspace, strength=0, gains=tuple(same)).maps(lm)
    assert list(projected) == list(mixed)
    for site, matrix in projected.items():
        torch.testing.assert_close(mixed[site], matrix, rtol=0, atol=1e-14)
        p, identity = subspace.projector(site), torch.eye(site.d_kv, dtype=torch.float64)
        target = identity - p if complement else p
        torch.testing.assert_close(matrix, identity + strength * (target - identity), rtol=0, atol=1e-14)


def test_one_direction_removed_is_the_complement_of_it_alone(tiny_lm: Callable[[str], Any]) -> None:
    """As the causal check removes it."""
    lm = tiny_lm("llama")
    subspace = subspace_of(lm)
    site = subspace.sites[0]
    alone = dataclasses.replace(subspace, basis={site: subspace.basis[site][:, 2:3]})
    removed = Lane(subspace, strength=0, gains=(site_gains(site.layer, site.kind, (3, 0.0)),)).maps(lm)
    torch.testing.assert_close(removed, Lane(alone, complement=True).maps(lm), rtol=0, atol=1e-14)


def test_all_gains_one_is_the_untouched_model(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    before = logits(lm)
    with projecting(lm, Lane(subspace_of(lm), strength=0, gains=(site_gains(1, "key", (1, 1.0), (2, 1.0)),))):
        assert torch.equal(logits(lm), before)


def test_sites_with_gains_are_not_projected_and_the_others_are(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    subspace = subspace_of(lm)
    both, projected = Lane(subspace, gains=MIXED[:1]).maps(lm), Lane(subspace).maps(lm)
    mixed = Lane(subspace, strength=0, gains=MIXED[:1]).maps(lm)
    for site in subspace.sites:
        assert torch.equal(both[site], (mixed if (site.layer, site.kind) == (1, "key") else projected)[site])


def test_a_mixed_row_stands_beside_others(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    subspace = subspace_of(lm)
    lanes = [Lane(), Lane(subspace), Lane(subspace, strength=0, gains=MIXED)]
    with active(plan_rows(lm, lanes)):
        together = logits(lm, IDS.repeat(3, 1))
    for row, lane in enumerate(lanes):
        with projecting(lm, lane):
            torch.testing.assert_close(together[row], logits(lm)[0], rtol=1e-4, atol=1e-4)


def test_gains_that_cannot_be_are_refused(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    subspace = subspace_of(lm, layers=(2,))
    with pytest.raises(InputError, match="gains for layer 1 keys, and this lane has only layer 2 keys, layer 2 values"):
        Lane(subspace, strength=0, gains=MIXED[:1]).maps(lm)
    with pytest.raises(InputError, match="has only layer 2 keys; choose"):
        Lane(subspace, strength=0, kinds=("key",), gains=MIXED[2:]).maps(lm)
    with pytest.raises(InputError, match="no direction 5 at this rank; choose 1 to 4, or a higher rank"):
        Lane(subspace, strength=0, gains=(site_gains(2, "key", (5, 0.0)),)).maps(lm)
    with pytest.raises(InputError, match="no subspace whose directions"):
        Lane(gains=MIXED).maps(lm)


# --- adapters ------------------------------------------------------------------------------------------------

FEW = ["llama", "phi3", "gpt2", "gpt_neox"]


@pytest.mark.parametrize("family", FEW)
def test_rows_of_one_batch_have_adapters_and_subspaces_of_their_own(
    family: str, tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    lm = tiny_lm(family)
    models = [peft_model(lm, seed=0), peft_model(lm, seed=1, r=5, use_rslora=True)]
    one, two = (adapter_of(lm, model, tmp_path / str(at)) for at, model in enumerate(models))
    subspace = subspace_of(lm)
    lanes = [Lane(), Lane(adapter=one), Lane(subspace), Lane(subspace, adapter=two), Lane(adapter=two), Lane()]
    with active(plan_rows(lm, lanes)):
        together = logits(lm, IDS.repeat(6, 1))
    for row, model in ((1, models[0]), (4, models[1])):
        torch.testing.assert_close(together[row], peft_logits(model, IDS)[0], rtol=1e-4, atol=1e-4)
    for row, lane in enumerate(lanes):
        with projecting(lm, lane):
            torch.testing.assert_close(together[row], logits(lm)[0], rtol=1e-4, atol=1e-4)
    with active(plan_rows(lm, [Lane(), Lane(), lanes[2], Lane(), Lane(), Lane()])):
        without = logits(lm, IDS.repeat(6, 1))
    for row in (0, 2, 5):
        assert torch.equal(together[row], without[row]), "rows beside an adapter are bit for bit what they were"


@pytest.mark.parametrize("family", FEW)
def test_the_projection_acts_on_what_the_tuned_map_hands_on(
    family: str, tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    lm = tiny_lm(family)
    subspace = subspace_of(lm)
    adapter = adapter_of(lm, peft_model(lm), tmp_path)
    before = logits(lm)
    with projecting(lm, Lane(subspace, strength=0.6, adapter=adapter)):
        hooked = logits(lm)
    with folded(lm, Lane(subspace, strength=0.6, adapter=adapter)):
        torch.testing.assert_close(logits(lm), hooked, rtol=1e-4, atol=1e-4)
    assert torch.equal(logits(lm), before)
    with merged(lm, adapter), projecting(lm, Lane(subspace, strength=0.6)):
        torch.testing.assert_close(logits(lm), hooked, rtol=1e-4, atol=1e-4)
    assert torch.equal(logits(lm), before)


def test_small_floats_are_tuned_in_float32(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    adapter = adapter_of(lm, peft_model(lm), tmp_path)
    half = dataclasses.replace(lm, model=copy.deepcopy(lm.model).bfloat16())
    path, delta = next(iter(adapter.deltas.items()))
    module, x = half.model.get_submodule(path), torch.randn(2, 5, 32).bfloat16()
    plain = module(x)
    with projecting(half, Lane(adapter=adapter)):
        tuned = module(x)
    assert tuned.dtype == torch.bfloat16
    expected = (plain.float() + delta.scale * ((x.float() @ delta.a.T) @ delta.b.T)).bfloat16()
    assert torch.equal(tuned, expected)
    with merged(half, adapter):
        torch.testing.assert_close(module(x), expected, rtol=0.05, atol=0.05)


def test_hooks_come_once_and_rest(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    adapter = adapter_of(lm, peft_model(lm), tmp_path)
    before = logits(lm)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="boom"), projecting(lm, Lane(adapter=adapter)):
            raise RuntimeError("boom")
    assert {len(lm.model.get_submodule(path)._forward_hooks) for path in adapter.deltas} == {1}
    assert torch.equal(logits(lm), before)

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

"""Packed products against plain ones, and never a stale copy of a weight."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from spd_core.models import packing
from spd_core.models.device import native_bfloat16
from spd_core.models.packing import packed_linears


def holding(*modules: torch.nn.Module, dtype: torch.dtype = torch.float32) -> Any:
    """A model that is not in training, as far as packing asks."""
    return SimpleNamespace(
        model=torch.nn.Sequential(*modules).requires_grad_(False), device=torch.device("cpu"), dtype=dtype
    )


@pytest.mark.parametrize("rows", [1, 2, 4, 9, 50])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_products_equal_plain_ones(rows: int, bias: bool) -> None:
    x, linear = torch.randn(rows, 3, 24), torch.nn.Linear(24, 40, bias)
    with torch.inference_mode():
        plain = linear(x)
        with packed_linears(holding(linear), 4):
            torch.testing.assert_close(linear(x), plain, rtol=1e-4, atol=1e-5)
        assert linear.weight in packing._packed
        assert torch.equal(linear(x), plain), "outside, nothing is left of it"


@pytest.mark.parametrize("family", ["llama", "llama_bias", "gpt2", "phi3", "gemma2"])
def test_a_whole_model_gives_the_same_logits_and_bit_equal_ones_afterwards(
    family: str, tiny_lm: Callable[[str], Any]
) -> None:
    lm = tiny_lm(family)
    ids = torch.randint(3, 60, (3, 7))
    with torch.inference_mode():
        before = lm.model(ids).logits
        with packed_linears(lm, 4):
            torch.testing.assert_close(lm.model(ids).logits, before, rtol=1e-3, atol=1e-4)
        assert torch.equal(lm.model(ids).logits, before)


def test_hooks_see_and_change_what_they_did() -> None:
    linear, x = torch.nn.Linear(8, 8), torch.randn(2, 8)
    linear.register_forward_hook(lambda module, inputs, output: output + 100 * inputs[0])
    with torch.inference_mode(), packed_linears(holding(linear), 4):
        torch.testing.assert_close(linear(x), x @ linear.weight.T + linear.bias + 100 * x, rtol=1e-4, atol=1e-4)


def test_two_who_take_turns_both_use_packed_weights() -> None:
    linear = torch.nn.Linear(8, 8)
    model = holding(linear)
    with torch.inference_mode():
        with packed_linears(model, 4):
            waiting = packed_linears(model, 4)
        with waiting:
            assert "forward" in vars(linear)
    assert "forward" not in vars(linear)


def test_an_error_inside_leaves_nothing() -> None:
    linear = torch.nn.Linear(8, 8)
    with pytest.raises(RuntimeError), torch.inference_mode(), packed_linears(holding(linear), 4):
        linear(torch.randn(2, 7))
    assert "forward" not in vars(linear)


def test_weights_in_training_are_not_packed() -> None:
    """A fused optimizer changes them without a word to their version, which is what packing goes by."""
    linear, x = torch.nn.Linear(8, 8), torch.randn(2, 8)
    model = holding(linear)
    linear.requires_grad_(True)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=0.5, fused=True)
    for _ in range(2):
        with torch.inference_mode(), packed_linears(model, 4):
            found = linear(x)
        torch.testing.assert_close(found, x @ linear.weight.detach().T + linear.bias.detach(), rtol=1e-4, atol=1e-5)
        linear(x).sum().backward()
        optimizer.step()


def test_a_weight_changed_in_place_is_packed_again() -> None:
    linear, x = torch.nn.Linear(8, 8), torch.randn(2, 8)
    for _ in range(2):
        with torch.inference_mode(), packed_linears(holding(linear), 4):
            found = linear(x)
        torch.testing.assert_close(found, linear(x).detach(), rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            linear.weight.mul_(3)


def test_gradients_still_flow() -> None:
    linear, x = torch.nn.Linear(8, 8), torch.randn(2, 8, requires_grad=True)
    with packed_linears(holding(linear), 4):
        linear(x).sum().backward()
    assert x.grad is not None


def test_without_room_for_a_copy_nothing_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "available_memory", lambda device: 0)
    linear = torch.nn.Linear(4, 4)
    with torch.inference_mode(), packed_linears(holding(linear), 4):
        linear(torch.randn(2, 4))
    assert linear.weight not in packing._packed


@pytest.mark.parametrize(("capability", "left"), [("AVX2", 1), ("AVX512", 2), ("DEFAULT", 1)])
def test_a_few_rows_are_left_to_torch(capability: str, left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    linear = torch.nn.Linear(4, 4)
    for rows in (1, 2, 3):
        with torch.inference_mode(), packed_linears(holding(linear), rows):
            assert ("forward" in vars(linear)) == (rows > left)


@pytest.mark.parametrize(
    ("capability", "native", "packs"), [("AVX512", True, True), ("AVX512", False, False), ("AVX2", True, False)]
)
def test_bfloat16_is_packed_from_one_row_where_it_was_measured(
    capability: str, native: bool, packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(packing, "native_bfloat16", lambda device: native)
    monkeypatch.setattr(packing, "_pack", lambda weights: None)  # the processor at hand may have no such product
    monkeypatch.setattr(packing, "_fresh", [])
    linear = torch.nn.Linear(4, 4, dtype=torch.bfloat16)
    with packed_linears(holding(linear, dtype=torch.bfloat16), 1):
        assert ("forward" in vars(linear)) == packs


@pytest.mark.skipif(not native_bfloat16(torch.device("cpu")), reason="the processor has no bfloat16 products")
@pytest.mark.parametrize("rows", [1, 2, 16, 50, 400])
def test_bfloat16_products_are_the_plain_ones_bit_for_bit(rows: int) -> None:
    parts = [torch.nn.Linear(576, width, bias=False, dtype=torch.bfloat16) for width in (576, 192, 192)]
    alike = torch.nn.ModuleDict(dict(zip(("q_proj", "k_proj", "v_proj"), parts, strict=True)))
    x = torch.randn(rows, 1, 576, dtype=torch.bfloat16)
    with torch.inference_mode():
        plain = [one(x) for one in parts]
        with packed_linears(holding(alike, dtype=torch.bfloat16), rows):
            assert all("forward" in vars(one) for one in parts)
            for mine, other in zip([one(x) for one in parts], plain, strict=True):
                assert torch.equal(mine, other)


class Attention(torch.nn.Module):
    """Queries, keys and values of what it is fed; keys asked twice, values of something else, as no model does."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (torch.nn.Linear(8, n) for n in (8, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        first = torch.cat([self.q_proj(x), self.k_proj(x), self.k_proj(x), self.v_proj(2 * x)], -1)
        x.add_(1)
        return torch.cat([first, self.v_proj(x), self.q_proj(x)], -1)


def test_maps_that_are_fed_alike_share_a_product_and_nothing_else() -> None:
    attention, x = Attention(), torch.randn(3, 8)
    with torch.inference_mode():
        plain = attention(x.clone())
        with packed_linears(holding(attention), 4):
            torch.testing.assert_close(attention(x.clone()), plain, rtol=1e-4, atol=1e-5)
            attention.k_proj.weight.mul_(2)
            found = attention(x.clone())
        torch.testing.assert_close(found, attention(x.clone()), rtol=1e-4, atol=1e-5)

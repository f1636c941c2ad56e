"""Packed products against plain ones, and never a stale copy of a weight."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from spd_core.models import packing
from spd_core.models.packing import packed_linears


@pytest.fixture
def lm(tiny_lm: Callable[[str], Any]) -> Any:
    return tiny_lm("llama")


@pytest.mark.parametrize("rows", [1, 2, 4, 8, 9, 50])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_products_equal_plain_ones(rows: int, bias: bool, lm: Any) -> None:
    x, weight = torch.randn(rows, 1, 24), torch.randn(40, 24)
    offset = torch.randn(40) if bias else None
    plain = F.linear(x, weight, offset)
    with torch.inference_mode(), packed_linears(lm, 2):
        torch.testing.assert_close(F.linear(x, weight, offset), plain, rtol=1e-4, atol=1e-5)
    assert (weight in packing._packed) == (rows <= packing.MOST_ROWS)


def test_a_weight_changed_in_place_is_packed_again(lm: Any) -> None:
    linear, x = torch.nn.Linear(8, 8), torch.randn(2, 8)
    for _ in range(2):
        with torch.inference_mode(), packed_linears(lm, 2):
            found = linear(x)
        torch.testing.assert_close(found, linear(x).detach(), rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            linear.weight.mul_(3)


def test_gradients_still_flow(lm: Any) -> None:
    linear, x = torch.nn.Linear(8, 8), torch.randn(2, 8)
    with packed_linears(lm, 2):
        linear(x).sum().backward()
    assert linear.weight.grad is not None


def test_without_room_for_a_copy_nothing_is_packed(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "available_memory", lambda device: 1000)
    weight = torch.randn(4, 4)
    with torch.inference_mode(), packed_linears(lm, 2):
        F.linear(torch.randn(2, 4), weight)
    assert weight not in packing._packed


def test_a_single_row_is_left_to_torch(lm: Any) -> None:
    weight = torch.randn(4, 4)
    with torch.inference_mode(), packed_linears(lm, 1):
        F.linear(torch.randn(1, 4), weight)
    assert weight not in packing._packed

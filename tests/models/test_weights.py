"""Weights that are overwritten for a while, whatever happens meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from spd_core.errors import ModelError
from spd_core.models.packing import packed_linears
from spd_core.models.weights import overwrite, rewriting, weight_of
from tests.intervention.test_projection import logits

PATHS = {"llama": "model.layers.1.self_attn.o_proj", "gpt2": "transformer.h.1.attn.c_attn"}


@pytest.mark.parametrize(("family", "path"), PATHS.items())
def test_what_is_written_lies_as_out_by_in_and_is_taken_back(
    family: str, path: str, tiny_lm: Callable[[str], Any]
) -> None:
    lm = tiny_lm(family)
    before = logits(lm)
    module = lm.model.get_submodule(path)
    x = torch.randn(3, 32)
    with rewriting(lm, [path]) as found:
        weight = weight_of(found[path])
        bias = 0 if module.bias is None else module.bias
        torch.testing.assert_close(x @ weight.T + bias, module(x))
        overwrite(path, weight, weight[[0, 3]].double() * 2, rows=[0, 3])
        assert not torch.equal(logits(lm), before)
    assert torch.equal(logits(lm), before)


def test_gradients_stay_as_they_are_switched(tiny_lm: Callable[[str], Any]) -> None:
    with rewriting(tiny_lm("llama"), [PATHS["llama"]]):
        assert torch.is_grad_enabled(), "a training inside the block must learn"


def test_values_that_are_not_finite_are_refused_and_undone(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    before = logits(lm)
    with (
        pytest.raises(ModelError, match="o_proj gives values that are not finite"),
        rewriting(lm, [PATHS["llama"]]) as m,
    ):
        weight = weight_of(m[PATHS["llama"]])
        overwrite(PATHS["llama"], weight, weight.double() * 1e300)
    assert torch.equal(logits(lm), before)


def test_packed_weights_are_packed_again(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    two = torch.tensor([[5], [6]])

    def packed() -> torch.Tensor:
        with torch.inference_mode(), packed_linears(lm, 4):
            found: torch.Tensor = lm.model(two).logits
        return found

    before = packed()
    with rewriting(lm, [PATHS["llama"]]) as modules:
        weight = weight_of(modules[PATHS["llama"]])
        overwrite(PATHS["llama"], weight, weight.double() * 2)
        torch.testing.assert_close(packed(), logits(lm, two), rtol=1e-4, atol=1e-4)
        assert not torch.equal(packed(), before)
    assert torch.equal(packed(), before)

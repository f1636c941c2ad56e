"""Log-probabilities and divergences in slices, against the model's own logits in float64."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from spd_core.distill import logits
from tests.tiny import FAMILIES

IDS = torch.arange(3, 43).reshape(2, 20) % 250


def states(lm: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = lm.model.base_model(IDS).last_hidden_state
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_those_of_the_model_s_own_logits(family: str, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    with torch.no_grad():
        expected = copy.deepcopy(lm.model).double()(IDS).logits.log_softmax(-1)
    found = logits.logprobs(lm.model, states(lm)[:, :-1], IDS[:, 1:])
    torch.testing.assert_close(found.double(), expected[:, :-1].gather(-1, IDS[:, 1:, None])[..., 0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_divergences_are_those_of_the_model_s_own_logits(family: str, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    hidden = states(lm)[0]
    other = hidden + 0.1 * torch.randn(hidden.shape, generator=torch.Generator().manual_seed(0))
    found = logits.divergences(lm.model, hidden, other)
    both = []
    for one in (hidden, other):  # what the family makes of a state, by its own forward
        model = copy.deepcopy(lm.model).double()
        inner = model.base_model
        inner.forward = lambda *_given, one=one, **_named: type("Out", (dict,), {"__getattr__": dict.get})(
            last_hidden_state=one.double()[None]
        )
        with torch.no_grad():
            both.append(model(IDS[:1]).logits[0].log_softmax(-1))
    own, reference = both
    torch.testing.assert_close(found.double(), (reference.exp() * (reference - own)).sum(-1), rtol=1e-4, atol=1e-5)
    assert float(logits.divergences(lm.model, hidden, hidden).abs().max()) < 1e-6


def test_slices_of_one_and_of_all_agree_with_their_gradients(
    tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, found = tiny_lm("llama"), []
    for size in (1, 7, 10**6):
        monkeypatch.setattr(logits, "SLICE", size)
        hidden = states(lm)[:, :-1].requires_grad_()
        said = logits.logprobs(lm.model, hidden, IDS[:, 1:])
        (said * torch.arange(said.numel()).reshape(said.shape)).sum().backward()
        found.append((said.detach(), hidden.grad))
    for said, gradient in found[1:]:
        torch.testing.assert_close(said, found[0][0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gradient, found[0][1], rtol=1e-4, atol=1e-4)


def test_of_no_position_there_is_nothing(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    hidden = torch.zeros(0, 5, lm.model.config.hidden_size, requires_grad=True)
    said = logits.logprobs(lm.model, hidden, torch.zeros(0, 5, dtype=torch.int64))
    assert said.shape == (0, 5)
    apart = logits.divergences(lm.model, hidden[:, 0], hidden[:, 0].detach())
    assert apart.shape == (0,)
    (said.sum() + apart.sum()).backward()
    assert hidden.grad is not None

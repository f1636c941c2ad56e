"""Layers that are carried out once, against passes that carry out every layer each time: equal to the last bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from spd_core.attribution.causal import token_logp
from spd_core.attribution.shared_layers import carried_out_once, layers_below
from spd_core.data.spans import Encoded
from spd_core.intervention.projection import Lane
from spd_core.models.families import Site
from spd_core.recipes.capture import CaptureSettings
from spd_core.subspace.subspace import Subspace
from tests.tiny import FAMILIES

BATCH = [Encoded(str(n), "", tuple(range(5, 5 + n)), ((0, 0),) * n, (n - 2, n - 1)) for n in (24, 20)]


def lanes_at(lm: Any, site: Site) -> list[Lane]:
    """No change, then a random direction of the site removed, and only it."""
    from spd_core.data.catalog import find_capability
    from spd_core.subspace.pipeline import capture

    settings = CaptureSettings(layers=str(site.layer), examples=1)
    made = capture(lm, find_capability("arithmetic"), settings, name="tiny").provenance
    basis = torch.linalg.qr(torch.randn(site.d_kv, 1, generator=torch.Generator().manual_seed(1)))[0]
    own = Subspace({site: basis}, {site: torch.ones(site.d_kv)}, made)
    return [Lane(), Lane(own, complement=True), Lane(own)]


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_pass_gives_what_it_gives_alone(family: str, layer: int, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    site = lm.sites_at((layer,))[layer % 2]
    given: list[Any] = []
    changed = []
    for lane in lanes_at(lm, site):
        alone = token_logp(lm, BATCH, lane)
        with carried_out_once(layers_below(lm, site), given):
            shared = token_logp(lm, BATCH, lane)
        assert torch.equal(shared, alone)
        changed.append(alone)
    assert not torch.equal(changed[0], changed[2]), "the lanes differ"


def test_layers_below_compute_once_and_are_as_before_afterwards(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    below = layers_below(lm, lm.sites_at((2,))[0])
    assert below == list(lm.model.model.layers[:2])
    passes: list[int] = []
    handle = lm.model.model.layers[0].mlp.register_forward_hook(lambda *_: passes.append(1))
    given: list[Any] = []
    for _ in range(3):
        with carried_out_once(below, given):
            token_logp(lm, BATCH, Lane())
    with pytest.raises(KeyError), carried_out_once(below, given):
        raise KeyError
    assert len(passes) == 1
    token_logp(lm, BATCH, Lane())
    handle.remove()
    assert len(passes) == 2, "outside, every layer computes"
    assert all("forward" not in vars(layer) for layer in below)

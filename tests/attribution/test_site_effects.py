"""The effect of each site by itself against a hook on that site, one text at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from spd_core.attribution.causal import token_logp
from spd_core.attribution.shared_layers import layers_below
from spd_core.attribution.site_effects import MOST_TEXTS, site_effects
from spd_core.errors import InputError, Stopped
from spd_core.intervention.projection import Lane
from spd_core.progress import Progress
from spd_core.subspace.subspace import random_subspace, subspace_of
from tests.attribution.test_lens import analysis_of, slow_logp

RANK = 3


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_every_site_is_projected_alone(family: str, double_lm: Callable[[str], Any]) -> None:
    lm = double_lm(family)
    analysis = analysis_of(lm)
    told: list[Progress] = []
    found = site_effects(lm, analysis, RANK, tell=told.append, seed=5)
    own = subspace_of(analysis, str(RANK))
    drawn = random_subspace(own, 5)
    assert list(found.projected) == list(found.random) == list(analysis.sites)
    for site in analysis.sites:
        raw = slow_logp(lm, analysis.examples, site, None)
        for effects, subspace in ((found.projected, own), (found.random, drawn)):
            changed = slow_logp(lm, analysis.examples, site, subspace.projector(site))
            assert effects[site] == pytest.approx(np.mean([changed[at] - raw[at] for at in raw]), rel=1e-4, abs=1e-7)
    assert [(at.done, at.total) for at in told] == [(done, 4) for done in (1, 2, 3, 4)]
    assert (found.rank, found.texts) == (RANK, 4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_sharing_the_layers_below_changes_no_bit(family: str, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    analysis = analysis_of(lm)
    own = subspace_of(analysis, str(RANK))
    computed: list[int] = []
    first = layers_below(lm, lm.sites_at((1,))[0])[0].mlp.register_forward_hook(lambda *_: computed.append(1))
    found = site_effects(lm, analysis, RANK, seed=5)
    first.remove()
    assert len(computed) == 3, "without a change, and once for either captured layer"
    before = token_logp(lm, analysis.examples, Lane()).double()
    for site in analysis.sites:
        for effects, subspace in ((found.projected, own), (found.random, random_subspace(own, 5))):
            lane = Lane(subspace, layers=(site.layer,), kinds=(site.kind,))
            assert effects[site] == float((token_logp(lm, analysis.examples, lane).double() - before).mean())


def test_the_model_is_as_before_and_few_texts_are_enough(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    analysis = analysis_of(lm, examples=MOST_TEXTS + 2)
    ids = torch.tensor([analysis.examples[0].ids])
    before = lm.model(ids).logits
    assert site_effects(lm, analysis, RANK).texts == MOST_TEXTS
    assert torch.equal(lm.model(ids).logits, before)


def test_stopping_keeps_the_sites_that_are_done(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    analysis, told = analysis_of(lm), list[Progress]()
    found = site_effects(lm, analysis, RANK, tell=told.append, stop=lambda: len(told) == 3)
    assert list(found.projected) == list(found.random) == list(analysis.sites)[:3]
    with pytest.raises(Stopped, match="nothing was scored"):
        site_effects(lm, analysis, RANK, stop=lambda: True)


def test_a_capture_without_texts_is_refused(tiny_lm: Callable[[str], Any]) -> None:
    import dataclasses

    lm = tiny_lm("llama")
    with pytest.raises(InputError, match="kept no texts to score; capture again"):
        site_effects(lm, dataclasses.replace(analysis_of(lm), examples=()), RANK)

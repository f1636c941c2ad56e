"""Asks where projecting matters: log-probabilities with one site projected at a time, beside a random subspace there.

Knows nothing of gradients. A single direction is asked about in `attribution/causal.py`.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spd_core.attribution.causal import token_logp
from spd_core.attribution.shared_layers import carried_out_once, layers_below
from spd_core.errors import CaptureError, InputError, Stopped
from spd_core.intervention.projection import Lane
from spd_core.models.families import Site
from spd_core.models.loading import LanguageModel
from spd_core.progress import Progress, Stop, Tell, silent
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.subspace import check_model, random_subspace, subspace_of

MOST_TEXTS = 4
"""Texts that are scored: every site takes two more passes over them, from its layer on."""


@dataclass(frozen=True, eq=False)
class SiteEffects:
    """Mean change of log p over the loss tokens when one site alone is projected, in nats a token.

    Attributes:
        rank: of the projection, capped where a site has fewer directions.
        texts: how many were scored.
        projected: by the site that was projected into the capability's subspace; fewer when it was stopped.
        random: the same with a random subspace of the same rank.
    """

    rank: int
    texts: int
    projected: Mapping[Site, float]
    random: Mapping[Site, float]


def site_effects(
    lm: LanguageModel,
    analysis: Analysis,
    rank: int,
    *,
    seed: int = 0,
    tell: Tell = silent,
    stop: Stop | None = None,
) -> SiteEffects:
    """The effect of every captured site by itself, on the first texts of the capture.

    Args:
        seed: of the random subspace.
        tell: told after each site.
        stop: asked before each site; those that were done until then are returned.

    Raises:
        ModelError: the analysis is of another model.
        InputError: an older version kept no texts, or too few directions for the rank.
        CaptureError: a log-probability is not finite.
        Stopped: before the first site was done.
    """
    check_model(analysis.provenance, analysis.sites, lm)
    texts = analysis.examples[:MOST_TEXTS]
    if not texts:
        raise InputError("this capture kept no texts to score; capture again")
    own = subspace_of(analysis, str(rank), per_head=False)
    drawn = random_subspace(own, seed)
    before = token_logp(lm, texts, Lane())
    projected: dict[Site, float] = {}
    random: dict[Site, float] = {}
    given = defaultdict[int, list[Any]](list)  # what the layers below a layer gave: the same for all of its sites
    for site in analysis.sites:
        if stop is not None and stop():
            break
        for found, subspace in ((projected, own), (random, drawn)):
            lane = Lane(subspace, layers=(site.layer,), kinds=(site.kind,))
            with lm.lock, carried_out_once(layers_below(lm, site), given[site.layer]):
                found[site] = _mean_change(before, token_logp(lm, texts, lane), lm)
        tell(Progress(len(projected), len(analysis.sites), f"Projecting {site.label} alone"))
    if not projected:
        raise Stopped("stopped before the first site was done; nothing was scored")
    return SiteEffects(rank, len(texts), projected, random)


def _mean_change(before: Tensor, after: Tensor, lm: LanguageModel) -> float:
    change = (after.double() - before.double()).mean()
    if not torch.isfinite(change):
        raise CaptureError(f"a log-probability is not finite in {lm.dtype}; load the model in float32")
    return float(change)

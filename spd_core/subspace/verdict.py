"""What a spectrum may be said to show, in a few sentences, by rule from its numbers and their band; never more.

Imports no torch. Where the numbers come from is in `subspace/pipeline.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spd_core.models.families import Site
from spd_core.subspace.analysis import RANDOM, SHUFFLED, Analysis
from spd_core.subspace.contrast_verdict import contrast_verdict
from spd_core.subspace.site_analysis import SiteAnalysis
from spd_core.subspace.spectrum import Floats, centred_band, choose_rank, energy, energy_band, held_percent

SHARE = 0.9
"""The share of the energy whose number of directions says how steep a spectrum is."""


@dataclass(frozen=True)
class Steepness:
    """How many directions hold the share `SHARE` of the energy at one site.

    Attributes:
        own: with the capability's own answers.
        shuffled: with shuffled answers; None where they were not captured.
        random: of rows of the same lengths that point anywhere; None where they were not kept.
        luck: fewest and most that any spectrum inside the bootstrap band has; None where there is no band.
    """

    own: int
    shuffled: int | None
    random: int | None
    luck: tuple[int, int] | None

    @property
    def beyond_luck(self) -> bool | None:
        """Whether shuffled answers need more directions than the band allows; None where that cannot be told."""
        if self.shuffled is None:
            return None
        if self.shuffled <= self.own:
            return False
        return None if self.luck is None else self.shuffled > self.luck[1]


def steepness(found: SiteAnalysis) -> Steepness:
    """How steep a site's spectrum is, and what it is compared with."""
    nulls = {name: _directions(values) for name, values in found.nulls.items()}
    return Steepness(_directions(found.values), nulls.get(SHUFFLED), nulls.get(RANDOM), _luck(found))


def _luck(found: SiteAnalysis) -> tuple[int, int] | None:
    if found.band is None:
        return None
    low, high = energy_band(centred_band(found.values, found.band))
    return _first(high), _first(low)


def _first(shares: Floats) -> int:
    return int(np.argmax(shares >= SHARE - 1e-12)) + 1


def _directions(values: ArrayLike) -> int:
    return choose_rank(f"energy:{SHARE}", values)[0]


# --- sentences -----------------------------------------------------------------------------------------------


def spectrum_verdict(analysis: Analysis, layer: int, kind: str, rank: int) -> str:
    """What the spectrum of one site shows: how steep it is, whether the capability makes it so, what a rank keeps.

    Of a contrast: how much of either capability its directions hold.

    Raises:
        InputError: the site was not captured.
    """
    if (made_of := analysis.provenance.left_out) is not None:
        return contrast_verdict(analysis, made_of, layer, kind, rank)
    site = analysis.site(layer, kind)
    found = analysis.sites[site]
    steep = steepness(found)
    said = (_headline(steep, site), *_condition(steep, analysis), *_everywhere(analysis), _kept(analysis, site, rank))
    return " ".join(said)


def _headline(steep: Steepness, site: Site) -> str:
    own = (
        f"Layer {site.layer} {site.kind}s: {SHARE * 100:.0f}% of the energy lies in {steep.own} of {site.d_kv} "
        f"direction{'s' * (site.d_kv > 1)}"
    )
    if steep.shuffled is None:
        return f"{own}; whether the capability makes it so steep is open."
    compared = f"{own}; with shuffled answers in {steep.shuffled}"
    if steep.beyond_luck is None:
        return f"{compared}: whether that is more than luck is open."
    if steep.beyond_luck:
        return f"{compared}: right answers make it steeper, beyond the luck of the examples."
    return f"{compared}: this steepness is no sign of the capability."


def _condition(steep: Steepness, analysis: Analysis) -> Iterator[str]:
    """What the headline rests on, or what would decide."""
    examples = analysis.provenance.examples_used
    if steep.shuffled is None:
        if steep.random is not None:
            yield f"Random directions of the same lengths need {steep.random}: {_against_random(steep)}."
        yield "Shuffled answers would decide: capture the nulls."
    elif steep.luck is None and steep.shuffled > steep.own:
        yield "This capture has no bootstrap band; one that keeps its single tokens would decide."
    elif steep.luck is not None:
        fewest, most = steep.luck
        others = f"{fewest} to {most}" if fewest < most else f"{most}, too"
        yield f"Other draws of the {examples} examples could give {others} (bootstrap band)."
        if steep.beyond_luck:
            yield "The answers were shuffled once; another shuffle may differ."


def _against_random(steep: Steepness) -> str:
    """What the random null says by itself: directions that are shared, by whatever they are shared."""
    most = steep.own if steep.luck is None else steep.luck[1]
    if steep.random is not None and steep.random > most:
        return "so gradients do share directions, whatever makes them"
    return "as steep, so nothing shared is shown"


def _everywhere(analysis: Analysis) -> Iterator[str]:
    """At how many sites the spectrum is steeper than with shuffled answers, where all can be compared."""
    beyond = {site: steepness(found).beyond_luck for site, found in analysis.sites.items()}
    if len(beyond) < 2 or None in beyond.values():
        return
    steeper = [site.label for site, is_so in beyond.items() if is_so]
    where = f" ({' and '.join(steeper)})" if 0 < len(steeper) < 3 else ""
    count = f"{len(steeper) or 'none'} of {len(beyond)}"
    yield f"Steeper than with shuffled answers, beyond the band: {count} sites{where}."


def _kept(analysis: Analysis, site: Site, rank: int) -> str:
    """What a projection at the rank keeps; rounded down, never up."""
    found = analysis.sites[site]
    kept = min(rank, analysis.directions(site))
    said = f"Rank {kept} keeps {held_percent(energy(found.values)[kept - 1]):.1f}% of the energy"
    if found.reconstruction_error is None:
        return f"{said}."
    return f"{said} and {held_percent(1 - found.reconstruction_error[kept - 1]):.1f}% of the {site.kind}s themselves."

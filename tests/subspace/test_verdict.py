"""The sentences on top of Spectrum, on spectra small enough to count by hand."""

import dataclasses

import numpy as np
import pytest

from spd_core.models.families import Site
from spd_core.subspace.analysis import RANDOM, SHUFFLED, Analysis
from spd_core.subspace.site_analysis import SiteAnalysis
from spd_core.subspace.store import RECORDED, load_capture, recorded_captures
from spd_core.subspace.verdict import spectrum_verdict

FLAT = np.array([1.0, 1.0, 1.0, 1.0])  # 90% in 4 of 4
STEEP = np.array([3.0, 1.0, 1.0, 1.0])  # energies 9, 1, 1, 1 of 12: 75, 83, 92, 100%, so 90% in 3
STEEPEST = np.array([4.0, 0.5, 0.5, 0.5])  # 16 of 16.75: 96% in the first


def site(layer: int = 7, kind: str = "value") -> Site:
    return Site(layer, kind, f"layers.{layer}.{kind}", tuple(range(4)), 1, False)  # type: ignore[arg-type]


def found(
    values: np.ndarray,
    band: float | None = None,
    activations: np.ndarray | None = None,
    **nulls: np.ndarray,
) -> SiteAnalysis:
    """A site; `band` is by how much the edges are off, around half of the spectrum: resampling makes it smaller."""
    edges = None if band is None else np.stack([values / 2 * (1 - band), values / 2 * (1 + band)])
    names = {"shuffled": SHUFFLED, "random": RANDOM}
    return SiteAnalysis(values, np.eye(4), activations, {names[name]: null for name, null in nulls.items()}, edges)


def analysis(*sites: SiteAnalysis) -> Analysis:
    recorded = load_capture(RECORDED / recorded_captures()[0])
    return dataclasses.replace(recorded, sites={site(7 + at): one for at, one in enumerate(sites)})


def said(one: SiteAnalysis, rank: int = 2) -> str:
    return spectrum_verdict(analysis(one), 7, "value", rank)


def test_a_null_as_steep_takes_the_sign_away() -> None:
    assert said(found(STEEP, band=0.1, shuffled=STEEP)) == (
        "Layer 7 values: 90% of the energy lies in 3 of 4 directions; with shuffled answers in 3: this steepness is "
        "no sign of the capability. Other draws of the 50 examples could give 3, too (bootstrap band). Rank 2 keeps "
        "83.3% of the energy."
    )
    assert "shuffled answers in 1: this steepness is no sign" in said(found(STEEP, band=0.1, shuffled=STEEPEST))


def test_what_luck_could_do_is_no_sign_either() -> None:
    """Edges off by half of 3/2 and of 1/2: moved onto the spectrum they are 3 ± 0.75 and 1 ± 0.25.

    Fewest: 14.0625 of 14.0625 + 3 · 0.5625 = 15.75 is 89.3%, and with the second on the upper edge 15.625 of 16.75 is
    93.3%. Most: 5.0625 + 2 · 0.5625 = 6.1875 of 7.75 is 79.8%, so all four.
    """
    text = said(found(STEEP, band=0.5, shuffled=FLAT))
    assert "with shuffled answers in 4: this steepness is no sign of the capability." in text
    assert "could give 2 to 4" in text


def test_steeper_than_the_null_beyond_the_band_is_said_with_its_condition() -> None:
    text = said(found(STEEP, band=0.1, shuffled=FLAT))
    assert "in 3 of 4 directions; with shuffled answers in 4: right answers make it steeper, beyond the luck" in text
    assert "could give 3, too (bootstrap band). The answers were shuffled once; another shuffle may differ." in text


def test_without_a_null_what_would_decide_is_said() -> None:
    text = said(found(STEEP, band=0.1, random=FLAT))
    assert "in 3 of 4 directions; whether the capability makes it so steep is open." in text
    assert "Random directions of the same lengths need 4: so gradients do share directions, whatever" in text
    assert "Shuffled answers would decide: capture the nulls." in text
    assert "need 3: as steep, so nothing shared is shown" in said(found(STEEP, band=0.1, random=STEEP))
    assert "need 4: as steep" in said(found(STEEP, band=0.5, random=FLAT)), "the luck reaches 4"


def test_an_old_capture_with_nothing_beside_it_is_still_read() -> None:
    assert said(found(STEEP)) == (
        "Layer 7 values: 90% of the energy lies in 3 of 4 directions; whether the capability makes it so steep is "
        "open. Shuffled answers would decide: capture the nulls. Rank 2 keeps 83.3% of the energy."
    )


def test_without_a_band_more_directions_of_the_null_say_nothing() -> None:
    text = said(found(STEEP, shuffled=FLAT))
    assert "with shuffled answers in 4: whether that is more than luck is open. This capture has no bootstrap" in text
    assert "no sign" in said(found(STEEP, shuffled=STEEP)), "a null as steep decides without any band"


def test_all_sites_are_counted_where_all_can_be_compared() -> None:
    steeper, same = found(STEEP, band=0.1, shuffled=FLAT), found(STEEP, band=0.1, shuffled=STEEP)
    assert "beyond the band: 1 of 2 sites (layer 8 value)." in spectrum_verdict(analysis(same, steeper), 7, "value", 2)
    assert "beyond the band: none of 2 sites." in spectrum_verdict(analysis(same, same), 7, "value", 2)
    assert "3 of 3 sites." in spectrum_verdict(analysis(steeper, steeper, steeper), 7, "value", 2), "too many to name"
    assert "sites" not in spectrum_verdict(analysis(same, found(STEEP)), 7, "value", 2)


@pytest.mark.parametrize("rank", [2, 99])
def test_what_a_rank_keeps_is_rounded_down_and_capped(rank: int) -> None:
    two = found(np.array([3.0, 1.0, 0.0, 0.0]), activations=np.array([0.5, 0.1666, 0.2, 0.1334]))
    assert "Rank 2 keeps 100.0% of the energy and 66.6% of the values themselves." in said(two, rank)
    almost = found(np.array([1.0, 0.02, 0.01, 0.01]))  # 1.0004 of 1.0006: 99.98%
    assert "Rank 2 keeps 99.9% of the energy" in said(almost, 2)


def test_every_recorded_capture_has_a_verdict() -> None:
    for name in recorded_captures():
        recorded = load_capture(RECORDED / name)
        for one in recorded.sites:
            text = spectrum_verdict(recorded, one.layer, one.kind, 96)
            assert f"of {one.d_kv} directions; with shuffled answers in" in text
            assert text.endswith(f"of the {one.kind}s themselves.")

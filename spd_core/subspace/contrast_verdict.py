"""What a contrast may be said to show, by rule from what its directions hold; never more. Imports no torch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from spd_core.subspace.analysis import Analysis, LeftOut
from spd_core.subspace.site_analysis import SiteAnalysis
from spd_core.subspace.spectrum import energy, held_percent


@dataclass(frozen=True)
class Held:
    """Shares of energy that the first directions of a site hold, from 0 to 1.

    Attributes:
        rank: how many directions.
        own, other: of the capability, and of what was left out, in the contrast's directions.
        plain_own, plain_other: the same in as many directions of the capability's own subspace.
        unseen_own, unseen_other: the same of half of the examples, in directions that the other half chooses; None
            where that is not known.
    """

    rank: int
    own: float
    other: float
    plain_own: float
    plain_other: float
    unseen_own: float | None = None
    unseen_other: float | None = None


def held_by(found: SiteAnalysis, rank: int) -> Held:
    """What the first `rank` directions of a contrast's site hold; `contrast` must be there."""
    assert found.contrast is not None
    plain_own, plain_other = found.contrast.plain[:, :rank].sum(1)
    own, other = energy(found.values)[rank - 1], found.contrast.other[:rank].sum()
    known = Held(rank, float(own), float(other), float(plain_own), float(plain_other))
    if found.contrast.unseen is None:
        return known
    unseen_own, unseen_other = map(float, found.contrast.unseen[:, :rank].sum(1))
    return replace(known, unseen_own=unseen_own, unseen_other=unseen_other)


def contrast_verdict(analysis: Analysis, made_of: LeftOut, layer: int, kind: str, rank: int) -> str:
    """How much of either capability one site of a contrast holds at a rank, beside the plain subspace.

    Raises:
        InputError: the site was not captured.
    """
    site = analysis.site(layer, kind)
    held = held_by(analysis.sites[site], min(rank, analysis.directions(site)))
    return " ".join((f"Layer {layer} {kind}s: {_shares(held, made_of)}.", *_meaning(held, made_of, site.d_kv)))


def _shares(held: Held, made_of: LeftOut) -> str:
    s = "s" * (held.rank == 1)
    apart = f"{_percent(held.own)} of the energy of {made_of.capability} and {_percent(held.other)} of that of"
    plain = f"the plain subspace's {held.rank} hold{s} {_percent(held.plain_own)} and {_percent(held.plain_other)}"
    count = f"{held.rank} direction{'s' * (held.rank > 1)} hold{s}"
    return f"{count} {apart} {' and '.join(made_of.others)}; {plain}"


def _meaning(held: Held, made_of: LeftOut, d_kv: int) -> Iterator[str]:
    """What chance would hold, and what the numbers rest on."""
    if held.rank == d_kv:
        yield "All directions are kept, so nothing is told apart: choose a lower rank."
        return
    chance = held.rank / d_kv
    random = f"A random subspace of this rank holds about {_percent(chance)} of either"
    if held.own <= chance:
        yield f"{random}: of {made_of.capability} no less than these; choose a lower rank."
    elif held.other >= chance:
        yield f"{random}: these do not keep {' and '.join(made_of.others)} out."
    else:
        yield f"{random}."
    if held.unseen_own is None or held.unseen_other is None:
        yield "The directions were chosen by these examples; on others the gap may be smaller."
        return
    apart = f"{_percent(held.unseen_own)} and {_percent(held.unseen_other)} of the other half"
    gap = held.unseen_own > max(chance, held.unseen_other)
    luck = "" if gap else f": no gap, so what sets {made_of.capability} apart here is the luck of the examples"
    yield f"Chosen by one half of the examples, as many hold {apart}{luck}."


def _percent(share: float) -> str:
    """Rounded down, never up; below 10 % with one decimal."""
    percent = held_percent(share)
    return f"{percent:.1f} %" if percent < 10 else f"{int(percent)} %"

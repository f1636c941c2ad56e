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

    def tells_apart(self, d_kv: int) -> bool:
        """Whether the directions hold more of the capability than chance and less of the others; where examples that
        did not choose them are known, whether their gap lasts there."""
        chance = self.rank / d_kv
        return self.own > chance > self.other and self.gap_lasts(d_kv) is not False

    def gap_lasts(self, d_kv: int) -> bool | None:
        """Whether the other half of the examples has more of the capability than of the others, and than chance."""
        if self.unseen_own is None or self.unseen_other is None:
            return None
        return self.unseen_own > max(self.rank / d_kv, self.unseen_other)


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
    """How much of either capability one site of a contrast holds at a rank, at how many sites that is more than chance,
    and what the plain subspace holds.

    Raises:
        InputError: the site was not captured.
    """
    site = analysis.site(layer, kind)
    held = held_by(analysis.sites[site], min(rank, analysis.directions(site)))
    said = (
        _shares(held, made_of),
        *_same(made_of),
        *_everywhere(analysis, rank),
        _plain(held),
        *_meaning(held, made_of, site.d_kv),
    )
    return f"Layer {layer} {kind}s: {' '.join(said)}"


def _shares(held: Held, made_of: LeftOut) -> str:
    apart = f"{_percent(held.own)} of the energy of {made_of.capability} and {_percent(held.other)} of that of"
    return f"{_directions(held.rank)} {apart} {' and '.join(made_of.others)}."


def _same(made_of: LeftOut) -> Iterator[str]:
    if made_of.capability in made_of.others:
        yield f"{made_of.capability} is on both sides: what is told apart here is not what only one of them can do."


def _directions(rank: int) -> str:
    return f"{rank} directions hold" if rank > 1 else "1 direction holds"


def _plain(held: Held) -> str:
    hold = "hold" if held.rank > 1 else "holds"
    return f"The plain subspace's {held.rank} {hold} {_percent(held.plain_own)} and {_percent(held.plain_other)}."


def _everywhere(analysis: Analysis, rank: int) -> Iterator[str]:
    """At how many sites the directions tell the capabilities apart; the few that are the exception by name."""
    apart, unseen = {}, True
    for site, found in analysis.sites.items():
        held = held_by(found, min(rank, analysis.directions(site)))
        if held.rank < site.d_kv:
            apart[site] = held.tells_apart(site.d_kv)
            unseen = unseen and held.unseen_own is not None
    if len(apart) < 2:
        return
    there, missing = ([site.label for site, is_so in apart.items() if is_so is wanted] for wanted in (True, False))
    count = f"{len(there) or 'none'} of {len(apart)} sites"
    fewer = [("", there)] if len(there) <= len(missing) else [("not ", missing)]
    named = [f" ({no}{' and '.join(few)})" for no, few in fewer if 0 < len(few) < 3]
    where = "also on the half of the examples that did not choose" if unseen else "on the examples that chose them"
    yield f"Told apart better than by chance, {where}: {count}{''.join(named)}."


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
    luck = (
        ""
        if held.gap_lasts(d_kv)
        else f": no gap, so what sets {made_of.capability} apart here is the luck of the examples"
    )
    yield f"Chosen by one half of the examples, as many hold {apart}{luck}."


def _percent(share: float) -> str:
    """Rounded down, never up; below 10% with one decimal."""
    percent = held_percent(share)
    return f"{percent:.1f}%" if percent < 10 else f"{int(percent)}%"

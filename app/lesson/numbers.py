"""The numbers that the lesson quotes, of a capture and of recorded results. Pure: knows no page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spd_core.attribution.geometry import ACTIVATIONS, GRADIENTS, OUTSIDE, Points, lengths_of, points_of, rows_along
from spd_core.subspace.spectrum import Floats

if TYPE_CHECKING:
    from spd_core.generation.comparison import Comparison
    from spd_core.models.families import Site
    from spd_core.subspace.analysis import Analysis


@dataclass(frozen=True)
class TokenHeld:
    """What a site holds of one token.

    Attributes:
        along: [kept] its coordinates along the first directions, in units of activation.
        share: of its squared length, what lies along them; None where lengths were not kept.
        reach: the largest coordinate of any token of the same text.
    """

    along: Floats
    share: float | None
    reach: float


def token_held(analysis: "Analysis", site: "Site", example: int, token: int) -> TokenHeld:
    """The key or value of one token; raises `InputError` where no tokens were kept."""
    rows, found = analysis.rows_of(example), analysis.sites[site]
    own, lengths = rows_along(found, ACTIVATIONS)[rows], lengths_of(found, ACTIVATIONS)
    along, length = own[token], None if lengths is None else float(lengths[rows][token])
    share = float((along**2).sum() / length**2) if length else None
    return TokenHeld(along, share, float(np.abs(own).max()))


@dataclass(frozen=True)
class Arrows:
    """The gradients of the tokens of one text.

    Attributes:
        xy: [n, 2] along directions 1 and 2, in nats per unit.
        tokens: [n] their positions in the text.
        energy: [n] squared length over all directions, or over the kept ones where lengths were not kept.
    """

    xy: Floats
    tokens: "NDArray[np.int64]"
    energy: Floats

    def share(self, token: int) -> float:
        """Of the energy of all these gradients, what the one of a token holds; 0 where it is not among them."""
        total = float(self.energy.sum())
        return float(self.energy[self.tokens == token].sum()) / total if total else 0.0


def arrows(analysis: "Analysis", site: "Site", example: int, without_first: bool) -> Arrows:
    """The gradients (less their mean) of all tokens of one text, with or without the first position.

    Raises:
        InputError: the capture kept no single tokens.
    """
    rows = analysis.rows_of(example)
    tokens = np.arange(int(without_first), len(analysis.examples[example].ids))
    along = rows_along(analysis.sites[site], GRADIENTS)[rows.start + tokens]
    lengths = lengths_of(analysis.sites[site], GRADIENTS)
    energy = (along**2).sum(1) if lengths is None else lengths[rows.start + tokens] ** 2
    return Arrows(along[:, :2], tokens, energy)


def cloud(analysis: "Analysis", site: "Site") -> Points:
    """The gradients of all tokens along the first three directions, or as many as were kept.

    Raises:
        InputError: the capture kept no single tokens.
    """
    most = min(3, analysis.kept_directions)
    return points_of(analysis.sites[site], GRADIENTS, range(most), most)


def energy_along(values: Floats, degrees: float) -> float:
    """The share of all energy along a line that is turned by an angle from direction 1 towards direction 2.

    The gradients along both are uncorrelated: the energy is cos² σ₁² + sin² σ₂².
    """
    angle = np.deg2rad(degrees)
    along = (np.cos(angle) * values[0]) ** 2 + (np.sin(angle) * values[1]) ** 2
    return float(along / (values**2).sum())


def inside_and_outside(analysis: "Analysis", site: "Site", rank: int) -> Points:
    """Keys or values of every token along direction 1, and how long they are outside the subspace.

    Raises:
        InputError: the capture kept no single tokens, or no lengths.
    """
    return points_of(analysis.sites[site], ACTIVATIONS, (0, OUTSIDE), rank)


def others_differ(texts: Sequence["Comparison"]) -> dict[str, int]:
    """In how many comparisons each lane but the first writes another text than the first one."""
    counts: dict[str, int] = {}
    for one in texts:
        for lane in one.lanes[1:3]:
            counts[lane.label] = counts.get(lane.label, 0) + (lane.text != one.lanes[0].text)
    return counts

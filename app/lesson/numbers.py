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
    """

    along: Floats
    share: float | None


def token_held(analysis: "Analysis", site: "Site", example: int, token: int) -> TokenHeld:
    """The key or value of one token; raises `InputError` where no tokens were kept."""
    row = analysis.rows_of(example).start + token
    found = analysis.sites[site]
    along, lengths = rows_along(found, ACTIVATIONS)[row], lengths_of(found, ACTIVATIONS)
    if lengths is None or not lengths[row]:
        return TokenHeld(along, None)
    return TokenHeld(along, float((along**2).sum() / lengths[row] ** 2))


def arrows(analysis: "Analysis", site: "Site", texts: int, without_first: bool) -> "tuple[Floats, NDArray[np.int64]]":
    """The gradients of all tokens of the first texts along directions 1 and 2.

    Returns:
        [n, 2] in nats per unit, and [n] the rows of the capture that they are.
    """
    rows = np.flatnonzero(analysis.example_of < texts)
    if without_first:
        rows = rows[analysis.position_of[rows] > 0]
    return rows_along(analysis.sites[site], GRADIENTS)[rows][:, :2], rows


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

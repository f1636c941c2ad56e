"""What a contrast holds of examples that did not choose its directions: either half of them, by the other half's.

Knows the rows of tokens; the directions themselves come from whoever asks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spd_core.models.families import Site
from spd_core.subspace.analysis import Analysis

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Halves:
    """What either half of the examples chooses, and what that holds of the other half.

    Attributes:
        directions: [2, d, d] those that either half chooses.
        unseen: [2, d] share of the capability's energy, and of the others', along each direction in the half that did
            not choose it; the mean of both ways round.
    """

    directions: NDArray[np.float32]
    unseen: Matrix


def across_halves(
    site: Site,
    captures: Sequence[Analysis],
    choose: Callable[[Matrix, Matrix], Matrix],
    seed: int = 0,
) -> Halves | None:
    """The directions of either half, and what they hold of the other one (two-fold cross-validation).

    Args:
        captures: the capability's own, then what is left out.
        choose: [d, d] directions of two Gram matrices of trace 1.

    Returns:
        None where single tokens were not kept for all directions, or a half has no example or no gradient.
    """
    halved = [_grams(site, one, seed) for one in captures]
    known = [one for one in halved if one is not None]
    if len(known) < len(halved):
        return None
    own, theirs = known[0], sum(known[1:], start=np.zeros_like(known[0]))  # [2, d, d] each
    theirs = theirs / theirs.trace(axis1=1, axis2=2)[:, None, None]
    bases = np.stack([choose(own[half], theirs[half]) for half in (0, 1)])
    held = [[np.einsum("di,de,ei->i", bases[h], gram[1 - h], bases[h], optimize=True) for h in (0, 1)]
            for gram in (own, theirs)]  # fmt: skip
    return Halves(bases.astype(np.float32), np.asarray(held).mean(1).clip(min=0))


def _grams(site: Site, analysis: Analysis, seed: int) -> Matrix | None:
    """[2, d, d] Gram matrices of two random halves of a capture's examples, of trace 1."""
    found, example = analysis.sites[site], analysis.example_of
    kept, count = found.coordinates, len(analysis.examples)
    if kept is None or kept.gradient.shape[1] < site.d_kv or count < 2:
        return None
    rows = kept.gradient.astype(np.float64) @ found.vectors.T.astype(np.float64)  # [M, d]
    first = np.isin(example, np.random.default_rng(seed).permutation(count)[: count // 2])
    grams = []
    for part in (rows[first], rows[~first]):
        centred = part - part.mean(0) if analysis.provenance.center else part
        grams.append(centred.T @ centred)
    both: Matrix = np.stack(grams)
    traces = both.trace(axis1=1, axis2=2)
    return both / traces[:, None, None] if traces.all() else None

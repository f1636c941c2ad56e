"""What a picture of tokens along some axes shows, in two sentences, by rule: whether groups of tokens lie apart in it,
beside shuffled groups, and how much of the tokens it holds, beside chance. Imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spd_core.attribution.geometry import OUTSIDE, Points
from spd_core.subspace.spectrum import Floats

SHUFFLES = 199
"""With none of them as large, chance would do so one time in 200."""
_CHANCE = 0.05


@dataclass(frozen=True)
class Separation:
    """How far groups of points lie apart.

    Attributes:
        explained: share of the points' squared distances from their mean that the means of the groups hold (R²).
        shuffled: the same with shuffled groups, on average.
        p: (as large among the shuffled + 1) / (shuffles + 1), a Monte Carlo test (Davison and Hinkley, 1997, 4.2).
    """

    explained: float
    shuffled: float
    p: float


def separation(
    values: Floats, groups: NDArray[np.int64], texts: NDArray[np.int64], *, shuffles: int = SHUFFLES, seed: int = 0
) -> Separation | None:
    """How far groups of points lie apart, against groups that are shuffled within each text.

    Tokens of one text are not independent, so texts keep their groups. Groups that never differ within a text are
    shuffled between whole texts. None where there is one group alone, or all points are one.

    Args:
        values: [n, axes].
        groups: [n] from 0 on.
        texts: [n] which text each point belongs to, ascending.
    """
    centred = values - values.mean(0)
    total = float((centred**2).sum())
    if len(np.unique(groups)) < 2 or total <= 0:
        return None
    own = _explained(centred, groups, total)
    shuffled = _shuffled(groups, texts, np.random.default_rng(seed))
    found = np.array([_explained(centred, next(shuffled), total) for _ in range(shuffles)])
    as_large = int((found >= own * (1 - 1e-9)).sum())
    return Separation(own, float(found.mean()), (as_large + 1) / (shuffles + 1))


def _explained(centred: Floats, groups: NDArray[np.int64], total: float) -> float:
    counts = np.bincount(groups)
    between = sum(np.bincount(groups, column) ** 2 / counts.clip(min=1) for column in centred.T)
    return float(np.sum(between)) / total


def _shuffled(
    groups: NDArray[np.int64], texts: NDArray[np.int64], rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Groups in one random order after the other: within each text, or of whole texts where each text has one group."""
    _, first, text = np.unique(texts, return_index=True, return_inverse=True)
    of_text = groups[first]
    whole = bool((groups == of_text[text]).all())
    while True:
        yield rng.permutation(of_text)[text] if whole else groups[np.argsort(text + rng.random(len(text)))]


# --- sentences -----------------------------------------------------------------------------------------------


def geometry_verdict(points: Points, rows: NDArray[np.int64], of: str, groups: str, apart: Separation | None) -> str:
    """Whether groups of tokens lie apart in the picture, and how much of them it holds.

    Args:
        points: of `geometry.points_of`.
        rows: the tokens that are drawn.
        of: what a point is, in the plural.
        groups: what the groups are, in the plural.
        apart: of these tokens and groups; None says nothing of them.
    """
    return " ".join([*([_apart(groups, apart)] if apart is not None else []), *_held(points, rows, of)])


def _held(points: Points, rows: NDArray[np.int64], of: str) -> list[str]:
    if points.lengths is None or not len(rows):
        return []
    total = float((points.lengths[rows] ** 2).sum())
    if total <= 0:
        return []
    squares = points.values**2
    share = squares[rows].sum(0) / total  # [axes]
    chosen = dict(zip(points.axes, share, strict=True))
    outside = chosen.pop(OUTSIDE, None)
    many = len(chosen) > 1
    names = " and ".join(", ".join(f"{axis + 1}" for axis in chosen).rsplit(", ", 1))
    inside = [axis != OUTSIDE for axis in points.axes]
    every = squares[:, inside].sum() / (points.lengths**2).sum()
    of_all = f", and {_percent(float(every))} of that of all tokens" if len(rows) < len(points.lengths) else ""
    said = [
        f"Direction{'s' * many} {names} hold{'s' * (not many)} {_percent(sum(chosen.values()))} of the squared length "
        f"of the {of} drawn here{of_all}; {_COUNT[len(chosen)]} would hold {_percent(len(chosen) / points.width)}."
    ]
    if outside is not None:
        said.append(
            f"{_percent(outside)} lies outside rank {points.rank}, which projecting removes; outside a random subspace "
            f"of this rank {_percent(1 - points.rank / points.width)} would lie."
        )
    return said


_COUNT = {1: "a random one", 2: "two random ones", 3: "three random ones"}


def _percent(share: float) -> str:
    if 0 < share < 0.0005:
        return "under 0.1%"
    return f"{share:.0%}" if share >= 0.0995 else f"{share:.1%}"


def _apart(groups: str, apart: Separation) -> str:
    how = f"they explain {_percent(apart.explained)} of the spread, shuffled ones {_percent(apart.shuffled)}"
    sign = "≤" if apart.p <= 1 / (SHUFFLES + 1) else "="  # the least that so many shuffles can show
    luck = f"(p {sign} {apart.p:.2g})"
    return f"{groups} {'differ' if apart.p <= _CHANCE else 'are not shown to differ'} here: {how} {luck}."

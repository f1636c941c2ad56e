"""Reads singular values: energy, effective and stable rank, and the rules that give a rank.

Knows nothing of models, and imports no torch: a saved spectrum is read at once.
"""

import functools
import math
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spd_core.errors import InputError

Floats = NDArray[np.floating[Any]]
EPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}
"""Spacing of the numbers just above 1 in each dtype."""


def energy(values: ArrayLike) -> NDArray[np.float64]:
    """[d] share of Σσ² that the first i directions hold, in their own order: a contrast's do not descend."""
    squares = np.asarray(values, np.float64) ** 2
    share: NDArray[np.float64] = squares.cumsum() / squares.sum()
    return share


def held_percent(share: float) -> float:
    """A share in percent with one decimal, rounded down: what is kept is never more than is said."""
    return math.floor(1000 * share + 1e-6) / 10


def centred_band(values: Floats, band: Floats) -> NDArray[np.float64]:
    """[2, d] a bootstrap band `[2, d]` moved onto its spectrum `[d]`, as wide as before; never below 0.

    A draw with replacement has fewer different examples, and so smaller late singular values: the percentiles lie
    below the spectrum that they are of. Beside a spectrum of all examples, only their width means something.
    """
    own, half = np.asarray(values, np.float64), (np.asarray(band[1], np.float64) - band[0]) / 2
    return np.stack([(own - half).clip(min=0), own + half])


def energy_band(band: Floats) -> NDArray[np.float64]:
    """[2, d] least and most that the first i directions hold of Σσ² in any spectrum inside a band `[2, d]`.

    Most where the first i values lie on the upper edge and the others on the lower one; least the other way round.
    """
    low, high = np.asarray(band, np.float64) ** 2
    return np.stack([_held(low, high), _held(high, low)])


def _held(first: Floats, others: Floats) -> NDArray[np.float64]:
    held, rest = first.cumsum(), others[::-1].cumsum()[::-1] - others
    share: NDArray[np.float64] = held / (held + rest)
    return share


def numerical_rank(values: ArrayLike, dtype: str = "float64") -> int:
    """Number of singular values above rounding.

    Two kinds of rounding: of the float64 Gram matrix, σ_max · √(d · eps); and of the gradient rows themselves, whose
    entries are off by up to eps/2 of the `dtype` they were computed in: such noise is spread over all d directions,
    eps · ‖G‖ / √d in each.
    """
    sigma = np.asarray(values, np.float64)
    d = len(sigma)
    of_gram = sigma.max() * np.sqrt(d * EPS["float64"])
    of_rows = EPS[dtype] * np.sqrt((sigma**2).sum() / d)
    return int((sigma > max(of_gram, of_rows)).sum())


def effective_rank(values: ArrayLike) -> float:
    """exp of the entropy of σ / Σσ (Roy and Vetterli, 2007): d when all are equal, 1 when one holds everything."""
    sigma = np.asarray(values, np.float64)
    share = sigma[sigma > 0] / sigma.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def stable_rank(values: ArrayLike) -> float:
    """Σσ² / σ₁² (Rudelson and Vershynin, 2007): never above the rank, and deaf to small singular values."""
    sigma = np.asarray(values, np.float64)
    return float((sigma**2).sum() / sigma.max() ** 2)


def choose_rank(rule: str, values: ArrayLike, *, cap: bool = False, dtype: str = "float64") -> tuple[int, bool]:
    """The rank that a rule gives for singular values `[d]`, and whether it was capped.

    Rules: `half` is d // 2 (SPD paper, Table 7), capped at the number of non-zero singular values;
    `energy:x` the smallest rank that holds the share x of Σσ²; an integer that rank, capped only with `cap`.

    Raises:
        InputError: an unknown rule, a rank below 1, above d, or (without `cap`) above the number of non-zero
            singular values.
    """
    d, nonzero = len(np.asarray(values)), numerical_rank(values, dtype)
    if rule == "half":
        return min(max(d // 2, 1), nonzero), nonzero < d // 2
    if re.fullmatch(r"energy:(0?\.\d+|1|1\.0+)", rule) and float(rule[7:]) > 0:
        # A hair's breadth of slack, or rounding of the sum would ask for one direction more.
        return min(int((energy(values) < float(rule[7:]) - 1e-12).sum()) + 1, nonzero), False
    if not re.fullmatch(r"-?\d{1,9}", rule):
        raise InputError(f"unknown rank {rule!r}; use half, energy:x with x above 0 and up to 1, or an integer")
    rank = int(rule)
    if not 1 <= rank <= d:
        raise InputError(f"rank {rank} is outside 1 to {d} (d_kv {d}); choose a rank from 1 to {nonzero}")
    if rank > nonzero and not cap:
        raise InputError(f"rank {rank} exceeds the {nonzero} non-zero singular values; choose 1 to {nonzero}")
    return min(rank, nonzero), rank > nonzero


def principal_angles(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Principal angles between the column spaces of two bases `[d, r1]` and `[d, r2]`, ascending, in radians.

    scipy's method uses sine and cosine, so that small angles keep their digits (Knyazev and Argentati, 2002).
    """
    from scipy.linalg import subspace_angles

    with one_blas_thread():
        angles = subspace_angles(np.asarray(first, np.float64), np.asarray(second, np.float64))
    reverse: NDArray[np.float64] = angles[::-1]
    return reverse


def one_blas_thread() -> AbstractContextManager[object]:
    """Lets linear algebra go on in one thread: more cost more than small matrices do, 20 times on two cores."""
    limited: AbstractContextManager[object] = _blas().limit(limits=1, user_api="blas")
    return limited


@functools.cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@dataclass(frozen=True, eq=False)
class Overlap:
    """Principal angles between every two of some subspaces.

    Attributes:
        names: what each is.
        angles: by (row, column), ascending, in degrees.
        chance: [n, n] mean cos² that two random subspaces of these ranks have: the larger rank ÷ d_kv.
        spread: [n, n] its standard deviation over random subspaces.
    """

    names: tuple[str, ...]
    angles: Mapping[tuple[int, int], Floats]
    chance: Floats
    spread: Floats

    @property
    def mean(self) -> Floats:
        """[n, n] mean principal angle in degrees; 0 for equal subspaces, 90 for orthogonal ones."""
        n = len(self.names)
        return np.array([[self.angles[i, j].mean() for j in range(n)] for i in range(n)])

    def shared(self, i: int, j: int) -> float:
        """Mean cos² of the angles: the share of the smaller subspace that lies inside the other."""
        return float((np.cos(np.radians(self.angles[i, j])) ** 2).mean())

    @property
    def limit(self) -> Floats:
        """[n, n] what must be shared to be more than chance: its mean and two standard deviations."""
        return self.chance + 2 * self.spread

    def beyond_chance(self, i: int, j: int) -> bool:
        """Whether two subspaces share more than random ones of their ranks do."""
        return self.shared(i, j) > float(self.limit[i, j])


def chance_overlap(r: int, s: int, d: int) -> tuple[float, float]:
    """Mean and standard deviation of the mean cos² between random subspaces of ranks r and s in d dimensions.

    The sum of cos² is tr(P Q) for two projectors, one of them turned by a random orthogonal matrix (Haar): its mean is
    rs/d, and its variance 2 r s (d − r)(d − s) / (d² (d − 1)(d + 2)), which follows from the second moments of such
    matrices (Collins and Śniady, 2006). There are min(r, s) angles.
    """
    if d == 1:
        return 1.0, 0.0
    variance = 2 * r * s * (d - r) * (d - s) / (d**2 * (d - 1) * (d + 2))
    return max(r, s) / d, math.sqrt(variance) / min(r, s)


def overlap(bases: Mapping[str, Floats]) -> Overlap:
    """Angles between the column spaces of named bases `[d_kv, rank]`."""
    columns = list(bases.values())
    pairs = [(i, j) for i in range(len(columns)) for j in range(i, len(columns))]
    found = {(i, j): np.degrees(principal_angles(columns[i], columns[j])) for i, j in pairs}
    by_chance = np.array([[chance_overlap(a.shape[1], b.shape[1], len(a)) for b in columns] for a in columns])
    both_ways = found | {(j, i): angles for (i, j), angles in found.items()}
    return Overlap(tuple(bases), both_ways, by_chance[..., 0], by_chance[..., 1])

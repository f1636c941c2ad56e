"""The statistics of a paired evaluation: intervals, tests, and the smallest effect that could have been seen.

Knows numbers only: not what was asked, which arm answered, or whether more is better. The item is the unit: scores
are `[seeds, n]`, averaged over seeds first; intervals and tests are over the n items and speak of these seeds. More
seeds make an item's score steadier, and never pass for more items.

Tests, bootstrap and Wilson's interval are scipy's. The rest is by hand: statsmodels has McNemar's test and Holm's
correction, but of paired shares only Newcombe's and Wald's interval, not Tango's, and no exact power.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spd_core.errors import InputError

Floats: TypeAlias = NDArray[np.float64]

ALPHA, RESAMPLES, SEED = 0.05, 9_999, 0
FEWEST = 6  # items with which a two-sided exact test can reach p < 0.05: 2 / 2⁶ = 0.031
ROUNDING = 1e-9  # a smaller difference of an item is float noise of averaging, and counts as none
EXACT = "exact McNemar"
_BATCH = 500  # resamples held at a time: 500 × n floats
_Z_ALPHA, _Z_POWER = 1.959963984540054, 0.8416212335729143  # normal quantiles at 1 − 0.05 / 2 and at 80%


@dataclass(frozen=True)
class Interval:
    """A 95% confidence interval; an end is infinite where so few items bound nothing. `0 in interval` tests it."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Estimate:
    """Mean score of one arm over n items, `seeds` averaged for each: a share right, or nats for −log p."""

    value: float
    n: int
    seeds: int
    interval: Interval
    method: str


@dataclass(frozen=True)
class Difference:
    """What another arm scored beyond the base, on the same items, in the unit of the scores.

    Attributes:
        effect: mean(other) − mean(base).
        p: two-sided, before any correction for several comparisons.
        gained: items whose score rose (wrong → right for one seed each); `lost` those whose score fell.
        method: how the interval was made; `test` what gave p.
        minimum_detectable: smallest true difference, of either sign, that one test at 5% sees with 80% power at
            the observed spread. A correction for several comparisons only raises it.
    """

    effect: float
    n: int
    interval: Interval
    p: float
    gained: int
    lost: int
    method: str
    test: str
    minimum_detectable: float


def wilson(correct: int, n: int) -> Interval:
    """Wilson score interval of a share (Wilson, 1927; by scipy). InputError unless 0 ≤ `correct` ≤ n and n ≥ 1."""
    from scipy.stats import binomtest

    if not 0 <= correct <= n or n < 1:
        raise InputError(f"{correct} right of {n} is no share; give at least one item and 0 to n right")
    found = binomtest(correct, n).proportion_ci(method="wilson")
    return Interval(float(found.low), float(found.high))


def exact_p(gained: int, lost: int) -> float:
    """Exact McNemar test: the binomial test of the pairs that differ (by scipy); 1 without any."""
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def estimate(scores: ArrayLike, binary: bool) -> Estimate:
    """Mean score of an arm with its 95% interval.

    Right or wrong of one seed: Wilson. Otherwise BCa bootstrap over items (Efron, 1987), 9,999 resamples. Where that
    says nothing, because all items score alike or are fewer than 6: Wilson on n items for right or wrong; for other
    scores the one value, or no bounds.

    Args:
        scores: `[seeds, n]`, or `[n]` of one seed: with `binary` 0 (wrong) or 1 (right), else any finite number.

    Raises:
        InputError: no item; a score that is not finite; with `binary`, one that is neither 0 nor 1.
    """
    table = _checked(scores, binary)
    seeds, n = table.shape
    means, value = table.mean(axis=0), float(table.mean())  # [n], a number
    if binary and (seeds == 1 or n < FEWEST or np.ptp(means) < ROUNDING):
        return Estimate(value, n, seeds, wilson(round(value * n), n), "Wilson score")
    return Estimate(value, n, seeds, *_mean_interval(means))


def paired(base: ArrayLike, other: ArrayLike, binary: bool) -> Difference:
    """Whether another arm scores differently from a base on the same items, in the same order.

    Right or wrong of one seed each: exact McNemar test (a binomial test of the discordant pairs) and Tango's score
    interval. Otherwise, over items averaged over seeds: sign-flip permutation test (exact up to 13 items, else
    9,999 random flips of a fixed seed) and BCa bootstrap interval. Fewer than 6 items then bound nothing.

    Args:
        base: `[seeds, n]`, or `[n]` of one seed; `other` may have another number of seeds.
        binary: whether each score is right (1) or wrong (0).

    Raises:
        InputError: as `estimate`; arms of different n.
    """

    first, second = _checked(base, binary), _checked(other, binary)
    n, common = first.shape[1], math.lcm(len(first), len(second))
    if second.shape[1] != n:
        raise InputError(f"{n} and {second.shape[1]} items are no pairs; score both arms on the same items")
    # Times the common number of seeds: whole numbers for right and wrong, so that equal sums tie exactly
    scaled = second.sum(axis=0) * (common // len(second)) - first.sum(axis=0) * (common // len(first))  # [n]
    scaled[np.abs(scaled) < ROUNDING] = 0
    effect, gained, lost = float(scaled.mean() / common), int((scaled > 0).sum()), int((scaled < 0).sum())
    if binary and common == 1:
        p, test = exact_p(gained, lost), EXACT
        interval, method = tango(gained, lost, n), "Tango score"
        detectable = minimum_detectable(n, (gained + lost) / n)
    else:
        p, test = _sign_flip(scaled)
        interval, method = _mean_interval(scaled / common, 1.0 if binary else math.inf)
        detectable = minimum_detectable_mean(n, float(scaled.std(ddof=n > 1) / common))
    if binary and common > 1:
        detectable = max(detectable, FEWEST / n / common)  # six items, each by one seed, are the least for 5%
        if n >= FEWEST and np.ptp(scaled) == 0:  # as if of single seeds: a bootstrap would give a point
            interval, method = tango(round(max(effect, 0) * n), round(max(-effect, 0) * n), n), "Tango score"
    return Difference(effect, n, interval, p, gained, lost, method, test, detectable)


def _checked(scores: ArrayLike, binary: bool) -> Floats:
    """Scores as `[seeds, n]`."""
    table = np.atleast_2d(np.asarray(scores, np.float64))
    if table.ndim != 2 or not table.size:
        raise InputError(f"scores of shape {table.shape} hold no item; give at least one, as [seeds, n]")
    wrong = np.argwhere(~(np.isin(table, (0, 1)) if binary else np.isfinite(table)))
    if len(wrong):
        problem = "neither 0 nor 1; give the scores of each seed" if binary else "not finite; score it again"
        raise InputError(f"the score {table[*wrong[0]]:g} of item {wrong[0][1]} is {problem}, or leave the item out")
    return table


def _mean_interval(values: Floats, bound: float = math.inf) -> tuple[Interval, str]:
    """Interval of a mean over items `[n]` that lies within ± `bound`, and the method."""
    from scipy.stats import bootstrap

    if len(values) < FEWEST:
        return Interval(-bound, bound), f"none: fewer than {FEWEST} items"
    if np.ptp(values) < ROUNDING:
        return Interval(float(values.mean()), float(values.mean())), "none: all items alike"
    found = bootstrap((values,), np.mean, n_resamples=RESAMPLES, batch=_BATCH, method="BCa", rng=SEED)
    return Interval(*map(float, found.confidence_interval)), "BCa bootstrap over items"


def _sign_flip(values: Floats) -> tuple[float, str]:
    """p of a mean of zero over items `[n]` whose signs are exchangeable, and the test."""
    from scipy.stats import permutation_test

    options = {"permutation_type": "samples", "n_resamples": RESAMPLES, "batch": _BATCH, "rng": SEED}
    p = float(permutation_test((values,), np.sum, **options).pvalue) if len(values) > 1 else 1.0  # scipy takes two
    return p, "exact sign flips" if 2 ** len(values) <= RESAMPLES else f"sign flips, {RESAMPLES:,} drawn"


def tango(gained: int, lost: int, n: int) -> Interval:
    """Score interval of the difference (gained − lost) / n of paired shares (Tango, 1998, Stat. Med. 17, 891–908).

    All δ with |gained − lost − n δ| ≤ 1.96 √(n (2 q + δ (1 − δ))), q the maximum-likelihood share of lost pairs
    under δ: McNemar's test inverted, without its correction. Within −1 and 1; no point without discordant pairs.
    """
    return Interval(-_tango_high(lost, gained, n), _tango_high(gained, lost, n))


def _tango_high(gained: int, lost: int, n: int) -> float:
    from scipy.optimize import brentq

    if gained == n:
        return 1.0

    def beyond(delta: float) -> float:
        b = (2 * n - gained + lost) * delta - gained - lost
        root = math.sqrt(max(b * b + 8 * n * lost * delta * (1 - delta), 0.0))
        variance = n * ((root - b) / (2 * n) + delta * (1 - delta))
        return (gained - lost - n * delta) ** 2 - _Z_ALPHA**2 * variance

    # the difference itself is a root, too, when no pair is discordant
    return float(brentq(beyond, (gained - lost) / n + ROUNDING, 1.0, xtol=1e-12))


def mcnemar_power(n: int, discordance: float, difference: float, alpha: float = ALPHA) -> float:
    """Chance that the exact two-sided McNemar test has p ≤ α (Duffy, 1984, Biometrics 40, 1005–1015).

    Σ_m Bin(m; n, ψ) · P(reject | m discordant pairs, each a gain with chance (1 + δ / ψ) / 2), where `discordance` ψ,
    above 0, is the true share of discordant pairs and `difference` δ, −ψ to ψ, the true difference.
    """
    from scipy.stats import binom

    m = np.arange(n + 1)
    edge = binom.ppf(alpha / 2, m, 0.5)  # reject with at most so many on one side, less one where that is too many
    edge -= binom.cdf(edge, m, 0.5) > alpha / 2
    gain = (1 + difference / discordance) / 2
    rejected = binom.cdf(edge, m, gain) + binom.cdf(edge, m, 1 - gain)
    return float(binom.pmf(m, n, discordance) @ rejected)


def minimum_detectable(n: int, discordance: float) -> float:
    """Smallest difference of accuracies, as a share, that the exact McNemar test sees at 5% with 80% power.

    Exact, as Connor's (1987, Biometrics 43, 207–211) normal approximation is too hopeful in small sets; at least 6 / n,
    which significance takes; infinite for n < 6. `discordance`: share of pairs with one arm right, at least δ itself.
    """
    from scipy.optimize import brentq

    if n < FEWEST:
        return math.inf

    def missing(delta: float) -> float:
        return mcnemar_power(n, max(discordance, delta), delta) - 0.8

    return max(float(brentq(missing, ROUNDING, 1.0, xtol=1e-5)), FEWEST / n)


def minimum_detectable_mean(n: int, deviation: float) -> float:
    """Smallest mean difference seen likewise: (1.96 + 0.84) · `deviation` of the differences / √n; infinite, n < 6."""
    return (_Z_ALPHA + _Z_POWER) * deviation / math.sqrt(n) if n >= FEWEST else math.inf


def detectable_with(found: Difference, n: int) -> float:
    """Smallest true difference that the test of `found` would see likewise with `n` items as discordant, or spread, as
    those it was found with; infinite where one of the two has fewer than 6."""
    if n < FEWEST:
        return math.inf
    if found.test == EXACT:
        return minimum_detectable(n, (found.gained + found.lost) / found.n)
    return found.minimum_detectable * math.sqrt(found.n / n)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for their number, in the order given (Holm, 1979; R's `p.adjust(p, "holm")`).

    The i-th smallest of m becomes max over j ≤ i of (m − j + 1) p_j, at most 1. InputError for NaN and its like.
    """
    p = np.asarray(p_values, np.float64)  # [m]
    if wrong := [value for value in p_values if not 0 <= value <= 1]:
        raise InputError(f"{wrong[0]} is no p value; leave out what was not compared")
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return [float(value) for value in np.minimum(stepped, 1)[np.argsort(order)]]

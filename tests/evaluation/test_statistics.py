"""Intervals and tests against published examples, enumeration by hand, and simulated truths."""

import math
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from spd_core.errors import InputError
from spd_core.evaluation.statistics import (
    Interval,
    estimate,
    holm,
    mcnemar_power,
    minimum_detectable,
    minimum_detectable_mean,
    paired,
    tango,
    wilson,
)

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


def table(both: int, gained: int, lost: int, neither: int) -> Pair:
    """Scores of a base and another arm with these counts."""
    base = [1] * both + [0] * gained + [1] * lost + [0] * neither
    other = [1] * both + [1] * gained + [0] * lost + [0] * neither
    return np.array(base, float), np.array(other, float)


def flipped_p(differences: NDArray[np.float64]) -> float:
    """Two-sided p by all 2^n sign flips: twice the smaller tail, at most 1."""
    sums = np.array([np.dot(signs, differences) for signs in product((1, -1), repeat=len(differences))])
    seen = differences.sum()
    return min(1.0, 2 * min((sums >= seen - 1e-9).mean(), (sums <= seen + 1e-9).mean()))


def binary_pairs(seeds: int = 1) -> st.SearchStrategy[Pair]:
    def drawn(n: int) -> st.SearchStrategy[Pair]:
        scores = st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n), min_size=seeds, max_size=seeds)
        return st.tuples(scores.map(np.array), scores.map(np.array))

    return st.integers(1, 25).flatmap(drawn)


nll_pairs = st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=12).map(
    lambda pairs: (np.array(pairs)[:, 0], np.array(pairs)[:, 1])
)


# --- one arm -------------------------------------------------------------------------------------------------


def test_wilson_by_its_formula() -> None:
    for correct, n in ((0, 10), (1, 10), (15, 148), (81, 263), (150, 150)):  # 81/263 and 15/148: Newcombe, 1998
        share, z = correct / n, 1.959964
        middle, half = share + z * z / 2 / n, z * math.sqrt(share * (1 - share) / n + z * z / 4 / n / n)
        found = wilson(correct, n)
        assert found.low == pytest.approx((middle - half) / (1 + z * z / n), abs=1e-6)
        assert found.high == pytest.approx((middle + half) / (1 + z * z / n), abs=1e-6)


def test_wilson_gives_newcombes_printed_examples() -> None:
    """Newcombe (1998), Stat. Med. 17, 857–872, table I, method 3."""
    for correct, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert wilson(correct, n).low == pytest.approx(low, abs=5e-5)
        assert wilson(correct, n).high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_a_share_around_the_share(counted: tuple[int, int]) -> None:
    correct, n = counted
    found = wilson(correct, n)
    assert -1e-12 <= found.low <= correct / n + 1e-12 <= found.high + 2e-12 <= 1 + 3e-12
    assert found.low < found.high


def test_one_seed_is_wilson_and_identical_seeds_change_no_value() -> None:
    scores = np.array([1, 0, 0, 1, 1, 0, 1, 1, 0, 1.0])
    once, thrice = estimate(scores, binary=True), estimate([scores] * 3, binary=True)
    assert (once.value, once.n, once.seeds, once.method) == (0.6, 10, 1, "Wilson score")
    assert once.interval == wilson(6, 10)
    assert (thrice.value, thrice.n, thrice.seeds) == (pytest.approx(0.6), 10, 3)
    assert thrice.interval.low == pytest.approx(0.3, abs=0.06)  # not a third as wide: still 10 items
    assert thrice.interval.high == pytest.approx(0.9, abs=0.06)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_an_accuracy_without_spread_still_has_an_interval(right: float) -> None:
    found = estimate(np.full((3, 20), right), binary=True)
    assert found.interval == wilson(int(20 * right), 20)
    uneven = estimate(np.array([[1.0] * 9, [0.0] * 9, [0.0] * 9]), binary=True)  # every item right once in three
    assert uneven.value == pytest.approx(1 / 3)
    assert uneven.interval == wilson(3, 9)


def test_scores_without_spread_or_of_few_items() -> None:
    assert estimate([0.7] * 8, binary=False).interval == Interval(0.7, pytest.approx(0.7))
    assert estimate([0.7, 0.9], binary=False).interval == Interval(-math.inf, math.inf)


def test_mean_interval_is_near_students_for_a_normal_sample() -> None:
    from scipy import stats

    sample = np.random.default_rng(3).normal(0.7, 0.2, 200)
    low, high = stats.t.interval(0.95, 199, sample.mean(), stats.sem(sample))
    found = estimate(sample, binary=False)
    assert found.interval.low == pytest.approx(low, abs=0.003)
    assert found.interval.high == pytest.approx(high, abs=0.003)
    assert found == estimate(sample, binary=False)  # the same resamples each time


@pytest.mark.slow
def test_pooled_accuracy_covers_the_truth() -> None:
    """The mean over items of p is known; about 95 of 100 intervals should hold it."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        easy = rng.random(80) < 0.5
        scores = rng.random((3, 80)) < np.where(easy, 0.8, 0.1)
        held += 0.45 in estimate(scores, binary=True).interval
    assert 0.9 <= held / 200 <= 0.99


# --- two arms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gained", "lost", "n", "low", "high"),
    [
        (12, 2, 50, 0.0611, 0.3447),  # Newcombe's spreadsheet for Tango's method
        (9, 3, 32, -0.027, 0.390),  # Tango (1998), as ratesci's tests print it
    ],
)
def test_tango_gives_the_printed_examples(gained: int, lost: int, n: int, low: float, high: float) -> None:
    found = tango(gained, lost, n)
    decimals = 4 if n == 50 else 3
    assert (round(found.low, decimals), round(found.high, decimals)) == (low, high)


def test_tango_is_what_its_score_test_accepts() -> None:
    """By a grid: q maximises the likelihood under δ, and the statistic uses its variance."""
    shares = np.linspace(1e-6, 1, 20_001)
    for gained, lost, n in ((7, 1, 21), (0, 4, 12), (5, 5, 30)):
        accepted = []
        for delta in np.linspace(-0.999, 0.999, 1_999):
            q = shares[(shares + delta > 0) & (2 * shares + delta < 1)]
            chance = gained * np.log(q + delta) + lost * np.log(q) + (n - gained - lost) * np.log(1 - 2 * q - delta)
            best = q[np.argmax(chance)]
            variance = 2 * best + delta - delta**2
            if abs(gained - lost - n * delta) <= 1.96 * math.sqrt(n * variance):
                accepted.append(delta)
        found = tango(gained, lost, n)
        assert (found.low, found.high) == (
            pytest.approx(min(accepted), abs=3e-3),
            pytest.approx(max(accepted), abs=3e-3),
        )


def test_tango_at_the_edges() -> None:
    z2 = 1.959964**2
    assert tango(0, 0, 30).high == pytest.approx(z2 / (30 + z2))  # the root by hand: n δ² = z² δ (1 − δ)
    assert tango(0, 0, 30).low == -tango(0, 0, 30).high
    assert tango(30, 0, 30).high == 1
    assert tango(30, 0, 30).low == pytest.approx(1 - 2 * z2 / (30 + z2), abs=0.05)


@pytest.mark.parametrize("truth", [0.0, 0.12])
def test_tango_covers_the_truth(truth: float) -> None:
    rng = np.random.default_rng(1)
    shares = [0.1 + truth, 0.1, 0.8 - truth]
    counts = rng.multinomial(60, shares, size=600)
    held = np.mean([truth in tango(gained, lost, 60) for gained, lost, _ in counts])
    assert 0.92 <= held <= 0.98


def test_one_seed_each_is_mcnemar_by_enumeration() -> None:
    for gained, lost in ((0, 0), (1, 0), (5, 0), (6, 0), (7, 2), (2, 7), (4, 4)):
        found = paired(*table(3, gained, lost, 4), binary=True)
        m = gained + lost
        as_far = [sum(flips) for flips in product((0, 1), repeat=m) if abs(sum(flips) - m / 2) >= abs(gained - m / 2)]
        assert found.p == pytest.approx(len(as_far) / 2**m)
        assert found.effect == pytest.approx((gained - lost) / (m + 7))
        assert (found.gained, found.lost, found.n, found.test) == (gained, lost, m + 7, "exact McNemar")
        assert found.interval == tango(gained, lost, m + 7)


def test_sign_flips_by_enumeration() -> None:
    rng = np.random.default_rng(2)
    for n in (1, 2, 6, 10):
        base, other = rng.normal(1, 0.3, (2, n))
        found = paired(base, other, binary=False)
        assert found.test == "exact sign flips"
        assert found.p == pytest.approx(flipped_p(other - base))
        assert found.effect == pytest.approx(other.mean() - base.mean())


def test_averaged_seeds_tie_exactly() -> None:
    """Thirds do not add up in floats: sums that tie must be counted as ties."""
    base = np.array([[1, 0, 0, 1, 0, 1, 0, 0], [0, 0, 0, 1, 0, 1, 1, 0], [0, 1, 0, 1, 0, 0, 0, 0.0]])
    other = np.array([[1, 1, 0, 1, 1, 1, 0, 1], [1, 0, 1, 1, 0, 1, 0, 0.0]])
    found = paired(base, other, binary=True)
    sixths = np.round(6 * (other.mean(axis=0) - base.mean(axis=0)))
    assert found.p == pytest.approx(flipped_p(sixths))
    assert (found.gained, found.lost) == ((sixths > 0).sum(), (sixths < 0).sum())
    assert found.effect == pytest.approx(sixths.mean() / 6)
    assert found.interval.low <= found.effect <= found.interval.high


def test_many_items_draw_flips_near_the_normal_p() -> None:
    from scipy import stats

    rng = np.random.default_rng(4)
    base = rng.normal(1, 0.3, 100)
    other = base + rng.normal(-0.05, 0.25, 100)
    found = paired(base, other, binary=False)
    assert found.test == "sign flips, 9,999 drawn"
    assert found.p == pytest.approx(stats.ttest_rel(other, base).pvalue, abs=0.015)
    assert found == paired(base, other, binary=False)


@pytest.mark.slow
def test_sign_flips_are_seldom_wrong_without_a_difference() -> None:
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(300):
        base, other = rng.gamma(2, 0.4, (2, 9))
        wrong += paired(base, other, binary=False).p < 0.05
    assert wrong / 300 <= 0.09


@pytest.mark.slow
def test_bootstrap_interval_of_a_difference_covers_the_truth() -> None:
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(200):
        base = rng.gamma(2, 0.4, 40)
        held += -0.1 in paired(base, base - 0.1 + rng.normal(0, 0.2, 40), binary=False).interval
    assert 0.89 <= held / 200 <= 0.99


def test_float_noise_of_averaging_is_no_difference() -> None:
    scores = np.random.default_rng(7).random(40)
    found = paired(scores, [scores] * 7, binary=False)  # seven times a float is not the sum of seven
    assert (found.effect, found.gained, found.lost, found.p) == (0, 0, 0, 1)
    assert found.interval == Interval(0, 0)


def test_pooled_answers_that_all_agree_leave_room_for_a_difference() -> None:
    same = np.ones((3, 30))
    assert paired(same, same, binary=True).interval == tango(0, 0, 30)
    assert paired(0 * same, same, binary=True).interval == tango(30, 0, 30)
    assert paired(same[:, :4], same[:, :4], binary=True).interval == Interval(-1, 1)


@settings(max_examples=60, deadline=None)
@given(st.one_of(binary_pairs().map(lambda pair: (*pair, True)), nll_pairs.map(lambda pair: (*pair, False))))
def test_exchanging_the_arms_mirrors_the_difference(
    case: tuple[NDArray[np.float64], NDArray[np.float64], bool],
) -> None:
    base, other, binary = case
    there, back = paired(base, other, binary), paired(other, base, binary)
    assert there.effect == pytest.approx(-back.effect, abs=1e-12)
    assert there.interval.low == pytest.approx(-back.interval.high, abs=1e-9)
    assert there.interval.high == pytest.approx(-back.interval.low, abs=1e-9)
    assert (there.gained, there.lost, there.p) == (back.lost, back.gained, pytest.approx(back.p))
    assert 0 <= there.p <= 1
    assert there.interval.low - 1e-9 <= there.effect <= there.interval.high + 1e-9


@settings(max_examples=40, deadline=None)
@given(binary_pairs(seeds=3))
def test_pooled_answers_stay_within_what_shares_can_differ_by(pair: Pair) -> None:
    found = paired(*pair, binary=True)
    assert -1 <= found.interval.low <= found.effect + 1e-9 <= found.interval.high + 2e-9 <= 1 + 3e-9
    assert 0 <= found.p <= 1
    assert found.effect == pytest.approx(pair[1].mean() - pair[0].mean(), abs=1e-12)


# --- what could have been seen -------------------------------------------------------------------------------


def test_power_of_the_example_of_gpower() -> None:
    """O'Brien (2002) by G*Power's manual: odds ratio 0.25, 40% discordant, 50 pairs, one-sided 5%: 0.8393."""
    assert mcnemar_power(50, 0.4, 0.24, alpha=0.1) == pytest.approx(0.8393, abs=1e-4)


@pytest.mark.slow
def test_power_by_simulation() -> None:
    rng = np.random.default_rng(8)
    n, discordance = 60, 0.35
    delta = minimum_detectable(n, discordance)
    shares = [(discordance + delta) / 2, (discordance - delta) / 2, 1 - discordance]
    counts = rng.multinomial(n, shares, size=2_000)
    seen = np.mean([binomtest(int(a), int(a + b)).pvalue < 0.05 for a, b, _ in counts])
    assert seen == pytest.approx(0.8, abs=0.027)  # three standard errors


def test_detectable_difference_is_connors_where_n_is_large() -> None:
    n, discordance, z, power = 2_000, 0.2, 1.959964, 0.841621
    delta = minimum_detectable(n, discordance)
    needed = (z * math.sqrt(discordance) + power * math.sqrt(discordance - delta**2)) ** 2 / delta**2
    assert needed == pytest.approx(n, rel=0.05)


def test_detectable_difference_is_never_below_six_items() -> None:
    for n in (6, 7, 10, 30, 150):
        found = [minimum_detectable(n, discordance) for discordance in (0, 0.05, 0.3, 1)]
        assert min(found) >= 6 / n
        assert np.all(np.diff(found) > -1e-4)  # more discordant pairs hide more
        assert max(found) <= 1
    assert minimum_detectable(5, 0.4) == math.inf
    assert paired(np.zeros(10), np.array([1] * 5 + [0] * 5), binary=True).p > 0.05  # five of ten are not enough
    assert paired(np.zeros(10), np.array([1] * 6 + [0] * 4), binary=True).p < 0.05


@pytest.mark.slow
def test_detectable_mean_by_its_formula_and_by_simulation() -> None:
    assert minimum_detectable_mean(100, 0.5) == pytest.approx(2.8016 * 0.5 / 10, rel=1e-4)
    assert minimum_detectable_mean(5, 0.5) == math.inf
    rng = np.random.default_rng(9)
    delta = minimum_detectable_mean(50, 0.5)
    seen = 0
    for _ in range(100):
        base = rng.normal(1, 0.3, 50)
        seen += paired(base, base + rng.normal(delta, 0.5, 50), binary=False).p < 0.05
    assert seen / 100 == pytest.approx(0.8, abs=0.12)


def test_a_difference_says_what_could_have_been_seen() -> None:
    base, other = table(20, 12, 6, 22)
    assert paired(base, other, binary=True).minimum_detectable == minimum_detectable(60, 0.3)
    assert paired(base, [other] * 2, binary=True).minimum_detectable == pytest.approx(
        minimum_detectable_mean(60, float(np.std(other - base, ddof=1)))
    )
    same = np.ones((3, 60))
    assert paired(same, same, binary=True).minimum_detectable == pytest.approx(6 / 60 / 3)
    assert paired([0.4], [0.5], binary=False).minimum_detectable == math.inf


# --- several comparisons, and what is refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
        ([0.50, 0.003, 0.32, 0.054, 0.0003], [0.64, 0.012, 0.64, 0.162, 0.0015]),  # pingouin's documentation
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),  # by hand: 5 × 0.01, 4 × 0.02, 3 × 0.03, …
        ([0.6, 0.9], [1, 1]),
        ([0.04], [0.04]),
        ([], []),
    ],
)
def test_holm(given_p: list[float], adjusted: list[float]) -> None:
    assert holm(given_p) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, own in zip(p_values, adjusted, strict=True):
        assert p <= own <= min(1, len(p_values) * p) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)


@pytest.mark.parametrize("wrong", [math.nan, -0.1, 1.5])
def test_holm_refuses_what_is_no_probability(wrong: float) -> None:
    with pytest.raises(InputError, match="is no p value"):
        holm([0.2, wrong])


@pytest.mark.parametrize(
    ("scores", "binary", "message"),
    [
        ([], True, "no item"),
        (np.zeros((2, 0)), False, "no item"),
        (np.zeros((2, 2, 2)), False, "no item"),
        ([0.3, math.nan], False, "nan of item 1 is not finite"),
        ([0.3, math.inf], False, "inf of item 1 is not finite"),
        ([[1, 0], [1, 0.5]], True, "0.5 of item 1 is neither 0 nor 1"),
        ([0.5], True, "0.5 of item 0 is neither 0 nor 1"),
    ],
)
def test_refused_scores(scores: object, binary: bool, message: str) -> None:
    with pytest.raises(InputError, match=message):
        estimate(scores, binary)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        paired(np.zeros(2), scores, binary)  # type: ignore[arg-type]


def test_refused_pairs_and_counts() -> None:
    with pytest.raises(InputError, match="3 and 2 items"):
        paired([1, 0, 1], [1, 0], binary=True)
    for correct, n in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(InputError, match="is no share"):
            wilson(correct, n)


def test_importing_loads_neither_scipy_nor_torch() -> None:
    heavy = "any(name in sys.modules for name in ('scipy', 'torch', 'pandas'))"
    check = f"import sys, spd_core.evaluation.claims; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0

"""Groups that lie apart and groups that do not, by hand; and what is said of a picture."""

import itertools

import numpy as np
import pytest

from spd_core.attribution.geometry import OUTSIDE, Points
from spd_core.attribution.geometry_verdict import Separation, geometry_verdict, separation


def test_the_share_between_groups_is_that_of_the_sums_of_squares() -> None:
    values = np.array([[0.0, 0], [2, 0], [10, 6], [12, 6]])
    groups, texts = np.array([0, 0, 1, 1]), np.zeros(4, int)
    # Means (1, 0) and (11, 6) around (6, 3): 4 × (25 + 9) = 136 between; each point 1 from its mean: 4 within.
    found = separation(values, groups, texts, shuffles=400)
    assert found is not None
    assert found.explained == pytest.approx(136 / 140)
    # Of the 6 ways to share 4 points out, 2 are the same two groups: as large in about a third of all shuffles.
    ways = []
    for pair in itertools.combinations(range(4), 2):
        halves = [values[list(pair)], values[[i for i in range(4) if i not in pair]]]
        ways.append(sum(2 * ((half.mean(0) - values.mean(0)) ** 2).sum() for half in halves) / 140)
    assert found.shuffled == pytest.approx(np.mean(ways), abs=0.08)
    assert found.p == pytest.approx(1 / 3, abs=0.08)


def test_shuffling_stays_within_texts_so_that_texts_alone_are_no_sign() -> None:
    # Two texts far from each other, each mostly of one class: classes differ, and only because texts do.
    rng = np.random.default_rng(0)
    texts = np.repeat([0, 1], 40)
    groups = np.where(np.arange(80) % 10 == 0, 1 - texts, texts)
    values = rng.normal(size=(80, 2)) + 10 * texts[:, None]
    found = separation(values, groups, texts)
    assert found is not None
    assert found.explained > 0.5
    assert found.p > 0.05


def test_groups_of_whole_texts_are_shuffled_between_texts() -> None:
    rng = np.random.default_rng(1)
    texts = np.repeat(np.arange(20), 5)
    groups = texts % 2
    apart = separation(rng.normal(size=(100, 1)) + 8.0 * groups[:, None], groups, texts)
    none = separation(rng.normal(size=(100, 1)) + rng.normal(size=20)[texts][:, None], groups, texts)
    assert apart is not None
    assert none is not None
    assert apart.p == pytest.approx(1 / 200)
    assert none.p > 0.05


def test_one_group_or_one_place_says_nothing() -> None:
    texts = np.zeros(3, int)
    assert separation(np.eye(3), np.zeros(3, int), texts) is None
    assert separation(np.ones((3, 2)), np.array([0, 1, 1]), texts) is None


def made(axes: tuple[int, ...], values: list[list[float]], lengths: list[float] | None) -> Points:
    shrinks = np.array([axis == OUTSIDE for axis in axes])
    return Points(axes, np.array(values), shrinks, None if lengths is None else np.array(lengths), 192, 16)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        (made((0, 1), [[3, 0], [0, 4], [9, 9]], [5, 5, 99]),  # 25 of 50 of the drawn, 187 of 9851; chance 2 of 192
         "Directions 1 and 2 hold 50% of the squared length of the gradients drawn here, and 1.9% of that of all "
         "tokens; two random ones would hold 1.0%."),
        (made((4, OUTSIDE), [[1, 3], [0, 0], [0, 0]], [10, 0, 0]),
         "Direction 5 holds 1.0% of the squared length of the gradients drawn here, and 1.0% of that of all tokens; a "
         "random one would hold 0.5%. 9.0% lies outside rank 16, which projecting removes; outside a random subspace "
         "of this rank 92% would lie."),
        (made((0, 1, 2), [[3, 0, 4]] * 3, [5, 5, 5]), "Directions 1, 2 and 3 hold 100% of"),
        (made((0, 1), [[3, 0], [0, 4], [9, 9]], None), ""),
        (made((0, 1), [[0, 0]] * 3, [0, 0, 0]), ""),
    ],
)  # fmt: skip
def test_how_much_the_picture_holds_is_said_beside_chance(points: Points, says: str) -> None:
    rows = np.array([0, 1])
    said = geometry_verdict(points, rows, "gradients", "", None)
    assert said.startswith(says)
    assert bool(said) == bool(says)


def test_a_small_share_is_not_none() -> None:
    said = geometry_verdict(
        made((0,), [[1]], None), np.array([0]), "gradients", "Loss tokens", Separation(0.2, 0.0001, 0.01)
    )
    assert "shuffled ones under 0.1%" in said


@pytest.mark.parametrize(
    ("p", "says"),
    [
        (0.005, "Token classes differ here: they explain 14% of the spread, shuffled ones 0.4% (p ≤ 0.005)."),
        (0.06, "Token classes are not shown to differ here: they explain 14% of the spread, shuffled ones 0.4%"),
    ],
)
def test_groups_lie_apart_only_where_shuffled_ones_do_not(p: float, says: str) -> None:
    points = made((0, 1), [[1, 0]], None)
    assert geometry_verdict(points, np.array([0]), "gradients", "Token classes", Separation(0.14, 0.004, p)).startswith(
        says
    )

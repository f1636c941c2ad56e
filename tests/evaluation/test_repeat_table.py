"""The table over prompts and seeds: counts by hand, intervals of the statistics, whose unit is the prompt."""

from collections.abc import Sequence
from typing import Any

import pytest
from scipy.stats import binomtest

from spd_core.evaluation.repeat_table import RepeatTable, Told, repeat_table
from spd_core.evaluation.statistics import estimate, paired


def told(right: bool | None = True, parts: int | None = None, ended: bool = True, degenerate: bool = False) -> Told:
    return Told(right, parts, ended, degenerate)


def table_of(*prompts: Sequence[Sequence[Told]], **more: Any) -> RepeatTable:
    return repeat_table(prompts, **more)


RIGHT, WRONG = told(), told(right=False, parts=4)


def test_counts_by_hand() -> None:
    raw = told()
    found = table_of(
        [(raw, told(parts=2, right=False)), (raw, told())],
        [(raw, told(parts=5, ended=False)), (raw, told(parts=8, degenerate=True))],
    )
    first, second = found.rows
    assert (first.n, first.right and first.right.count, first.differs.count, first.median_token) == (4, 4, 0, None)
    assert first.beyond_raw is None
    assert second.right is not None
    assert (second.right.count, second.right.n, second.right.value) == (3, 4, 0.75)
    assert (second.differs.count, second.median_token) == (3, 6), "tokens 3, 6 and 9, counted from 1"
    assert (second.ended.count, second.degenerate.count) == (3, 1)
    assert (found.unit, found.units) == ("prompt", 2)


def test_seeds_of_a_prompt_are_no_items_of_their_own() -> None:
    """Eight prompts whose seeds all say the same are eight times known, not 24 times."""
    prompts = [[(RIGHT, RIGHT if at < 4 else WRONG)] * 3 for at in range(8)]
    found = table_of(*prompts)
    once = table_of(*(seeds[:1] for seeds in prompts))
    share, alone = found.rows[1].right, once.rows[1].right
    assert share is not None
    assert alone is not None
    naive = binomtest(12, 24).proportion_ci(method="wilson")
    assert share.high - share.low > 1.2 * (naive.high - naive.low)
    wilson = binomtest(4, 8).proportion_ci(method="wilson")
    assert (alone.low, alone.high) == pytest.approx((wilson.low, wilson.high))
    by_seed = [[1.0] * 4 + [0.0] * 4] * 3
    expected = estimate(by_seed, binary=True).interval
    assert (share.low, share.high) == (expected.low, expected.high)


def test_of_one_prompt_the_seed_is_the_unit() -> None:
    """Nine seeds, all lost: p = 2 / 2**9."""
    found = table_of([(RIGHT, WRONG)] * 9)
    change = found.rows[1].beyond_raw
    assert (found.unit, found.units) == ("seed", 9)
    assert change is not None
    assert (change.value, change.p) == (-1, pytest.approx(2 / 2**9))
    assert change.shown
    assert found.method == "Tango score"


def test_the_lane_in_question_is_compared_with_its_control() -> None:
    prompts = [[(RIGHT, WRONG, WRONG if at % 2 else RIGHT)] * 2 for at in range(8)]
    found = table_of(*prompts, subject=1, control=2)
    expected = paired([[1.0, 0.0] * 4] * 2, [[0.0] * 8] * 2, binary=True)
    change = found.right_beyond_control
    assert change is not None
    assert (change.value, change.low, change.high, change.p) == (
        expected.effect, expected.interval.low, expected.interval.high, expected.p,
    )  # fmt: skip
    assert change.value == -0.5
    differs = found.differs_beyond_control
    assert differs is not None
    assert differs.value == 0.5


def test_where_one_answer_is_unknown_none_is_counted() -> None:
    found = table_of([(RIGHT, told(right=None))], [(RIGHT, RIGHT)], subject=1, control=None)
    assert [row.right for row in found.rows] == [None, None]
    assert found.rows[1].beyond_raw is None
    assert found.right_beyond_control is None

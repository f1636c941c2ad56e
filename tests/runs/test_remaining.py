"""How long a whole run has still to go, against numbers worked out by hand."""

from typing import Any

import pytest

from spd_core.recipes.distill import recipe_from
from spd_core.runs.costs import Rates, Sizes
from spd_core.runs.events import AnyEvent, ArmDone, StageBegun, StageProgress
from spd_core.runs.remaining import expected_seconds, share_of, time_left
from spd_core.runs.view import RunView

RECIPE = recipe_from({"capability": "arithmetic", "arms": ["psr", "ssd"], "drift": False})
EXPECTED = {"capture": 10.0, "corpus": 100.0, "train": 200.0, "drift": 10.0}
"""Two corpora and two trainings: 600 seconds."""


def told(stage: Any, arm: str, *progress: tuple[float, int, int]) -> list[AnyEvent]:
    """A stage that begins at the first time, and its progress: time, done, total."""
    first = progress[0][0]
    rest = progress[1:]
    begun = [StageBegun(time=first, stage=stage, arm=arm)]
    return begun + [
        StageProgress(time=at, stage=stage, arm=arm, done=done, total=total, seconds=at - first)
        for at, done, total in rest
    ]


def view(*parts: list[AnyEvent]) -> RunView:
    found = RunView()
    for part in parts:
        found.take(part)
    return found


LOAD: list[AnyEvent] = [StageBegun(time=0.0, stage="load")]
PSR = told("corpus", "psr", (10.0, 0, 0), (60.0, 1, 2), (110.0, 2, 2))  # as long as expected
SSD = told("corpus", "ssd", (110.0, 0, 0), (210.0, 1, 2), (310.0, 2, 2))  # twice as long


def test_before_anything_has_begun_it_is_what_rates_expect() -> None:
    assert time_left(view(), RECIPE, EXPECTED) == 600
    assert time_left(view(LOAD), RECIPE, EXPECTED) == 600


def test_what_is_at_work_goes_on_at_its_own_rate() -> None:
    """Half of SSD's corpus took 100 s, with one progress no rate is known: 100 of expected 100 are over."""
    at = view(LOAD, PSR, told("corpus", "ssd", (110.0, 0, 0), (130.0, 1, 10), (150.0, 2, 10)))
    assert time_left(at, RECIPE, EXPECTED) == pytest.approx(8 * 20 + 2 * 200)
    at = view(LOAD, PSR, told("corpus", "ssd", (110.0, 0, 0), (150.0, 1, 10)))
    assert time_left(at, RECIPE, EXPECTED) == pytest.approx((100 - 40) + 2 * 200)


def test_what_has_not_begun_is_as_slow_as_what_is_over() -> None:
    """Both corpora: 100 + 200 s for expected 100 + 100, so trainings are expected to take 1.5 times 200."""
    at = view(LOAD, PSR, SSD, told("train", "psr", (310.0, 0, 0)))
    assert time_left(at, RECIPE, EXPECTED) == pytest.approx(300 + 300)
    one = told("train", "psr", (310.0, 0, 0), (320.0, 1, 4), (350.0, 4, 4))
    over = [ArmDone(time=350.0, arm="psr", steps=4, planned=4, rows=8, seconds=40.0)]
    at = view(LOAD, PSR, SSD, one, over, told("train", "ssd", (350.0, 0, 0)))
    assert time_left(at, RECIPE, EXPECTED) == pytest.approx(40), "a training is measured now, and took 40 s"
    at = view(LOAD, PSR, SSD, one, over)
    assert time_left(at, RECIPE, EXPECTED) == pytest.approx(1.5 * 200), "none is over but that one, which is at work"


def test_a_piece_that_a_resume_took_up_says_nothing_of_how_long_one_takes() -> None:
    half = told("corpus", "psr", (10.0, 0, 0), (20.0, 9, 10), (25.0, 10, 10))
    at = view(LOAD, half, told("corpus", "ssd", (25.0, 0, 0)))
    assert time_left(at, RECIPE, EXPECTED) == pytest.approx(100 + 400)


def test_a_finished_run_has_nothing_left_and_nothing_is_said_without_rates() -> None:
    over = [ArmDone(time=900.0, arm=arm, steps=4, planned=4, rows=8, seconds=40.0) for arm in ("psr", "ssd")]
    trained = [told("train", "psr", (310.0, 0, 0)), over[:1], told("train", "ssd", (500.0, 0, 0)), over[1:]]
    assert time_left(view(LOAD, PSR, SSD, *trained), RECIPE, EXPECTED) == 0
    assert time_left(view(LOAD, PSR), RECIPE, None) is None


def test_what_pieces_take_by_rates() -> None:
    """10 prompts of 6 tokens, 2 held out, 4 new tokens, 3 epochs; 7 examples."""
    recipe = recipe_from({"capability": "x", "corpus": {"held_out": 2, "max_new_tokens": 4}, "train": {"epochs": 3}})
    rates = Rates(capture=2.0, corpus=8.0, train=16.0, source="")
    found = expected_seconds(recipe, Sizes(prompts=10, prompt_tokens=6.0, examples=7), rates)
    assert found == {"capture": 3.5, "corpus": 5.0, "train": 3 * 8 * 10 / 16, "drift": 3.5}


def test_the_share_is_that_of_the_time_where_it_is_known() -> None:
    assert share_of(30.0, 90.0, 1, 2) == 0.25
    assert share_of(30.0, None, 1, 2) == 0.5
    assert share_of(0.0, 90.0, 1, 3) == 1 / 3, "no clock was told"
    assert share_of(0.0, 0.0, 0, 0) == 0

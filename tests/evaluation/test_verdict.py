"""The sentences on top of an evaluation, from claims made by hand."""

import math
from dataclasses import replace
from typing import Any

import pytest

from spd_core.evaluation.claims import Claim, Control
from spd_core.evaluation.verdict import verdict
from tests.evaluation.test_claims import GAIN, LOSS, UNCLEAR, difference, made

NATS = {"lower_is_better": True, "set_name": "CodeAlpaca"}


def with_controls(claim: Claim, **states: int) -> Claim:
    names = {"passed": "passed", "failed": "failed", "undecided": "not shown", "absent": "not run"}
    controls = [Control(f"{key} {at}", "?", names[key], None) for key, n in states.items() for at in range(n)]  # type: ignore[arg-type]
    return replace(claim, controls=tuple(controls))


def test_nothing_is_said_of_nothing() -> None:
    assert verdict([]) == ""


def test_nothing_shown_says_what_would_not_have_been_seen() -> None:
    said = verdict([made(UNCLEAR), made(UNCLEAR, set_name="MMLU")])
    assert said == (
        "Nothing is shown to help or to hurt on 2 sets. "
        "With n = 150, a difference below about 9 points would most likely not have been seen."
    )


def test_an_interval_without_zero_that_is_not_shown_is_named_with_its_reason() -> None:
    """Of two the one with the smaller p; a hand calculation of Holm: 0.01 × 30 comparisons."""
    near = made(difference(-0.11, -0.207, -0.017, p=0.01), 0.3, subject="Random", comparisons=30)
    far = made(difference(0.1, 0.01, 0.2, p=0.02), 0.58, comparisons=30)
    assert near.could_be_luck
    assert not made(UNCLEAR).could_be_luck
    assert not made(GAIN).could_be_luck
    assert verdict([far, made(UNCLEAR), near]).startswith(
        "Nothing is shown to help or to hurt on GSM8K. Random on GSM8K comes closest: −11.0 points (−20.7 to −1.7), "
        "but chance finds such an interval among 30 comparisons (p = 0.3 after Holm). With n = 150"
    )


def test_each_size_of_set_and_nats_have_their_own_smallest_difference() -> None:
    small = difference(0.0, -0.2, 0.2, p=1.0, n=30, least=0.251)
    few = difference(0.0, -1, 1, p=1.0, n=4, least=math.inf)
    nats = difference(0.001, -0.02, 0.02, p=0.9, n=60, least=0.0314)
    said = verdict([made(UNCLEAR), made(small, set_name="A"), made(few, set_name="B"), made(nats, **NATS)])
    assert "on 4 sets" in said
    assert "With n = 4, no difference could have been seen." in said
    assert "With n = 30, a difference below about 26 points" in said  # rounded up: never more than the numbers
    assert "With n = 60, a difference below about 0.031 nats" in said
    fine = difference(0.0, -0.05, 0.05, p=1.0, n=30, least=0.071)
    both = verdict([made(small), made(fine)])
    assert "With n = 30, a difference below about 8 to 26 points" in both, "no comparison is spoken of as another"


@pytest.mark.parametrize(
    ("states", "ending"),
    [
        ({}, "; it has no control."),
        ({"passed": 5}, " and passes all 5 controls."),
        ({"passed": 1}, " and passes its control."),
        ({"passed": 3, "absent": 2}, " and passes 3 of 5 controls; 2 were not run."),
        (
            {"passed": 1, "undecided": 2, "failed": 1},
            " and passes 1 of 4 controls; 2 could not decide, 1 failed.",
        ),
        ({"absent": 3}, "; none of its 3 controls was run."),
        ({"passed": 1, "absent": 1}, " and passes 1 of 2 controls; 1 was not run."),
    ],
)
def test_a_gain_names_its_interval_and_its_controls(states: dict[str, int], ending: str) -> None:
    said = verdict([with_controls(made(GAIN), **states), made(UNCLEAR, subject="PSR")])
    assert said == f"SPD helps on GSM8K by +11.0 points (+2.1 to +19.8){ending} 1 other comparison of 2 is not shown."


def test_losses_are_said_beside_gains_and_alone() -> None:
    assert verdict([made(LOSS)]) == (
        "SPD hurts on GSM8K by −11.0 points (−19.8 to −2.1). Nothing is shown to help on GSM8K."
    )
    both = verdict([made(GAIN), made(LOSS, subject="Projected")])
    assert both.index("SPD helps") < both.index("Projected hurts")
    assert "not shown" not in both


def test_likelihoods_are_in_nats() -> None:
    found = difference(-0.05, -0.07, -0.03, p=0.001)
    said = verdict([made(found, **NATS)])
    assert said == "SPD helps on CodeAlpaca by −0.050 nats (−0.070 to −0.030); it has no control."


def test_many_gains_are_counted_and_the_largest_named() -> None:
    many: list[Any] = [
        made(difference(effect, 0.01, 0.4, p=0.001), subject=f"S{effect}") for effect in (0.05, 0.2, 0.1, 0.3, 0.15)
    ]
    said = verdict(many)
    assert [name for name in ("S0.3", "S0.2", "S0.15", "S0.1 ", "S0.05") if name in said] == ["S0.3", "S0.2", "S0.15"]
    assert "2 more of 5 comparisons help, too." in said


def test_what_is_missing_is_said_first() -> None:
    assert verdict([made(UNCLEAR)], 3).startswith("So far, with 3 comparisons missing: Nothing is shown to help")
    assert verdict([made(UNCLEAR)], 1).startswith("So far, with 1 comparison missing: ")

"""What Side by side says of an item that was opened from an evaluation, from texts made by hand."""

from dataclasses import replace

import pytest

from app.side_by_side.agreement import Scored, compared
from spd_core.recipes.lanes import LaneSpec, Sampling
from tests.generation.test_comparison import TUNED, comparison, lane

SPEC = LaneSpec(rank="8", strength=0.5)
GREEDY = Sampling(temperature=0.0)
SCORED = Scored("Projected", SPEC, "2 + 2?", " 4 is it", "builtin", "float32", {})
RAW = lane("Raw", [" 4"])


def result(words: list[str], spec: LaneSpec = SPEC, **more: object) -> tuple[bool, str]:
    written = comparison(RAW, lane("Projected", words, spec=spec), **{"sampling": GREEDY, **more})
    return compared(SCORED, written)


def test_the_same_text_is_said_with_its_number_format() -> None:
    assert result([" 4", " is", " it"]) == (
        True, "Projected: the same text as in the table ✓, letter for letter, in float32.")  # fmt: skip


@pytest.mark.parametrize(
    ("words", "more", "why"),
    [
        ([" 5"], {}, "They differ from character 2 on; this was written on cpu"),
        ([" 4", " is"], {}, "only of another length: see Max new tokens"),
        ([" 4", " is", " it", " not"], {}, "only of another length"),
        ([" 5"], {"dtype": "bfloat16"}, "written in float32, this in bfloat16 on cpu: they round differently"),
        ([" 5"], {"model": "other"}, "which builtin wrote; this is of other"),
        ([" 5"], {"sampling": Sampling(temperature=0.7)}, "which was written greedily"),
    ],
)
def test_another_text_says_why(words: list[str], more: dict[str, object], why: str) -> None:
    same, said = result(words, **more)
    assert not same
    assert said.startswith("Projected: not the same text as in the table, ")
    assert why in said


@pytest.mark.parametrize(
    "spec",
    [
        SPEC.model_copy(update={"strength": 1.0}),
        SPEC.model_copy(update={"rank": "9"}),
        SPEC.model_copy(update={"of": "random"}),
        SPEC.model_copy(update={"complement": True}),
        SPEC.model_copy(update={"capture": "another"}),
        SPEC.model_copy(update={"layers": (1,)}),
    ],
)
def test_a_lane_that_was_changed_is_not_compared(spec: LaneSpec) -> None:
    same, said = result([" 4", " is", " it"], spec)
    assert (same, said) == (
        False, "Not compared with the table: the lane of Projected was changed, or is not among these.")  # fmt: skip


def test_a_random_lane_is_known_by_its_seed_and_others_have_none() -> None:
    drawn = SPEC.model_copy(update={"of": "random", "seed": 42})
    written = comparison(RAW, lane("Random", [" 4 is it"], spec=drawn), sampling=GREEDY)
    assert compared(replace(SCORED, spec=drawn), written)[0]
    assert not compared(replace(SCORED, spec=drawn.model_copy(update={"seed": 43})), written)[0]
    seeded = SPEC.model_copy(update={"seed": 43})
    assert compared(replace(SCORED, spec=seeded), comparison(lane("P", [" 4 is it"], spec=SPEC), sampling=GREEDY))[0]


def test_base_and_tuned_models_are_known_by_their_adapter() -> None:
    base = replace(SCORED, spec=LaneSpec(of="none", seed=42, rank="half"), completion=" 4")
    assert compared(base, comparison(RAW, TUNED, sampling=GREEDY))[1].startswith("Raw: the same text")
    tuned = replace(SCORED, spec=LaneSpec(of="none", adapter="run/spd"), completion=" 5")
    assert compared(tuned, comparison(RAW, TUNED, sampling=GREEDY))[1].startswith("Distilled (SPD): the same text")
    other = replace(tuned, spec=LaneSpec(of="none", adapter="run/psr"))
    assert not compared(other, comparison(RAW, TUNED, sampling=GREEDY))[0]

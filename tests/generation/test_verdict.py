"""The sentence on a comparison, case by case, and that it never says more than one text can show."""

import pytest

from spd_core.generation.verdict import comparison_verdict
from spd_core.recipes.gains import parse_gains
from spd_core.recipes.lanes import RAW, Grid, LaneSpec, Sampling
from tests.generation.test_comparison import comparison, lane

TEXT = [" 6", " x", " 12"]
OTHER_AT_2 = [" 6", " is", " 12"]
OTHER_AT_3 = [" 6", " x", " 13"]
RANDOM = LaneSpec(of="random")


def told(projected: list[str], control: list[str] | None = None, spec: LaneSpec = RANDOM) -> str:
    lanes = [lane("Raw", TEXT), lane("Projected", projected, spec=LaneSpec())]
    if control is not None:
        lanes.append(lane("Random subspace", control, spec=spec))
    return comparison_verdict(comparison(*lanes))


@pytest.mark.parametrize(
    ("projected", "control", "says"),
    [
        (
            OTHER_AT_2,
            OTHER_AT_2,
            "Projected differs from Raw from token 2 on, and so does Random subspace: nothing here speaks for",
        ),
        (
            OTHER_AT_2,
            OTHER_AT_3,
            "Projected differs from Raw from token 2 on, and Random subspace from token 3 on: nothing here speaks",
        ),
        (OTHER_AT_3, TEXT, "Projected differs from Raw from token 3 on; Random subspace does not."),
        (TEXT, OTHER_AT_3, "Projected writes the same text as Raw; Random subspace differs from token 3 on."),
        (TEXT, TEXT, "Projected and Random subspace write the same text as Raw."),
        (TEXT, None, "Projected writes the same text as Raw. Without a control lane it is open"),
        (OTHER_AT_2, None, "Projected differs from Raw from token 2 on. Without a control lane it is open"),
    ],
)
def test_each_case_has_its_sentence(projected: list[str], control: list[str] | None, says: str) -> None:
    assert told(projected, control).startswith(f"In this sample {says}")


@pytest.mark.parametrize("projected", [TEXT, OTHER_AT_2])
@pytest.mark.parametrize("control", [TEXT, OTHER_AT_2, OTHER_AT_3, None])
def test_one_sample_names_no_cause_and_says_that_it_is_no_proof(
    projected: list[str], control: list[str] | None
) -> None:
    said = told(projected, control)
    assert said.endswith("One sample is no proof: repeat it over prompts and seeds.")
    assert not any(claim in said for claim in ("did it", "it is this subspace", "needs what", "changes nothing"))


def test_where_it_was_repeated_that_is_said_instead() -> None:
    lanes = [
        lane("Raw", TEXT),
        lane("Projected", OTHER_AT_3, spec=LaneSpec()),
        lane("Random subspace", TEXT, spec=RANDOM),
    ]
    said = comparison_verdict(comparison(*lanes), repeated="Over 8 prompts × 3 seeds, nothing is shown.")
    assert said.endswith("; Random subspace does not. Over 8 prompts × 3 seeds, nothing is shown.")


def test_the_complement_is_a_control_too() -> None:
    assert "nothing here speaks for this subspace" in told(OTHER_AT_2, OTHER_AT_2, LaneSpec(complement=True))


MIXED = LaneSpec(strength=0, gains=parse_gains("29v_1x0"))
DRAWN = MIXED.model_copy(update={"of": "random"})


@pytest.mark.parametrize(
    ("mixed", "control", "says"),
    [
        (OTHER_AT_3, TEXT, "from Raw from token 3 on; the lane with the same gains on random directions does not."),
        (TEXT, OTHER_AT_2, "the lane with the same gains on random directions differs from token 2 on."),
        (TEXT, TEXT, "and the lane with the same gains on random directions write the same text as Raw."),
        (OTHER_AT_2, OTHER_AT_3, "directions from token 3 on: nothing here speaks for these directions."),
        (OTHER_AT_2, None, "from token 2 on. Without the same gains on random directions beside it, it is open"),
    ],
)  # fmt: skip
def test_a_mix_is_told_beside_its_own_control(mixed: list[str], control: list[str] | None, says: str) -> None:
    lanes = [lane("Raw", TEXT), lane("Mixed", mixed, spec=MIXED)]
    lanes += [] if control is None else [lane("Mixed random subspace", control, spec=DRAWN)]
    said = comparison_verdict(comparison(*lanes))
    assert said.startswith("In this sample the mixed lane ")
    assert says in said


def test_a_mix_and_a_projection_are_told_after_each_other() -> None:
    lanes = [lane("Raw", TEXT), lane("Projected", OTHER_AT_2, spec=LaneSpec()), lane("Random", TEXT, spec=RANDOM)]
    alone = comparison_verdict(comparison(*lanes))
    other = MIXED.model_copy(update={"gains": parse_gains("29v_1x2"), "of": "random"})
    both = comparison_verdict(comparison(*lanes, lane("M", OTHER_AT_3, spec=MIXED), lane("R", TEXT, spec=DRAWN)))
    assert both.startswith("In this sample the mixed lane differs from Raw from token 3 on")
    assert both.endswith(alone.removeprefix("In this sample ")), "its own control stays its own"
    assert both.count("One sample is no proof") == 1
    apart = comparison_verdict(comparison(*lanes, lane("M", OTHER_AT_3, spec=MIXED), lane("R", TEXT, spec=other)))
    assert "Without the same gains on random directions" in apart, "other gains are no control"


def test_noise_of_its_own_is_said_instead_of_anything_else() -> None:
    lanes = lane("Raw", TEXT), lane("Projected", OTHER_AT_2, spec=LaneSpec())
    said = comparison_verdict(comparison(*lanes, sampling=Sampling(shared_randomness=False)))
    assert "can be chance" in said
    assert "differs" not in said
    greedy = comparison_verdict(comparison(*lanes, sampling=Sampling(temperature=0, shared_randomness=False)))
    assert "differs from Raw from token 2 on" in greedy


@pytest.mark.parametrize(
    ("right", "says"),
    [((True, True), "All answers are right."), ((False, True), "Projected is right; Raw is not."),
     ((False, False), "No answer is"), ((None, None), "would do that."), ((), "would do that.")],
)  # fmt: skip
def test_right_answers_are_named(right: tuple[bool | None, ...], says: str) -> None:
    lanes = lane("Raw", TEXT), lane("Projected", OTHER_AT_2, spec=LaneSpec())
    assert says in comparison_verdict(comparison(*lanes), right)


def test_several_right_and_wrong_lanes_are_listed() -> None:
    lanes = [lane(name, TEXT, spec=LaneSpec()) for name in "ABCDE"]
    said = comparison_verdict(comparison(lane("Raw", TEXT), *lanes), (True, False, True, False, True, None))
    assert "Raw, B and D are right; A and C are not." in said


def test_a_sweep_counts_its_cells() -> None:
    cells = [lane(f"{at}", text, spec=LaneSpec(rank="2")) for at, text in enumerate((TEXT, OTHER_AT_2, TEXT, TEXT))]
    grid = Grid(ranks=("2", "4"), strengths=(0.5, 1.0))
    assert comparison_verdict(comparison(lane("Raw", TEXT), *cells, grid=grid)).startswith(
        "In this sample 3 of 4 combinations"
    )

    some = comparison_verdict(comparison(lane("Raw", TEXT), *cells, grid=grid), (True, True, False, True, True))
    assert some.endswith("write the same text as Raw. 3 of 4 are right; Raw is right.")


def test_a_random_subspace_is_the_control_before_the_complement() -> None:
    complement = lane("Complement", TEXT, spec=LaneSpec(complement=True))
    random = lane("Random subspace", OTHER_AT_3, spec=RANDOM)
    lanes = lane("Raw", TEXT), lane("Projected", OTHER_AT_2, spec=LaneSpec()), complement, random
    assert "and Random subspace from token 3 on" in comparison_verdict(comparison(*lanes))


def test_nothing_is_said_where_nothing_was_projected_or_written() -> None:
    assert comparison_verdict(comparison(lane("Raw", TEXT))) == ""
    assert comparison_verdict(comparison(lane("Raw", TEXT), lane("Raw 2", OTHER_AT_2, spec=RAW))) == ""
    assert comparison_verdict(comparison(lane("Raw", []), lane("Projected", [], spec=LaneSpec()))) == ""

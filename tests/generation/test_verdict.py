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
        (OTHER_AT_2, OTHER_AT_2, "both part from Raw, at token 2: here projecting did it, whatever the subspace"),
        (OTHER_AT_2, OTHER_AT_3, "both part from Raw, at tokens 2 and 3: here projecting did it"),
        (OTHER_AT_3, TEXT, "parts from Raw at token 3 and Random subspace never does: here it is this subspace"),
        (TEXT, OTHER_AT_3, "same text as Raw; Random subspace parts from it at token 3"),
        (TEXT, TEXT, "projecting changes nothing here"),
        (TEXT, None, "writes the same text as Raw. Without a control lane it is open"),
        (OTHER_AT_2, None, "parts from Raw at token 2. Without a control lane it is open"),
    ],
)
def test_each_case_has_its_sentence(projected: list[str], control: list[str] | None, says: str) -> None:
    assert says in told(projected, control)


@pytest.mark.parametrize("case", [(OTHER_AT_3, TEXT), (TEXT, OTHER_AT_3)])
def test_what_speaks_for_the_subspace_says_that_one_text_is_no_proof(case: tuple[list[str], list[str]]) -> None:
    assert "One text is no proof" in told(*case)


def test_where_it_was_repeated_that_is_said_instead() -> None:
    lanes = [
        lane("Raw", TEXT),
        lane("Projected", OTHER_AT_3, spec=LaneSpec()),
        lane("Random subspace", TEXT, spec=RANDOM),
    ]
    said = comparison_verdict(comparison(*lanes), repeated="Over 8 prompts × 3 seeds, nothing is shown.")
    assert said.endswith(
        "here it is this subspace, not projecting as such. Over 8 prompts × 3 seeds, nothing is shown."
    )


def test_the_complement_is_a_control_too() -> None:
    assert "whatever the subspace" in told(OTHER_AT_2, OTHER_AT_2, LaneSpec(complement=True))


MIXED = LaneSpec(strength=0, gains=parse_gains("29v_1x0"))
DRAWN = MIXED.model_copy(update={"of": "random"})


@pytest.mark.parametrize(
    ("mixed", "control", "says"),
    [
        (OTHER_AT_3, TEXT, "The mixed lane parts from Raw at token 3 and the same gains on random directions never do: "
         "here it matters which directions they are."),
        (TEXT, OTHER_AT_2, "same text as Raw and the same gains on random directions part from it at token 2"),
        (TEXT, TEXT, "write the same text as Raw: these gains change nothing here."),
        (OTHER_AT_2, OTHER_AT_3, "both part from Raw, at tokens 2 and 3: here the gains did it, whatever"),
        (OTHER_AT_2, None, "parts from Raw at token 2. Without the same gains on random directions beside it"),
    ],
)  # fmt: skip
def test_a_mix_is_told_beside_its_own_control(mixed: list[str], control: list[str] | None, says: str) -> None:
    lanes = [lane("Raw", TEXT), lane("Mixed", mixed, spec=MIXED)]
    lanes += [] if control is None else [lane("Mixed random subspace", control, spec=DRAWN)]
    said = comparison_verdict(comparison(*lanes))
    assert says in said
    assert ("One text is no proof" in said) == (control is not None and (mixed == TEXT) != (control == TEXT))


def test_a_mix_and_a_projection_are_told_after_each_other() -> None:
    lanes = [lane("Raw", TEXT), lane("Projected", OTHER_AT_2, spec=LaneSpec()), lane("Random", TEXT, spec=RANDOM)]
    alone = comparison_verdict(comparison(*lanes))
    other = MIXED.model_copy(update={"gains": parse_gains("29v_1x2"), "of": "random"})
    both = comparison_verdict(comparison(*lanes, lane("M", OTHER_AT_3, spec=MIXED), lane("R", TEXT, spec=DRAWN)))
    assert both.startswith("The mixed lane parts from Raw at token 3")
    assert both.endswith(alone), "its own control stays its own"
    assert both.count("One text is no proof") == 1
    apart = comparison_verdict(comparison(*lanes, lane("M", OTHER_AT_3, spec=MIXED), lane("R", TEXT, spec=other)))
    assert "Without the same gains on random directions" in apart, "other gains are no control"


def test_noise_of_its_own_is_said_instead_of_anything_else() -> None:
    lanes = lane("Raw", TEXT), lane("Projected", OTHER_AT_2, spec=LaneSpec())
    said = comparison_verdict(comparison(*lanes, sampling=Sampling(shared_randomness=False)))
    assert "can be chance" in said
    assert "parts" not in said
    greedy = comparison_verdict(comparison(*lanes, sampling=Sampling(temperature=0, shared_randomness=False)))
    assert "parts from Raw at token 2" in greedy


@pytest.mark.parametrize(
    ("right", "says"),
    [((True, True), "All answers are right."), ((False, True), "Right: Projected."), ((False, False), "No answer is"),
     ((None, None), "would do that."), ((), "would do that.")],
)  # fmt: skip
def test_right_answers_are_named(right: tuple[bool | None, ...], says: str) -> None:
    lanes = lane("Raw", TEXT), lane("Projected", OTHER_AT_2, spec=LaneSpec())
    assert says in comparison_verdict(comparison(*lanes), right)


def test_a_sweep_counts_its_cells() -> None:
    cells = [lane(f"{at}", text, spec=LaneSpec(rank="2")) for at, text in enumerate((TEXT, OTHER_AT_2, TEXT, TEXT))]
    grid = Grid(ranks=("2", "4"), strengths=(0.5, 1.0))
    assert comparison_verdict(comparison(lane("Raw", TEXT), *cells, grid=grid)).startswith("3 of 4 combinations")


def test_nothing_is_said_where_nothing_was_projected_or_written() -> None:
    assert comparison_verdict(comparison(lane("Raw", TEXT))) == ""
    assert comparison_verdict(comparison(lane("Raw", TEXT), lane("Raw 2", OTHER_AT_2, spec=RAW))) == ""
    assert comparison_verdict(comparison(lane("Raw", []), lane("Projected", [], spec=LaneSpec()))) == ""

"""Right and wrong lanes, by the capability's own scorer."""

import pytest

from spd_core.data.capability import Scorer, Settings
from spd_core.evaluation.lane_scores import lane_scores
from tests.generation.test_comparison import comparison, lane


def settings(scorer: Scorer) -> Settings:
    return Settings(capability="sums", scorer=scorer, template="Q: {prompt}")


@pytest.mark.parametrize(
    ("scorer", "answer", "texts", "right"),
    [
        ("number", "72", (" 6 x 12 = 64", " It is 72.", ""), (False, True, None)),
        ("exact", "Paris", (" Paris", " London"), (True, False)),
        ("nll", "72", (" 72",), (None,)),
        ("python", "def f(): pass", ("def f(): pass",), (None,)),
    ],
)
def test_each_lane_is_scored(
    scorer: Scorer, answer: str, texts: tuple[str, ...], right: tuple[bool | None, ...]
) -> None:
    lanes = [lane(f"{at}", [text] if text else []) for at, text in enumerate(texts)]
    assert lane_scores(comparison(*lanes, answer=answer), settings(scorer)) == right


def test_a_letter_is_read_among_the_options_of_the_prompt() -> None:
    lanes = lane("Raw", [" C. Japan"]), lane("Projected", [" A."])
    asked = comparison(*lanes, prompt="Where is it?\nA. Peru\nB. Chad\nC. Japan\nD. Iran", answer="C")
    assert lane_scores(asked, settings("letter")) == (True, False)


def test_without_an_answer_nothing_is_known() -> None:
    assert lane_scores(comparison(lane("Raw", [" 72"]), answer=None), settings("number")) == (None,)

"""The sample that is opened on: raw is right and projecting changes it, whatever else the lanes get right."""

from collections.abc import Sequence

import pytest

from spd_core.evaluation import repeats
from spd_core.evaluation.opening_sample import choice_sentence, is_telling, telling_prompt
from spd_core.evaluation.repeats import read_repeat
from tests.evaluation.test_repeat_verdict import repeat_of

DIFFERS = [0, 0, 1, 1]
RIGHT = [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("raw", "projected", "differs", "place"),
    [
        (RIGHT, [0] * 4, DIFFERS, 3),
        (RIGHT, [1] * 4, DIFFERS, 3),  # a projection that is right is chosen no earlier than one that is wrong
        ([1] * 4, [0] * 4, DIFFERS, 2),
        ([0] * 4, [1] * 4, DIFFERS, None),
        ([1] * 4, [1] * 4, [0] * 4, None),
        ([None] * 4, [None] * 4, DIFFERS, 2),
    ],
)
def test_the_first_that_raw_has_right_and_projecting_changes(
    raw: Sequence[int], projected: Sequence[int], differs: Sequence[int], place: int | None
) -> None:
    assert telling_prompt(repeat_of([raw, projected], [[0] * 4, differs])) == place


def test_raw_alone_shows_nothing() -> None:
    found = repeat_of([RIGHT], [[0] * 4])
    assert telling_prompt(found) is None
    assert not is_telling(found.comparison(1, 0), True)


def test_the_sentence_says_how_rare_it_is() -> None:
    said = choice_sentence(read_repeat(repeats.RECORDED_REPEATS / "arithmetic.json"))
    assert said.endswith("Over prompts and seeds, Raw is right in 4 of 24.")
    unknown = choice_sentence(read_repeat(repeats.RECORDED_REPEATS / "python-functions.json"))
    assert "right" not in unknown

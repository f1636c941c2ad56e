"""The sentence on where a direction comes from, on tables made by hand."""

import pandas as pd
import pytest

from spd_core.attribution.tables import ASIDE, LOSS, OTHER
from spd_core.attribution.verdict import coordinate_verdict, energy_verdict


def table(*rows: tuple[str, str, float]) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["text", "role", "share"])
    return made.assign(aside=made.role == ASIDE)


@pytest.mark.parametrize(
    ("rows", "direction", "says"),
    [
        ([("Q", ASIDE, 0.9), (":", OTHER, 0.06), ("4", LOSS, 0.01), (":", OTHER, 0.03)], 0,
         "90% of direction 1 comes from each text's first position and special tokens. “:” has most of the rest: "
         "9.0%, in 2 places."),
        ([("Q", ASIDE, 0.1), (" the", OTHER, 0.2), ("4", LOSS, 0.4), ("5", LOSS, 0.3)], 6,
         "70% of direction 7 comes from the loss tokens themselves. “4” has most of all tokens: 40.0%, in 1 place."),
        ([("Q", ASIDE, 0.1), (" the", OTHER, 0.8), ("4", LOSS, 0.1)], 1,
         "from the context, not the loss tokens. “·the”"),
        ([("Q", ASIDE, 1.0), ("4", LOSS, 0.0)], 0, "100% of direction 1 comes from each text's first position"),
        ([("\u202e", OTHER, 1.0)], 0, "“⟨U+202E⟩”"),
    ],
)  # fmt: skip
def test_the_largest_part_is_named_with_its_share(
    rows: list[tuple[str, str, float]], direction: int, says: str
) -> None:
    assert says in energy_verdict(table(*rows), direction)


def test_the_tokens_at_both_ends_are_named_with_how_often_they_are_there() -> None:
    rows = [(" ", 9.0), ("4", 8.0), (" ", 7.0), ("the", 0.0), (". ", -1.0), ("a", -2.0), ("a", -0.5)]
    said = coordinate_verdict(pd.DataFrame(rows, columns=["text", "coordinate"]), 1, "value")
    assert said == (
        "Values point farthest along direction 2 at “·”, and farthest against it at “a”. These are 2 of the 3 largest "
        "coordinates and 2 of the 3 most negative ones; which way is along is arbitrary."
    )
    assert coordinate_verdict(pd.DataFrame(rows[:3], columns=["text", "coordinate"]), 1, "key") == ""

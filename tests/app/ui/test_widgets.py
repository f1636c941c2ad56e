"""Text that is shown as it is, numbers in words, labels that differ."""

import pytest

from app.ui.figures import plotly_text
from app.ui.widgets import distinct_labels, duration, escaped, ranges


def test_plain_leaves_no_markdown() -> None:
    for mark in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~":
        assert escaped(f"a{mark}b") == f"a\\{mark}b"
    assert escaped("one\ntwo") == "one  \ntwo"


@pytest.mark.parametrize(
    "text",
    ["see https://a.b/c", "WWW.a.b", "me@a.b", "a -> b", "a <- b", "a <-> b", "x >= 2", "x <= 2", "x ~= 2", "a -- b"],
)
def test_plain_makes_no_link_and_no_typography(text: str) -> None:
    """Streamlit does both to text whose every character is escaped."""
    shown = escaped(text).replace("\\", "")
    assert "\u2060" in shown
    assert shown.replace("\u2060", "") == text


TURNED, COLOURED = "safe \u202efdp.exe", "\x1b[31mred"


def test_what_acts_on_the_text_around_it_is_spelled_out() -> None:
    """A right-to-left override turned the rest of Home's line; a terminal's colour lay in a legend and a log."""
    assert escaped(TURNED) == r"safe ⟨U\+202E⟩fdp\.exe"
    assert plotly_text(COLOURED) == "⟨U+001B⟩[31mred"
    assert escaped("naïve 你好 👩‍🔬") == "naïve 你好 👩‍🔬", "letters and joined emoji stay"


def test_plain_is_one_paragraph() -> None:
    assert escaped("one\n\n    two\n \t\nthree").split("  \n") == ["one", "\u00a0", "    two", "\u00a0", "three"]
    assert "\u2060" not in escaped("choose another --out, x->y, http and a@b")


def test_runs_of_layers_are_drawn_together() -> None:
    assert ranges([15, 29]) == "15, 29"
    assert ranges([0, 1, 2, 3, 7, 8]) == "0–3, 7, 8"


def test_options_of_one_label_are_told_apart() -> None:
    told = distinct_labels(["a-0000001", "b-0000002", "c-0000003"], lambda name: "same" if name[0] < "c" else "other")
    labels = [told(name) for name in ("a-0000001", "b-0000002", "c-0000003")]
    assert labels == ["same · 0000001", "same · 0000002", "other"]


def test_durations_in_words() -> None:
    assert [duration(seconds) for seconds in (5, 89, 100, 3600, 7500, 98.4 * 3600, 2e9 * 86400)] == [
        "5 s", "89 s", "2 min", "60 min", "2 h 5 min", "4 days", "2,000,000,000 days",
    ]  # fmt: skip

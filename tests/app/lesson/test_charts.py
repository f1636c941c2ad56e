"""What the lesson draws and says, of small arrays made by hand."""

import numpy as np
import pytest

from app.lesson.charts import arrows_figure, held_figure
from app.lesson.cloud import directions_drawn
from app.lesson.numbers import Arrows, TokenHeld
from app.lesson.sentences import say_arrows, say_held
from spd_core.attribution.geometry import Points
from spd_core.data.spans import Encoded

TEXT = Encoded(id="one", text="ab c", ids=(5, 6, 7), offsets=((0, 1), (1, 2), (2, 4)), supervised=(1, 2))
FOUND = Arrows(np.array([[3.0, 4.0], [-1.0, 0.0], [0.0, -2.0]]), np.arange(3), np.array([30.0, 10.0, 10.0]))


def test_an_arrow_for_each_token_and_a_click_on_its_head_tells_which() -> None:
    figure = arrows_figure(FOUND, ["a", "b", "·c"], TEXT.supervised, 2, dark=False)
    heads = {
        place: (x, y, trace.name)
        for trace in figure.data
        for place, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)
        if place is not None
    }
    assert heads == {0: (3, 4, "other token"), 1: (-1, 0, "loss token"), 2: (0, -2, "chosen")}
    (label,) = figure.layout.annotations
    assert (label.text, label.x, label.y) == ("<b>·c</b>", 0, -2)
    assert label.yshift < 0, "below an arrow that points down"


def test_no_arrow_stands_out_where_the_chosen_token_is_left_out() -> None:
    left = Arrows(FOUND.xy[1:], FOUND.tokens[1:], FOUND.energy[1:])
    figure = arrows_figure(left, ["b", "·c"], TEXT.supervised, 0, dark=True)
    assert [trace.name for trace in figure.data] == ["loss token"]
    assert not figure.layout.annotations
    assert say_arrows(left, TEXT, 0).startswith("“a” is at the first position, which is left out.")


def test_what_is_said_of_an_arrow() -> None:
    assert say_arrows(FOUND, TEXT, 0) == (
        "“a” is no loss token, and its gradient holds 60% of the energy. Of the 3 tokens drawn, none has a longer one."
    )
    assert say_arrows(FOUND, TEXT, 1) == (
        "“b” is a loss token, and its gradient holds 20% of the energy. "
        "Of the 3 tokens drawn, “a”, at position 0, has the most: 60%."
    )


def test_bars_keep_their_scale_from_token_to_token() -> None:
    figure = held_figure(np.array([1.0, -2.0]), 8.0, dark=False)
    low, high = figure.layout.yaxis.range
    assert low == -high
    assert high > 8
    some = say_held("a", "key", 3, 4, TokenHeld(np.array([1.0, -2.0]), 0.25, 8.0))
    assert some.endswith("Here are 2 of them, along the first 2 directions. They hold 25% of its squared length.")
    whole = say_held("a", "key", 3, 2, TokenHeld(np.array([1.0, -2.0]), 1.0, 8.0))
    assert whole.endswith("Here they are, along all directions.")


def test_directions_are_as_long_as_gradients_vary_and_the_line_turns_between_the_first_two() -> None:
    points = Points((0, 1, 2), np.array([[2.0, 0, 0], [0, -1, 0.5]]), np.zeros(3, bool), None, 4, 3)
    *directions, line = directions_drawn(points, np.array([4.0, 3.0, 1.0, 0.5]), 90, dark=False)
    assert np.array([one.end for one in directions]) == pytest.approx(np.diag([2.0, 1.5, 0.5]))
    assert not any(one.both for one in directions)
    assert line.end == pytest.approx((0, 2, 0))
    assert line.both

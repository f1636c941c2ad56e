"""Figures as data: once for both themes, with what differs, and nothing that the report's plotly.js cannot draw."""

import copy
import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from app.reports.portable import FONT, changes, figure_data
from app.ui.figures import INK, build_figure


def applied(figure: Any, found: list[Any]) -> Any:
    """What the script in a report does."""
    figure = copy.deepcopy(figure)
    for path, value in found:
        inside = figure
        for step in path[:-1]:
            inside = inside[step]
        inside[path[-1]] = value
    return figure


def test_changes_make_the_one_of_the_other_and_say_no_more() -> None:
    before = {"a": [1, {"b": 2, "c": 3}], "d": {"e": "x"}, "f": [1, 2]}
    after = {"a": [1, {"b": 5, "c": 3}], "d": {"e": "x"}, "f": [1, 2, 3], "g": None}
    found = [[path, value] for path, value in changes(before, after)]
    assert found == [[["a", 1, "b"], 5], [["f"], [1, 2, 3]], [["g"], None]]
    assert applied(before, found) == after
    assert list(changes(before, before)) == []


def draw(dark: bool) -> go.Figure:
    points = {"type": "scattergl", "x": np.arange(5000.0), "y": np.arange(5000.0), "marker": {"color": INK[dark]}}
    gap = {"type": "scatter", "x": [1.0, float("nan")], "y": [1, 2], "name": "<b>"}
    return build_figure([points, gap], {"height": 300}, dark=dark)


def test_a_figure_is_there_once_for_both_themes() -> None:
    data = figure_data(draw)
    light, dark = (json.loads(draw(is_dark).to_json()) for is_dark in (False, True))
    both = applied(data["figure"], data["dark"])
    assert [trace["type"] for trace in data["figure"]["data"]] == ["scatter", "scatter"]
    assert data["figure"]["data"][1] == light["data"][1]
    assert data["figure"]["data"][1]["x"] == [1.0, None]
    for found, whole in ((data["figure"], light), (both, dark)):
        assert found["data"][0]["marker"] == whole["data"][0]["marker"]
        assert found["layout"]["font"] == whole["layout"]["font"] | {"family": FONT}
        assert found["layout"]["height"] == 300
    assert len(json.dumps(data["dark"])) < 3000, "the numbers are not there twice"


def test_what_it_cannot_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="'scatter3d'"):
        figure_data(lambda dark: build_figure([{"type": "scatter3d", "x": [1]}], {}, dark=dark))

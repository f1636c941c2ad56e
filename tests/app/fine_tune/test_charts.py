"""Figures of runs hold the numbers they are given, tell arms apart without colour, and no text in them can be a tag."""

import csv
import io
from typing import Any

import pytest

from app.fine_tune import charts
from app.ui.tables import to_csv
from spd_core.recipes.distill import ARMS
from spd_core.runs.events import Drift
from spd_core.runs.view import Curve, RunView

EVIL = '<b>x</b> <a href="http://evil.example">%{x}'


def curve(*losses: float, held_out: float | None = None) -> Curve:
    steps = list(range(1, len(losses) + 1))
    points = [] if held_out is None else [(steps[-1], steps[-1] / 2, held_out)]
    return Curve(steps, [step / 2 for step in steps], list(losses), points, planned=18)


def turned(arm: str, r: int = 1, overlap: float = 0.75) -> Drift:
    sites = {"layer 1 key": overlap, "layer 1 value": 0.5}
    return Drift(
        time=0.0, arm=arm, round=r, overlap=sites, before={"layer 1 key": 0.875}, chance=dict.fromkeys(sites, 0.25),
        angles={"layer 1 key": (1.0, 60.0)},
    )  # fmt: skip


def by_name(figure: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for trace in figure.data:
        found.setdefault(trace.name, []).append(trace)
    return found


# --- losses ------------------------------------------------------------------------------------------------------


def test_train_is_thin_and_held_out_thick_with_marks() -> None:
    figure = charts.losses({"": {("spd", 1): curve(3.0, 2.5, held_out=2.75)}}, False)
    train, held_out = by_name(figure)["SPD"]
    assert (list(train.x), list(train.y), train.mode) == ([1, 2], [3.0, 2.5], "lines")
    assert (list(held_out.x), list(held_out.y), held_out.mode) == ([2], [2.75], "lines+markers")
    assert train.line.width < held_out.line.width
    assert [list(told) for told in train.customdata] == [[1, 1, 0.5], [1, 2, 1.0]]
    assert all(word in train.hovertemplate for word in ("round", "step", "epoch", "nats", "train"))
    assert (train.showlegend, held_out.showlegend) == (True, False)
    assert train.legendgroup == held_out.legendgroup
    assert "nats" in figure.layout.yaxis.title.text


def test_rounds_follow_on_each_other() -> None:
    curves = {("spd", 2): curve(2.0), ("spd", 1): curve(3.0, 2.5, held_out=2.75), ("ssd", 1): curve(4.0)}
    figure = charts.losses({"": curves}, False)
    assert [list(trace.x) for trace in by_name(figure)["SPD"]] == [[1, 2], [2], [3]]
    assert list(by_name(figure)["SSD"][0].x) == [1]
    assert [trace.showlegend for trace in by_name(figure)["SPD"]] == [True, False, False]
    assert "rounds one after another" in figure.layout.xaxis.title.text
    by_epoch = charts.losses({"": curves}, False, "epoch")
    assert [list(trace.x) for trace in by_name(by_epoch)["SPD"]] == [[0.5, 1.0], [1.0], [1.5]]
    assert "epoch" in by_epoch.layout.xaxis.title.text


@pytest.mark.parametrize("dark", [False, True])
def test_every_arm_has_its_own_colour_dash_and_mark_wherever_it_stands(dark: bool) -> None:
    def looks(arms: list[str]) -> dict[str, tuple[str, str]]:
        figure = charts.losses({"": {(arm, 1): curve(1.0) for arm in arms}}, dark)
        return {trace.name: (trace.line.color, trace.line.dash) for trace in figure.data}

    every = looks(list(ARMS))
    assert len({colour for colour, _ in every.values()}) == len(ARMS) == 7
    assert every == looks(list(reversed(ARMS)))
    assert looks(["spd"])["SPD"] == every["SPD"]
    assert set(charts._LOOKS) == set(ARMS)
    assert len({dash for _, dash in every.values()}) >= 6
    assert looks(["new arm"])["new arm"], "an arm of a newer version is drawn, too"


def test_runs_are_told_apart_by_their_marks_and_names() -> None:
    views = {"first": {("spd", 1): curve(3.0, held_out=2.0)}, "second": {("spd", 1): curve(2.5)}}
    first, second = by_name(figure := charts.losses(views, True))["first · SPD"], by_name(figure)["second · SPD"]
    assert len(figure.data) == 3
    assert {trace.marker.symbol for trace in first} == {"circle"}
    assert second[0].marker.symbol == "square"
    assert second[0].mode == "lines+markers"
    assert {trace.line.color for trace in figure.data} == {first[0].line.color}
    assert first[0].legendgroup != second[0].legendgroup


def test_names_of_runs_and_arms_are_no_tags() -> None:
    figure = charts.losses({EVIL: {(EVIL, 1): curve(3.0)}}, False)
    trace = figure.data[0]
    assert "<" not in trace.name
    assert "&lt;b&gt;x" in trace.name
    assert "evil" not in trace.hovertemplate, "the template gets the name from the trace, so it cannot hold %{…}"
    turns = charts.drift({(EVIL, 1): turned(EVIL).model_copy(update={"overlap": {EVIL: 0.5}})}, False)
    assert "<" not in turns.data[0].name + turns.data[0].x[0]


def test_the_losses_as_a_table_and_in_a_sentence() -> None:
    views = {"": {("spd", 1): curve(3.0, 2.123456, held_out=2.75), ("ssd", 2): Curve()}}
    rows = charts.losses_table(views)
    assert rows == [
        {"Arm": "SPD", "Round": "1", "Step": "1", "Epoch": "0.5", "Train loss (nats)": "3", "Held-out loss (nats)": ""},
        {"Arm": "SPD", "Round": "1", "Step": "2", "Epoch": "1", "Train loss (nats)": "2.123456",
         "Held-out loss (nats)": "2.75"},
    ]  # fmt: skip
    assert list(csv.DictReader(io.StringIO(to_csv(rows).decode()))) == rows
    alt = charts.losses_alt(views)
    assert "SPD train 2.123 and held-out 2.750; SSD round 2 nothing yet." in alt
    assert charts.losses_table({"run": {("spd", 1): curve(3.0)}})[0]["Run"] == "run"
    assert charts.losses_alt({}).endswith("none yet.")
    assert not charts.losses({}, False).data


def test_last_losses_of_several_runs() -> None:
    curves = {("spd", 1): curve(3.0, held_out=2.0), ("spd", 2): Curve(held_out=[(1, 1.0, 1.5)])}
    assert charts.finals_table({"a": RunView(curves=curves), "b": RunView()}) == [
        {"Run": "a", "Arm": "SPD", "Round": "2", "Train": "–", "Held-out": "1.5000"}
    ]


# --- drift -------------------------------------------------------------------------------------------------------


def test_drift_marks_every_site_and_chance() -> None:
    drifts = {("psr", 1): turned("psr"), ("spd", 1): turned("spd", 1, 0.8), ("spd", 2): turned("spd", 2, 0.7)}
    figure = charts.drift(drifts, False)
    named = by_name(figure)
    assert list(named) == ["PSR", "SPD", "SPD, round 2", "chance"]
    assert list(named["SPD"][0].x) == ["layer 1 key", "layer 1 value"]
    assert list(named["SPD"][0].y) == [0.8, 0.5]
    assert list(named["SPD"][0].customdata[0]) == [0.875, 0.25, 60.0]
    symbols = {name: named[name][0].marker.symbol for name in list(named)[:3]}
    assert symbols == {"PSR": "circle", "SPD": "diamond-open", "SPD, round 2": "diamond"}
    assert [(line.x0, line.x1, line.y0) for line in figure.layout.shapes] == [(-0.45, 0.45, 0.25), (0.55, 1.45, 0.25)]
    assert tuple(figure.layout.yaxis.range) == (0, 1.04)


def test_drift_as_a_table_and_in_a_sentence() -> None:
    drifts = {("spd", 1): turned("spd"), ("spd", 2): turned("spd", 2, 0.3)}
    rows = charts.drift_table(drifts)
    assert len(rows) == 4
    assert rows[0] == {"Arm": "SPD", "Round": "1", "Site": "layer 1 key", "Overlap (mean cos²)": "0.75",
                       "To the round before": "0.875", "Chance": "0.25", "Largest angle (°)": "60"}  # fmt: skip
    assert rows[1]["To the round before"] == rows[1]["Largest angle (°)"] == "", "what was not told is left empty"
    alt = charts.drift_alt(drifts)
    assert "SPD 0.500 at layer 1 value (chance 0.250); SPD, round 2 0.300 at layer 1 key" in alt
    assert charts.drift_alt({}).endswith("none yet.")
    assert len(charts.drift({}, True).data) == 1

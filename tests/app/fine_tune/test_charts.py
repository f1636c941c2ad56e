"""Figures of runs hold the numbers they are given, tell arms apart without colour, and no text in them can be a tag."""

import csv
import io
from itertools import pairwise
from typing import Any

import pytest

from app.fine_tune import charts, drift_chart, measure_charts, schedule_charts
from app.ui.tables import to_csv
from spd_core.recipes.distill import ARMS, Recipe, short_name
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
    train, means, held_out = by_name(figure)["SPD"]
    assert (list(means.x), list(means.y), means.mode, means.marker.symbol) == (
        [2],
        [2.75],
        "lines+markers",
        "diamond-open",
    )
    assert (list(train.x), list(train.y), train.mode) == ([1, 2], [3.0, 2.5], "lines")
    assert (list(held_out.x), list(held_out.y), held_out.mode) == ([2], [2.75], "lines+markers")
    assert train.line.width < means.line.width < held_out.line.width
    assert train.opacity < 0.5, "six arms over each other, and the others have to be seen through them"
    assert (means.opacity, held_out.opacity) == (None, None)
    assert [list(told) for told in train.customdata] == [[1, 1, 0.5], [1, 2, 1.0]]
    assert all(word in train.hovertemplate for word in ("round", "step", "epoch", "nats", "train"))
    assert (train.showlegend, means.showlegend, held_out.showlegend) == (False, False, True)
    assert train.legendgroup == held_out.legendgroup
    assert "nats" in figure.layout.yaxis.title.text


def test_rounds_follow_on_each_other() -> None:
    curves = {("spd", 2): curve(2.0), ("spd", 1): curve(3.0, 2.5, held_out=2.75), ("ssd", 1): curve(4.0)}
    figure = charts.losses({"": curves}, False)
    assert [list(trace.x) for trace in by_name(figure)["SPD"]] == [[1, 2], [2], [2], [3], [3]]
    assert list(by_name(figure)["SSD"][0].x) == [1]
    assert [trace.showlegend for trace in by_name(figure)["SPD"]] == [False, False, True, False, False]
    assert "rounds one after another" in figure.layout.xaxis.title.text
    by_epoch = charts.losses({"": curves}, False, "epoch")
    assert [list(trace.x) for trace in by_name(by_epoch)["SPD"]] == [[0.5, 1.0], [1.0], [1.0], [1.5], [2.0]]
    assert "epoch" in by_epoch.layout.xaxis.title.text


@pytest.mark.parametrize("dark", [False, True])
def test_every_arm_has_its_own_look_wherever_it_stands(dark: bool) -> None:
    def looks(arms: list[str]) -> dict[str, tuple[str, str]]:
        figure = charts.losses({"": {(arm, 1): curve(1.0) for arm in arms}}, dark)
        return {trace.name: (trace.line.color, trace.line.dash) for trace in figure.data if trace.mode == "lines"}

    every = looks(list(ARMS))
    assert len(set(every.values())) == len(ARMS), "a colour and a dash of its own"
    assert len({mark for _, _, mark in charts._LOOKS.values()}) == len(ARMS), "and a mark"
    corpora = [short_name(arm) for arm in ARMS if Recipe.writes(arm)]
    assert len({every[name][0] for name in corpora}) == len(corpora), "of those that train on corpora, a colour"
    assert every == looks(list(reversed(ARMS)))
    assert looks(["spd"])["SPD"] == every["SPD"]
    assert set(charts._LOOKS) == set(ARMS)
    assert len({dash for _, dash in every.values()}) >= 6
    assert looks(["new arm"])["new arm"], "an arm of a newer version is drawn, too"


def test_runs_are_told_apart_by_their_marks_and_names() -> None:
    views = {"first": {("spd", 1): curve(3.0, held_out=2.0)}, "second": {("spd", 1): curve(2.5)}}
    first, second = by_name(figure := charts.losses(views, True))["first · SPD"], by_name(figure)["second · SPD"]
    assert {trace.marker.symbol for trace in first} == {None, "circle", "circle-open"}
    assert {trace.marker.symbol for trace in second} == {None, "square-open"}
    assert len({trace.line.color or trace.marker.color for trace in figure.data}) == 1
    assert figure.layout.legend.yref == "container", "at the foot: plotly's buttons are at the top"
    assert first[0].legendgroup != second[0].legendgroup


def test_names_of_runs_and_arms_are_no_tags() -> None:
    figure = charts.losses({EVIL: {(EVIL, 1): curve(3.0)}}, False)
    trace = figure.data[0]
    assert "<" not in trace.name
    assert "&lt;b&gt;x" in trace.name
    assert "evil" not in trace.hovertemplate, "the template gets the name from the trace, so it cannot hold %{…}"
    turns = drift_chart.drift({(EVIL, 1): turned(EVIL).model_copy(update={"overlap": {EVIL: 0.5}})}, False)
    assert "<" not in turns.data[0].name + turns.data[0].x[0]
    scored = curve(3.0)
    scored.scored = [(1, 0.5, 1, 2)]
    for other in (
        schedule_charts.answers({(EVIL, 1): scored}, False),
        schedule_charts.grad_norms({(EVIL, 1): scored}, True),
    ):
        assert "<" not in other.data[0].name


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


def test_what_students_measure_has_a_panel_each() -> None:
    told = curve(1.0, 0.5)
    told.entropies, told.targets, told.divergences = [2.0, 1.5], [0.25, None], [0.0, 0.125]
    white = curve(1.0)
    white.entropies, white.targets, white.divergences = [1.0], [None], [None]
    both = {("omniopd", 1): told, ("on-policy", 1): white}
    figure = measure_charts.measured_lines(both, False)
    lines = [(one.name, one.yaxis, list(one.x), list(one.y), one.showlegend) for one in figure.data]
    assert lines == [
        ("OmniOPD", "y", [1], [0.25], True), ("OmniOPD", "y2", [1, 2], [2.0, 1.5], False),
        ("On-policy SPD", "y2", [1], [1.0], True), ("OmniOPD", "y3", [1, 2], [0.0, 0.125], False),
    ]  # fmt: skip
    domains = [figure.layout[name].domain for name in ("yaxis3", "yaxis2", "yaxis")]
    assert all(low < high < above for (low, high), (above, _) in pairwise(domains)), "a heading fits between two"
    alone = measure_charts.measured_lines({("on-policy", 1): white}, True)
    assert [one.yaxis for one in alone.data] == ["y"]
    assert (measure_charts.has_weights(both), measure_charts.has_weights({("on-policy", 1): white})) == (True, False)
    assert "OmniOPD, entropy of the student: 2.000 to 1.500" in measure_charts.measures_alt(both)
    assert measure_charts.measures_alt({("spd", 1): curve(1.0)}) == "", "nothing was measured"
    rows = charts.losses_table({"": both | {("spd", 1): curve(1.0)}})
    assert [row["Mean weight π̂"] for row in rows] == ["0.25", "", "", ""]
    assert [row["Entropy (nats a token)"] for row in rows] == ["2", "1.5", "1", ""]


def test_the_axis_begins_where_something_is_drawn() -> None:
    """Held-out rows are scored before the first step; students have nothing there."""
    before = Curve([1, 2], [0.5, 1.0], [3.0, 2.5], [(0, 0.0, 3.5)])
    held_out = charts.losses({"": {("spd", 1): before}}, False).layout.xaxis
    students = charts.losses({"": {("omniopd", 1): curve(3.0, 2.5)}}, False).layout.xaxis
    assert (held_out.rangemode, students.rangemode) == ("tozero", "normal")
    assert (held_out.dtick, students.dtick) == (1, 1), "few steps are all numbered, and nothing between them"
    long = charts.losses({"": {("omniopd", 1): curve(*[1.0] * 8), ("omniopd", 2): curve(*[1.0] * 8)}}, False)
    assert long.layout.xaxis.dtick is None, "16 steps in two rounds"


def test_last_losses_of_several_runs() -> None:
    curves = {("spd", 1): curve(3.0, held_out=2.0), ("spd", 2): Curve(held_out=[(1, 1.0, 1.5)])}
    assert charts.finals_table({"a": RunView(curves=curves), "b": RunView()}) == [
        {"Run": "a", "Arm": "SPD", "Round": "2", "Train, mean of an epoch": "–", "Held-out": "1.5000"}
    ]


# --- beside the losses --------------------------------------------------------------------------------------------


def test_right_answers_have_wilsons_interval() -> None:
    one = Curve(scored=[(0, 0.0, 3, 8), (4, 1.0, 4, 8)])
    figure = schedule_charts.answers({("spd", 1): one}, False)
    (trace,) = figure.data
    assert (list(trace.x), list(trace.y)) == ([0, 4], [37.5, 50.0])
    # Wilson (1927) by hand for 4 of 8, z = 1.96: (0.5 ± 1.96 √(0.25/8 + 3.8416/256) / (1 + 3.8416/8)) → 21.5 to 78.5
    assert [round(trace.y[1] - trace.error_y.arrayminus[1], 1), round(trace.y[1] + trace.error_y.array[1], 1)] == [
        21.5,
        78.5,
    ]
    assert list(trace.customdata[1])[:4] == [1, 4, 4, 8]
    assert "of 8" in schedule_charts.answers_alt({("spd", 1): one})
    two = schedule_charts.answers({("spd", 1): one, ("psr", 1): one, ("ssd", 1): Curve()}, True)
    assert [trace.name for trace in two.data] == ["SPD", "PSR"], "arms without scores are left out"
    assert two.data[0].x[1] < two.data[1].x[1] < 4.2, "beside each other, not on each other"
    many = schedule_charts.answers({(arm, 1): one for arm in ARMS}, False).data
    assert many[-1].x[0] < 1 < 3 < many[0].x[1], "arms of an epoch keep together, however many"
    assert {round(after.x[0] - before.x[0], 9) for before, after in pairwise(many)} == {round(0.4 * 4 / len(ARMS), 9)}


def test_the_learning_rate_is_what_was_told_else_what_is_planned() -> None:
    told = Curve(steps=[1, 2], epochs=[0.5, 1.0], losses=[1, 1], learning_rates=[2e-4, 1e-4], grad_norms=[0.5, 0.25])
    figure = schedule_charts.learning_rates({("spd", 1): told}, 2e-4, False)
    assert list(figure.data[0].y) == [2e-4, 1e-4]
    assert list(schedule_charts.grad_norms({("spd", 1): told}, False).data[0].y) == [0.5, 0.25]
    old = Curve(steps=[1, 2, 4], epochs=[0.5, 1.0, 2.0], losses=[1, 1, 1], planned=4)
    planned = schedule_charts.learning_rates({("spd", 1): old}, 2.0, False).data[0].y
    assert list(planned) == pytest.approx([1 + 2**-0.5, 1.0, 0.0])


def test_the_planned_rate_is_that_of_transformers() -> None:
    import torch
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule = get_scheduler("cosine", optimizer, num_warmup_steps=0, num_training_steps=7)
    for step in range(8):
        assert schedule_charts.cosine(0.3, step, 7) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()

"""What each subject scored on each set, with its interval. Pure: no Streamlit.

Better is always on the right, and blue; what the data do not show has the muted colour and a mark of its own.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from app.ui.figures import INK, KEY, MUTED, VALUE, Drawing, build_figure, plotly_text
from app.ui.set_panels import (
    answered_sets,
    interval_bars,
    interval_text,
    named_once,
    on_panel,
    set_title,
    stacked_panels,
    upright_line,
)
from spd_core.evaluation.paper import reported
from spd_core.evaluation.report import ITEMS, shown_value
from spd_core.evaluation.statistics import Interval
from spd_core.evaluation.table import Answered, Column, Table

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SEED_BELOW = 0.27
"""Rows by which the dots of single seeds stand below the pooled score, whose bar would hide them."""


def _answers(table: Table, column: Column) -> list[tuple[str, Answered]]:
    names = [subject.name for subject in table.recipe.subjects]
    return [(name, table.answered[name, column.name]) for name in names if (name, column.name) in table.answered]


def scores(table: Table, dark: bool) -> "go.Figure":
    """What each subject scored on each set: a dot with its 95% interval, a panel a set, the base as a line.

    The paper's figures have a mark of their own, chance a dotted line.
    """
    shown = answered_sets(table)
    panels, data = [], []
    for at, column in enumerate(shown):
        answers = _answers(table, column)
        n = answers[0][1].estimate.n
        panels.append(
            (f"{set_title(column)}\nn = {n}", [one.subject.title for _, one in answers], _value_axis(table, column))
        )
        data += list(_value_traces(table, column, at, answers, dark))
    return build_figure(named_once(data), stacked_panels(panels), dark=dark)


def _value_axis(table: Table, column: Column) -> Drawing:
    """The same for all sets with right answers; likelihoods run backwards, each over its own range."""
    if column.likelihood:
        return {"title": {"text": "nats per token, lower is better"}, "autorange": "reversed"}
    far = max(100 * one.estimate.interval.high for one in table.answered.values() if not one.likelihood)
    return {"title": {"text": "right answers (%), higher is better"}, "range": [-2, min(102, far + 5)]}


def _value_traces(
    table: Table, column: Column, at: int, answers: Sequence[tuple[str, Answered]], dark: bool
) -> Iterator[Drawing]:
    unit = 1 if column.likelihood else 100
    base = table.answered.get((table.base.name, column.name))
    rows = {name: row for row, (name, _) in enumerate(answers)}
    if base is not None:
        line = {"color": INK[dark], "width": 1.5, "dash": "dash"}
        yield upright_line(at, unit * base.estimate.value, len(rows), line) | {"name": "base"}
    chance = answers[0][1].cells[0].chance
    if chance is not None and not column.likelihood:
        yield upright_line(at, 100 * chance, len(rows), {"color": MUTED[dark], "width": 2, "dash": "dot"}) | {
            "name": "chance"
        }
    estimates = [one.estimate for _, one in answers]
    points = [unit * one.value for one in estimates]
    intervals = [Interval(unit * one.interval.low, unit * one.interval.high) for one in estimates]
    yield {
        **on_panel(at),
        "x": points,
        "y": list(rows.values()),
        "name": "score, 95% interval",
        "marker": {"size": 10, "color": KEY[dark]},
        "error_x": interval_bars(points, intervals, KEY[dark]),
        "text": [_value_hover(one, column) for _, one in answers],
        "hovertemplate": "%{text}<extra></extra>",
    }
    yield from _seed_dots(answers, at, unit, dark)
    paper = [
        (rows[name], figure)
        for name, one in answers
        if (figure := reported(table.recipe.model, one.subject, column)) is not None
    ]
    if paper:
        unit_text = "nats" if column.likelihood else "%"
        yield {
            **on_panel(at),
            "x": [figure for _, figure in paper],
            "y": [row for row, _ in paper],
            "name": "the paper's",
            "marker": {"size": 12, "symbol": "diamond-open", "color": VALUE[dark], "line": {"width": 2.5}},
            "hovertemplate": f"the paper's figure: %{{x}} {unit_text}, {ITEMS} items<extra></extra>",
        }


def _seed_dots(answers: Sequence[tuple[str, Answered]], at: int, unit: int, dark: bool) -> Iterator[Drawing]:
    """A small dot below the pooled score for each seed of the subjects that have several."""
    dots = [
        (unit * value, row + _SEED_BELOW, one, seed)
        for row, (_, one) in enumerate(answers)
        if len(one.cells) > 1
        for seed, value in one.by_seed.items()
    ]
    if dots:
        yield {
            **on_panel(at),
            "x": [value for value, *_ in dots],
            "y": [row for _, row, *_ in dots],
            "name": "each seed",
            "marker": {"size": 6, "color": MUTED[dark]},
            "text": [
                f"{plotly_text(one.subject.title)}, seed {seed}: {shown_value(value / unit, one.likelihood)}"
                for value, _, one, seed in dots
            ],
            "hovertemplate": "%{text}<extra></extra>",
        }


def _value_hover(one: Answered, column: Column) -> str:
    seeds = f", {one.estimate.seeds} seeds" if one.estimate.seeds > 1 else ""
    ends = interval_text(one.estimate.interval, column.likelihood)
    return (
        f"<b>{plotly_text(one.subject.title)}</b>, {plotly_text(set_title(column))}<br>"
        f"{shown_value(one.estimate.value, column.likelihood)}, 95% interval {ends}<br>"
        f"n = {one.estimate.n}{seeds}, {plotly_text(one.estimate.method)}"
    )


def scores_alt(table: Table) -> str:
    """The chart in a sentence for each set."""
    said = []
    for column in answered_sets(table):
        scores = [
            f"{one.subject.title} {shown_value(one.estimate.value, column.likelihood)}"
            for _, one in _answers(table, column)
        ]
        said.append(f"{set_title(column)}: {', '.join(scores)}")
    return f"Scores with 95% intervals. {'; '.join(said)}."

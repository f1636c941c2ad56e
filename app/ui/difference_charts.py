"""Differences of subjects to the base with their intervals, a panel a set. Pure: no Streamlit."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.ui.figures import INK, KEY, MUTED, VALUE, Drawing, build_figure, plotly_text
from app.ui.set_panels import (
    compared_sets,
    interval_bars,
    interval_text,
    items_changed,
    named_once,
    on_panel,
    set_title,
    stacked_panels,
    upright_line,
)
from spd_core.evaluation.claims import Claim
from spd_core.evaluation.report import MARKS, shown_change, shown_p
from spd_core.evaluation.statistics import Interval
from spd_core.evaluation.table import Column, Table

if TYPE_CHECKING:
    import plotly.graph_objects as go


LOOKS = {"helps": (KEY, "triangle-up"), "hurts": (VALUE, "triangle-down"), "not shown": (MUTED, "circle")}
"""Colours on a light and a dark page, and marker of each headline."""
COULD_BE_LUCK = "not shown after Holm"
"""What is not shown although its bar misses zero: a hollow mark of its own."""


LEAST_POINTS, LEAST_NATS = 0.10, 0.02
"""Differences, as a share and in nats, that a scale reaches at least: noise must not look like an effect."""


@dataclass(frozen=True)
class DifferenceGroup:
    """Differences that share a panel.

    Attributes:
        title: two lines, the second how many items there are.
        rows: what each row is called, and its difference.
        column: the set.
    """

    title: str
    rows: Sequence[tuple[str, Claim]]
    column: Column


def _claims(table: Table, column: Column) -> list[tuple[str, Claim]]:
    names = [subject.name for subject in table.recipe.subjects]
    return [(name, table.claims[name, column.name]) for name in names if (name, column.name) in table.claims]


def differences(table: Table, dark: bool, only: str | None = None) -> "go.Figure":
    """Subject − base with its 95% interval, a panel a set, a line at zero; the mark says what it shows.

    Args:
        only: the one set that is drawn; all where it is None.
    """
    groups = []
    for column in compared_sets(table):
        if only in (None, column.name):
            claims = [claim for _, claim in _claims(table, column)]
            title = f"{set_title(column)}\nn = {claims[0].difference.n}"
            groups.append(DifferenceGroup(title, [(one.subject, one) for one in claims], column))
    return difference_panels(groups, "difference to base", dark, table.claims.values())


def difference_panels(
    groups: Sequence[DifferenceGroup], measure: str, dark: bool, scaled_by: Collection[Claim] = ()
) -> "go.Figure":
    """Differences with their 95% intervals, a panel a group, a line at zero; the mark says what each shows.

    The axis of likelihoods runs backwards, so that better is on the right everywhere.

    Args:
        measure: what the axis measures.
        scaled_by: the differences that scales reach to; those that are drawn where there are none.
    """
    panels, data = [], []
    every = list(scaled_by) or [one for group in groups for _, one in group.rows]
    for at, group in enumerate(groups):
        panels.append((group.title, [name for name, _ in group.rows], _change_axis(every, group.column, measure)))
        data.append(upright_line(at, 0, len(group.rows), {"color": INK[dark], "width": 1.5}))
        data += list(_change_traces(group, at, dark))
    kinds = {_look(one) for one in every}
    return build_figure(named_once(data), stacked_panels(panels, legend=len(kinds) > 1), dark=dark)


def _change_axis(every: Sequence[Claim], column: Column, measure: str) -> Drawing:
    """Zero in the middle, the same for all sets in points and all in nats, and never so narrow that noise looks big."""
    unit, least = (1, LEAST_NATS) if column.likelihood else (100, 100 * LEAST_POINTS)
    claims = [one for one in every if one.lower_is_better == column.likelihood]
    ends = [
        abs(unit * end)
        for one in claims
        for end in (one.difference.effect, one.difference.interval.low, one.difference.interval.high)
    ]
    far = 1.08 * max([least, *(end for end in ends if math.isfinite(end))])
    unit_text = "nats per token" if column.likelihood else "percentage points"
    return {
        "title": {"text": f"{measure}, better →<br>({unit_text})"},
        "range": [far, -far] if column.likelihood else [-far, far],
    }


def _change_traces(group: DifferenceGroup, at: int, dark: bool) -> Iterator[Drawing]:
    column, unit = group.column, 1 if group.column.likelihood else 100
    looks = {**LOOKS, COULD_BE_LUCK: (MUTED, "circle-open")}
    for rank, (word, (colours, symbol)) in enumerate(looks.items()):
        mine = [(row, one) for row, (_, one) in enumerate(group.rows) if _look(one) == word]
        if not mine:
            continue
        differences = [one.difference for _, one in mine]
        points = [unit * one.effect for one in differences]
        intervals = [Interval(unit * one.interval.low, unit * one.interval.high) for one in differences]
        yield {
            **on_panel(at),
            "x": points,
            "y": [row for row, _ in mine],
            "name": word,
            "legendrank": rank,
            "marker": {"size": 12, "symbol": symbol, "color": colours[dark]},
            "error_x": interval_bars(points, intervals, colours[dark]),
            "text": [claim_hover(one, column) for _, one in mine],
            "hovertemplate": "%{text}<extra></extra>",
        }


def _look(one: Claim) -> str:
    return COULD_BE_LUCK if one.could_be_luck else one.headline


def claim_hover(one: Claim, column: Column) -> str:
    """All numbers of a comparison, a line each, as plotly shows them."""
    found, low = one.difference, one.lower_is_better
    least = (
        ""
        if math.isinf(found.minimum_detectable)
        else (f"<br>could have been seen: {shown_change(found.minimum_detectable, low).removeprefix('+')} or more")
    )
    return (
        f"<b>{plotly_text(one.subject)} − {plotly_text(one.against)}</b>, {plotly_text(set_title(column))}<br>"
        f"{MARKS[one.headline]} {one.headline}: {shown_change(found.effect, low)}, 95% interval "
        f"{interval_text(found.interval, low, signed=True)}<br>n = {found.n}, p {shown_p(found.p)}, after Holm "
        f"{shown_p(one.p_adjusted)} ({plotly_text(found.test)})<br>"
        f"{items_changed(one)}{least}"
    )


def differences_alt(table: Table) -> str:
    """The chart in a sentence for each set."""
    said = []
    for column in compared_sets(table):
        found = [
            f"{one.subject} {shown_change(one.difference.effect, column.likelihood)} ({one.headline})"
            for _, one in _claims(table, column)
        ]
        said.append(f"{set_title(column)}: {', '.join(found)}")
    return f"Differences to the base with 95% intervals. {'; '.join(said)}."


def differences_table(table: Table) -> list[dict[str, str]]:
    """The table twin: a row for each comparison."""
    return [
        {
            "Set": set_title(column),
            "Arm": one.subject,
            "Shows": f"{MARKS[one.headline]} {one.headline}",
            "Difference to base": shown_change(one.difference.effect, column.likelihood),
            "95% interval": interval_text(one.difference.interval, column.likelihood, signed=True),
            "p": shown_p(one.difference.p),
            "p after Holm": shown_p(one.p_adjusted),
            "n": str(one.difference.n),
            "Items": items_changed(one),
            "Test": one.difference.test,
        }
        for column in compared_sets(table)
        for _, one in _claims(table, column)
    ]

"""Figures of a study: announced comparisons as a forest, and scores over rank and strength. Pure: no Streamlit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from app.ui.difference_charts import DifferenceGroup, difference_panels
from app.ui.figures import ACCENT, MUTED, build_figure, plotly_text
from app.ui.set_panels import interval_bars
from spd_core.evaluation.report import shown_change, shown_interval, shown_value
from spd_core.evaluation.statistics import Interval
from spd_core.evaluation.table import Answered, Table
from spd_core.studies.dose import Dose, doses
from spd_core.studies.findings import Finding

if TYPE_CHECKING:
    import plotly.graph_objects as go


HOW = (
    "A row is a comparison that was announced before the first answer; its dot is the difference in right answers, its "
    "bar the 95% interval, right of zero is better. Blue and orange are shown, with p after Holm, over all that were "
    "announced, below 0.05; grey is not. Hollow: the bar misses zero, but among so many that can be luck."
)
"""How a forest is read."""


def forest(found: Sequence[Finding], dark: bool) -> "go.Figure":
    """Every announced comparison that is answered, a panel an evaluation: difference, 95% interval, what it shows."""
    by_part: dict[str, list[Finding]] = {}
    for one in found:
        if one.claim is not None:
            by_part.setdefault(one.part.name, []).append(one)
    return difference_panels(list(map(_group, by_part.values())), "difference", dark)


def _group(mine: Sequence[Finding]) -> DifferenceGroup:
    rows = [(" − ".join(one.titles), one.claim) for one in mine if one.claim is not None]
    column = next(one.column for one in mine if one.column is not None)
    return DifferenceGroup(f"{mine[0].part.called}\n{column.title}, n = {rows[0][1].difference.n:,}", rows, column)


def forest_alt(found: Sequence[Finding]) -> str:
    """The forest in a sentence."""
    said = (
        f"{one.part.called}, {' − '.join(one.titles)} {shown_change(one.claim.difference.effect, False)} "
        f"({one.claim.headline})"
        for one in found
        if one.claim is not None
    )
    return f"Announced comparisons with 95% intervals. {'; '.join(said)}."


# --- dose response -----------------------------------------------------------------------------------------------


def dose_chart(table: Table, dose: Dose, dark: bool) -> "go.Figure":
    """In-domain scores over a rank or a strength, with 95% intervals; the untouched model as a line."""
    base = dose.base
    points = [100 * one.estimate.value for _, one in dose.points]
    intervals = [_in_points(one) for _, one in dose.points]
    labels = [label for label, _ in dose.points]
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": labels,
            "y": points,
            "name": "projected",
            "line": {"color": ACCENT[dark]},
            "marker": {"size": 10, "color": ACCENT[dark]},
            "error_y": interval_bars(points, intervals, ACCENT[dark]),
            "text": [_hover(label, one) for label, one in dose.points],
            "hovertemplate": "%{text}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "x": labels,
            "y": [100 * base.estimate.value] * len(labels),
            "name": "base",
            "line": {"color": MUTED[dark], "dash": "dash"},
            "hoverinfo": "skip",
        },
    ]
    layout = {
        "height": 300,
        "margin": {"l": 8, "r": 16, "t": 30, "b": 8},
        "xaxis": {"title": {"text": dose.what}, "type": "category"},
        "yaxis": {"title": {"text": "right (%)"}, "rangemode": "tozero"},
    }
    return build_figure(data, layout, dark=dark)


def _in_points(one: Answered) -> Interval:
    return Interval(100 * one.estimate.interval.low, 100 * one.estimate.interval.high)


def _hover(label: str, one: Answered) -> str:
    ends = shown_interval(one.estimate.interval, False)
    return f"<b>{plotly_text(label)}</b><br>{shown_value(one.estimate.value, False)}, 95% interval {ends}"


def dose_alt(dose: Dose) -> str:
    """The chart in a sentence."""
    said = ", ".join(f"{label} {shown_value(one.estimate.value, False)}" for label, one in dose.points)
    return f"Right answers over {dose.what}: {said}; base {shown_value(dose.base.estimate.value, False)}."


def all_doses(tables: Mapping[str, Table]) -> list[tuple[str, Table, Dose]]:
    """Every dose response of the evaluations of a study."""
    return [(name, table, dose) for name, table in tables.items() for dose in doses(table)]

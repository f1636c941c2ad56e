"""What all figures of a table of arms × sets share: panels below each other, one a set. Pure: no Streamlit."""

import math
import textwrap
from collections.abc import Sequence
from itertools import pairwise

from app.ui.figures import Drawing, plotly_text
from spd_core.evaluation.claims import Claim
from spd_core.evaluation.report import shown_interval
from spd_core.evaluation.statistics import Interval
from spd_core.evaluation.table import Column, Table
from spd_core.text import shown

_TOOLS, _LEGEND = 26, 46  # pixels: of plotly's buttons, and of the legend, which stands below them
_ROW, _HEAD, _FOOT = 36, 44, 62  # pixels: of a subject, of a panel's title, and of its axis
_SCALE = 34  # pixels: of an axis whose title stands below the next panel
_LABEL = 20  # characters in one of the two lines of a subject's name beside its row; the rest is in the hover text


def set_title(column: Column) -> str:
    """`GSM8K, in-domain`: told in words, as it is no matter of colour or place."""
    return f"{column.title}, {'in-domain' if column.in_domain else 'out-of-domain'}"


def row_label(title: str) -> str:
    """A subject's name in at most two short lines, as plotly shows it: a phone has no room for more beside a chart."""
    lines = textwrap.wrap(shown(title), _LABEL, max_lines=2, placeholder="…")
    return "<br>".join(map(plotly_text, lines))


def answered_sets(table: Table) -> list[Column]:
    """The sets that at least one subject has answered."""
    return [column for column in table.columns if any(name == column.name for _, name in table.answered)]


def compared_sets(table: Table) -> list[Column]:
    """The sets on which at least one subject can be compared with the base."""
    return [column for column in table.columns if any(name == column.name for _, name in table.claims)]


def stacked_panels(panels: Sequence[tuple[str, Sequence[str], Drawing]], legend: bool = True) -> Drawing:
    """Axes of panels below each other, each as high as it has rows; what several measure is said below the last.

    Args:
        panels: title in two lines, the rows' names from the top, and the x axis.
        legend: whether there is more than one thing to be told apart.
    """
    above = _TOOLS + _LEGEND * legend
    measures = [x.get("title") for _, _, x in panels]
    said_below = [*(mine == after for mine, after in pairwise(measures)), False][: len(panels)]
    feet = [_SCALE if below else _FOOT for below in said_below]
    heights = [_HEAD + _ROW * len(names) + foot for (_, names, _), foot in zip(panels, feet, strict=True)]
    total, top = sum(heights), 0.0
    layout: Drawing = {
        "height": total + above,
        "margin": {"l": 8, "r": 16, "t": above, "b": 0},
        "showlegend": legend,
        "annotations": [],
        "legend": {"y": 1 - _TOOLS / (total + above), "yref": "container", "yanchor": "top"},
    }
    for at, ((title, names, x), height) in enumerate(zip(panels, heights, strict=True)):
        number, upper = at + 1 if at else "", 1 - (top + _HEAD) / total
        lower = 1 - (top + height - feet[at]) / total
        layout[f"xaxis{number}"] = {"anchor": f"y{number}", "zeroline": False, **x}
        if said_below[at]:
            layout[f"xaxis{number}"]["title"] = {"text": ""}
        layout[f"yaxis{number}"] = {
            "anchor": f"x{number}",
            "domain": [max(0, lower), upper],
            "range": [len(names) - 0.4, -0.6],
            "tickvals": list(range(len(names))),
            "ticktext": list(map(row_label, names)),
            "zeroline": False,
        }
        first, second = map(plotly_text, title.split("\n"))
        layout["annotations"].append(
            {
                "text": f"<b>{first}</b><br>{second}",
                "xref": "paper",
                "x": 0,
                "xanchor": "left",
                "yref": "paper",
                "y": upper,
                "yanchor": "bottom",
                "yshift": 4,
                "showarrow": False,
                "align": "left",
            }
        )
        top += height
    return layout


def on_panel(at: int) -> Drawing:
    number = at + 1 if at else ""
    return {"type": "scatter", "mode": "markers", "xaxis": f"x{number}", "yaxis": f"y{number}"}


def upright_line(at: int, x: float, rows: int, line: Drawing) -> Drawing:
    """A line across all rows of a panel."""
    return {**on_panel(at), "mode": "lines", "x": [x, x], "y": [-0.5, rows - 0.5], "line": line, "hoverinfo": "skip"}


def interval_bars(values: Sequence[float], intervals: Sequence[Interval], colour: str) -> Drawing:
    """Interval bars; none where an end is not known, as so few items bound nothing."""
    reach = [
        (i.high - v, v - i.low) if math.isfinite(i.high - i.low) else (0, 0)
        for v, i in zip(values, intervals, strict=True)
    ]
    return {
        "type": "data",
        "symmetric": False,
        "array": [up for up, _ in reach],
        "color": colour,
        "thickness": 2.5,
        "arrayminus": [down for _, down in reach],
        "width": 6,
    }


def _unbounded(interval: Interval) -> bool:
    return not math.isfinite(interval.high - interval.low)


def interval_text(interval: Interval, likelihood: bool, *, signed: bool = False) -> str:
    """`23.3 to 36.4`; `no bounds` where so few items give none."""
    return "no bounds" if _unbounded(interval) else shown_interval(interval, likelihood, signed=signed)


def named_once(data: Sequence[Drawing]) -> list[Drawing]:
    """Traces with one entry in the legend for each name."""
    named: set[str] = set()
    found = []
    for trace in data:
        name = trace.get("name", "")
        found.append({**trace, "legendgroup": name, "showlegend": bool(name) and name not in named})
        named.add(name)
    return found


def items_changed(one: Claim) -> str:
    """How many items came out better and worse; of likelihoods better is a lower score."""
    found = one.difference
    better, worse = (found.lost, found.gained) if one.lower_is_better else (found.gained, found.lost)
    return f"{better} better, {worse} worse, {found.n - better - worse} alike"

"""Curves of Spectrum whose points can be clicked, with what stands out on them. Pure: no Streamlit, no engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.spectrum.numbers import Array, Panel
from app.spectrum.panel_grid import Trace
from app.ui.figures import Drawing, halo, plotly_text


@dataclass(frozen=True)
class PointMark:
    """A point of a curve that stands out, with a text beside it.

    Attributes:
        at: index of the point.
        beside: where the text stands, as plotly has it: `top right`, …
        letters: size of the text.
        size: of the mark.
        symbol: plotly's name of its shape.
    """

    at: int
    text: str
    beside: str
    letters: int
    colour: str
    size: int
    symbol: str = "circle"


def clickable_curve(
    panel: Panel,
    values: Array,
    name: str,
    line: Drawing,
    hover: str,
    *,
    dark: bool,
    group: str = "",
    marks: Sequence[PointMark] = (),
) -> list[Trace]:
    """A curve whose points can be clicked, each of which tells its site and direction, and dots that say so.

    Of the points only the first is drawn, as plotly draws one path for each; the dots are drawn for them.

    Args:
        group: what the legend calls it.
        marks: on this curve; in one trace with the dots, as each trace costs the browser as much as its curve.
    """
    x = np.arange(1, len(values) + 1)
    named = {at: f"<br>direction {at + 1}: {said(panel, at)}" for at in panel.names}
    curve = {
        "x": x,
        "y": values,
        "mode": "lines+markers",
        "line": line,
        "marker": {"size": _DOT, "line": {"width": 0}, "color": line["color"], "maxdisplayed": 1},
        "name": name,
        "legendgroup": group or name,
        "hovertemplate": hover.replace("<extra>", "%{hovertext}<extra>") if named else hover,
        **({"hovertext": [named.get(int(i) - 1, "") for i in x]} if named else {}),
        "customdata": [f"{panel.layer} {panel.kind} {i}" for i in range(len(x))],  # texts are copied at no cost
    }
    dots = [PointMark(int(at), "", "top right", 12, line["color"], _DOT) for at in _dotted(len(x))]
    return [(panel, curve), (panel, marks_trace(values, [*dots, *marks], name, dark, group))]


_DOT = 6
"""Pixels across."""


def marks_trace(values: Array, marks: Sequence[PointMark], name: str, dark: bool, group: str = "") -> Drawing:
    """Marks on a curve of `values`, as one trace; pointing there points at the curve."""
    fonts = {"color": [mark.colour for mark in marks], "size": [mark.letters for mark in marks], "shadow": halo(dark)}
    looks = {
        "size": [mark.size for mark in marks],
        "symbol": [mark.symbol for mark in marks],
        "opacity": 1,  # plotly sees through marks of several sizes
        "color": [mark.colour for mark in marks],
        "line": {"width": [2.5 if mark.symbol.endswith("open") else 0 for mark in marks]},
    }
    return {
        "x": [mark.at + 1 for mark in marks],
        "y": [values[mark.at] for mark in marks],
        "mode": "markers+text",
        "text": [mark.text for mark in marks],
        "textposition": [mark.beside for mark in marks],
        "textfont": fonts,
        "marker": looks,
        "name": name,
        "legendgroup": group or name,
        "hoverinfo": "skip",
        "cliponaxis": False,
        "unselected": {"marker": {"opacity": 1}},  # these cannot be chosen: they do not fade when others are
    }


def clicked_site(point: object) -> tuple[int, str, int]:
    """Layer, kind and 0-based direction of a point that was clicked, from its `customdata`."""
    layer, kind, direction = str(point).split()
    return int(layer), kind, int(direction)


def said(panel: Panel, direction: int) -> str:
    """The name of a direction, if it has one, as plotly shows it."""
    name = panel.names.get(direction)
    return f"“{plotly_text(name)}”" if name else ""


def _dotted(count: int) -> Array:
    """Indices of the points of a curve over log i that have a dot: so many can be seen apart."""
    indices: Array = np.unique(np.geomspace(1, count, 24).round().astype(int)) - 1
    return indices

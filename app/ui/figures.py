"""What all figures share: colours, theme, escaped text, one construction. Pure: no Streamlit, no engine."""

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from app.ui.tokens import visible
from spd_core.text import shown

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Light page, dark page. Okabe and Ito's colours, told apart with any colour vision.
KEY, VALUE = ("#0072B2", "#56B4E9"), ("#B84E00", "#E69F00")
INK, GRID = ("#17212b", "#e9eef2"), ("#d5dce2", "#33404b")
MUTED = ("#5b6875", "#9aa7b3")
PAPER = ("#ffffff", "#1c252d")
PAGE = ("#ffffff", "#12181e")
# What the app points out, and which text a point is of: told apart from keys, values and nulls, which have the others.
ACCENT = ("#0b6285", "#7cc7e8")
TEXT_COLOURS = (
    ("#332288", "#A99BFF"),
    ("#882255", "#F08BB8"),
    ("#117733", "#7FD18E"),
    ("#8A7A00", "#DDCC77"),
    ("#AA4455", "#FFA3AE"),
)
# One a lane; dashes and markers tell lanes apart without them.
LANE_COLOURS = (
    ("#17212b", "#e9eef2"),
    ("#0072B2", "#56B4E9"),
    ("#B84E00", "#E69F00"),
    ("#00704F", "#2BC79A"),
    ("#A34A7F", "#E29AC4"),
    ("#6A5B00", "#F0E442"),
)
DASHES = ("dash", "dot", "dashdot", "longdash")

Drawing = dict[str, Any]


def plotly_text(text: str) -> str:
    """Any text as plotly shows it: it reads a little HTML, whose marks are spelled out, and knows no `&quot;`.

    So are characters that act on what surrounds them.
    """
    return html.escape(shown(text), quote=False)


def halo(dark: bool) -> str:
    """A CSS shadow of the page's colour around a text, so that no line strikes through it."""
    return ", ".join(f"{x}px {y}px 2px {PAGE[dark]}" for x in (-2, 0, 2) for y in (-2, 0, 2))


def token_label(text: str, most: int = 24) -> str:
    """A token's text as a label: white space visible, cut to `most` characters, escaped."""
    shown = visible(text).replace("\n", "") or "∅"
    return plotly_text(shown if len(shown) <= most else f"{shown[:most]}…")


def build_figure(data: Sequence[Drawing], layout: Drawing, *, dark: bool) -> "go.Figure":
    """A figure in the app's theme, from plain dictionaries: plotly checks a whole one ten times faster than parts."""
    import plotly.graph_objects as go
    from plotly.io import templates

    templates.default = None  # plotly would add a template of its own
    data = [{name: _listed(value) for name, value in trace.items()} for trace in data]
    known = {**_themed(layout, data, dark), "datarevision": crc32(repr(data).encode())}
    return go.Figure({"data": data, "layout": known}, _validate=False)


def panel_heading(text: str, top: float) -> Drawing:
    """What stands above one of several panels of a figure, at its left.

    Args:
        top: where the panel ends, as a share of the figure's height.
    """
    return {
        "text": text, "xref": "paper", "yref": "paper", "x": 0, "y": top, "xanchor": "left", "yanchor": "bottom",
        "showarrow": False, "font": {"size": 13},
    }  # fmt: skip


def _listed(value: Any) -> Any:
    """A short array as a list: plotly knows which lists are the same, and takes any other array for a new one."""
    return value.tolist() if isinstance(value, np.ndarray) and value.size <= _SHORT else value


_SHORT = 4_000


def _themed(layout: Drawing, data: Sequence[Drawing], dark: bool) -> Drawing:
    """A layout in the app's theme.

    Streamlit hands plotly each figure twice, the second time as a copy. Plotly takes a copied template for a new one,
    and copied lists, too, where no `datarevision` says that they are the same; then it draws all again.
    """
    theme = _theme(dark)
    axis, note = theme.pop("axis"), theme.pop("annotation")
    bare = axis | {"showgrid": False, "zeroline": False}
    along = {_axis_along(trace) for trace in data if trace["type"] == "bar"}
    names = ("xaxis", "yaxis", *(name for name in layout if name[1:5] == "axis"))
    axes = {name: bare if name in along else axis for name in names}
    notes = {"annotations": [_merged(note, one) for one in layout["annotations"]]} if "annotations" in layout else {}
    return {**_merged(theme | axes, layout), **notes}


def _axis_along(bars: Drawing) -> str:
    """The axis on which bars stand side by side: no line is drawn through them."""
    letter = "y" if bars.get("orientation") == "h" else "x"
    return f"{letter}axis{str(bars.get(f'{letter}axis', ''))[1:]}"


def _merged(theme: Drawing, own: Drawing) -> Drawing:
    """What a figure says itself, and the theme where it says nothing."""
    both = {name: _merged(theme[name], own[name]) for name in own if isinstance(theme.get(name), dict)}
    return {**theme, **own, **both}


def cell_labels(x: Sequence[str], y: Sequence[str], texts: Sequence[str], lightness: Sequence[float]) -> Drawing:
    """Texts of a heatmap's cells in Cividis, black on light cells and white on dark ones.

    Args:
        lightness: of each cell, 0 (dark blue) to 1 (yellow); the page shines through where it is NaN.
    """
    colours = ["#808b96" if math.isnan(share) else "#000000" if share > 0.42 else "#ffffff" for share in lightness]
    return {
        "type": "scatter",
        "x": list(x),
        "y": list(y),
        "text": list(texts),
        "mode": "text",
        "hoverinfo": "skip",
        "textfont": {"color": colours},
        "showlegend": False,
    }


def _theme(dark: bool) -> Drawing:
    ink, muted = INK[dark], MUTED[dark]
    font = {"family": "Source Sans, sans-serif", "size": 12, "color": ink}
    axis = {
        "gridcolor": GRID[dark],
        "zerolinecolor": muted,
        "automargin": True,
        "ticklabelstandoff": 4,
        "title": {"standoff": 6},
    }
    return {
        "font": font,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 12, "b": 8},
        "axis": axis,
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": PAPER[dark], "bordercolor": muted, "font": font, "align": "left"},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "annotation": {"font": {"size": 14, "color": ink}},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": muted, "activecolor": ink},
    }

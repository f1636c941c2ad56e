"""What all figures share: colours, theme, escaped text, one construction. Pure: no Streamlit, no engine."""

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.ui.tokens import visible
from spd_core.templates import render
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

    figure = {"data": list(data), "layout": {**layout, "template": {"layout": _theme(dark)}}}
    return go.Figure(figure, _validate=False)


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
        "xaxis": axis,
        "yaxis": axis,
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": PAPER[dark], "bordercolor": muted, "font": font, "align": "left"},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "annotationdefaults": {"font": {"size": 14, "color": ink}},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": muted, "activecolor": ink},
    }


def figures_html(figures: Sequence["go.Figure"], title: str) -> bytes:
    """Figures, drawn for a light page, as one HTML file that needs no network; `title` is escaped."""
    from markupsafe import Markup

    drawn = [Markup(figure.to_html(full_html=False, include_plotlyjs=i == 0)) for i, figure in enumerate(figures)]
    return render("figures.html", title=title, figures=drawn).encode()

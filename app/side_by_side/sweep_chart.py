"""The map of a sweep: a cell a text, its number as a colour and in words. Pure: no Streamlit state."""

import math
from typing import TYPE_CHECKING, Any

from app.ui.figures import build_figure, cell_labels, plotly_text
from spd_core.generation import report
from spd_core.generation.comparison import Comparison, LaneText
from spd_core.text import signed

if TYPE_CHECKING:
    import plotly.graph_objects as go


LIKELIHOOD, DIVERGENCE, MEAN_KL = "mean log-probability under raw", "first divergence from raw", "mean KL to raw"
MEASURES = (LIKELIHOOD, DIVERGENCE, MEAN_KL)


def cell_number(lane: LaneText, comparison: Comparison, measure: str) -> float:
    """A cell's number; NaN where it is not known."""
    if measure == DIVERGENCE:
        at = report.first_difference(lane, comparison)
        return float("nan") if not lane.tokens and lane.finish == "stopped" else len(lane.tokens) if at is None else at
    return lane.mean_other_logprob if measure == LIKELIHOOD else lane.mean_kl


def cell_text(lane: LaneText, comparison: Comparison, measure: str) -> str:
    """A cell in words: its number, and whether the text has degenerated."""
    number = cell_number(lane, comparison, measure)
    if lane.finish == "stopped" and not lane.tokens:
        return "not written"
    if measure == DIVERGENCE:
        number_in_words = "as raw" if report.first_difference(lane, comparison) is None else f"token {number + 1:.0f}"
    else:
        number_in_words = (
            "not read" if math.isnan(number) else signed(number) if measure == LIKELIHOOD else f"{number:.3f}"
        )
    bad = report.degenerate_reason(lane)
    return f"{number_in_words}, {_short(bad)}" if bad else number_in_words


def _short(reason: str) -> str:
    return "empty" if reason == "empty" else "degenerate"


def sweep_map(comparison: Comparison, measure: str, selected: int, *, dark: bool = False) -> "go.Figure":
    """Rank by strength: a cell's colour is its number, its text says it, degenerate ones in words.

    Squares that cannot be seen lie above the cells, since a heatmap does not tell which cell was clicked; their
    `customdata` is the lane. The chosen one is framed.
    """
    grid = comparison.grid
    if grid is None:
        raise ValueError("not a sweep")
    width = len(grid.strengths)
    cells = [comparison.lanes[1 + row * width : 1 + (row + 1) * width] for row in range(len(grid.ranks))]
    z = [[cell_number(lane, comparison, measure) for lane in row] for row in cells]
    texts = [cell_text(lane, comparison, measure).replace(", ", "<br>") for row in cells for lane in row]
    strengths = [f"α {strength:g}" for strength in grid.strengths]
    ranks = [plotly_text(f"rank {rank}") for rank in grid.ranks]
    known = [number for row in z for number in row if not math.isnan(number)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    heat = {
        "type": "heatmap",
        "z": z,
        "x": strengths,
        "y": ranks,
        "zmin": low,
        "zmax": high,
        "colorscale": "Cividis",
        "xgap": 3,
        "ygap": 3,
        "hoverinfo": "skip",
    }
    places = [(row, at) for row in range(len(ranks)) for at in range(width)]
    x, y = [strengths[at] for _, at in places], [ranks[row] for row, _ in places]
    labels = cell_labels(x, y, texts, [(z[row][at] - low) / ((high - low) or 1.0) for row, at in places])
    squares = {
        "type": "scatter",
        "x": x,
        "y": y,
        "text": texts,
        "mode": "markers",
        "opacity": 0,
        "marker": {"size": 44, "symbol": "square"},
        "showlegend": False,
        "customdata": [1 + row * width + at for row, at in places],
        "hovertemplate": "%{y}, %{x}<br>%{text}<extra></extra>",
    }
    layout = {"height": 90 + 74 * len(ranks), "margin": {"l": 8, "r": 8, "t": 16, "b": 8}}
    layout |= {"shapes": _frames(*divmod(selected - 1, width)), "hoverdistance": -1}  # a click finds its square
    return build_figure([heat, squares, labels], layout, dark=dark)


def _frames(row: int, column: int) -> list[dict[str, Any]]:
    """A frame around a cell, dark around light: seen on any colour."""
    frame = {"type": "rect", "x0": column - 0.47, "x1": column + 0.47, "y0": row - 0.44, "y1": row + 0.44}
    return [frame | {"line": {"color": colour, "width": thick}} for colour, thick in (("#17212b", 7), ("#ffffff", 3))]

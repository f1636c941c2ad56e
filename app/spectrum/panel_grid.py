"""Small multiples over log i: a row of panels for each layer, key beside value, with one legend. Pure."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from app.spectrum.numbers import Array, Panel
from app.ui.figures import INK, MUTED, Drawing, build_figure
from spd_core.subspace.spectrum import held_percent

if TYPE_CHECKING:
    import plotly.graph_objects as go

REMOVED = "removed by projecting"
Trace = tuple[Panel, Drawing]
Range = tuple[float, float]

_TITLE = 46  # room for the titles of the first row, in pixels
_TOP, _BOTTOM = _TITLE + 30, 44  # with a line of the legend above them; for the axis below the last row


def row_height(rows: int) -> int:
    """Pixels from one row of panels to the next: tall where there is room."""
    return {1: 380, 2: 300}.get(rows, 260)


# --- ranges and ticks ----------------------------------------------------------------------------------------


def log_range(curves: Sequence[Array], shared: bool, most: float = 1e4, headroom: float = 0.08) -> list[Range]:
    """log₁₀ of the ends of each panel's axis: what its curve spans, but no more than a factor of `most`.

    Above it is `headroom`, as a share of that. What lies 10⁴ below the largest singular value holds less than 10⁻⁸ of
    its energy.
    """
    ends = [(float(np.nanmin(curve)), float(np.nanmax(curve))) for curve in curves]
    if shared:
        ends = [(min(low for low, _ in ends), max(high for _, high in ends))] * len(ends)
    spans = [(math.log10(max(low, high / most)), math.log10(high)) for low, high in ends]
    return [(low - 0.06 * (high - low) - 0.02, high + headroom * (high - low) + 0.02) for low, high in spans]


def linear_range(panels: int, low: float, high: float) -> list[Range]:
    """The same ends for every panel."""
    return [(low, high)] * panels


def ratio_ticks(ranges: Sequence[Range]) -> Drawing:
    """Ticks of a log axis around 1, as fine as the widest panel allows: `×1.1`, `×2`, `×10`."""
    reach = 10 ** max(max(-low, high) for low, high in ranges)
    steps = (1.05, 1.1, 1.2) if reach < 1.35 else (1.2, 1.5, 2, 3) if reach < 4.5 else (2, 5, 10, 20, 50, 100, 1000)
    above = [step for step in steps if step <= reach]
    ticks = [*(1 / step for step in reversed(above)), 1.0, *above]
    names = [*(f"÷{step:g}" for step in reversed(above)), "1", *(f"×{step:g}" for step in above)]
    return {"tickvals": ticks, "ticktext": names}


def _direction_ticks(most: int) -> list[int]:
    """1, 2, 5, 10, … up to the last direction."""
    return [n for power in range(5) for n in (10**power, 2 * 10**power, 5 * 10**power) if n <= most]


# --- the grid ------------------------------------------------------------------------------------------------


def assembled(
    panels: Sequence[Panel],
    traces: Sequence[Trace],
    rank: int,
    *,
    y: Drawing,
    ranges: Sequence[Range],
    dark: bool,
    shared: bool,
    level: float | None = None,
) -> "go.Figure":
    """All panels with their curves, what a projection removes, and one legend for all.

    Args:
        y: what all vertical axes have, and `ranges` the ends of each.
        level: a height to mark by a thin line.
    """
    layers = tuple(sorted({panel.layer for panel in panels}))
    layout = dict(_grid(layers, shared))
    shapes, notes = [], []
    for panel, ends in zip(panels, ranges, strict=True):
        number = _axis(panel, layers)
        first, last = panel.kind == "key", panel.layer == layers[-1]
        layout[f"xaxis{number}"] = layout[f"xaxis{number}"] | _x_axis(len(panel.values), last)
        titles = {} if first else {"title": {"text": None}}
        known = {"automargin": False, "zeroline": False, "range": list(ends), "tickfont": {"size": 11}}
        layout[f"yaxis{number}"] = layout[f"yaxis{number}"] | known | y | titles
        shapes += _rank_shapes(panel, number, rank, dark)
        if level is not None:
            shapes.append(_level_line(level, number, dark))
        notes.append(_title(panel, number, rank))
    rows = len(layers)
    layout |= {
        "shapes": shapes,
        "annotations": notes,
        "height": row_height(rows) * rows + _TOP,
        "margin": {"l": 58, "r": 10, "t": _TOP, "b": _BOTTOM},
        "legend": _legend(rows, dark),
    }
    _name_shade(shapes)
    data = _named_once([_placed(trace, _axis(panel, layers)) for panel, trace in traces])
    return build_figure(data, layout, dark=dark)


def _placed(trace: Drawing, number: int | str) -> Drawing:
    return {"type": "scatter", **trace, "xaxis": f"x{number}", "yaxis": f"y{number}"}


def _x_axis(most: int, last: bool) -> Drawing:
    """log i. The margins are known: measuring them would draw everything twice."""
    return {
        "type": "log",
        "automargin": False,
        "zeroline": False,
        "range": [math.log10(0.88), math.log10(most * 1.06)],
        "tickvals": _direction_ticks(most),
        "tickfont": {"size": 11},
        "title": {"text": "direction i" if last else None, "standoff": 4},
    }


@lru_cache
def _grid(layers: tuple[int, ...], shared: bool) -> Drawing:
    """The axes of the panels, as plotly lays them out; not to be changed."""
    from plotly.subplots import make_subplots

    rows = len(layers)
    grid = make_subplots(
        rows=rows,
        cols=2,
        shared_xaxes="all" if shared else False,
        shared_yaxes="all" if shared else False,
        horizontal_spacing=0.04 if shared else 0.09,
        vertical_spacing=(62 if shared else 80) / (row_height(rows) * rows - _BOTTOM),  # a title, and unshared ticks
    )
    layout = grid.to_dict()["layout"]
    return {name: part for name, part in layout.items() if "axis" in name}


def _axis(panel: Panel, layers: Sequence[int]) -> int | str:
    """The number in the names of a panel's axes; none for the first."""
    at = 2 * layers.index(panel.layer) + (panel.kind == "value") + 1
    return at if at > 1 else ""


# --- what stands in a panel ----------------------------------------------------------------------------------


def _rank_shapes(panel: Panel, number: int | str, rank: int, dark: bool) -> list[Drawing]:
    """A line at the rank, and a shade over what a projection removes."""
    kept, d_kv, ink = panel.rank(rank), len(panel.values), INK[dark]
    span = {"xref": f"x{number}", "yref": f"y{number} domain", "y0": 0, "y1": 1}
    edge = kept + 0.5  # between the last that is kept and the first that is not
    line = {"type": "line", "x0": edge, "x1": edge, "line": {"dash": "dash", "width": 1.5, "color": ink}, **span}
    if kept >= d_kv:
        return [line]
    shade = {
        "type": "rect",
        "name": REMOVED,
        "x0": edge,
        "x1": d_kv * 1.06,
        "fillcolor": ink,
        "opacity": 0.09,
        "line": {"width": 0},
    }
    return [line, {**shade, **span, "layer": "below"}]


def _level_line(level: float, number: int | str, dark: bool) -> Drawing:
    line = {"dash": "dot", "width": 1.2, "color": MUTED[dark]}
    return {"type": "line", "x0": 0, "x1": 1, "xref": f"x{number} domain", "y0": level, "y1": level,
            "yref": f"y{number}", "line": line, "layer": "below"}  # fmt: skip


def _name_shade(shapes: Sequence[Drawing]) -> None:
    """Have the first shade in the legend: it stands for all."""
    for shade in [one for one in shapes if one.get("name") == REMOVED][:1]:
        shade |= {"showlegend": True, "legendrank": 2000}


def _title(panel: Panel, number: int | str, rank: int) -> Drawing:
    """Above the panel: which site it is, and what the rank keeps of it."""
    kept = panel.rank(rank)
    share = held_percent(panel.energy[kept - 1])
    return {
        "text": f"<b>Layer {panel.layer} · {panel.kind}</b><br>rank {kept} keeps {share:.1f}%",
        "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom", "yshift": 4, "align": "left", "font": {"size": 13},
        "xref": f"x{number} domain", "yref": f"y{number} domain", "showarrow": False,
    }  # fmt: skip


# --- the legend ----------------------------------------------------------------------------------------------


def _legend(rows: int, dark: bool) -> Drawing:
    """Above the titles of the first row, where no curve runs; on a phone it takes as many lines as it needs."""
    return {
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "y": 1 + _TITLE / (row_height(rows) * rows - _BOTTOM),
        "yanchor": "bottom",
        "font": {"size": 13, "color": INK[dark]},
        "tracegroupgap": 0,
    }


def _named_once(data: Sequence[Drawing]) -> list[Drawing]:
    """The curves, each of whose groups stands in the legend once; a click there hides it in all panels.

    A group that is called otherwise than its curves has an entry without a curve. Curves that can be clicked, a site's
    own, come first. What is written beside a point is drawn last: nothing strikes through it.
    """
    named: set[str] = set()
    drawn: list[Drawing] = []
    for trace in sorted(data, key=lambda one: one["mode"] == "markers+text"):
        group = str(trace.get("legendgroup") or trace["name"])
        entry = {"legendgroup": group, "legendrank": 1 if trace["mode"] == "lines+markers" else 1000}
        new = group not in named and trace["mode"] != "markers+text"
        if new and group != trace["name"]:
            sample = {"x": [None], "y": [None], "mode": "lines", "name": group, "line": trace["line"]}
            drawn.append({"type": "scatter", **sample, **entry, "showlegend": True})
        drawn.append({**trace, **entry, "showlegend": new and group == trace["name"]})
        named |= {group} if new else set()
    return drawn

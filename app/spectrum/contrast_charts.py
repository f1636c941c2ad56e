"""Figures of a contrast: energy of the capability beside that of the others, direction by direction. Pure."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from app.spectrum.charts import Look, ring_at
from app.spectrum.contrast_numbers import ContrastPanel, summed
from app.spectrum.curves import clickable_curve
from app.spectrum.numbers import Array, Panel
from app.spectrum.panel_grid import Trace, assembled, linear_range, log_range
from app.ui.figures import INK, KEY, VALUE, Drawing, plotly_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

_PLAIN = "dash"
PLAIN = "plain subspace"
LEAST = 1e-6
"""Shares below it are drawn there: of a direction along which nothing lies there is no logarithm."""


def held_together(panels: Sequence[ContrastPanel], rank: int, look: Look, mine: str, theirs: str) -> "go.Figure":
    """What the first i directions hold of either capability, over log i; dashed what those of the plain subspace do."""
    hover = "first %{x} directions<br>hold %{y:.2%}<extra>%{fullData.name}</extra>"
    traces = [trace for one in panels for trace in _traces(one, summed, hover, look, mine, theirs, plain=True)]
    y = {
        "tickformat": "~%",
        "tickvals": [0, 0.25, 0.5, 0.75, 1],
        "title": {"text": "share of the energy", "standoff": 4},
    }
    ranges = linear_range(len(panels), 0, 1.06)
    drawn = [one.panel for one in panels]
    return assembled(drawn, traces, rank, y=y, ranges=ranges, dark=look.dark, shared=look.shared)


def held_by_each(panels: Sequence[ContrastPanel], rank: int, look: Look, mine: str, theirs: str) -> "go.Figure":
    """What direction i holds of either capability, both axes logarithmic."""
    hover = "direction %{x}<br>holds %{y:.3%}<extra>%{fullData.name}</extra>"
    traces = [trace for one in panels for trace in _traces(one, _drawable, hover, look, mine, theirs, plain=False)]
    ranges = log_range([_drawable(curve) for one in panels for curve in (one.own,)], look.shared, headroom=0.2)
    y = {"type": "log", "tickformat": "~%", "dtick": 1, "title": {"text": "share of the energy", "standoff": 4}}
    drawn = [one.panel for one in panels]
    return assembled(drawn, traces, rank, y=y, ranges=ranges, dark=look.dark, shared=look.shared)


def _drawable(shares: Array) -> Array:
    drawn: Array = shares.clip(min=LEAST)
    return drawn


def _traces(
    one: ContrastPanel,
    of: Callable[[Array], Array],
    hover: str,
    look: Look,
    mine: str,
    theirs: str,
    *,
    plain: bool,
) -> list[Trace]:
    colours = {mine: _colour(one.panel, look.dark), theirs: INK[look.dark]}
    shares = dict(zip(colours, (one.own, one.numbers.other), strict=True))
    groups = {mine: f"{plotly_text(mine)}, {one.panel.kind}s", theirs: plotly_text(theirs)}
    traces: list[Trace] = []
    for name, colour in colours.items():
        line = {"color": colour, "width": 2.5}
        ring = ring_at(one.panel, look) if name == mine else ()
        traces += clickable_curve(
            one.panel, of(shares[name]), plotly_text(name), line, hover, dark=look.dark, group=groups[name], marks=ring
        )
    if plain:
        names = [*zip(colours.items(), one.numbers.plain, strict=True)][::-1]  # the legend's sample is the first one's
        traces += [(one.panel, _dashed(of(held), plotly_text(name), colour, hover)) for (name, colour), held in names]
    return traces


def _dashed(values: Array, name: str, colour: str, hover: str) -> Drawing:
    line = {"color": colour, "width": 1.6, "dash": _PLAIN}
    x = list(range(1, len(values) + 1))
    return {"x": x, "y": values, "mode": "lines", "name": f"{name}, plain", "line": line, "hovertemplate": hover,
            "legendgroup": PLAIN}  # fmt: skip


def _colour(panel: Panel, dark: bool) -> str:
    return (KEY if panel.kind == "key" else VALUE)[dark]

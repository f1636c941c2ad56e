"""Figures of subspaces: their overlap, and the gradient rows on principal components. Numbers to plotly, pure."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from app.spectrum.numbers import CONTEXT, LOSS_TOKEN, OTHER_TEXTS, Array, Overlap
from app.ui.figures import (
    ACCENT,
    DASHES,
    INK,
    MUTED,
    TEXT_COLOURS,
    Drawing,
    build_figure,
    cell_labels,
    halo,
    plotly_text,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_NUMBERED = 8
"""Subspaces whose numbers stand in their cells; of more the numbers are on hover and in the table."""


def overlap_matrix(found: Overlap, *, dark: bool = False) -> "go.Figure":
    """What every two subspaces share: a colour in each cell, with a number in percent or, of many, a scale."""
    names, count = list(found.names), len(found.names)
    shared = np.array([[found.shared(i, j) for j in range(count)] for i in range(count)])
    hovers = [[_said_of(found, i, j) for j in range(count)] for i in range(count)]
    low = min(float(found.chance.min()), float(shared.min()))
    heat: Drawing = {
        "type": "heatmap",
        "z": shared,
        "x": names,
        "y": names,
        "zmin": low,
        "zmax": 1,
        "colorscale": "Cividis",
        "customdata": hovers,
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    if count > MOST_NUMBERED:
        return _many(heat, names, found, dark)
    split = [plotly_text(name).replace("-", "-<br>").replace(" ", "<br>") for name in names]
    axes = {"xaxis": {"tickvals": names, "ticktext": split}, "yaxis": {"autorange": "reversed"}}
    layout = {"height": 150 + 44 * count, "margin": {"t": 44}, **axes}  # room for the toolbar
    cells = [(names[j], names[i], share) for i, row in enumerate(shared) for j, share in enumerate(row)]
    x, y, shares = zip(*cells, strict=True)
    lightness = [(share - low) / max(1 - low, 1e-9) for share in shares]
    labels = cell_labels(x, y, [f"{100 * share:.0f}" for share in shares], lightness)
    return build_figure([heat | {"showscale": False}, labels], layout, dark=dark)


def _said_of(found: Overlap, i: int, j: int) -> str:
    angles = found.angles[i, j]
    return (
        f"{plotly_text(found.names[i])} and {plotly_text(found.names[j])}<br>share {found.shared(i, j):.1%}, by chance "
        f"{found.chance[i, j]:.1%}<br>angles {angles[0]:.1f}° to {angles[-1]:.1f}°, mean {angles.mean():.1f}°"
    )


def _scale(found: Overlap, high: float) -> Drawing:
    """The scale of colours, with chance on it."""
    chance = float(found.chance.min())
    ends = [] if high - chance < 0.02 else [high]
    return {
        "title": {"text": "shared", "side": "top"},
        "orientation": "h",
        "thickness": 14,
        "y": 1.01,
        "yanchor": "bottom",
        "tickvals": [chance, *ends],
        "ticktext": [f"{chance:.0%}, by chance", *(f"{end:.0%}" for end in ends)],
    }


def _many(heat: Drawing, names: Sequence[str], found: Overlap, dark: bool) -> "go.Figure":
    """Without numbers in the cells, in colours from the least to the most that is shared; layers by their numbers."""
    between = np.where(np.eye(len(names), dtype=bool), np.nan, heat["z"])  # each with itself: everything
    low, high = float(np.nanmin(between)), float(np.nanmax(between))
    short = [name.removeprefix("layer ") for name in names]  # thirty times the word would be all one sees
    many = {"x": short, "y": short, "z": between, "zmin": low, "zmax": max(high, low + 0.1)}
    axis = {"type": "category", "showgrid": False, "title": {"text": "layer" if short != list(names) else ""}}
    layout = {"height": 90 + 18 * len(names), "xaxis": axis, "yaxis": {**axis, "autorange": "reversed"}}
    return build_figure([{**heat, **many, "colorbar": _scale(found, high), "xgap": 1, "ygap": 1}], layout, dark=dark)


def rows_scatter(
    scores: Array,
    explained: Array,
    groups: Sequence[str],
    said: Sequence[str],
    axes: Mapping[str, Array] | None = None,
    *,
    dark: bool = False,
) -> "go.Figure":
    """Gradient rows on their first two principal components; WebGL, a trace (colour and symbol) for each group.

    `axes` are directions on the components, by name: a line through the middle, as long as it lies in this plane.
    """
    known = {CONTEXT: MUTED, OTHER_TEXTS: MUTED, LOSS_TOKEN: ACCENT}
    of_texts = itertools.cycle(TEXT_COLOURS)
    named = list(dict.fromkeys(groups))
    colours = {name: (known[name] if name in known else next(of_texts))[dark] for name in named}
    symbols = ("circle", "diamond", "square", "x", "triangle-up", "cross")
    data: list[Drawing] = []
    for at, name in enumerate(named):
        mine = [i for i, group in enumerate(groups) if group == name]
        data.append(
            {
                "type": "scattergl",
                "x": scores[mine, 0],
                "y": scores[mine, 1],
                "mode": "markers",
                "name": name,
                "customdata": [[i, said[i]] for i in mine],
                "marker": {"size": 7, "opacity": 0.75, "color": colours[name], "symbol": symbols[at % 6]},
                "hovertemplate": "%{customdata[1]}<br>(%{x:.3g}, %{y:.3g}) nats per unit"
                "<extra>%{fullData.name}</extra>",
            }
        )
    data += _direction_lines(scores, axes or {}, dark)
    titles = [f"component {at + 1} ({explained[at]:.1%} of the variance)" for at in (0, 1)]
    axes_of = {f"{which}axis": {"title": {"text": title}} for which, title in zip("xy", titles, strict=True)}
    return build_figure(data, {"height": 420, **axes_of}, dark=dark)


def _direction_lines(scores: Array, axes: Mapping[str, Array], dark: bool) -> list[Drawing]:
    """A dashed line for each direction, through the middle."""
    data: list[Drawing] = []
    reach = float(np.abs(scores[:, :2]).max()) if len(scores) else 1.0
    for at, (name, direction) in enumerate(axes.items()):
        end = reach * np.asarray(direction[:2])
        data.append(
            {
                "type": "scatter",
                "x": [-end[0], end[0]],
                "y": [-end[1], end[1]],
                "mode": "lines+text",
                "text": ["", name],
                "name": name,
                "hoverinfo": "name",
                "textposition": "top center",
                "textfont": {"color": INK[dark], "size": 13, "shadow": halo(dark)},
                "line": {"color": INK[dark], "width": 1.8, "dash": DASHES[at % 4]},
            }
        )
    return data

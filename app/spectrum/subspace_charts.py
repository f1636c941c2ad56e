"""Figures of subspaces: their overlap, and the gradient rows on principal components. Numbers to plotly, pure."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from app.spectrum.numbers import CONTEXT, LOSS_TOKEN, OTHER_TEXTS, Array, Overlap
from app.ui.figures import ACCENT, DASHES, INK, MUTED, TEXT_COLOURS, Drawing, build_figure, cell_labels

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_NUMBERED = 8
"""Subspaces whose angles stand in their cells; of more the numbers are on hover and in the table."""


def overlap_matrix(found: Overlap, *, dark: bool = False) -> "go.Figure":
    """Mean principal angle between every two subspaces, in degrees: a colour in each cell, a number where it fits."""
    names, mean = list(found.names), found.mean
    hovers = [
        [
            f"{names[i]} and {names[j]}<br>angles {a[0]:.1f}° to {a[-1]:.1f}°, mean {a.mean():.1f}°<br>"
            f"shared {found.shared(i, j):.1%}, by chance {found.chance[i, j]:.1%}"
            for j in range(len(names))
            for a in [found.angles[i, j]]
        ]
        for i in range(len(names))
    ]
    heat = {
        "type": "heatmap",
        "z": mean,
        "x": names,
        "y": names,
        "zmin": 0,
        "zmax": 90,
        "colorscale": "Cividis",
        "reversescale": True,
        "customdata": hovers,
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "%{customdata}<extra></extra>",
        "colorbar": {"title": {"text": "mean angle", "side": "right"}, "ticksuffix": "°", "tickvals": [0, 30, 60, 90]},
    }
    if len(names) > MOST_NUMBERED:
        return _many(heat, names, mean, dark)
    layout = {"height": 110 + 44 * len(names), "yaxis": {"autorange": "reversed"}}
    cells = [(names[j], names[i], angle) for i, row in enumerate(mean) for j, angle in enumerate(row)]
    x, y, angles = zip(*cells, strict=True)
    labels = cell_labels(x, y, [f"{angle:.0f}°" for angle in angles], [1 - angle / 90 for angle in angles])
    return build_figure([heat, labels], layout, dark=dark)


def _many(heat: Drawing, names: Sequence[str], mean: Array, dark: bool) -> "go.Figure":
    """Without numbers in the cells, in colours from the smallest to the largest angle; layers by their numbers."""
    between = np.where(np.eye(len(names), dtype=bool), np.nan, mean)  # each with itself: 0°
    low = float(np.nanmin(between))
    short = [name.removeprefix("layer ") for name in names]  # thirty times the word would be all one sees
    bar = {**heat["colorbar"], "tickvals": None}
    many = {"x": short, "y": short, "z": between, "zmin": low, "zmax": max(float(np.nanmax(between)), low + 10)}
    axis = {"type": "category", "showgrid": False, "title": {"text": "layer" if short != list(names) else ""}}
    layout = {"height": 90 + 18 * len(names), "xaxis": axis, "yaxis": {**axis, "autorange": "reversed"}}
    return build_figure([{**heat, **many, "colorbar": bar, "xgap": 1, "ygap": 1}], layout, dark=dark)


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
                "textfont": {"color": INK[dark], "size": 13},
                "line": {"color": INK[dark], "width": 1.8, "dash": DASHES[at % 4]},
            }
        )
    return data

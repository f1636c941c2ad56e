"""The figure of Geometry that goes into a file: plotly's, which turns and tells tokens without this app. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.ui.figures import GRID, Drawing, build_figure, plotly_text
from app.ui.point_cloud import Axis, Grouped
from spd_core.attribution.geometry import Points

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SYMBOLS = ("circle", "diamond", "square", "cross", "x", "circle-open")
"""All that 3D points can be drawn as."""


def cloud_figure(
    points: Points,
    axes: Sequence[Axis],
    rows: NDArray[np.int64],
    groups: Grouped,
    said: Sequence[str],
    *,
    unit: str,
    strength: float,
    dark: bool = False,
) -> "go.Figure":
    """The points at one strength; a trace (colour and symbol) for each group.

    Args:
        said: of every token of the capture, by anybody: escaped here.
    """
    values, of = points.at(strength)[rows], groups.of[rows]
    letters = "xyz"[: len(axes)]
    data: list[Drawing] = []
    for group, (name, colour) in enumerate(zip(groups.names, groups.colours(dark), strict=True)):
        mine = np.flatnonzero(of == group)
        symbol = _SYMBOLS[0 if groups.ordered else group % len(_SYMBOLS)]
        data.append(
            {
                "type": "scatter3d" if len(axes) > 2 else "scattergl",
                **{letter: values[mine, at].astype(np.float32) for at, letter in enumerate(letters)},
                "mode": "markers",
                "name": plotly_text(name),
                "text": [plotly_text(said[row]) for row in rows[mine]],
                "marker": {"size": 3 if len(axes) > 2 else 6, "opacity": 0.8, "color": colour, "symbol": symbol},
                "hovertemplate": f"%{{text}}<br>({', '.join(f'%{{{letter}:.3g}}' for letter in letters)}) {unit}"
                "<extra>%{fullData.name}</extra>",
            }
        )
    titles = {
        f"{letter}axis": {"title": {"text": plotly_text(axis.title)}}
        for letter, axis in zip(letters, axes, strict=True)
    }
    if len(axes) < 3:
        return build_figure(data, {"height": 520, **titles}, dark=dark)
    walls = {name: {**axis, "gridcolor": GRID[dark]} for name, axis in titles.items()}
    return build_figure(data, {"height": 640, "scene": walls}, dark=dark)

"""The pictures of the lesson: large, few marks, labelled in place. Pure: no Streamlit."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from app.ui.figures import ACCENT, KEY, MUTED, VALUE, Drawing, build_figure, token_label
from spd_core.attribution.geometry import drawn_tokens
from spd_core.subspace.spectrum import Floats

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from app.lesson.numbers import Arrows
    from spd_core.attribution.geometry import Points

_HEIGHT = 400
MOST_DRAWN = 2_000
"""Tokens of the picture of a projection: a browser draws each twice, and anew for each strength."""


def _layout(x: str, y: str, **more: Any) -> Drawing:
    axes = {"xaxis": {"title": {"text": x}, "automargin": True}, "yaxis": {"title": {"text": y}, "automargin": True}}
    return {"height": _HEIGHT, "margin": {"l": 56, "r": 16, "t": 24, "b": 52}, "showlegend": False, **axes, **more}


def held_figure(along: Floats, reach: float, dark: bool) -> "Figure":
    """A bar for each direction that is kept; the axis is as long for all tokens: as `reach`."""
    bar = {
        "type": "bar",
        "x": list(range(1, len(along) + 1)),
        "y": along,
        "marker": {"color": [ACCENT[dark] if abs(y) == np.abs(along).max() else MUTED[dark] for y in along]},
        "hovertemplate": "direction %{x}: %{y:.3f}<extra></extra>",
    }
    layout = _layout("direction", "units of activation")
    layout["yaxis"]["range"] = [-1.05 * reach, 1.05 * reach]
    return build_figure([bar], layout, dark=dark)


def arrows_figure(found: "Arrows", names: Sequence[str], loss: Collection[int], chosen: int, dark: bool) -> "Figure":
    """An arrow from 0 for each gradient: those of loss tokens in a colour, the chosen one with its token.

    Args:
        names: the text of each arrow's token.
        loss: positions of the loss tokens.
        chosen: a position; none stands out where it is not drawn.
    """
    places = found.tokens.tolist()
    groups = [
        ("other token", [at for at, token in enumerate(places) if token != chosen and token not in loss], MUTED, 1),
        ("loss token", [at for at, token in enumerate(places) if token != chosen and token in loss], KEY, 2),
        ("chosen", [at for at, token in enumerate(places) if token == chosen], VALUE, 4),
    ]
    drawn = [
        _arrows(found.xy[mine], [names[at] for at in mine], [places[at] for at in mine], colour[dark], width)
        | {"name": title}
        for title, mine, colour, width in groups
        if mine
    ]
    layout = _layout("along direction 1 (nats per unit)", "along direction 2")
    layout |= {"showlegend": True, "annotations": _end(found.xy, names, places, chosen, dark)}
    return build_figure(drawn, layout, dark=dark)


def _end(xy: Floats, names: Sequence[str], places: Sequence[int], chosen: int, dark: bool) -> list[Drawing]:
    """What is written where the chosen arrow ends, towards the middle of the picture."""
    if chosen not in places:
        return []
    x, y = xy[places.index(chosen)].tolist()
    right = x > float(xy[:, 0].min() + xy[:, 0].max()) / 2
    return [
        {
            "x": x,
            "y": y,
            "text": f"<b>{token_label(names[places.index(chosen)])}</b>",
            "showarrow": False,
            "xanchor": "right" if right else "left",
            "yshift": 18 if y >= 0 else -18,
            "font": {"color": VALUE[dark], "size": 16},
        }
    ]


def _arrows(xy: Floats, names: Sequence[str], places: Sequence[int], colour: str, width: int) -> Drawing:
    """A trace; a click on an arrow's head tells the token's position."""
    x, y, sizes, texts, told = [], [], [], [], []
    for (right, up), name, place in zip(xy.tolist(), names, places, strict=True):
        x += [0.0, right, None]
        y += [0.0, up, None]
        sizes += [0, 8 + 2 * width, 0]
        texts += ["", f"{token_label(name)}, position {place}", ""]
        told += [None, place, None]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": x,
        "y": y,
        "text": texts,
        "customdata": told,
        "line": {"color": colour, "width": width},
        "marker": {"symbol": "arrow", "angleref": "previous", "size": sizes, "color": colour},
        "hovertemplate": "%{text}: %{x:.4f}, %{y:.4f}<extra></extra>",
    }


def moved_figure(points: "Points", strength: float, dark: bool) -> "Figure":
    """Tokens before (faint) and after projecting, `MOST_DRAWN` at random of more; the axes stay as the points move."""
    rows = drawn_tokens(np.ones(len(points.values), bool), MOST_DRAWN)
    before, after = points.at(0.0)[rows], points.at(strength)[rows]
    drawn = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": where[:, 0],
            "y": where[:, 1],
            "marker": {"color": colour, "size": size, "opacity": opacity},
            "hoverinfo": "skip",
        }
        for where, colour, size, opacity in ((before, MUTED[dark], 4, 0.35), (after, ACCENT[dark], 6, 0.8))
    ]
    layout = _layout("along direction 1 (units of activation)", "length outside the subspace")
    layout["yaxis"]["range"] = [-0.04 * before[:, 1].max(), 1.05 * before[:, 1].max()]
    return build_figure(drawn, layout, dark=dark)

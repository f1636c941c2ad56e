"""The pictures of the lesson: large, few marks, labelled in place. Pure: no Streamlit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from app.ui.figures import ACCENT, INK, MUTED, VALUE, build_figure, plotly_text, token_label
from spd_core.subspace.spectrum import Floats

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from spd_core.attribution.geometry import Points
    from spd_core.evaluation.claims import Claim

_HEIGHT = 400


def _layout(x: str, y: str, **more: Any) -> dict[str, Any]:
    axes = {"xaxis": {"title": {"text": x}, "automargin": True}, "yaxis": {"title": {"text": y}, "automargin": True}}
    return {"height": _HEIGHT, "margin": {"l": 56, "r": 16, "t": 24, "b": 52}, "showlegend": False, **axes, **more}


def held_figure(along: Floats, dark: bool) -> "Figure":
    """A bar for each direction that is kept."""
    bar = {
        "type": "bar",
        "x": list(range(1, len(along) + 1)),
        "y": along,
        "marker": {"color": [ACCENT[dark] if abs(y) == np.abs(along).max() else MUTED[dark] for y in along]},
        "hovertemplate": "direction %{x}: %{y:.3f}<extra></extra>",
    }
    return build_figure([bar], _layout("direction", "units of activation"), dark=dark)


def arrows_figure(xy: Floats, names: Sequence[str], dark: bool) -> "Figure":
    """An arrow from 0 for each gradient; the longest stands out, with its token."""
    longest = int(np.linalg.norm(xy, axis=1).argmax())
    drawn = [
        _arrows(np.delete(xy, longest, 0), [name for at, name in enumerate(names) if at != longest], MUTED[dark], 1),
        _arrows(xy[longest : longest + 1], [names[longest]], VALUE[dark], 3),
    ]
    label = {
        "x": float(xy[longest, 0]),
        "y": float(xy[longest, 1]),
        "text": f"<b>{token_label(names[longest])}</b>",
        "showarrow": False,
        "yshift": 16,
        "font": {"color": VALUE[dark], "size": 16},
    }
    layout = _layout("along direction 1 (nats per unit)", "along direction 2", annotations=[label])
    return build_figure(drawn, layout, dark=dark)


def _arrows(xy: Floats, names: Sequence[str], colour: str, width: int) -> dict[str, Any]:
    x, y, sizes, texts = [], [], [], []
    for (right, up), name in zip(xy.tolist(), names, strict=True):
        x += [0.0, right, None]
        y += [0.0, up, None]
        sizes += [0, 8 + 2 * width, 0]
        texts += ["", token_label(name), ""]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": x,
        "y": y,
        "text": texts,
        "line": {"color": colour, "width": width},
        "marker": {"symbol": "arrow", "angleref": "previous", "size": sizes, "color": colour},
        "hovertemplate": "%{text}: %{x:.4f}, %{y:.4f}<extra></extra>",
    }


def line_figure(xy: Floats, degrees: int, dark: bool) -> "Figure":
    """Gradients as points, and the line that is turned; half of the points lie closer than the axes reach."""
    reach = float(np.quantile(np.abs(xy), 0.98)) or 1.0
    angle = np.deg2rad(degrees)
    across, up = 1.3 * reach * np.cos(angle), 1.3 * reach * np.sin(angle)
    drawn = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": xy[:, 0],
            "y": xy[:, 1],
            "marker": {"color": MUTED[dark], "size": 6, "opacity": 0.7},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "x": [-across, across],
            "y": [-up, up],
            "line": {"color": VALUE[dark], "width": 4},
            "hoverinfo": "skip",
        },
    ]
    layout = _layout("along direction 1 (nats per unit)", "along direction 2")
    layout["xaxis"]["range"] = [-1.4 * reach, 1.4 * reach]
    layout["yaxis"] |= {"range": [-1.4 * reach, 1.4 * reach], "scaleanchor": "x"}
    return build_figure(drawn, layout, dark=dark)


def moved_figure(points: "Points", strength: float, dark: bool) -> "Figure":
    """Every token before (faint) and after projecting; the axes stay as the points move."""
    before, after = points.at(0.0), points.at(strength)
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
    layout = _layout("along direction 1", f"outside rank {points.rank}")
    layout["yaxis"]["range"] = [-0.04 * before[:, 1].max(), 1.05 * before[:, 1].max()]
    return build_figure(drawn, layout, dark=dark)


def claims_figure(claims: Sequence["Claim"], chosen: str, dark: bool) -> "Figure":
    """A difference with its interval for each subject; to the right of 0 is better."""
    shown = list(reversed(claims))
    effects = np.array([100 * one.difference.effect for one in shown])
    ends = np.array([[100 * one.difference.interval.low, 100 * one.difference.interval.high] for one in shown])
    colours = [VALUE[dark] if one.subject == chosen else INK[dark] for one in shown]
    drawn = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": [low, effect, high],
            "y": [plotly_text(one.subject)] * 3,
            "line": {"color": colour, "width": 3},
            "marker": {"size": [0, 13, 0], "color": colour},
            "hovertemplate": "%{x:.1f} points<extra></extra>",
        }
        for one, effect, (low, high), colour in zip(shown, effects, ends, colours, strict=True)
    ]
    layout = _layout("points against the base", "")
    layout["xaxis"] |= {"zeroline": True, "zerolinewidth": 2, "zerolinecolor": INK[dark]}
    return build_figure(drawn, layout, dark=dark)

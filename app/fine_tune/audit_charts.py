"""What audits come to over the steps, as a figure and a sentence. Pure: no Streamlit."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.ui.figures import ACCENT, INK, LANE_COLOURS, MUTED, Drawing, build_figure, panel_heading
from spd_core.distill.audit_steps import StepMeans

if TYPE_CHECKING:
    import plotly.graph_objects as go

WEIGHT, AGREEMENT, BELIEF = "weight π̂", "agreement k ÷ N", "own belief π̄"
_LINES = {
    WEIGHT: ("target", LANE_COLOURS[2], "solid", "diamond", 3),
    AGREEMENT: ("agreement", LANE_COLOURS[1], "dash", "circle", 2),
    BELIEF: ("prior", LANE_COLOURS[3], "dot", "square", 2),
}
_SHARE, _KL, _ENTROPY = (0.5, 1.0), (0.25, 0.4), (0.0, 0.15)
"""Where the three panels stand, of the figure's height."""


def over_steps(steps: Sequence[StepMeans], shown: int, dark: bool) -> "go.Figure":
    """Weight, agreement and own belief above, KL to the untouched model and entropy below; a click chooses a step.

    Args:
        shown: the step whose rollouts are read.
    """
    data = [
        _line(steps, field, name, colours[dark], dash, symbol, width, "y")
        for name, (field, colours, dash, symbol, width) in _LINES.items()
    ]
    data.append(_line(steps, "divergence", "KL to the untouched model", INK[dark], "solid", "circle", 2, "y2"))
    data.append(_line(steps, "entropy", "entropy", MUTED[dark], "solid", "circle", 2, "y3"))
    for trace in data[3:]:
        trace["showlegend"] = False
    layout = {
        "height": 430,
        "margin": {"l": 8, "r": 8, "t": 30, "b": 8},
        "xaxis": {"title": {"text": "optimizer step"}, "anchor": "y3", "dtick": _tick(steps)},
        "yaxis": {"domain": _SHARE, "rangemode": "tozero"},
        "yaxis2": {"domain": _KL, "rangemode": "tozero", "nticks": 3, "tickformat": "~g"},
        "yaxis3": {"domain": _ENTROPY, "rangemode": "tozero", "nticks": 3},
        "annotations": [
            panel_heading("mean of the step's chunks, 0 to 1", _SHARE[1]),
            panel_heading("KL to the untouched model, nats a token", _KL[1]),
            panel_heading("entropy of the student, nats a token", _ENTROPY[1]),
        ],
        "shapes": [_mark(shown, dark, axis) for axis in ("y", "y2", "y3")],
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
    }
    return build_figure(data, layout, dark=dark)


def _tick(steps: Sequence[StepMeans]) -> int | None:
    return 1 if len(steps) <= 12 else None


def _line(
    steps: Sequence[StepMeans], field: str, name: str, colour: str, dash: str, symbol: str, width: int, axis: str
) -> Drawing:
    values = [getattr(one, field) for one in steps]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [one.step for one in steps],
        "y": [None if math.isnan(value) else value for value in values],
        "yaxis": axis,
        "customdata": [one.step for one in steps],
        "line": {"color": colour, "dash": dash, "width": width},
        "marker": {"symbol": symbol, "size": 8, "color": colour},
        "cliponaxis": False,
        "hovertemplate": f"step %{{x}}<br>{name} %{{y:.4f}}<extra></extra>",
    }


def _mark(step: int, dark: bool, axis: str) -> Drawing:
    """A line through a panel at the step that is read."""
    line = {"color": ACCENT[dark], "width": 2, "dash": "dot"}
    place = {"x0": step, "x1": step, "xref": "x", "y0": 0, "y1": 1, "yref": f"{axis} domain"}
    return {"type": "line", **place, "line": line}


def steps_alt(steps: Sequence[StepMeans]) -> str:
    """The chart in a sentence: the first and the last value of each line."""
    said = []
    for name, field in (
        (WEIGHT, "target"),
        (AGREEMENT, "agreement"),
        (BELIEF, "prior"),
        ("KL to the untouched model", "divergence"),
        ("entropy", "entropy"),
    ):
        known = [getattr(one, field) for one in steps if not math.isnan(getattr(one, field))]
        if known:
            said.append(f"{name} {known[0]:.3f} to {known[-1]:.3f}")
    return f"Means of the audits over {len(steps)} steps, first to last: {'; '.join(said)}."

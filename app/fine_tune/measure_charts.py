"""What students measure at each step of training beside their loss: weight, entropy, distance. Pure: no Streamlit."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from app.fine_tune.charts import LEGEND_BELOW, Axis, Curves, following, look_of, x_axis
from app.ui.figures import Drawing, build_figure, panel_heading, plotly_text
from spd_core.recipes.distill import short_name
from spd_core.runs.view import Curve

if TYPE_CHECKING:
    import plotly.graph_objects as go

_PANELS = {
    "targets": "mean weight π̂ of the step's chunks, 0 to 1",
    "entropies": "entropy of the student, nats a token",
    "divergences": "KL to the untouched model, nats a token",
}
"""Fields of a curve, each with what stands above its panel."""
_GAP = 0.12
"""Between two panels, of the figure's height: a heading fits in."""


def has_weights(curves: Curves) -> bool:
    """Whether an arm learns chunks by their weight."""
    return any(one is not None for curve in curves.values() for one in curve.targets)


def measured_lines(curves: Curves, dark: bool, by: Axis = "step") -> "go.Figure":
    """A panel for each measure that an arm has told, one above the other along the same steps.

    Args:
        by: what is drawn along x.
    """
    fields = _told(curves)
    height = (1 - _GAP * (len(fields) - 1)) / len(fields)
    panels = [(top - height, top) for top in (1 - at * (height + _GAP) for at in range(len(fields)))]
    data: list[Drawing] = []
    for at, field in enumerate(fields):
        for trace in _lines(curves, field, dark, by):
            first = trace["name"] not in {one["name"] for one in data}
            data.append({**trace, "yaxis": _axis("y", at), "showlegend": first})
    axes = {
        _axis("yaxis", at): {"domain": [max(0.0, low), high], "rangemode": "tozero", "nticks": 4, "tickformat": "~g"}
        for at, (low, high) in enumerate(panels)
    }
    layout = {
        "height": 110 + 130 * len(fields),
        "margin": {"t": 30},
        "xaxis": x_axis([curves], by, from_zero=False) | {"anchor": _axis("y", len(fields) - 1)},
        **axes,
        "annotations": [panel_heading(_PANELS[field], high) for field, (_, high) in zip(fields, panels, strict=True)],
        "legend": LEGEND_BELOW,
    }
    return build_figure(data, layout, dark=dark)


def _told(curves: Curves) -> list[str]:
    """The measures that some arm has told."""
    return [field for field in _PANELS if any(_points(curve, field) for curve in curves.values())]


def _points(curve: Curve, field: str) -> list[tuple[int, float, float]]:
    """Step, epoch and value, where there is one."""
    values: Sequence[float | None] = getattr(curve, field)
    every = zip(curve.steps, curve.epochs, values, strict=False)  # older runs have not told them
    return [(step, epoch, value) for step, epoch, value in every if value is not None]


def _lines(curves: Curves, field: str, dark: bool, by: Axis) -> Iterator[Drawing]:
    """A line for each arm and round."""
    for (arm, round_), curve, start in following(curves, by):
        points, (colours, dash, mark) = _points(curve, field), look_of(arm)
        if points:
            yield {
                "type": "scatter",
                "mode": "lines+markers" if len(points) <= 40 else "lines",
                "name": plotly_text(short_name(arm)),
                "legendgroup": arm,
                "line": {"color": colours[dark], "dash": dash, "width": 2},
                "marker": {"symbol": mark, "size": 6, "color": colours[dark]},
                "x": [start + (step if by == "step" else epoch) for step, epoch, _ in points],
                "y": [value for _, _, value in points],
                "customdata": [[round_, step, epoch] for step, epoch, _ in points],
                "cliponaxis": False,
                "hovertemplate": "round %{customdata[0]}, step %{customdata[1]}, epoch %{customdata[2]:.2f}<br>"
                "%{y:.4f}<extra>%{fullData.name}</extra>",
            }


def _axis(name: str, at: int) -> str:
    return name if at == 0 else f"{name}{at + 1}"


def measures_alt(curves: Curves) -> str:
    """The chart in a sentence: the first and the last value of each line; empty where nothing was measured."""
    ends = [
        f"{short_name(arm)}, {_PANELS[field].partition(',')[0]}: {points[0][2]:.3f} to {points[-1][2]:.3f}"
        for field in _PANELS
        for (arm, _), curve in curves.items()
        if (points := _points(curve, field))
    ]
    return f"First and last step: {'; '.join(ends)}." if ends else ""

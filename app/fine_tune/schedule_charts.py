"""What a training tells beside its losses: right answers on held-out prompts, learning rate and gradient norm.

Pure: no Streamlit. Curves are as in `charts.py`.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from app.fine_tune.charts import LEGEND_BELOW, Axis, Curves, following, look_of, x_axis
from app.ui.figures import Drawing, build_figure, plotly_text
from spd_core.evaluation.statistics import wilson
from spd_core.recipes.distill import short_name
from spd_core.runs.view import Curve

if TYPE_CHECKING:
    import plotly.graph_objects as go


# --- right answers -----------------------------------------------------------------------------------------------


def answers(curves: Curves, dark: bool, by: Axis = "step") -> "go.Figure":
    """Share of held-out prompts answered rightly, before the training and after each epoch: a dot and its 95% Wilson
    interval, arms a little beside each other."""
    data: list[Drawing] = []
    named: set[str] = set()
    arms = list(dict.fromkeys(arm for arm, _ in curves))
    width = _width(curves, by)
    for (arm, round_), curve, start in following(curves, by):
        if not curve.scored:
            continue
        aside = (arms.index(arm) - (len(arms) - 1) / 2) * width
        data.append(_answers_of(arm, round_, curve, start + aside, by, dark) | {"showlegend": arm not in named})
        named.add(arm)
    layout = {
        "height": 400,
        "xaxis": x_axis([curves], by),
        "yaxis": {"title": {"text": "held-out prompts right (%)"}, "range": [-2, 102]},
        "legend": LEGEND_BELOW,
    }
    return build_figure(data, layout, dark=dark)


def _width(curves: Curves, by: Axis) -> float:
    """How far arms stand apart along x, so that their bars can be told apart: together, less than half the way from
    one epoch to the next."""
    scored = [[step if by == "step" else epoch for step, epoch, _, _ in curve.scored] for curve in curves.values()]
    gaps = [after - before for one in scored for before, after in pairwise(one)]
    return 0.4 * min(gaps, default=1) / max(len({arm for arm, _ in curves}), 1)


def _answers_of(arm: str, round_: int, curve: Curve, start: float, by: Axis, dark: bool) -> Drawing:
    colours, dash, mark = look_of(arm)
    shares = [100 * right / n for _, _, right, n in curve.scored]
    intervals = [wilson(right, n) for _, _, right, n in curve.scored]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plotly_text(short_name(arm)),
        "legendgroup": arm,
        "line": {"color": colours[dark], "dash": dash, "width": 1.5},
        "marker": {"symbol": mark, "size": 9, "color": colours[dark]},
        "x": [start + (step if by == "step" else epoch) for step, epoch, _, _ in curve.scored],
        "y": shares,
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [100 * one.high - share for one, share in zip(intervals, shares, strict=True)],
            "arrayminus": [share - 100 * one.low for one, share in zip(intervals, shares, strict=True)],
            "thickness": 1,
            "width": 3,
        },
        "customdata": [
            [round_, step, right, n, 100 * one.low, 100 * one.high]
            for (step, _, right, n), one in zip(curve.scored, intervals, strict=True)
        ],
        "hovertemplate": "round %{customdata[0]}, step %{customdata[1]}<br>%{customdata[2]} of %{customdata[3]} right"
        "<br>95% interval %{customdata[4]:.0f} to %{customdata[5]:.0f}%<extra>%{fullData.name}</extra>",
    }


def answers_alt(curves: Curves) -> str:
    """The chart in a sentence."""
    ends = [
        f"{short_name(arm)} {curve.scored[0][2]} then {curve.scored[-1][2]} of {curve.scored[-1][3]}"
        for (arm, _), curve in curves.items()
        if curve.scored
    ]
    return f"Held-out prompts answered rightly, first and last: {'; '.join(ends) or 'none yet'}."


# --- learning rate and gradient norm ------------------------------------------------------------------------------


def learning_rates(curves: Curves, rate: float, dark: bool) -> "go.Figure":
    """The learning rate of each step; as planned where a run has not told it."""

    def of(curve: Curve) -> Sequence[float | None]:
        told = any(one is not None for one in curve.learning_rates)
        return curve.learning_rates if told else [cosine(rate, step, curve.planned) for step in curve.steps]

    return _by_step(curves, of, "learning rate", dark)


def grad_norms(curves: Curves, dark: bool) -> "go.Figure":
    """The norm of each step's gradient, before it is clipped."""
    return _by_step(curves, lambda curve: curve.grad_norms, "gradient norm", dark)


def cosine(rate: float, step: int, planned: int) -> float:
    """The learning rate after so many steps of a cosine without warm-up: from `rate` at 0 to nothing at the end."""
    return rate * (1 + math.cos(math.pi * min(step / max(planned, 1), 1))) / 2


def _by_step(curves: Curves, values: Callable[[Curve], Sequence[float | None]], what: str, dark: bool) -> "go.Figure":
    data: list[Drawing] = []
    named: set[str] = set()
    for (arm, _), curve, start in following(curves, "step"):
        colours, dash, _ = look_of(arm)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": plotly_text(short_name(arm)),
                "legendgroup": arm,
                "showlegend": arm not in named,
                "line": {"color": colours[dark], "dash": dash, "width": 2},
                "x": [start + step for step in curve.steps],
                "y": list(values(curve)),
                "hovertemplate": f"step %{{x}}<br>{what} %{{y:.3g}}<extra>%{{fullData.name}}</extra>",
            }
        )
        named.add(arm)
    layout = {
        "height": 240,
        "xaxis": x_axis([curves], "step"),
        "yaxis": {"title": {"text": what}, "rangemode": "tozero", "tickformat": "~g"},  # 0.0002, and not 200µ
        "legend": LEGEND_BELOW,
    }
    return build_figure(data, layout, dark=dark)


def schedule_in_words(rate: float, steps: int) -> str:
    """What the learning rate does, in a sentence."""
    return f"The learning rate falls from {rate:g} along a cosine to zero at step {steps:,}."

"""Losses of all arms, of one run or several, as a figure, a table and a sentence. Pure: no Streamlit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from app.ui.figures import LANE_COLOURS, MUTED, Drawing, build_figure, plotly_text
from spd_core.recipes.distill import short_name
from spd_core.runs.view import ArmRound, Curve, RunView, final_losses
from spd_core.text import opening

if TYPE_CHECKING:
    import plotly.graph_objects as go

Curves = Mapping[ArmRound, Curve]
Views = Mapping[str, Curves]
"""Curves of several runs by what they are called; a single one may be called nothing."""
Axis = Literal["step", "epoch"]
Point = tuple[int, float, float]
"""Step, epoch, loss."""

_INK, _BLUE, _ORANGE, _GREEN, _PINK, _OLIVE = LANE_COLOURS
_VIOLET = ("#5B3FA0", "#B9A3F0")
_LOOKS = {
    "psr": (_INK, "3px,2px", "circle"),
    "ssd": (_BLUE, "dash", "square"),
    "apple": (_PINK, "longdash", "cross"),
    "spd": (_ORANGE, "solid", "diamond"),
    "random": (_GREEN, "dashdot", "triangle-up"),
    "full": (_OLIVE, "dot", "x"),
    "shuffled": (MUTED, "longdashdot", "triangle-down"),
    "contrast": (_VIOLET, "6px,2px,1px,2px", "pentagon"),
    "on-policy": (_ORANGE, "dash", "hexagon"),
    "omniopd": (_ORANGE, "10px,3px", "star"),
    "omniopd-raw": (_INK, "dot", "star-square"),
    "omniopd-random": (_GREEN, "longdashdot", "star-triangle-up"),
    "omniopd-model": (_BLUE, "longdash", "star-diamond"),
}
"""Colours on a light and a dark page, dash and marker of each arm, the same on every page. The colour tells whose
subspace it is, and stars tell OmniOPD."""
LEGEND_BELOW: Drawing = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}
"""At the foot of a figure: at its top, a long one would lie under plotly's buttons."""
_UNKNOWN = (MUTED, "dot", "star")
_FEW = 12
"""Up to so many steps, each has a tick."""
_RUN_SYMBOLS = ("circle", "square", "diamond", "triangle-up")


# --- losses ------------------------------------------------------------------------------------------------------


def losses(views: Views, dark: bool, by: Axis = "step", unit: str = "nats per token") -> "go.Figure":
    """Train losses as faint lines, with hollow marks for the mean of each epoch; held-out ones as thick lines with
    full marks. An arm's rounds follow on each other.

    An arm has one colour and dash, and its own marks; where runs are compared, the marks tell the runs apart.

    Args:
        by: what is drawn along x.
    """
    data: list[Drawing] = []
    for place, (run, curves) in enumerate(views.items()):
        symbol = _RUN_SYMBOLS[place % len(_RUN_SYMBOLS)] if len(views) > 1 else ""
        named: set[str] = set()
        for (arm, round_), curve, start in following(curves, by):
            name = {"name": plotly_text(arm_label(run, arm)), "legendgroup": f"{place} {arm}"}
            drawn = [
                {"type": "scatter", **name, "showlegend": False, **look, **_points(points, rows, round_, start, by)}
                for rows, points, look in _kinds(arm, curve, symbol, dark)
                if points
            ]
            if drawn and arm not in named:
                drawn[-1]["showlegend"] = True  # the thickest
                named.add(arm)
            data += drawn
    layout = {
        "height": 400,
        "xaxis": x_axis(
            list(views.values()), by, any(one.held_out for curves in views.values() for one in curves.values())
        ),
        "yaxis": {"title": {"text": f"loss ({unit})"}, "ticklabelstandoff": 6},  # clear of the marks of step 0
        "legend": LEGEND_BELOW,
    }
    return build_figure(data, layout, dark=dark)


def _kinds(arm: str, curve: Curve, symbol: str, dark: bool) -> Iterator[tuple[str, Sequence[Point], Drawing]]:
    """What is drawn of a training: of which rows it speaks, the points, and how they look."""
    colours, dash, own = look_of(arm)
    colour, mark = colours[dark], symbol or own
    line = {"color": colour, "dash": dash}
    faint = {"mode": "lines", "line": {**line, "width": 1}, "opacity": 0.4 if dark else 0.25}
    hollow = {"symbol": f"{mark}-open", "size": 8, "color": colour}
    train = list(zip(curve.steps, curve.epochs, curve.losses, strict=True))
    yield "train rows of this step", train, faint
    means = {"mode": "lines+markers", "line": {**line, "width": 1.5}, "marker": hollow}
    yield "mean of an epoch's steps", curve.epoch_means(), means
    full = {"symbol": mark, "size": 9, "color": colour}
    thick = {"line": {**line, "width": 3}, "marker": full, "cliponaxis": False}  # step 0 lies on the axis
    yield "held-out rows", curve.held_out, {"mode": "lines+markers", **thick}


def arm_label(run: str, arm: str) -> str:
    """`SPD`, or `run · SPD` where the run is called something."""
    return f"{opening(run, 60)} · {short_name(arm)}" if run else short_name(arm)


def look_of(arm: str) -> tuple[tuple[str, str], str, str]:
    """Colours on a light and a dark page, dash and mark of an arm."""
    return _LOOKS.get(arm, _UNKNOWN)


def _points(points: Sequence[Point], rows: str, round_: int, start: float, by: Axis) -> dict[str, Any]:
    """What a trace draws of steps, epochs and losses, and what it says of each."""
    return {
        "x": [start + (step if by == "step" else epoch) for step, epoch, _ in points],
        "y": [loss for _, _, loss in points],
        "customdata": [[round_, step, epoch] for step, epoch, _ in points],
        "hovertemplate": "round %{customdata[0]}, step %{customdata[1]}, epoch %{customdata[2]:.2f}<br>"
        f"%{{y:.4f}} nats, {rows}<extra>%{{fullData.name}}</extra>",
    }


def following(curves: Curves, by: Axis) -> Iterator[tuple[ArmRound, Curve, float]]:
    """Every training, and where on the x axis its round begins: where the arm's round before has ended."""
    ends: dict[str, float] = {}
    for key, curve in sorted(curves.items(), key=lambda item: item[0][1]):
        start = ends.get(key[0], 0.0)
        yield key, curve, start
        ends[key[0]] = start + _reached(curve, by)


def _ends(curves: Curves, by: Axis) -> dict[str, float]:
    """Where on the x axis the last round of each arm ends."""
    return {arm: start + _reached(curve, by) for (arm, _), curve, start in following(curves, by)}


def _reached(curve: Curve, by: Axis) -> float:
    """The last step or epoch of a training that was told."""
    reached = [
        *((curve.steps if by == "step" else curve.epochs)[-1:]),
        *((point[0] if by == "step" else point[1]) for point in curve.held_out[-1:]),
    ]
    return max(reached, default=0.0)


def x_axis(runs: Sequence[Curves], by: Axis, from_zero: bool = True) -> Drawing:
    """Steps or epochs, from 0 or from the first one; few steps are all numbered.

    Args:
        from_zero: something is drawn at 0, before the training.
    """
    what = "optimizer step" if by == "step" else "epoch"
    several = any(round_ > 1 for curves in runs for _, round_ in curves)
    longest = max((end for curves in runs for end in _ends(curves, by).values()), default=0.0)
    few = {"dtick": 1} if 0 < longest <= _FEW else {}
    title = {"text": f"{what}, rounds one after another" if several else what}
    return {"title": title, "rangemode": "tozero" if from_zero else "normal", **few}


def losses_alt(views: Views) -> str:
    """The chart in a sentence: where each curve has ended."""
    ends = []
    for run, curves in views.items():
        for (arm, round_), curve in curves.items():
            values = [f"train {curve.losses[-1]:.3f}"] if curve.losses else []
            values += [f"held-out {curve.held_out[-1][2]:.3f}"] if curve.held_out else []
            later = f" round {round_}" if round_ > 1 else ""
            ends.append(f"{arm_label(run, arm)}{later} {' and '.join(values) or 'nothing yet'}")
    return f"Losses over the steps of training, in nats per token. Last values: {'; '.join(ends) or 'none yet'}."


def losses_table(views: Views) -> list[dict[str, str]]:
    """The table twin: a row for each step of each training; the run's column only where runs are called something."""
    rows, told = [], _measured(views)
    for run, curves in views.items():
        who = {"Run": run} if any(views) else {}
        for (arm, round_), curve in curves.items():
            train = {
                step: (epoch, loss) for step, epoch, loss in zip(curve.steps, curve.epochs, curve.losses, strict=True)
            }
            held_out = {step: (epoch, loss) for step, epoch, loss in curve.held_out}
            for step in sorted(train.keys() | held_out.keys()):
                epoch = (train.get(step) or held_out[step])[0]
                rows.append(
                    {
                        **who,
                        "Arm": short_name(arm),
                        "Round": str(round_),
                        "Step": str(step),
                        "Epoch": f"{epoch:g}",
                        "Train loss (nats)": _digits(train.get(step)),
                        "Held-out loss (nats)": _digits(held_out.get(step)),
                    }
                    | {name: _number(getattr(curve, field), curve.steps, step) for name, field in told.items()}
                )
    return rows


MEASURED = {
    "Mean weight π̂": "targets",
    "Entropy (nats a token)": "entropies",
    "KL to the untouched model (nats a token)": "divergences",
}
"""What is measured of students at each step beside the loss, and where a curve has it."""


def _measured(views: Views) -> dict[str, str]:
    """What of it some training has told."""
    every = [curve for curves in views.values() for curve in curves.values()]
    return {
        name: field
        for name, field in MEASURED.items()
        if any(value is not None for curve in every for value in getattr(curve, field))
    }


def _number(values: Sequence[float | None], steps: Sequence[int], step: int) -> str:
    """A value of a step with all digits that a float32 has; empty where there is none."""
    value = dict(zip(steps, values, strict=False)).get(step)
    return "" if value is None else f"{value:.7g}"


def finals_table(views: Mapping[str, RunView]) -> list[dict[str, str]]:
    """The last losses of each run and arm."""
    return [
        {
            "Run": run,
            "Arm": short_name(arm),
            "Held-out": "–" if last.held_out is None else f"{last.held_out:.4f}",
            "Train, mean of an epoch": "–" if last.train is None else f"{last.train:.4f}",
            "Round": str(last.round),
        }
        for run, view in views.items()
        for arm, last in final_losses(view).items()
    ]


def _digits(point: tuple[float, float] | None) -> str:
    """A loss with all digits that a float32 has."""
    return "" if point is None else f"{point[1]:.7g}"

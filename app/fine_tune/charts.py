"""Figures of runs: losses of all arms, and how far subspaces have turned. Pure: no Streamlit. A table twin for each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from app.ui.figures import INK, LANE_COLOURS, MUTED, Drawing, build_figure, plotly_text
from spd_core.recipes.distill import short_name
from spd_core.runs.view import ArmRound, Curve, RunView, final_losses
from spd_core.text import opening

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from spd_core.runs.events import Drift

Curves = Mapping[ArmRound, Curve]
Views = Mapping[str, Curves]
"""Curves of several runs by what they are called; a single one may be called nothing."""
Axis = Literal["step", "epoch"]

_INK, _BLUE, _ORANGE, _GREEN, _PINK, _OLIVE = LANE_COLOURS
_LOOKS = {
    "psr": (_INK, "3px,2px", "circle"),
    "ssd": (_BLUE, "dash", "square"),
    "apple": (_PINK, "longdash", "cross"),
    "spd": (_ORANGE, "solid", "diamond"),
    "random": (_GREEN, "dashdot", "triangle-up"),
    "full": (_OLIVE, "dot", "x"),
    "shuffled": (MUTED, "longdashdot", "triangle-down"),
}
"""Colours on a light and a dark page, dash and marker of each arm, the same on every page."""
_UNKNOWN = (MUTED, "dot", "star")
_RUN_SYMBOLS = ("circle", "square", "diamond", "triangle-up")
_MARKED = 12  # train losses of a run that get a mark where several runs are compared


# --- losses ------------------------------------------------------------------------------------------------------


def losses(views: Views, dark: bool, by: Axis = "step") -> "go.Figure":
    """Train losses as thin lines, held-out ones as thick lines with marks; an arm's rounds follow on each other.

    An arm has one colour and dash, and its own marks; where runs are compared, the marks tell the runs apart.

    Args:
        by: what is drawn along x.
    """
    data: list[Drawing] = []
    for place, (run, curves) in enumerate(views.items()):
        symbol, compared = _RUN_SYMBOLS[place % len(_RUN_SYMBOLS)], len(views) > 1
        named: set[str] = set()
        for (arm, round_), curve, start in _following(curves, by):
            colours, dash, own = _look(arm)
            mark = symbol if compared else own
            thin: Drawing = {
                "mode": "lines+markers" if compared else "lines",
                "marker": {"symbol": mark, "size": 5, "maxdisplayed": _MARKED},
            }
            thick: Drawing = {"mode": "lines+markers", "marker": {"symbol": mark, "size": 9}}
            train = list(zip(curve.steps, curve.epochs, curve.losses, strict=True))
            for rows, points, look, width in (("train", train, thin, 1.2), ("held-out", curve.held_out, thick, 3)):
                if points:
                    data.append(
                        {
                            "type": "scatter",
                            "name": plotly_text(arm_label(run, arm)),
                            "legendgroup": f"{place} {arm}",
                            "showlegend": arm not in named,
                            "line": {"color": colours[dark], "dash": dash, "width": width},
                            **look,
                            **_points(points, rows, round_, start, by),
                        }
                    )
                    named.add(arm)
    layout = {
        "height": 380,
        "xaxis": {"title": {"text": _x_title(views, by)}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "loss (nats per token)"}},
    }
    return build_figure(data, layout, dark=dark)


def arm_label(run: str, arm: str) -> str:
    """`SPD`, or `run · SPD` where the run is called something."""
    return f"{opening(run, 60)} · {short_name(arm)}" if run else short_name(arm)


def _look(arm: str) -> tuple[tuple[str, str], str, str]:
    return _LOOKS.get(arm, _UNKNOWN)


def _points(points: list[tuple[int, float, float]], rows: str, round_: int, start: float, by: Axis) -> dict[str, Any]:
    """What a trace draws of steps, epochs and losses, and what it says of each."""
    return {
        "x": [start + (step if by == "step" else epoch) for step, epoch, _ in points],
        "y": [loss for _, _, loss in points],
        "customdata": [[round_, step, epoch] for step, epoch, _ in points],
        "hovertemplate": "round %{customdata[0]}, step %{customdata[1]}, epoch %{customdata[2]:.2f}<br>"
        f"%{{y:.4f}} nats, {rows} rows<extra>%{{fullData.name}}</extra>",
    }


def _following(curves: Curves, by: Axis) -> Iterator[tuple[ArmRound, Curve, float]]:
    """Every training, and where on the x axis its round begins: where the arm's round before has ended."""
    ends: dict[str, float] = {}
    for key, curve in sorted(curves.items(), key=lambda item: item[0][1]):
        start = ends.get(key[0], 0.0)
        yield key, curve, start
        reached = [
            *((curve.steps if by == "step" else curve.epochs)[-1:]),
            *((point[0] if by == "step" else point[1]) for point in curve.held_out[-1:]),
        ]
        ends[key[0]] = start + max(reached, default=0.0)


def _x_title(views: Views, by: Axis) -> str:
    what = "optimizer step" if by == "step" else "epoch"
    several = any(round_ > 1 for curves in views.values() for _, round_ in curves)
    return f"{what}, rounds one after another" if several else what


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
    rows = []
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
                )
    return rows


def finals_table(views: Mapping[str, RunView]) -> list[dict[str, str]]:
    """The last losses of each run and arm."""
    return [
        {
            "Run": run,
            "Arm": short_name(arm),
            "Round": str(last.round),
            "Train": "–" if last.train is None else f"{last.train:.4f}",
            "Held-out": "–" if last.held_out is None else f"{last.held_out:.4f}",
        }
        for run, view in views.items()
        for arm, last in final_losses(view).items()
    ]


def _digits(point: tuple[float, float] | None) -> str:
    """A loss with all digits that a float32 has."""
    return "" if point is None else f"{point[1]:.7g}"


# --- drift -------------------------------------------------------------------------------------------------------


def drift(drifts: "Mapping[ArmRound, Drift]", dark: bool) -> "go.Figure":
    """Overlap with the untouched model's subspace at each site, a mark an arm; a bar where two random ones would be.

    Where an arm has several rounds, the marks of the earlier ones are hollow.
    """
    places = list(dict.fromkeys(site for measured in drifts.values() for site in measured.overlap))
    data: list[Drawing] = []
    for (arm, round_), measured in drifts.items():
        colours, _, symbol = _look(arm)
        last = round_ == max(other for name, other in drifts if name == arm)
        marker = {
            "color": colours[dark],
            "symbol": symbol if last else f"{symbol}-open",
            "size": 11,
            "line": {"width": 2 if not last else 0, "color": colours[dark]},
        }
        name = plotly_text(_training(arm, round_))
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "offsetgroup": name,
                "marker": marker,
                "x": [plotly_text(site) for site in measured.overlap],
                "y": list(measured.overlap.values()),
                "customdata": [
                    [measured.before.get(site), measured.chance.get(site), max(measured.angles.get(site) or (0.0,))]
                    for site in measured.overlap
                ],
                "hovertemplate": "%{x}<br>mean cos² %{y:.4f}, to the round before %{customdata[0]:.4f}<br>"
                "chance %{customdata[1]:.4f}, largest angle %{customdata[2]:.1f}°<extra>%{fullData.name}</extra>",
            }
        )
    line = {"color": INK[dark], "width": 2, "dash": "dash"}
    data.append({"type": "scatter", "x": [None], "y": [None], "mode": "lines", "line": line, "name": "chance"})
    layout = {
        "height": 360,
        "scattermode": "group",
        "scattergap": 0.3,
        "shapes": _chance_levels(drifts, places, line),
        "xaxis": {"type": "category", "categoryarray": [plotly_text(site) for site in places]},
        "yaxis": {"title": {"text": "overlap (mean cos²)"}, "range": [0, 1.04]},
    }
    return build_figure(data, layout, dark=dark)


def _chance_levels(drifts: "Mapping[ArmRound, Drift]", places: Sequence[str], line: Drawing) -> list[Drawing]:
    """A bar at each site where two random subspaces would be."""
    levels = {
        (places.index(site), level)
        for measured in drifts.values()
        for site, level in measured.chance.items()
        if site in places
    }
    return [
        {"type": "line", "x0": at - 0.45, "x1": at + 0.45, "y0": level, "y1": level, "line": line}
        for at, level in sorted(levels)
    ]


def _training(arm: str, round_: int) -> str:
    return f"{short_name(arm)}, round {round_}" if round_ > 1 else short_name(arm)


def drift_alt(drifts: "Mapping[ArmRound, Drift]") -> str:
    """The chart in a sentence: the smallest overlap of each training."""
    ends = []
    for (arm, round_), found in drifts.items():
        if found.overlap:
            site = min(found.overlap, key=found.overlap.__getitem__)
            chance = f" (chance {found.chance[site]:.3f})" if site in found.chance else ""
            ends.append(f"{_training(arm, round_)} {found.overlap[site]:.3f} at {site}{chance}")
    return f"Overlap of the subspaces before and after training, mean cos². Smallest: {'; '.join(ends) or 'none yet'}."


def drift_table(drifts: "Mapping[ArmRound, Drift]") -> list[dict[str, str]]:
    """The table twin: a row for each training and site."""
    return [
        {
            "Arm": short_name(arm),
            "Round": str(round_),
            "Site": site,
            "Overlap (mean cos²)": f"{overlap:g}",
            "To the round before": f"{found.before[site]:g}" if site in found.before else "",
            "Chance": f"{found.chance[site]:g}" if site in found.chance else "",
            "Largest angle (°)": f"{max(found.angles[site]):g}" if found.angles.get(site) else "",
        }
        for (arm, round_), found in drifts.items()
        for site, overlap in found.overlap.items()
    ]

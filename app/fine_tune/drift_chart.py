"""How far subspaces have turned, as a figure, a table and a sentence. Pure: no Streamlit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from app.fine_tune.charts import LEGEND_BELOW, look_of
from app.ui.figures import INK, Drawing, build_figure, plotly_text
from spd_core.recipes.distill import short_name
from spd_core.runs.view import ArmRound

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from spd_core.runs.events import Drift


def drift(drifts: "Mapping[ArmRound, Drift]", dark: bool) -> "go.Figure":
    """Overlap with the untouched model's subspace at each site, a mark an arm; a bar where two random ones would be.

    Where an arm has several rounds, the marks of the earlier ones are hollow.
    """
    places = list(dict.fromkeys(site for measured in drifts.values() for site in measured.overlap))
    data: list[Drawing] = []
    for (arm, round_), measured in drifts.items():
        colours, _, symbol = look_of(arm)
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
        "legend": LEGEND_BELOW,
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

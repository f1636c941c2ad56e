"""The map of all captured sites: a column a layer, keys above values, a number of each as a colour. Pure."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.spectrum.numbers import Panel
from app.ui.figures import INK, PAPER, Drawing, build_figure
from spd_core.subspace.analysis import SHUFFLED
from spd_core.subspace.spectrum import choose_rank, effective_rank, held_percent
from spd_core.subspace.verdict import SHARE
from spd_core.text import signed

if TYPE_CHECKING:
    import plotly.graph_objects as go

NEEDED, EFFECTIVE, KEPT = "directions for 90%", "effective rank", "energy at the rank"
AGAINST, EFFECT = "ratio to the null", "causal effect"
MEASURES = (NEEDED, EFFECTIVE, KEPT, AGAINST, EFFECT)
KINDS = ("key", "value")
_UNITS = {
    NEEDED: "directions",
    EFFECTIVE: "directions",
    KEPT: "% of the energy",
    AGAINST: "times as many",
    EFFECT: "nats a loss token",
}
# Light page, dark page: from steep to flat. All light or all dark, so that one ink can be read on any of them.
_STEEP = (("#7fb9d8", "#b9d9e9", "#f2f6f9"), ("#2c7096", "#21506a", "#182630"))
_AROUND_ONE = (("#e8a56b", "#f2f6f9", "#7fb9d8"), ("#8f4a0c", "#182630", "#2c7096"))


def site_number(panel: Panel, measure: str, rank: int) -> float:
    """The number of a site; NaN where it is not known.

    `AGAINST` is how many times as many directions shuffled answers need for the same share of their energy: above 1
    where the capability's spectrum is the steeper one.
    """
    if measure == EFFECTIVE:
        return effective_rank(panel.values)
    if measure == KEPT:
        return held_percent(panel.energy[panel.rank(rank) - 1])
    if measure == NEEDED:
        return panel.rank_for(SHARE)
    if measure == EFFECT:
        return math.nan if panel.effect is None else panel.effect[0]
    null = panel.nulls.get(SHUFFLED)
    return math.nan if null is None else choose_rank(f"energy:{SHARE}", null)[0] / panel.rank_for(SHARE)


def site_text(panel: Panel, measure: str, rank: int) -> str:
    """A site's number as it stands in its cell; a star where it is steeper than its null beyond luck."""
    number = site_number(panel, measure, rank)
    if math.isnan(number):
        return "?"
    if measure == EFFECT:
        return signed(number, "+.2f")
    star = "*" * (measure == AGAINST and panel.beyond_luck is True)
    return {KEPT: f"{number:.1f}", AGAINST: f"{number:.1f}{star}"}.get(measure, f"{number:.0f}")


def site_map(
    panels: Sequence[Panel], measure: str, rank: int, selected: tuple[int, str], *, dark: bool = False
) -> "go.Figure":
    """Layers by keys and values: a cell's colour is its number; the selected one is framed.

    Squares that cannot be seen lie above the cells, since a heatmap does not tell which cell was clicked; their
    `customdata` is the site.
    """
    by_site = {(panel.layer, panel.kind): panel for panel in panels}
    layers = sorted({panel.layer for panel in panels})
    texts = {site: site_text(panel, measure, rank) for site, panel in by_site.items()}
    heights = {site: _height(site_number(panel, measure, rank), measure) for site, panel in by_site.items()}
    heat = {
        "type": "heatmap",
        "z": [[heights.get((layer, kind), math.nan) for layer in layers] for kind in KINDS],
        "x": [str(layer) for layer in layers],
        "y": list(KINDS),
        "text": [[texts.get((layer, kind), "") for layer in layers] for kind in KINDS],
        "texttemplate": "%{text}",
        "xgap": 2,
        "ygap": 2,
        "hoverinfo": "skip",
        "showscale": False,
        **_colours(list(heights.values()), measure, dark),
    }
    squares = {
        "type": "scatter",
        "x": [str(layer) for layer, _ in by_site],
        "y": [kind for _, kind in by_site],
        "mode": "markers",
        "opacity": 0,
        "marker": {"size": 30, "symbol": "square"},
        "showlegend": False,
        "customdata": [list(site) for site in by_site],
        "text": [f"{texts[site]} {_UNITS[measure]}{_beside(by_site[site], measure)}" for site in by_site],
        "hovertemplate": "layer %{x} %{y}<br>%{text}<extra></extra>",
    }
    layout = {
        "height": 190,
        "margin": {"l": 8, "r": 8, "t": 30, "b": 8},  # above the cells is room for the toolbar
        "xaxis": _AXIS | {"title": {"text": "layer", "standoff": 4}, "range": [-0.55, len(layers) - 0.45]},
        "yaxis": _AXIS | {"range": [1.55, -0.55]},
        "shapes": _frame(layers.index(selected[0]), KINDS.index(selected[1]), dark),
        "hoverdistance": -1,
    }
    return build_figure([heat, squares], layout, dark=dark)


def _beside(panel: Panel, measure: str) -> str:
    """What a random subspace does at the site, on hover."""
    if measure != EFFECT or panel.effect is None:
        return ""
    return f"<br>a random subspace {signed(panel.effect[1], '+.3f')}"


_AXIS = {"type": "category", "showgrid": False, "ticks": "", "zeroline": False}


def _height(number: float, measure: str) -> float:
    """What the colour stands for: counts and ratios on a log scale, or one large number would take all colours."""
    return number if measure in (KEPT, EFFECT) or math.isnan(number) else math.log2(number)


def _colours(heights: Sequence[float], measure: str, dark: bool) -> Drawing:
    """One scale for keys and values: the steeper, the further from the page's colour; around 1 or 0 where there are
    two sides."""
    if measure not in (AGAINST, EFFECT):
        scale = _STEEP[dark] if measure != KEPT else _STEEP[dark][::-1]
        return {"colorscale": _scale(scale)}
    least = math.log2(1.5) if measure == AGAINST else 0.01
    reach = max([abs(height) for height in heights if not math.isnan(height)] + [least])
    return {"colorscale": _scale(_AROUND_ONE[dark]), "zmin": -reach, "zmax": reach}


def _scale(colours: Sequence[str]) -> list[tuple[float, str]]:
    return [(at / (len(colours) - 1), colour) for at, colour in enumerate(colours)]


def _frame(column: int, row: int, dark: bool) -> list[Drawing]:
    """A frame around a cell, ink around paper: seen on any colour."""
    place = {"type": "rect", "x0": column - 0.48, "x1": column + 0.48, "y0": row - 0.47, "y1": row + 0.47}
    return [place | {"line": {"color": colour, "width": width}} for colour, width in ((INK[dark], 5), (PAPER[dark], 2))]

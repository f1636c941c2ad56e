"""The figures of Spectrum: numbers to plotly. Pure: no Streamlit, no engine; the same numbers give the same figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from app.spectrum.numbers import Array, Panel
from app.ui.figures import DASHES, INK, KEY, MUTED, VALUE, Drawing, build_figure
from spd_core.subspace.analysis import FULL, RANDOM, SHUFFLED
from spd_core.subspace.spectrum import energy

if TYPE_CHECKING:
    import plotly.graph_objects as go

ROW_HEIGHT = 170
NULLS = (SHUFFLED, FULL, RANDOM)


@dataclass(frozen=True)
class Look:
    """How the small multiples are drawn.

    Attributes:
        overlays: names of nulls to draw, `bootstrap band` and `KV heads` among them.
        shared: the same axes in all panels.
        shape: every spectrum divided by its own norm, so that shapes can be compared.
        selected: (layer, kind, 0-based direction), ringed.
    """

    dark: bool = False
    overlays: tuple[str, ...] = ()
    shared: bool = True
    shape: bool = False
    selected: tuple[int, str, int] | None = None


BAND, HEADS = "bootstrap band", "KV heads"


def singular_values(panels: Sequence[Panel], rank: int, look: Look) -> "go.Figure":
    """log σᵢ over direction i, a row for each layer, key beside value; nulls and the bootstrap band behind it.

    Values at rounding level (beyond `nonzero`) are left out: on a log axis they would be all one sees.
    """
    unit = "of the norm" if look.shape else "nats per unit"
    hover = f"direction %{{x}}<br>σ = %{{y:.3g}} {unit}<extra>%{{fullData.name}}</extra>"
    traces: list[Trace] = []
    for panel in panels:
        scale = _norm(panel.values, look)
        if BAND in look.overlays and panel.band is not None:
            traces.append(_band(panel, panel.band / scale))
        traces += _own(panel, _above(panel.values / scale, panel.nonzero), hover, look)
        others = {name: _above(values / _norm(values, look)) for name, values in _others(panel, look)}
        traces += _comparisons(panel, others, hover, look)
    drawn = [_above(p.values, p.nonzero) / _norm(p.values, look) for p in panels]
    step = max(1, round(np.log10(np.nanmax(drawn) / np.nanmin(drawn)) / 4))
    return _assembled(
        panels,
        traces,
        rank,
        look,
        "top",
        {
            "type": "log",
            "exponentformat": "power",
            "dtick": step,
            "tickfont": {"size": 10},
            "title": {"text": f"σ ({unit})", "standoff": 4},
        },
    )


def cumulative_energy(panels: Sequence[Panel], rank: int, look: Look) -> "go.Figure":
    """Share of Σσ² held by the first i directions, and the share of the activations' own energy, laid out alike."""
    hover = "first %{x} directions<br>hold %{y:.2%}<extra>%{fullData.name}</extra>"
    traces: list[Trace] = []
    for panel in panels:
        traces += _own(panel, panel.energy, hover, look)
        others: dict[str, Array] = {name: energy(values) for name, values in _others(panel, look)}
        if panel.error is not None:
            others["activations"] = 1 - panel.error
        traces += _comparisons(panel, others, hover, look)
    return _assembled(
        panels,
        traces,
        rank,
        look,
        "bottom",
        {"range": [0, 1.04], "tickformat": ".0%", "dtick": 0.25, "title": {"text": "share of Σσ²"}},
    )


def _others(panel: Panel, look: Look) -> Iterable[tuple[str, Array]]:
    """Spectra drawn beside the capability's own."""
    for name in look.overlays:
        if name in panel.nulls:
            yield name, panel.nulls[name]
    if HEADS in look.overlays and panel.heads is not None:
        yield from ((f"KV head {i + 1}", values) for i, values in enumerate(panel.heads))


def _norm(values: Array, look: Look) -> float:
    return float(np.sqrt((values**2).sum())) if look.shape else 1.0


def _above(values: Array, nonzero: int | None = None) -> Array:
    """Values above rounding; the rest as gaps."""
    keep = np.arange(len(values)) < nonzero if nonzero is not None else values > values.max() * 1e-6
    return np.where(keep, values, np.nan)


# --- traces of one panel -------------------------------------------------------------------------------------

Trace = tuple[Panel, Drawing]
_POINTS_DRAWN = 40  # of each curve: all can be hovered and clicked, but a mark for each takes the browser long


def _own(panel: Panel, values: Array, hover: str, look: Look) -> list[Trace]:
    """The capability's own curve, whose points can be clicked, and a ring at the selected direction."""
    x = np.arange(1, len(values) + 1)
    line = {"color": (KEY if panel.kind == "key" else VALUE)[look.dark], "width": 2.5}
    sites = [[panel.layer, panel.kind, int(i) - 1] for i in x]
    curve = {
        "x": x,
        "y": values,
        "mode": "lines+markers",
        "line": line,
        "marker": {"size": 4, "maxdisplayed": _POINTS_DRAWN},
        "name": f"{panel.kind}s",
        "hovertemplate": hover,
        "customdata": sites,
    }
    if look.selected is None or look.selected[:2] != (panel.layer, panel.kind):
        return [(panel, curve)]
    at = look.selected[2]
    marker = {"size": 14, "symbol": "circle-open", "color": INK[look.dark], "line": {"width": 2.5}}
    ring = {"x": [at + 1], "y": [values[at]], "mode": "markers", "marker": marker, "name": "selected"}
    return [(panel, curve), (panel, {**ring, "hoverinfo": "skip"})]


def _comparisons(panel: Panel, series: Mapping[str, Array], hover: str, look: Look) -> list[Trace]:
    """Dashed, over the capability's own curve: often they lie on it. Nulls in ink; parts of it muted and thinner."""
    traces: list[Trace] = []
    for name, values in series.items():
        null = name in NULLS
        dash = DASHES[NULLS.index(name) if null else len(traces) % len(DASHES)]
        line = {"dash": dash, "width": 1.8 if null else 1.3, "color": (INK if null else MUTED)[look.dark]}
        traces.append(
            (
                panel,
                {
                    "x": np.arange(1, len(values) + 1),
                    "y": values,
                    "mode": "lines",
                    "name": name,
                    "hovertemplate": hover,
                    "line": line,
                },
            )
        )
    return traces


def _band(panel: Panel, band: Array) -> Trace:
    x = np.arange(1, band.shape[1] + 1)
    low, high = (_above(edge, panel.nonzero) for edge in band)
    drawn = ~np.isnan(low) & ~np.isnan(high)
    x, low, high = x[drawn], low[drawn], high[drawn]
    return panel, {
        "x": np.concatenate([x, x[::-1]]),
        "y": np.concatenate([high, low[::-1]]),
        "fill": "toself",
        "fillcolor": "rgba(120,130,140,0.35)",
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "name": BAND,
    }


# --- the grid of panels --------------------------------------------------------------------------------------


def _assembled(
    panels: Sequence[Panel], traces: Sequence[Trace], rank: int, look: Look, label_at: str, y: Drawing
) -> "go.Figure":
    """Small multiples: a row for each layer, key beside value; one legend entry for each name."""
    layers = tuple(sorted({panel.layer for panel in panels}))
    layout = dict(_grid(layers, look.shared))
    known = {
        "automargin": False,
        "zeroline": False,
    }  # the margins are known: measuring them would draw everything twice
    for at in range(1, 2 * len(layers) + 1):
        number, lowest, left = at if at > 1 else "", at > 2 * len(layers) - 2, at % 2
        titles = {"title": {"text": "direction i" if lowest else None, "standoff": 4}}
        layout[f"xaxis{number}"] = layout[f"xaxis{number}"] | known | titles
        layout[f"yaxis{number}"] = layout[f"yaxis{number}"] | known | y | ({} if left else {"title": {"text": None}})
    marks = [_rank_mark(panel, _axis(panel, layers), rank, INK[look.dark], label_at) for panel in panels]
    layout |= {
        "shapes": [shape for shapes, _ in marks for shape in shapes],
        "annotations": [*layout["annotations"], *(label for _, label in marks)],
        "height": ROW_HEIGHT * len(layers) + 120,
        "margin": {"l": 60, "r": 8, "t": 84, "b": 40},
        "legend": {"y": 1, "yref": "container", "yanchor": "top"},
    }
    named: set[str] = set()
    data = []
    for panel, trace in traces:
        number, name = _axis(panel, layers), trace["name"]
        data.append(
            {
                "type": "scatter",
                **trace,
                "xaxis": f"x{number}",
                "yaxis": f"y{number}",
                "legendgroup": name,
                "showlegend": name not in named,
            }
        )
        named.add(name)
    return build_figure(data, layout, dark=look.dark)


@lru_cache
def _grid(layers: tuple[int, ...], shared: bool) -> Drawing:
    """Axes and titles of the panels, as plotly lays them out; not to be changed."""
    from plotly.subplots import make_subplots

    grid = make_subplots(
        rows=len(layers),
        cols=2,
        shared_xaxes="all" if shared else False,
        shared_yaxes="all" if shared else False,
        horizontal_spacing=0.04 if shared else 0.1,
        vertical_spacing=(46 if shared else 76) / (ROW_HEIGHT * len(layers) + 120),  # unshared axes have their ticks
        subplot_titles=[f"Layer {layer} · {kind}" for layer in layers for kind in ("key", "value")],
    )
    layout = grid.to_dict()["layout"]
    titles = [{**title, "font": {"size": 14}} for title in layout["annotations"]]
    return {name: part for name, part in layout.items() if "axis" in name} | {"annotations": titles}


def _axis(panel: Panel, layers: Sequence[int]) -> int | str:
    """The number in the names of a panel's axes; none for the first."""
    at = 2 * layers.index(panel.layer) + (panel.kind == "value") + 1
    return at if at > 1 else ""


def _rank_mark(
    panel: Panel, at: int | str, rank: int, colour: str, label_at: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A dashed line at the rank; what lies right of it is shaded, and removed by a projection."""
    kept, d_kv = panel.rank(rank), len(panel.values)
    span = {"xref": f"x{at}", "yref": f"y{at} domain", "y0": 0, "y1": 1}
    line = {"dash": "dash", "width": 1.5, "color": colour}
    shapes = [{"type": "line", "x0": kept, "x1": kept, "line": line, **span}]
    if kept < d_kv:
        shapes.append(
            {"type": "rect", "x0": kept, "x1": d_kv, "fillcolor": colour, "opacity": 0.06, "line": {"width": 0}, **span}
        )
    top = label_at == "top"
    label = {
        "text": f"rank {kept}",
        "x": kept,
        "y": float(top),
        "yanchor": label_at,
        "showarrow": False,
        "xref": f"x{at}",
        "yref": f"y{at} domain",
        "xanchor": "left" if kept < d_kv * 0.7 else "right",
        "font": {"color": colour, "size": 13},
    }
    return shapes, label

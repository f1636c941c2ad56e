"""Numbers to plotly figures. Pure: no Streamlit, no engine; the same numbers give the same figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.spectra import Array, Overlap, Panel
from spd_core.ranks import energy

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Light page, dark page. Okabe and Ito's colours, told apart with any colour vision.
KEY, VALUE = ("#0072B2", "#56B4E9"), ("#B84E00", "#E69F00")
INK, GRID = ("#17212b", "#e9eef2"), ("#d5dce2", "#33404b")
MUTED = ("#5b6875", "#9aa7b3")
DASHES = ("dash", "dot", "dashdot", "longdash")
ROW_HEIGHT = 170


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
    figure = _grid(panels, look)
    for panel in panels:
        scale = float(np.sqrt((panel.values**2).sum())) if look.shape else 1.0
        if BAND in look.overlays and panel.band is not None:
            _band(figure, panel, panel.band / scale, look)
        others = {name: values / _norm(values, look) for name, values in _others(panel, look)}
        _own(figure, panel, _above(panel.values / scale, panel.nonzero), hover, look)
        _lines(figure, panel, {name: _above(values) for name, values in others.items()}, hover, look)
        _mark_rank(figure, panel, rank, look, label_at="top")
    drawn = [_above(p.values, p.nonzero) / _norm(p.values, look) for p in panels]
    step = max(1, round(np.log10(np.nanmax(drawn) / np.nanmin(drawn)) / 4))
    return figure.update_yaxes(type="log", exponentformat="power", dtick=step, tickfont={"size": 10})


def cumulative_energy(panels: Sequence[Panel], rank: int, look: Look) -> "go.Figure":
    """Share of Σσ² held by the first i directions, and the share of the activations' own energy, laid out alike."""
    hover = "first %{x} directions<br>hold %{y:.2%}<extra>%{fullData.name}</extra>"
    figure = _grid(panels, look)
    for panel in panels:
        others = {name: energy(values) for name, values in _others(panel, look)}
        _own(figure, panel, panel.energy, hover, look)
        _lines(figure, panel, {**others, "activations": 1 - panel.error}, hover, look)
        _mark_rank(figure, panel, rank, look, label_at="bottom")
    return figure.update_yaxes(range=[0, 1.04], tickformat=".0%", dtick=0.25)


def _others(panel: Panel, look: Look) -> Iterable[tuple[str, Array]]:
    """Spectra drawn behind the capability's own."""
    for name in look.overlays:
        if name in panel.nulls:
            yield name, panel.nulls[name]
        elif name == HEADS and panel.heads is not None:
            yield from ((f"KV head {i + 1}", values) for i, values in enumerate(panel.heads))


def _norm(values: Array, look: Look) -> float:
    return float(np.sqrt((values**2).sum())) if look.shape else 1.0


def _above(values: Array, nonzero: int | None = None) -> Array:
    """Values above rounding; the rest as gaps."""
    floor = values.max() * 1e-6
    keep = np.arange(len(values)) < nonzero if nonzero is not None else values > floor
    return np.where(keep, values, np.nan)


def _grid(panels: Sequence[Panel], look: Look) -> "go.Figure":
    from plotly.subplots import make_subplots

    layers = sorted({panel.layer for panel in panels})
    height = ROW_HEIGHT * len(layers) + 120
    figure = make_subplots(
        rows=len(layers),
        cols=2,
        shared_xaxes="all" if look.shared else False,
        shared_yaxes="all" if look.shared else False,
        horizontal_spacing=0.04 if look.shared else 0.1,
        vertical_spacing=46 / height,
        subplot_titles=[f"Layer {layer} · {kind}" for layer in layers for kind in ("key", "value")],
    )
    ink = INK[look.dark]
    figure.update_annotations(font={"size": 14, "color": ink})
    axis = {"gridcolor": GRID[look.dark], "tickfont": {"size": 12, "color": ink}}
    figure.update_yaxes(axis).update_xaxes(axis)
    figure.update_xaxes(title={"text": "direction i", "font": {"color": ink}, "standoff": 4}, row=len(layers))
    legend = {"orientation": "h", "y": 1, "yref": "container", "yanchor": "top", "font": {"size": 12, "color": ink}}
    figure.update_layout(
        height=height, margin={"l": 8, "r": 8, "t": 84, "b": 8}, hovermode="closest", legend=legend, showlegend=True
    )
    return figure


def _cell(figure: "go.Figure", panel: Panel) -> dict[str, int]:
    """Where a panel is drawn: the grid's own titles tell."""
    titles = [annotation.text for annotation in figure.layout.annotations]
    at = titles.index(f"Layer {panel.layer} · {panel.kind}")
    return {"row": at // 2 + 1, "col": at % 2 + 1}


def _lines(figure: "go.Figure", panel: Panel, series: Mapping[str, Array], hover: str, look: Look) -> None:
    """Comparisons, dashed, over the capability's own curve: often they lie on it. One legend entry for each name."""
    named = {trace.name for trace in figure.data}
    for at, (name, values) in enumerate(series.items()):
        line = {"dash": DASHES[at % 4], "width": 1.8, "color": INK[look.dark]}
        figure.add_scatter(
            x=np.arange(1, len(values) + 1), y=values, mode="lines", line=line, name=name, legendgroup=name,
            hovertemplate=hover, showlegend=name not in named, **_cell(figure, panel),
        )  # fmt: skip


def _own(figure: "go.Figure", panel: Panel, values: Array, hover: str, look: Look) -> None:
    """The capability's own curve, whose points can be clicked, and a ring at the selected direction."""
    colour = (KEY if panel.kind == "key" else VALUE)[look.dark]
    x = np.arange(1, len(values) + 1)
    named = {trace.name for trace in figure.data}
    name = f"{panel.kind}s"
    figure.add_scatter(
        x=x, y=values, mode="lines+markers", line={"color": colour, "width": 2.5}, marker={"size": 4}, name=name,
        legendgroup=name, showlegend=name not in named, hovertemplate=hover,
        customdata=[[panel.layer, panel.kind, int(i) - 1] for i in x], **_cell(figure, panel),
    )  # fmt: skip
    if look.selected is not None and look.selected[:2] == (panel.layer, panel.kind):
        at = look.selected[2]
        ring = {"size": 14, "symbol": "circle-open", "color": INK[look.dark], "line": {"width": 2.5}}
        figure.add_scatter(
            x=[at + 1], y=[values[at]], mode="markers", marker=ring, name="selected", hoverinfo="skip",
            **_cell(figure, panel),
        )  # fmt: skip


def _band(figure: "go.Figure", panel: Panel, band: Array, look: Look) -> None:
    x = np.arange(1, band.shape[1] + 1)
    low, high = (_above(edge, panel.nonzero) for edge in band)
    drawn = ~np.isnan(low) & ~np.isnan(high)
    named = {trace.name for trace in figure.data}
    figure.add_scatter(
        x=np.concatenate([x[drawn], x[drawn][::-1]]), y=np.concatenate([high[drawn], low[drawn][::-1]]), fill="toself",
        fillcolor="rgba(120,130,140,0.35)", line={"width": 0}, hoverinfo="skip", name=BAND, legendgroup=BAND,
        showlegend=BAND not in named, **_cell(figure, panel),
    )  # fmt: skip


def _mark_rank(figure: "go.Figure", panel: Panel, rank: int, look: Look, label_at: str) -> None:
    """A dashed line at the rank; what lies right of it is shaded, and removed by a projection."""
    kept, d_kv, colour, cell = panel.rank(rank), len(panel.values), INK[look.dark], _cell(figure, panel)
    label: dict[str, Any] = {"text": f"rank {kept}", "y": float(label_at == "top"), "yanchor": label_at}
    label |= {"xanchor": "left" if kept < d_kv * 0.7 else "right", "font": {"color": colour, "size": 13}}
    figure.add_vline(x=kept, line={"dash": "dash", "width": 1.5, "color": colour}, annotation=label, **cell)
    if kept < d_kv:
        figure.add_vrect(x0=kept, x1=d_kv, fillcolor=colour, opacity=0.06, line_width=0, **cell)


# --- overlap and rows ----------------------------------------------------------------------------------------


def overlap_matrix(found: Overlap, *, dark: bool = False) -> "go.Figure":
    """Mean principal angle between every two subspaces, in degrees: a number and a colour in each cell."""
    import plotly.graph_objects as go

    names, mean = list(found.names), found.mean
    said = [
        [
            f"{names[i]} and {names[j]}<br>angles {a[0]:.1f}° to {a[-1]:.1f}°, mean {a.mean():.1f}°<br>"
            f"shared {found.shared(i, j):.1%}, by chance {found.chance[i, j]:.1%}"
            for j in range(len(names))
            for a in [found.angles[i, j]]
        ]
        for i in range(len(names))
    ]
    heat = go.Heatmap(
        z=mean, x=names, y=names, zmin=0, zmax=90, colorscale="Cividis", reversescale=True, customdata=said,
        texttemplate="%{z:.0f}°", hovertemplate="%{customdata}<extra></extra>", xgap=2, ygap=2,
        colorbar={"title": {"text": "mean angle", "side": "right"}, "ticksuffix": "°", "tickvals": [0, 30, 60, 90]},
    )  # fmt: skip
    ink = {"color": INK[dark], "size": 12}
    figure = go.Figure(heat).update_layout(
        height=110 + 44 * len(names), margin={"l": 8, "r": 8, "t": 16, "b": 8}, font=ink
    )
    return figure.update_yaxes(autorange="reversed", tickfont=ink).update_xaxes(tickfont=ink, side="bottom")


def rows_scatter(
    scores: Array, explained: Array, groups: Sequence[str], said: Sequence[str], *, dark: bool = False
) -> "go.Figure":
    """Gradient rows on their first two principal components; WebGL, a trace (colour and symbol) for each group."""
    import plotly.graph_objects as go

    colours = [(KEY, VALUE)[at % 2][dark] for at in range(2)] + ["#009E73", "#CC79A7", "#F0E442", "#999999"]
    symbols = ("circle", "diamond", "square", "x", "triangle-up", "cross")
    figure = go.Figure()
    for at, name in enumerate(dict.fromkeys(groups)):
        mine = [i for i, group in enumerate(groups) if group == name]
        figure.add_scattergl(
            x=scores[mine, 0], y=scores[mine, 1], mode="markers", name=name, customdata=[[i, said[i]] for i in mine],
            marker={"size": 7, "opacity": 0.75, "color": colours[at % 6], "symbol": symbols[at % 6]},
            hovertemplate="%{customdata[1]}<br>(%{x:.3g}, %{y:.3g}) nats per unit<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    axis = {"gridcolor": GRID[dark], "zerolinecolor": MUTED[dark], "tickfont": {"size": 12, "color": INK[dark]}}
    for which, at in (("x", 0), ("y", 1)):
        title = {"text": f"component {at + 1} ({explained[at]:.1%} of the variance)", "font": {"color": INK[dark]}}
        figure.update_layout({f"{which}axis": {**axis, "title": title}})
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "font": {"size": 12, "color": INK[dark]}}
    return figure.update_layout(height=420, margin={"l": 8, "r": 8, "t": 8, "b": 8}, legend=legend)


def to_html(figures: Sequence["go.Figure"], title: str) -> bytes:
    """Figures as one HTML file that needs no network; `title` is escaped."""
    import html

    parts = [
        figure.update_layout(template="plotly_white").to_html(full_html=False, include_plotlyjs=i == 0)
        for i, figure in enumerate(figures)
    ]
    heading = html.escape(title)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{heading}</title>'
    return f"{head}<h1>{heading}</h1>{''.join(parts)}</html>".encode()

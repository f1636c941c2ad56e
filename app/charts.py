"""Numbers to plotly figures. Pure: no Streamlit, no engine; the same numbers give the same figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from app.captured import Panel

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Light page, dark page. Okabe and Ito's colours, told apart with any colour vision.
KEY, VALUE = ("#0072B2", "#56B4E9"), ("#B84E00", "#E69F00")
INK, GRID = ("#17212b", "#e9eef2"), ("#d5dce2", "#33404b")
ROW_HEIGHT = 150


def singular_values(panels: Sequence[Panel], rank: int, *, dark: bool = False) -> "go.Figure":
    """log σᵢ over direction i, a row for each layer, key beside value, axes shared.

    Values at rounding level (beyond `nonzero`) are left out: on a log axis they would be all one sees.
    """
    drawn = [np.where(np.arange(len(p.values)) < p.nonzero, p.values, np.nan) for p in panels]
    hover = "direction %{x}<br>σ = %{y:.3g} nats per unit<extra></extra>"
    figure = _small_multiples(panels, drawn, hover, rank, dark, label_at="top")
    decades = np.log10(np.nanmax(drawn) / np.nanmin(drawn))
    step = max(1, round(decades / 4))
    return figure.update_yaxes(type="log", exponentformat="power", dtick=step, tickfont={"size": 10})


def cumulative_energy(panels: Sequence[Panel], rank: int, *, dark: bool = False) -> "go.Figure":
    """Share of Σσ² held by the first i directions, laid out like `singular_values`."""
    hover = "first %{x} directions<br>hold %{y:.2%} of the energy<extra></extra>"
    figure = _small_multiples(panels, [p.energy for p in panels], hover, rank, dark, label_at="bottom")
    return figure.update_yaxes(range=[0, 1.04], tickformat=".0%", dtick=0.25)


def _small_multiples(
    panels: Sequence[Panel], series: Sequence[np.ndarray], hover: str, rank: int, dark: bool, label_at: str
) -> "go.Figure":
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    layers = sorted({panel.layer for panel in panels})
    height = ROW_HEIGHT * len(layers) + 90
    figure = make_subplots(
        rows=len(layers),
        cols=2,
        shared_xaxes="all",
        shared_yaxes="all",
        horizontal_spacing=0.04,
        vertical_spacing=46 / height,
        subplot_titles=[f"Layer {layer} · {kind}" for layer in layers for kind in ("key", "value")],
    )
    for panel, values in zip(panels, series, strict=True):
        cell = {"row": layers.index(panel.layer) + 1, "col": 1 if panel.kind == "key" else 2}
        line = {"color": (KEY if panel.kind == "key" else VALUE)[dark], "width": 2.5}
        x = np.arange(1, len(values) + 1)
        trace = go.Scatter(x=x, y=values, mode="lines", line=line, hovertemplate=hover, name=panel.label)
        figure.add_trace(trace, **cell)
        _mark_rank(figure, panel.rank(rank), len(values), INK[dark], label_at, cell)
    figure.update_annotations(font={"size": 14, "color": INK[dark]})
    axis = {"gridcolor": GRID[dark], "tickfont": {"size": 12, "color": INK[dark]}}
    figure.update_yaxes(axis).update_xaxes(axis)
    figure.update_xaxes(title={"text": "direction i", "font": {"color": INK[dark]}, "standoff": 4}, row=len(layers))
    return figure.update_layout(
        height=height, margin={"l": 8, "r": 8, "t": 52, "b": 8}, hovermode="closest", showlegend=False
    )


def _mark_rank(figure: "go.Figure", kept: int, d_kv: int, colour: str, label_at: str, cell: dict[str, int]) -> None:
    """A dashed line at the rank; what lies right of it is shaded, and removed by a projection."""
    label = {"text": f"rank {kept}", "y": float(label_at == "top"), "yanchor": label_at}
    label["xanchor"] = "left" if kept < d_kv * 0.7 else "right"
    line = {"dash": "dash", "width": 1.5, "color": colour}
    figure.add_vline(x=kept, line=line, annotation=label, **cell)
    if kept < d_kv:
        figure.add_vrect(x0=kept, x1=d_kv, fillcolor=colour, opacity=0.06, line_width=0, **cell)


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

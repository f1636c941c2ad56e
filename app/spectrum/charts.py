"""The figures of Spectrum: numbers to plotly. Pure: no Streamlit, no engine; the same numbers give the same figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from app.spectrum.numbers import Array, Panel
from app.spectrum.panel_grid import Trace, assembled, linear_range, log_range, ratio_ticks
from app.ui.figures import DASHES, INK, KEY, LANE_COLOURS, MUTED, VALUE, Drawing, halo, plotly_text
from spd_core.subspace.analysis import FULL, RANDOM, SHUFFLED
from spd_core.subspace.spectrum import energy, energy_band
from spd_core.subspace.verdict import SHARE

if TYPE_CHECKING:
    import plotly.graph_objects as go

NULLS = (SHUFFLED, FULL, RANDOM)
ACTIVATIONS, BAND, HEADS, RING = "activations", "bootstrap band", "KV heads", "selected"
HEAD = HEADS.removesuffix("s")


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

    @property
    def nulls(self) -> tuple[str, ...]:
        """The nulls among the overlays, in a fixed order."""
        return tuple(name for name in NULLS if name in self.overlays)


def singular_values(panels: Sequence[Panel], rank: int, look: Look) -> "go.Figure":
    """log σᵢ over log i, a row for each layer, key beside value; nulls and the bootstrap band with it.

    Values at rounding level (beyond `nonzero`) are left out, and the axis ends where the capability's own curves do:
    neither the band nor a null may squash them.
    """
    unit = "of the norm" if look.shape else "nats per unit"
    hover = f"direction %{{x}}<br>σ = %{{y:.3g}} {unit}<extra>%{{fullData.name}}</extra>"
    traces: list[Trace] = []
    own = {panel.label: _above(panel.values, panel.nonzero) / _norm(panel.values, look) for panel in panels}
    ranges = log_range(list(own.values()), look.shared)
    for panel, (low, _) in zip(panels, ranges, strict=True):
        if BAND in look.overlays and panel.band is not None:
            traces.append(_band(panel, panel.band / _norm(panel.values, look), 10.0**low))
        traces += _own(panel, own[panel.label], hover, look)
        others = {name: _above(values / _norm(values, look)) for name, values in _others(panel, look)}
        traces += _comparisons(panel, others, hover, look)
    y = {"type": "log", "exponentformat": "power", "dtick": 1, "title": {"text": f"σ ({unit})", "standoff": 4}}
    return assembled(panels, traces, rank, y=y, ranges=ranges, dark=look.dark, shared=look.shared)


def cumulative_energy(panels: Sequence[Panel], rank: int, look: Look) -> "go.Figure":
    """Share of Σσ² that the first i directions hold, over log i; where it reaches `SHARE`, how many that takes.

    The band is what any spectrum inside the bootstrap band holds; beside it the share of the activations' own energy.
    """
    hover = "first %{x} directions<br>hold %{y:.2%}<extra>%{fullData.name}</extra>"
    traces: list[Trace] = []
    for panel in panels:
        if BAND in look.overlays and panel.band is not None:
            traces.append(_band(panel, energy_band(panel.band), 0.0))
        traces += _own(panel, panel.energy, hover, look, "bottom right")
        others: dict[str, Array] = {name: energy(values) for name, values in _others(panel, look)}
        first_null = next(((name, others[name]) for name in look.nulls if name in others), None)
        traces += _comparisons(panel, others, hover, look)
        if panel.error is not None:
            traces += _comparisons(panel, {ACTIVATIONS: 1 - panel.error}, hover, look)
        if first_null is not None:
            traces.append(
                _needed(panel, *first_null, "bottom right", null_colour(first_null[0], look.dark), hover, look)
            )
        own = _needed(panel, f"{panel.kind}s", panel.energy, "top left", _colour(panel, look.dark), hover, look)
        traces.append(own)
    title = {"text": "share of the energy", "standoff": 4}
    y = {"tickformat": "~%", "tickvals": [0, 0.25, 0.5, 0.75, SHARE, 1], "title": title}
    return assembled(
        panels,
        traces,
        rank,
        y=y,
        ranges=linear_range(len(panels), 0, 1.06),
        dark=look.dark,
        shared=look.shared,
        level=SHARE,
    )


def ratio_to_null(panels: Sequence[Panel], rank: int, look: Look) -> "go.Figure":
    """σᵢ over the null's σᵢ, both spectra divided by their norms: above 1 first and below 1 last is a steeper spectrum.

    The band around 1 is what other draws of the examples do to the capability's own spectrum. Without a null chosen
    it is the first that there is.
    """
    hover = "direction %{x}<br>%{y:.3g} × the null<extra>%{fullData.name}</extra>"
    traces: list[Trace] = []
    drawn: list[Array] = []
    for panel in panels:
        if BAND in look.overlays and panel.band is not None:
            own = _above(panel.values, panel.nonzero)
            traces.append(_band(panel, panel.band / own, 1e-2))
        names = [name for name in look.nulls if name in panel.nulls] or [n for n in NULLS if n in panel.nulls][:1]
        ratios = {name: _ratio(panel, panel.nulls[name]) for name in names}
        drawn.append(np.concatenate([*ratios.values(), [0.8, 1.25]]))
        for at, (name, ratio) in enumerate(ratios.items()):
            traces += clickable_curve(panel, ratio, name, _null_line(name, look.dark, 2.2), hover)
            if at == 0:
                traces += [(panel, ring) for ring in ring_at(panel, ratio, look)]
    ranges = log_range(drawn, look.shared, most=1e3, headroom=0.3)
    title = {"text": "capability ÷ null", "standoff": 4}
    y = {"type": "log", **ratio_ticks(ranges), "title": title}
    return assembled(
        panels,
        traces,
        rank,
        y=y,
        ranges=ranges,
        dark=look.dark,
        shared=look.shared,
        level=1.0,
    )


def _ratio(panel: Panel, null: Array) -> Array:
    own = _above(panel.values, panel.nonzero) / np.linalg.norm(panel.values)
    ratio: Array = own / (_above(null) / np.linalg.norm(null))
    return ratio


def _others(panel: Panel, look: Look) -> Iterable[tuple[str, Array]]:
    """Spectra drawn with the capability's own."""
    for name in look.nulls:
        if name in panel.nulls:
            yield name, panel.nulls[name]
    if HEADS in look.overlays and panel.heads is not None:
        yield from ((f"{HEAD} {i + 1}", values) for i, values in enumerate(panel.heads))


def _norm(values: Array, look: Look) -> float:
    return float(np.sqrt((values**2).sum())) if look.shape else 1.0


def _above(values: Array, nonzero: int | None = None) -> Array:
    """Values above rounding; the rest as gaps."""
    keep = np.arange(len(values)) < nonzero if nonzero is not None else values > values.max() * 1e-6
    return np.where(keep, values, np.nan)


# --- traces of one panel -------------------------------------------------------------------------------------

_NULL_COLOURS = dict(zip(NULLS, LANE_COLOURS[3:], strict=True))


def null_colour(name: str, dark: bool) -> str:
    """The colour of a null, on every figure of the page."""
    return _NULL_COLOURS[name][dark]


def _null_line(name: str, dark: bool, width: float) -> Drawing:
    return {"dash": DASHES[NULLS.index(name)], "width": width, "color": null_colour(name, dark)}


def _colour(panel: Panel, dark: bool) -> str:
    return (KEY if panel.kind == "key" else VALUE)[dark]


def _own(panel: Panel, values: Array, hover: str, look: Look, beside: str = "top right") -> list[Trace]:
    """The capability's own curve, and a ring at the selected direction."""
    line = {"color": _colour(panel, look.dark), "width": 2.5}
    rings = ring_at(panel, values, look, beside)
    return [*clickable_curve(panel, values, f"{panel.kind}s", line, hover), *((panel, ring) for ring in rings)]


def clickable_curve(panel: Panel, values: Array, name: str, line: Drawing, hover: str, group: str = "") -> list[Trace]:
    """A curve whose points can be clicked, each of which tells its site and direction, and dots that say so.

    Of the points only the first is drawn, as plotly draws one path for each; the dots are drawn for them.

    Args:
        group: what the legend calls it.
    """
    x = np.arange(1, len(values) + 1)
    named = {at: f"<br>direction {at + 1}: {_said(panel, at)}" for at in panel.names}
    dot = {"size": 6, "line": {"width": 0}, "color": line["color"]}
    curve = {
        "x": x,
        "y": values,
        "mode": "lines+markers",
        "line": line,
        "marker": {**dot, "maxdisplayed": 1},
        "name": name,
        "legendgroup": group or name,
        "hovertemplate": hover.replace("<extra>", "%{hovertext}<extra>") if named else hover,
        **({"hovertext": [named.get(int(i) - 1, "") for i in x]} if named else {}),
        "customdata": [[panel.layer, panel.kind, int(i) - 1] for i in x],
    }
    at = _dotted(len(x))
    dots = {"x": x[at], "y": values[at], "mode": "markers", "marker": dot, "name": name, "hoverinfo": "skip"}
    return [(panel, curve), (panel, dots | {"legendgroup": curve["legendgroup"], "unselected": _ALIKE})]


_ALIKE = {"marker": {"opacity": 1}}
"""Of points that cannot be chosen: they do not fade when others are."""


def _said(panel: Panel, direction: int) -> str:
    """The name of a direction, if it has one, as plotly shows it."""
    name = panel.names.get(direction)
    return f"“{plotly_text(name)}”" if name else ""


def _dotted(count: int) -> Array:
    """Indices of the points of a curve over log i that have a dot: so many can be seen apart."""
    indices: Array = np.unique(np.geomspace(1, count, 24).round().astype(int)) - 1
    return indices


def ring_at(panel: Panel, values: Array, look: Look, beside: str = "top right") -> list[Drawing]:
    """A ring at the selected direction, with its number `beside` it."""
    if look.selected is None or look.selected[:2] != (panel.layer, panel.kind):
        return []
    at, ink = look.selected[2], INK[look.dark]
    return [
        {
            "x": [at + 1],
            "y": [values[at]],
            "mode": "markers+text",
            "text": [f"direction {at + 1} {_said(panel, at)}".strip()],
            "textposition": beside,
            "textfont": {"color": ink, "size": 12, "shadow": halo(look.dark)},
            "marker": {"size": 14, "symbol": "circle-open", "color": ink, "line": {"width": 2.5}},
            "name": RING,
            "hoverinfo": "skip",
            "cliponaxis": False,
        }
    ]


def _comparisons(panel: Panel, series: Mapping[str, Array], hover: str, look: Look) -> list[Trace]:
    """Dashed, over the capability's own curve: often they lie on it. Nulls in colours of their own; parts muted."""
    traces: list[Trace] = []
    for name, values in series.items():
        muted = {"dash": DASHES[len(traces) % len(DASHES)], "width": 1.3, "color": MUTED[look.dark]}
        line = _null_line(name, look.dark, 2.0) if name in NULLS else muted
        x = np.arange(1, len(values) + 1)
        group = HEADS if name.startswith(HEAD) else name
        curve = {"x": x, "y": values, "mode": "lines", "name": name, "hovertemplate": hover, "line": line}
        traces.append((panel, curve | {"legendgroup": group}))
    return traces


def _needed(panel: Panel, name: str, shares: Array, beside: str, colour: str, hover: str, look: Look) -> Trace:
    """A dot where a curve reaches `SHARE`, with how many directions that takes."""
    at = int(np.argmax(shares >= SHARE - 1e-12))
    return panel, {
        "x": [at + 1],
        "y": [shares[at]],
        "mode": "markers+text",
        "text": [f"<b>{at + 1}</b>"],
        "textposition": beside,
        "textfont": {"color": colour, "size": 14, "shadow": halo(look.dark)},
        "marker": {"size": 9, "color": colour},
        "name": f"{name}: {SHARE:.0%}",
        "legendgroup": name,
        "hovertemplate": hover,
    }


def _band(panel: Panel, band: Array, floor: float) -> Trace:
    """The area between the edges; not below `floor`, since 0 has no place on a log axis."""
    low, high = (np.maximum(edge, floor) for edge in band)
    x = np.arange(1, band.shape[1] + 1)
    drawn = (~np.isnan(low)) & (np.arange(len(x)) < panel.nonzero)
    x, low, high = x[drawn], low[drawn], high[drawn]
    return panel, {
        "x": np.concatenate([x, x[::-1]]),
        "y": np.concatenate([high, low[::-1]]),
        "fill": "toself",
        "fillcolor": "rgba(120,130,140,0.3)",
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "name": BAND,
    }

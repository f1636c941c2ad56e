"""The figures of Spectrum: numbers to plotly. Pure: no Streamlit, no engine; the same numbers give the same figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from app.spectrum.curves import PointMark, clickable_curve, marks_trace, said
from app.spectrum.numbers import Array, Panel
from app.spectrum.panel_grid import Trace, assembled, linear_range, log_range, ratio_ticks
from app.ui.figures import DASHES, INK, KEY, LANE_COLOURS, MUTED, VALUE, Drawing
from spd_core.subspace.analysis import FULL, RANDOM, SHUFFLED
from spd_core.subspace.spectrum import energy, energy_band
from spd_core.subspace.verdict import SHARE

if TYPE_CHECKING:
    import plotly.graph_objects as go

NULLS = (SHUFFLED, FULL, RANDOM)
ACTIVATIONS, BAND, HEADS = "activations", "bootstrap band", "KV heads"
HEAD = HEADS.removesuffix("s")


@dataclass(frozen=True)
class Look:
    """How the small multiples are drawn.

    Attributes:
        overlays: names of nulls to draw; `bootstrap band`, `KV heads` and `activations` may be among them.
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
        traces += _own(panel, own[panel.label], hover, look, ring_at(panel, look))
        others = {name: _above(values / _norm(values, look)) for name, values in _others(panel, look)}
        traces += _comparisons(panel, others, hover, look)
    y = {"type": "log", "exponentformat": "power", "dtick": 1, "title": {"text": f"σ ({unit})", "standoff": 4}}
    return assembled(panels, traces, rank, y=y, ranges=ranges, dark=look.dark, shared=look.shared)


def cumulative_energy(panels: Sequence[Panel], rank: int, look: Look) -> "go.Figure":
    """Share of Σσ² that the first i directions hold, over log i; where it reaches `SHARE`, how many that takes.

    The band is what any spectrum inside the bootstrap band holds; `activations` is the share of their own energy.
    """
    hover = "first %{x} directions<br>hold %{y:.2%}<extra>%{fullData.name}</extra>"
    traces: list[Trace] = []
    for panel in panels:
        if BAND in look.overlays and panel.band is not None:
            traces.append(_band(panel, energy_band(panel.band), 0.0))
        needed = _needed(panel.energy, "top left", _colour(panel, look.dark))
        traces += _own(panel, panel.energy, hover, look, [needed, *ring_at(panel, look, "bottom right")])
        others: dict[str, Array] = {name: energy(values) for name, values in _others(panel, look)}
        first_null = next(((name, others[name]) for name in look.nulls if name in others), None)
        traces += _comparisons(panel, others, hover, look)
        if ACTIVATIONS in look.overlays and panel.error is not None:
            traces += _comparisons(panel, {ACTIVATIONS: 1 - panel.error}, hover, look)
        if first_null is not None:
            name, shares = first_null
            mark = _needed(shares, "bottom right", null_colour(name, look.dark))
            traces.append((panel, marks_trace(shares, [mark], name, look.dark)))
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
            ring = ring_at(panel, look) if at == 0 else ()
            line = _null_line(name, look.dark, 2.2)
            traces += clickable_curve(panel, ratio, name, line, hover, dark=look.dark, marks=ring)
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


def _own(panel: Panel, values: Array, hover: str, look: Look, marks: Sequence[PointMark] = ()) -> list[Trace]:
    """The capability's own curve."""
    line = {"color": _colour(panel, look.dark), "width": 2.5}
    return clickable_curve(panel, values, f"{panel.kind}s", line, hover, dark=look.dark, marks=marks)


def ring_at(panel: Panel, look: Look, beside: str = "top right") -> list[PointMark]:
    """A ring at the selected direction, with its number `beside` it."""
    if look.selected is None or look.selected[:2] != (panel.layer, panel.kind):
        return []
    at = look.selected[2]
    text = f"direction {at + 1} {said(panel, at)}".strip()
    return [PointMark(at, text, beside, 12, INK[look.dark], 14, "circle-open")]


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


def _needed(shares: Array, beside: str, colour: str) -> PointMark:
    """A dot where a curve reaches `SHARE`, with how many directions that takes."""
    at = int(np.argmax(shares >= SHARE - 1e-12))
    return PointMark(at, f"<b>{at + 1}</b>", beside, 14, colour, 9)


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

"""The section of a report on the spectrum: how many directions carry the capability. Pure: knows no session."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from app.reports.blocks import Block, ReportFigure, ReportSection, ReportTable
from app.reports.chosen import InHand
from app.spectrum import charts, contrast_charts, contrast_numbers, layer_map, numbers, subspace_charts
from app.spectrum.numbers import Panel
from spd_core.attribution.geometry import drawn_tokens
from spd_core.subspace.analysis import LeftOut
from spd_core.subspace.overlap_verdict import captures_verdict
from spd_core.subspace.rows_verdict import rows_verdict
from spd_core.subspace.spectrum import overlap
from spd_core.subspace.verdict import spectrum_verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_POINTS = 5_000
"""Of a cloud: each is drawn without a graphics card, and told apart by pointing at it."""

MOST_LAYERS = 4
"""Layers whose curves are all drawn; of more, those of the selected one, and a map of all."""
Build = Callable[[Sequence[Panel], int, charts.Look], "go.Figure"]


def spectrum_section(held: InHand, overlays: tuple[str, ...]) -> ReportSection:
    """Energy and singular values beside their nulls, the map of many layers, halves of the examples, gradient rows.

    Args:
        overlays: names of nulls to draw, `bootstrap band`, `KV heads`, `activations`, as far as they are there.
    """
    made_of = held.analysis.provenance.left_out
    blocks = _curves(held, overlays) if made_of is None else _contrast(held, made_of)
    return ReportSection(
        "Spectrum",
        "How many directions carry this capability?",
        spectrum_verdict(held.analysis, held.at.layer, held.at.kind, held.rank),
        [*_map(held), *blocks, *_halves(held), *_rows(held)],
    )


def _layers(held: InHand) -> list[int]:
    layers = held.analysis.layers
    return layers if len(layers) <= MOST_LAYERS else [held.at.layer]


def _map(held: InHand) -> Iterator[Block]:
    if len(held.analysis.layers) <= MOST_LAYERS:
        return
    measure = layer_map.NEEDED if held.analysis.provenance.left_out is None else layer_map.KEPT
    panels = numbers.panels_of(held.analysis)
    here = (held.at.layer, held.at.kind)
    yield ReportFigure(
        lambda dark: layer_map.site_map(panels, measure, held.rank, here, dark=dark),
        f"All captured sites, a column a layer: {measure}. The framed cell is the site whose curves are drawn below.",
        f"{measure} of {len(panels)} sites; the table of sites has their numbers.",
        "sites",
    )


# --- curves --------------------------------------------------------------------------------------------------


def _curves(held: InHand, overlays: tuple[str, ...]) -> Iterator[Block]:
    panels = numbers.panels_of(held.analysis, _layers(held), heads=charts.HEADS in overlays, names=held.names)
    compared = ", ".join(name for name in charts.NULLS if name in overlays and any(name in one.nulls for one in panels))
    nulls = f" Dashed: {compared}. What a null shows too is no sign of the capability." if compared else ""
    band = " The grey band is the luck of the examples." if charts.BAND in overlays else ""
    table = numbers.panel_table(numbers.panels_of(held.analysis, names=held.names), held.rank)
    kept = "; ".join(f"{row['Site']} {row['Energy kept']:.1f}%" for row in table[:8])
    drawn: list[tuple[Build, str, str, str]] = [
        (
            charts.cumulative_energy,
            f"Share of all energy that the first directions hold. A curve that rises steeply means that few directions "
            f"carry the loss; dots say how many hold 90%. Rank {held.rank} keeps what is not shaded.{nulls}{band}",
            f"Cumulative energy of each site. Rank {held.rank} keeps: {kept}.",
            "cumulative-energy",
        ),
        (
            charts.singular_values,
            f"How much the gradients vary along each direction, on log scales.{nulls}{band}",
            "Singular values of each site, from the largest down.",
            "singular-values",
        ),
    ]
    if any(panel.nulls for panel in panels):
        drawn.append(
            (
                charts.ratio_to_null,
                "The spectrum divided by its null, both at norm 1: above 1 on the left and below 1 on the right, the "
                f"capability's is the steeper one.{band}",
                "Singular values over those of a null, for each site.",
                "ratio-to-null",
            )
        )
    for build, caption, alt, name in drawn:
        yield ReportFigure(_drawn(build, panels, held, overlays), caption, alt, name)
    yield _table(f"All sites at rank {held.rank}.", table)


def _drawn(
    build: Build, panels: Sequence[Panel], held: InHand, overlays: tuple[str, ...]
) -> "Callable[[bool], go.Figure]":
    selected = (held.at.layer, held.at.kind, held.at.direction)
    return lambda dark: build(panels, held.rank, charts.Look(dark, overlays, selected=selected))


_FORMATS = {"Effective rank": "{:.1f}", "Stable rank": "{:.1f}", "σ₁": "{:.3g}", "λ₁": "{:.3g}"}
"""Of columns that are no percentages."""


def _table(caption: str, rows: Sequence[dict[str, object]], *, folded: bool = False) -> ReportTable:
    def told(name: str, value: object) -> str:
        if value is None:
            return "–"
        return _FORMATS.get(name, "{:.1f}%" if isinstance(value, float) else "{}").format(value)

    names = list(rows[0])
    return ReportTable(caption, names, [[told(name, row[name]) for name in names] for row in rows], folded)


# --- a contrast ----------------------------------------------------------------------------------------------


def _contrast(held: InHand, made_of: LeftOut) -> Iterator[Block]:
    mine, theirs = made_of.capability, " and ".join(made_of.others)
    panels = contrast_numbers.contrast_panels(held.analysis, _layers(held))
    selected = (held.at.layer, held.at.kind, held.at.direction)

    def draw(build: Callable[..., "go.Figure"]) -> "Callable[[bool], go.Figure]":
        return lambda dark: build(panels, held.rank, charts.Look(dark, selected=selected), mine, theirs)

    yield ReportFigure(
        draw(contrast_charts.held_together),
        f"What the first directions hold together of {mine} and of {theirs}: the wider the gap at the rank, the better "
        "they tell the two apart. Dashed are the same two for the plain subspace of as many directions.",
        f"Energy of {mine} and {theirs} that the first directions hold, for each site.",
        "held-together",
    )
    yield ReportFigure(
        draw(contrast_charts.held_by_each),
        "Each direction's share of either. Directions come by their ratio, the capability's own first.",
        f"Share of the energy of {mine} and {theirs} of each direction, for each site.",
        "held-by-each",
    )
    every = contrast_numbers.contrast_panels(held.analysis)
    yield _table(f"All sites at rank {held.rank}.", contrast_numbers.contrast_table(every, held.rank, mine, theirs))


# --- subspaces and rows --------------------------------------------------------------------------------------


def _halves(held: InHand) -> Iterator[Block]:
    bases = numbers.bases_at(held.analysis, held.site, held.rank)
    if len(bases) < 2:
        return
    found = overlap(bases)
    said = captures_verdict(found, f"Layer {held.at.layer} {held.at.kind}s at rank {held.rank}")
    yield ReportFigure(
        lambda dark: subspace_charts.overlap_matrix(found, dark=dark),
        f"What the subspaces of halves of the examples share, in percent. {said}",
        f"Overlap of subspaces of {held.site.label}. {said}",
        "overlap",
    )


def _rows(held: InHand) -> Iterator[Block]:
    coordinates = held.analysis.sites[held.site].coordinates
    if coordinates is None or coordinates.scores.shape[1] < 2:
        return
    groups, said = numbers.row_groups(held.analysis, None)
    rows = drawn_tokens(np.ones(len(groups), bool), MOST_POINTS)
    drawn = "" if len(rows) == len(groups) else f" {len(rows):,} of {len(groups):,} are drawn, chosen at random."
    known = [at for at in dict.fromkeys((0, 1, held.at.direction)) if at < coordinates.axes.shape[1]]
    axes = {f"u{at + 1}": coordinates.axes[:, at] for at in known}
    yield ReportFigure(
        lambda dark: subspace_charts.rows_scatter(
            coordinates.scores[rows],
            coordinates.explained,
            [groups[row] for row in rows],
            [said[row] for row in rows],
            axes,
            dark=dark,
        ),
        f"The gradient at every token of {held.site.label}, on two principal components; dashed lines are directions."
        f"{drawn} "
        f"{rows_verdict(held.analysis, held.at.layer, held.at.kind)}",
        f"{len(groups)} gradient rows on two principal components.",
        "gradient-rows",
    )

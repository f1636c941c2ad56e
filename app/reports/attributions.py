"""The section of a report on one direction: which tokens make it, and what it does. Pure: knows no session."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from app.attributions import charts
from app.attributions.calibration_texts import LETTER, is_kept, token_numbers, token_tips
from app.attributions.causal_check import change_rows
from app.reports.blocks import Block, ReportFigure, ReportNote, ReportSection, ReportStrip, ReportTable
from app.reports.chosen import InHand
from app.reports.geometry import geometry_figure
from app.reports.spectrum import MOST_POINTS
from app.reports.strips import strip_block
from app.ui.tokens import Scale, strip_data, visible
from app.ui.widgets import counted
from spd_core.attribution import recorded, tables
from spd_core.attribution.geometry import drawn_tokens
from spd_core.attribution.results import CausalCheck, Lens
from spd_core.attribution.verdict import causal_verdict, coordinate_verdict, energy_verdict, lens_verdict
from spd_core.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST_ROWS = 40
_COMPUTED = "computed in this session"


def attributions_section(held: InHand) -> ReportSection:
    """Energy shares, the baseline and coordinates of the selected text, sums over all texts, lens and causal check."""
    name, question = "Token attributions", f"Which tokens make {held.direction}, and what does it do?"
    probes = list(_probes(held))
    if not held.analysis.examples or not is_kept(held.analysis, held.at):
        said = f"This capture kept no single tokens for {held.direction}."
        return ReportSection(name, question, said, probes)
    table = tables.direction_table(held.analysis, held.site, held.at.direction, held.special)
    blocks = [*_strips(held, table), *_sums(held, table), *geometry_figure(held, table), *probes]
    return ReportSection(name, question, energy_verdict(table, held.at.direction), blocks)


# --- tokens --------------------------------------------------------------------------------------------------


def _strips(held: InHand, table: "DataFrame") -> Iterator[Block]:
    at, letter = held.at, LETTER[held.at.kind]
    free = table[~table.aside] if held.hide else table
    share = Scale(tables.scale_of(free.share), "of σ²", percent=True, diverging=False)
    where = f"calibration text {at.example + 1} of {len(held.analysis.examples)}"
    yield _strip(
        held, table, "share", share, f"Energy share of direction {at.direction + 1}, {where}",
        "The deeper a token's colour, the more of this direction comes from the loss's gradient there. Point at one, "
        "or step with the arrow keys, for its numbers.",
    )  # fmt: skip
    nats = Scale(tables.scale_of(free.baseline), "nats")
    yield _strip(
        held, table, "baseline", nats, f"Baseline: gradient × activation, {where}",
        "The usual attribution: how much each token moves the loss in any direction.",
    )  # fmt: skip
    unit = Scale(tables.scale_of(free.coordinate), f"{letter}·u, units of activation")
    yield _strip(
        held, table, "coordinate", unit, f"Coordinates along direction {at.direction + 1}, {where}",
        f"How far a token's {at.kind} points along the direction: orange along it, blue against it; which is which is "
        f"arbitrary. {coordinate_verdict(free, at.direction, at.kind)}",
    )  # fmt: skip


def _strip(held: InHand, table: "DataFrame", column: str, scale: Scale, title: str, caption: str) -> ReportStrip:
    rows = table[table.example == held.at.example]
    tips = token_tips(rows, token_numbers(held.at))
    data = strip_data(rows, column, scale, tips, label=title, selected=held.at.token, hide=held.hide)
    return strip_block(data, title, caption)


def _sums(held: InHand, table: "DataFrame") -> Iterator[Block]:
    shown = table[~table.aside] if held.hide else table
    hidden = f" Without the {table[table.aside].share.sum():.1%} of first and special tokens." if held.hide else ""
    sums = tables.summed(shown, "text")
    yield ReportFigure(
        lambda dark: charts.by_token(sums, dark=dark),
        f"Energy shares summed by token string over all {counted(len(held.analysis.examples), 'text')}: long bars are "
        f"the tokens that this direction comes from.{hidden}",
        "Energy share summed by token string; the table below has the numbers.",
        "by-token",
    )
    yield ReportFigure(
        lambda dark: charts.by_position(shown, dark=dark),
        f"The same by position in the text.{hidden}",
        "Energy share by position in the text.",
        "by-position",
    )
    dots = shown.iloc[drawn_tokens(np.ones(len(shown), bool), MOST_POINTS)]
    yield ReportFigure(
        lambda dark: charts.agreement(dots, dark=dark),
        "Each token's share against its gradient × activation, on log scales: dots along a rising line mean that both "
        f"attributions name the same tokens. Rank correlation (Spearman): {_correlation(table)}.",
        "Energy share of each token against its gradient × activation.",
        "against-the-baseline",
    )
    whole = tables.summed(table, "text").head(_MOST_ROWS)
    rows = [
        [visible(str(row.text)).replace("\n", "") or "∅", f"{row.share:.3%}", f"{row.tokens:,}"]
        for row in whole.itertuples()
    ]
    yield ReportTable(f"The {len(rows)} token strings with most of the energy, first and special tokens among them.",
                      ["Token", "Share of σ²", "Places"], rows, folded=True)  # fmt: skip


def _correlation(table: "DataFrame") -> str:
    try:
        return f"ρ = {tables.rank_correlation(table):+.2f}".replace("-", "−")
    except InputError as error:
        return str(error)


# --- what it does --------------------------------------------------------------------------------------------


def _probes(held: InHand) -> Iterator[Block]:
    """Lens and causal check, each as this session has computed it, else as it is recorded."""
    try:
        kept = recorded.probes_of(held.analysis)
    except InputError as error:
        kept = None
        yield ReportNote(f"What is recorded of this direction cannot be read: {error}")
    lens, check, when = held.lens, held.check, _COMPUTED
    if kept is not None:
        when = f"recorded on {kept.settings.recorded} with {kept.settings.model}"
        lens = lens or kept.lens(held.site, held.at.direction)
        check = check or kept.check(held.analysis, held.site, held.at.direction)
    if lens is not None:
        yield _lens(held, lens, _COMPUTED if held.lens is not None else when)
    if check is not None:
        yield _check(held, check, _COMPUTED if held.check is not None else when)


def _lens(held: InHand, found: Lens, how: str) -> Block:
    tokens = [*found.promoted, *found.suppressed[::-1]]
    said = lens_verdict(found, f"direction {held.at.direction + 1}")
    return ReportFigure(
        lambda dark: charts.lens_bars(tokens, found.random, dark=dark),
        f"Logit lens of {held.direction} ({how}): adding the direction to a value pushes the model towards the orange "
        f"tokens and away from the blue ones. Approximate. {said}",
        f"Promoted and suppressed tokens of {held.direction}. {said}",
        "logit-lens",
    )


def _check(held: InHand, found: CausalCheck, how: str) -> Block:
    rows, split = change_rows(found), f"{held.checked_on} text"
    scored = f"{counted(len(found.table()), 'loss token')} of {counted(len(found.examples), split)}"
    said = causal_verdict(found, f"direction {held.at.direction + 1}")
    return ReportFigure(
        lambda dark: charts.change_panels(rows, dark=dark),
        f"Causal check of {held.direction} ({how}): what removing the direction, or keeping only it, does to the log "
        f"p of {scored}, with 95% intervals; the grey band is what random directions do. {said}",
        f"Mean change of log p. {said}",
        "causal-check",
    )

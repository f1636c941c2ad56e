"""The buttons that make a report of what a page shows, when they are pressed: opening a page makes none."""

from typing import TYPE_CHECKING

import streamlit as st

from app.reports.chosen import InHand
from app.ui import session
from app.ui.direction_names import names_of
from app.ui.widgets import download, model_name

if TYPE_CHECKING:
    from app.reports.blocks import Report, ReportSection
    from spd_core.subspace.analysis import Analysis

LABEL, STUDY = "Report (HTML)", "Whole study (HTML)"
_HELP = (
    "One file that anybody can open, offline and without SPD Lab: sentences, interactive figures, tables, what made "
    "them, and the commands that make them again."
)


def spectrum_report(analysis: "Analysis") -> None:
    """A button for the spectrum in hand."""
    held, overlays = _in_hand(analysis), tuple(st.session_state.get(session.OVERLAYS) or ())

    def make() -> bytes:
        from app.reports.page import report_html
        from app.reports.spectrum import spectrum_section

        return report_html(of_capture(held, "Spectrum", [spectrum_section(held, overlays)]))

    download(LABEL, make, f"spectrum-{analysis.name}.html", help=_HELP)


def _in_hand(analysis: "Analysis") -> InHand:
    hide = bool(st.session_state.get(session.ASIDE, True))
    rank = session.chosen_rank(analysis.d_kv)
    return InHand(analysis, session.selection(analysis), rank, names_of(analysis), hide)


def of_capture(held: InHand, what: str, sections: "list[ReportSection]") -> "Report":
    """A report on the capture in hand, with what made it and how to make it again."""
    from app.reports.blocks import Report
    from app.reports.origins import capture_facts, capture_replays

    record = held.analysis.provenance
    model = model_name(record).rpartition("/")[2].partition("@")[0]
    return Report(
        f"{what}: {record.capability}",
        f"{record.capability} on {model}, {record.examples_used} examples, {held.direction}",
        sections,
        list(capture_facts(held)),
        list(capture_replays(held)),
    )

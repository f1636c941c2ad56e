"""Spectrum: how many directions carry this capability?"""

from collections.abc import Callable
from functools import partial

import streamlit as st

from app.spectrum import numbers, views
from app.spectrum.charts import HEADS
from app.ui import session
from app.ui.header import header
from app.ui.verdict import draw_verdict
from app.ui.widgets import empty_page, provenance
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.verdict import spectrum_verdict

VIEWS = ("Singular values", "Cumulative energy", "Overlap", "Gradient rows")


def spectrum(which: str, analysis: Analysis, rank: int) -> None:
    """The spectra and what they are compared with."""
    layers, look = views.pick_look(analysis)
    panels = numbers.panels_of(analysis, layers, heads=HEADS in look.overlays)
    capped = [panel.label for panel in panels if panel.nonzero < rank]
    views.null_spectra(analysis)
    views.spectrum_figure(which, analysis, panels, rank, look)
    if capped:
        st.info(
            f"Rank {rank} exceeds the non-zero singular values of {', '.join(capped)}: all of those are kept there. "
            "More calibration examples give more."
        )


analysis = header("Spectrum", "How many directions carry this capability?", shows=(session.NULLS_JOB,))
if analysis is None:
    empty_page("The spectrum of captured gradients appears here.")
else:
    at = session.selection(analysis)
    draw_verdict(spectrum_verdict(analysis, at.layer, at.kind, session.chosen_rank(analysis.d_kv)))
    rank = views.pick_rank(analysis.d_kv)
    draw: tuple[Callable[[Analysis, int], None], ...] = (
        partial(spectrum, views.VALUES),
        partial(spectrum, views.ENERGY),
        views.subspace_overlaps,
        views.gradient_rows,
    )
    for tab, part in zip(st.tabs(VIEWS, key=session.SPECTRUM_VIEW, bind="query-params"), draw, strict=True):
        if tab.open:
            with tab:
                part(analysis, rank)
    with st.container(horizontal=True):
        st.page_link(session.ATTRIBUTIONS, label="See which tokens make a direction", icon=":material/arrow_forward:")
        st.page_link(
            session.SIDE_BY_SIDE, label="Read what projecting does to the text", icon=":material/arrow_forward:"
        )
    provenance(analysis, f"rank {rank}", f"{analysis.provenance.seconds or 0:.1f} s")

"""Spectrum: how many directions carry this capability?"""

from collections.abc import Callable
from functools import partial

import streamlit as st

from app.spectrum import map_view, subspace_views, views
from app.ui import session
from app.ui.header import header
from app.ui.verdict import draw_verdict
from app.ui.widgets import empty_page, provenance, tokens_link
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.verdict import spectrum_verdict

VIEWS = ("Cumulative energy", "Singular values", "Ratio to the null", "Overlap", "Gradient rows")

analysis = header(
    "Spectrum", "How many directions carry this capability?", shows=(session.NULLS_JOB, session.EFFECTS_JOB)
)
if analysis is None:
    empty_page("The spectrum of captured gradients appears here.")
else:
    at = session.selection(analysis)
    draw_verdict(spectrum_verdict(analysis, at.layer, at.kind, session.chosen_rank(analysis.d_kv)))
    views.null_spectra(analysis)
    left, right = st.columns((2, 3), gap="medium")
    with left:
        rank = views.pick_rank(analysis)
    if map_view.has_map(analysis):
        map_view.map_of_sites(analysis, rank)
    draw: tuple[Callable[[Analysis, int], None], ...] = (
        partial(views.curves, views.ENERGY, place=right),
        partial(views.curves, views.VALUES, place=right),
        partial(views.curves, views.RATIO, place=right),
        subspace_views.subspace_overlaps,
        subspace_views.gradient_rows,
    )
    for tab, part in zip(st.tabs(VIEWS, key=session.SPECTRUM_VIEW, bind="query-params"), draw, strict=True):
        if tab.open:
            with tab:
                part(analysis, rank)
    with st.container(horizontal=True):
        tokens_link("See which tokens make a direction")
        st.page_link(
            session.SIDE_BY_SIDE, label="Read what projecting does to the text", icon=":material/arrow_forward:"
        )
    provenance(analysis, f"rank {rank}", f"{analysis.provenance.seconds or 0:.1f} s")

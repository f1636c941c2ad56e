"""Spectrum: how many directions carry this capability?"""

from collections.abc import Callable
from functools import partial

import streamlit as st

from app.reports.buttons import spectrum_report
from app.spectrum import contrast_views, map_view, subspace_views, views
from app.ui import session
from app.ui.header import header
from app.ui.verdict import draw_verdict
from app.ui.widgets import empty_page, provenance, tokens_link
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.verdict import spectrum_verdict

OF_CONTRAST = (contrast_views.TOGETHER, contrast_views.EACH, "Overlap", "Gradient rows")
VIEWS = ("Cumulative energy", "Singular values", "Ratio to the null", "Overlap", "Gradient rows")

analysis = header(
    "Spectrum",
    "How many directions carry this capability?",
    shows=(session.NULLS_JOB, session.CONTRAST_JOB, session.EFFECTS_JOB),
)
if analysis is None:
    empty_page("The spectrum of captured gradients appears here.")
else:
    at = session.selection(analysis)
    told = st.container()
    views.null_spectra(analysis)
    left, right, aside = st.columns((5, 10, 4), gap="medium", vertical_alignment="bottom")
    with left:
        rank = views.pick_rank(analysis)
    with aside:
        contrast_views.make_contrast(analysis)
    if map_view.has_map(analysis):
        map_view.map_of_sites(analysis, rank)
    both = (subspace_views.subspace_overlaps, subspace_views.gradient_rows)
    draw: tuple[Callable[[Analysis, int], str | None], ...]
    if (made_of := analysis.provenance.left_out) is not None:
        names, key = OF_CONTRAST, session.CONTRAST_VIEW
        draw = *(partial(contrast_views.contrast_curves, which, made_of) for which in names[:2]), *both
        with right:
            contrast_views.made_from(made_of)
    else:
        names, key = VIEWS, session.SPECTRUM_VIEW
        draw = (
            *(partial(views.curves, which, place=right) for which in (views.ENERGY, views.VALUES, views.RATIO)),
            *both,
        )
    for tab, part in zip(st.tabs(names, key=key, bind="query-params"), draw, strict=True):
        if tab.open:
            with tab:
                said = part(analysis, rank)
            with told:
                draw_verdict(said or spectrum_verdict(analysis, at.layer, at.kind, rank))
    with st.container(horizontal=True):
        tokens_link("See which tokens make a direction")
        st.page_link(
            session.SIDE_BY_SIDE, label="Read what projecting does to the text", icon=":material/arrow_forward:"
        )
        spectrum_report(analysis)
    provenance(analysis, f"rank {rank}", f"{analysis.provenance.seconds or 0:.1f} s")

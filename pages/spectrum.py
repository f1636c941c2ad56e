"""Spectrum: how many directions carry this capability?"""

import streamlit as st

from app import session, spectra, spectrum_parts
from app.charts import HEADS
from app.shell import header
from app.widgets import empty, provenance

analysis = header("Spectrum", "How many directions carry this capability?", shows=(session.NULLS_JOB,))
if analysis is None:
    empty("The spectrum of captured gradients appears here.")
else:
    rank = spectrum_parts.pick_rank(analysis.d_kv)
    layers, look = spectrum_parts.pick_look(analysis)
    panels = spectra.panels_of(analysis, layers, heads=HEADS in look.overlays)
    capped = [panel.label for panel in panels if panel.nonzero < rank]
    spectrum_parts.nulls(analysis)
    spectrum_parts.figures(analysis, panels, rank, look)
    if capped:
        st.info(
            f"Rank {rank} exceeds the non-zero singular values of {', '.join(capped)}: all of those are kept there. "
            "More calibration examples give more."
        )
    with st.container(horizontal=True):
        st.page_link(session.ATTRIBUTIONS, label="See which tokens make a direction", icon=":material/arrow_forward:")
        st.page_link(
            session.SIDE_BY_SIDE, label="Read what projecting does to the text", icon=":material/arrow_forward:"
        )
    spectrum_parts.overlaps(analysis, rank)
    spectrum_parts.rows(analysis)
    provenance(analysis, f"rank {rank}", f"{analysis.provenance.seconds or 0:.1f} s")

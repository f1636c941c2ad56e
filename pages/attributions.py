"""Token attributions: which tokens make a direction, and what does it do?"""

from typing import TYPE_CHECKING

import streamlit as st

from app.attributions import calibration_texts, causal_check, energy_sums, geometry, logit_lens, own_text
from app.attributions.notes import notes_popover, say_remark
from app.attributions.to_the_desk import mix_button
from app.reports.buttons import attributions_report
from app.ui import links, session
from app.ui.direction_names import direction_title
from app.ui.header import header
from app.ui.session import Selection
from app.ui.verdict import draw_verdict
from app.ui.widgets import empty_page, provenance
from spd_core.attribution.tables import direction_table
from spd_core.attribution.verdict import coordinate_verdict, energy_verdict
from spd_core.models.families import Site
from spd_core.subspace.analysis import Analysis

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

VIEWS = (session.ENERGY_SHARES, "Coordinates", "Geometry", "Logit lens", "Causal check")
CALIBRATION, OWN = "Calibration text", "Your own text"


def energy(analysis: Analysis, site: Site, at: Selection, top: "DeltaGenerator") -> None:
    """Which tokens the direction is made of."""
    if not calibration_texts.was_kept(analysis, at):
        return
    table = direction_table(analysis, site, at.direction, calibration_texts.special_ids(analysis))
    with top:
        draw_verdict(energy_verdict(table, at.direction))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        calibration_texts.pick_example(analysis, at)
        hide = calibration_texts.pick_aside(table)
    calibration_texts.energy_strips(table, at, hide)
    energy_sums.energy_sums_panel(table, analysis, at, hide)
    provenance(analysis, direction_title(analysis, site, at.direction))


def coordinates(analysis: Analysis, site: Site, at: Selection, top: "DeltaGenerator") -> None:
    """Where the tokens of a text lie along the direction."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        source = st.segmented_control(
            "Text",
            (CALIBRATION, OWN),
            default=CALIBRATION,
            required=True,
            key=session.TEXT_SOURCE,
            persist_state="session",
            label_visibility="collapsed",
        )
        if source != OWN:
            calibration_texts.pick_example(analysis, at)
        hide = calibration_texts.pick_aside()
    if source == OWN:
        own_text.own_text_panel(analysis, site, at, hide)
    elif calibration_texts.was_kept(analysis, at):
        table = direction_table(analysis, site, at.direction, calibration_texts.special_ids(analysis))
        with top:
            draw_verdict(coordinate_verdict(table[~table.aside] if hide else table, at.direction, at.kind))
        calibration_texts.coordinate_strip(table, at, hide)
        provenance(analysis, direction_title(analysis, site, at.direction))


analysis = header(
    "Token attributions",
    "Which tokens make a direction, and what does it do?",
    shows=(session.READ_JOB, session.LENS_JOB, session.CHECK_JOB, session.RIGHT_JOB),
)
if analysis is None:
    empty_page("The tokens behind each direction appear here.")
else:
    at = session.selection(analysis)
    site = analysis.site(at.layer, at.kind)
    top = st.container()  # for the sentence of the view that is open
    with calibration_texts.pick_direction(analysis, at):
        mix_button(analysis, site, at)
        notes_popover(analysis, site, at)
    calibration_texts.direction_in_words(analysis, site, at.direction)
    say_remark(analysis, site, at)
    draw = (energy, coordinates, geometry.geometry_panel, logit_lens.lens_panel, causal_check.check_panel)
    links.follow(session.ATTRIBUTION_VIEW, VIEWS)
    for tab, part in zip(st.tabs(VIEWS, key=session.ATTRIBUTION_VIEW, bind="query-params"), draw, strict=True):
        if tab.open:
            with tab:
                part(analysis, site, at, top)
    attributions_report(analysis)

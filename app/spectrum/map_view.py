"""The map of a capture of many layers on the Spectrum page: its measures, and the job that one of them needs."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.jobs.requests import EffectsRequest, same_capture
from app.spectrum import layer_map, numbers
from app.spectrum.numbers import Panel
from app.ui import launch, progress, session
from app.ui.widgets import caption, chart, counted, failure, is_dark
from spd_core.glossary import meaning

if TYPE_CHECKING:
    from app.jobs.probing import Probed
    from spd_core.attribution.site_effects import SiteEffects
    from spd_core.subspace.analysis import Analysis

MOST_LAYERS = 4
"""Layers whose curves are all drawn; of more there is a map first, and a cell opens its curves."""

_MOST_NUMBERS = 12
"""Layers whose numbers find room in the cells on a phone (see `app/ui/style.css`)."""

_READ = {
    layer_map.NEEDED: "How many directions hold 90% of the energy, the squared length of all gradients. Strong "
    "colour: few, so a steep spectrum.",
    layer_map.EFFECTIVE: f"{meaning('effective rank')} Strong colour: few.",
    layer_map.KEPT: "How much of the energy the rank keeps, in percent.",
    layer_map.AGAINST: "How many times as many directions shuffled answers need for 90% of the energy. Blue, above 1: "
    "the capability is steeper; with a star it is so beyond the luck of the examples.",
    layer_map.EFFECT: "How log p of the loss tokens changes when this site alone is projected, in nats. Orange, below "
    "0: less probable. Point at a cell to see what a random subspace of the same rank does.",
}


def has_map(analysis: "Analysis") -> bool:
    """Whether there are too many layers to draw the curves of all."""
    return len(analysis.layers) > MOST_LAYERS


def map_of_sites(analysis: "Analysis", rank: int) -> None:
    """A number of every site as a map; a click selects the site, whose curves are drawn below."""
    left, right = st.columns((3, 2), gap="medium", vertical_alignment="bottom")
    if analysis.provenance.left_out is None:
        measure = left.segmented_control(
            "Map of", layer_map.MEASURES, default=layer_map.NEEDED, required=True, key=session.MAP, bind="query-params"
        )
    else:  # its values are no spectrum: how steep they are says nothing
        measures = (layer_map.KEPT, layer_map.EFFECT)
        measure = left.segmented_control(
            "Map of", measures, default=layer_map.KEPT, required=True, key=session.CONTRAST_MAP
        )
    at = session.selection(analysis)
    with right:
        _pick_more_layers(analysis, at.layer)
    panels = numbers.panels_of(analysis)
    if measure == layer_map.EFFECT:
        effects = _effects(analysis, rank)
        if effects is None:
            return
        panels = [_with_effect(panel, analysis, effects) for panel in panels]
    here = next(panel for panel in panels if (panel.layer, panel.kind) == (at.layer, at.kind))

    def select(point: Any) -> None:
        session.select(layer=int(point[0]), kind=str(point[1]))

    with st.container(key="map_of_many" if len(analysis.layers) > _MOST_NUMBERS else None):
        chart(
            layer_map.site_map(panels, measure, rank, (at.layer, at.kind), dark=is_dark()),
            key="chart_map",
            alt=f"{measure} of {len(panels)} sites, layer by layer; at {here.label} it is "
            f"{layer_map.site_text(here, measure, rank)}.",
            pick=select,
        )
    caption(f"{_READ[measure]} Click a cell to draw its curves below.")


def _pick_more_layers(analysis: "Analysis", here: int) -> None:
    others = [layer for layer in analysis.layers if layer != here]
    kept = st.session_state.get(session.LAYERS_SHOWN, [])
    st.session_state[session.LAYERS_SHOWN] = [layer for layer in kept if layer in others]
    st.multiselect("Draw other layers, too", others, key=session.LAYERS_SHOWN, persist_state="session")


def drawn_layers(analysis: "Analysis") -> list[int]:
    """The layers whose curves are drawn: all of a few, else the selected one and those added to it."""
    if not has_map(analysis):
        return analysis.layers
    return sorted({session.selection(analysis).layer, *st.session_state[session.LAYERS_SHOWN]})


# --- causal effects ------------------------------------------------------------------------------------------


def _effects(analysis: "Analysis", rank: int) -> "SiteEffects | None":
    """What was measured on this capture last, with the button that measures it; None before."""
    job = session.job(session.EFFECTS_JOB)
    if job is not None and job.running:
        progress.show_progress(job, "Stop measuring", stopping="Stopping after this site…")
    elif job is not None and job.error:
        failure("The effects were not measured:", job.error)
    with session.new_result(session.EFFECTS_JOB) as new:
        if new is not None:
            st.session_state[session.EFFECTS] = new
    made: Probed[EffectsRequest, SiteEffects] | None = st.session_state.get(session.EFFECTS)
    known = made if made is not None and same_capture(made.request.analysis, analysis) else None
    if (job is None or not job.running) and (known is None or known.found.rank != rank):
        _start_button(analysis, rank)
    if known is None:
        return None
    if known.found.rank != rank:
        caption(f"Measured at rank {known.found.rank}.")
    return known.found


def _start_button(analysis: "Analysis", rank: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(f"Measure at rank {rank}", type="primary")
        caption(
            f"Each of {counted(len(analysis.sites), 'site')} is projected alone, beside a random subspace, while the "
            "model reads a few of the captured texts. Stopping keeps the sites that are done."
        )
    if pressed:
        launch.start_effects(EffectsRequest(analysis, rank))
        st.rerun()


def _with_effect(panel: Panel, analysis: "Analysis", effects: "SiteEffects") -> Panel:
    site = analysis.site(panel.layer, panel.kind)
    if site not in effects.projected:
        return panel
    return replace(panel, effect=(effects.projected[site], effects.random[site]))

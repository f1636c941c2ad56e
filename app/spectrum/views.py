"""The parts of the Spectrum page about spectra: rank, curves beside their nulls, and new nulls."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.spectrum import charts, numbers
from app.spectrum.curves import clicked_site
from app.spectrum.map_view import drawn_layers
from app.spectrum.numbers import Panel
from app.ui import launch, progress, session
from app.ui.direction_names import names_of
from app.ui.tables import to_csv
from app.ui.widgets import caption, chart, download, failure, is_dark
from spd_core.glossary import meaning
from spd_core.subspace.analysis import nulls_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from streamlit.delta_generator import DeltaGenerator

    from spd_core.subspace.analysis import Analysis

_NULLS_HELP = (
    f"{meaning('null')} "
    "Spectra that lack what the capability has. **shuffled answers**: every question with the answer of another one. "
    "**full-sequence loss**: the loss on every answer token. **random directions**: rows of the same lengths that "
    "point anywhere. **bootstrap band**: 5% to 95% when the examples are drawn again, moved onto the spectrum (a "
    "draw has fewer different examples, so it lies lower). **KV heads**: each head alone. **activations**, with the "
    "cumulative energy: the share of the keys' or values' own energy that these directions hold."
)


def pick_rank(analysis: "Analysis") -> int:
    """The rank slider: it defines the projected lane on all pages; sites that have fewer directions are named."""
    d_kv = analysis.d_kv
    rank: int = st.slider(
        "Rank: how many directions of each site to keep",
        1,
        d_kv,
        session.chosen_rank(d_kv),
        key=session.RANK_SLIDER,
        on_change=lambda: session.choose_rank(st.session_state[session.RANK_SLIDER]),
        help=f"{meaning('rank')} The paper keeps half of d_kv: {d_kv // 2} of {d_kv}.",
    )
    capped = [site.label for site in analysis.sites if analysis.directions(site) < rank]
    if capped:
        caption(
            f"Rank {rank} exceeds the non-zero singular values of {_listed(capped)}: all of those are kept there. "
            "More calibration examples give more."
        )
    return rank


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} sites"


def pick_overlays(analysis: "Analysis", place: "DeltaGenerator") -> tuple[str, ...]:
    """What is drawn with the capability's own curves."""
    available = {name for found in analysis.sites.values() for name in found.nulls}
    banded = [charts.BAND for found in analysis.sites.values() if found.band is not None][:1]
    known = [name for name in charts.NULLS if name in available]
    kept = [charts.ACTIVATIONS for found in analysis.sites.values() if found.activation_energy is not None][:1]
    options = [*known, *banded, charts.HEADS, *kept]
    chosen = place.pills(
        "Compare with",
        options,
        selection_mode="multi",
        default=[*known[:1], *banded],
        key=session.OVERLAYS,
        bind="query-params",
        help=_NULLS_HELP,
    )
    return tuple(chosen)


def _pick_scales(which: str) -> tuple[bool, bool]:
    """Whether all panels have the same axes, and whether spectra are divided by their norms."""
    with st.container(horizontal=True):
        shared = st.toggle("Same scales in all panels", True, key=session.SHARED, bind="query-params")
        shape = which == VALUES and st.toggle(
            "Compare shapes",
            key=session.SHAPE,
            bind="query-params",
            help="Divide every spectrum by its own norm: losses over more tokens have smaller gradients.",
        )
    return shared, shape


# --- curves --------------------------------------------------------------------------------------------------


_COLUMNS = {
    "Energy kept": ("%.1f%%", f"Share of Σσ² in the directions kept. {meaning('energy')}"),
    "Activations lost": (
        "%.1f%%",
        "‖K − K P‖² / ‖K‖² over all tokens: the share of the keys or values that projecting removes",
    ),
    "Effective rank": ("%.1f", f"{meaning('effective rank')} exp of the entropy of σ / Σσ"),
    "Stable rank": ("%.1f", "Σσ² / σ₁²: 1 when one direction holds all energy; small σ hardly change it"),
    **{f"r at {share}%": ("%d", f"How many directions hold {share}% of the energy") for share in (90, 95, 99)},
    "σ₁": ("%.3g", f"Largest singular value, nats per unit. {meaning('singular value')}"),
}


VALUES, ENERGY, RATIO = "values", "energy", "ratio"
_BUILD: dict[str, Callable[[list[Panel], int, charts.Look], "Figure"]] = {
    ENERGY: charts.cumulative_energy,
    VALUES: charts.singular_values,
    RATIO: charts.ratio_to_null,
}
_READ = {
    VALUES: "a curve that drops steeply means that few directions carry the loss. If a dashed null drops as steeply, "
    "the steepness says little about the capability.",
    ENERGY: "a curve that rises steeply means that few directions carry the loss; dots say how many hold 90%. If a "
    "dashed null rises as steeply, the steepness says little about the capability.",
    RATIO: "both spectra are divided by their norms. Above 1 on the left and below 1 on the right, the capability's is "
    "the steeper one. Inside the grey band that can be the luck of the examples.",
}


def curves(which: str, analysis: "Analysis", rank: int, place: "DeltaGenerator") -> None:
    """Curves of some layers, how to read them, the table twin and the downloads; what to compare with in `place`."""
    overlays = pick_overlays(analysis, place)
    if which == RATIO and not any(found.nulls for found in analysis.sites.values()):
        st.info("There is no null to divide by yet. Press **Capture the nulls** above.")
        return
    layers = drawn_layers(analysis)
    drawn = st.container()
    shared, shape = _pick_scales(which)
    at = session.selection(analysis)
    look = charts.Look(is_dark(), overlays, shared, shape, (at.layer, at.kind, at.direction))
    panels = numbers.panels_of(analysis, layers, heads=charts.HEADS in overlays, names=names_of(analysis))
    with drawn:
        _figure(which, panels, rank, look)
    st.markdown(
        f"**How to read this:** {_READ[which]} Projecting removes what is shaded. Click a point to select its "
        "direction on all pages."
    )
    _twin(analysis, rank)


def _figure(which: str, panels: list[Panel], rank: int, look: charts.Look) -> None:
    kept = "; ".join(f"{row['Site']} keeps {row['Energy kept']:.1f}%" for row in numbers.panel_table(panels, rank))
    alts = {
        VALUES: f"Singular values on a log scale for each site, with the rank {rank} marked.",
        RATIO: f"Singular values over those of a null, both at norm 1, for each site, with the rank {rank} marked.",
        ENERGY: f"Cumulative energy for each site. At rank {rank}: {kept}.",
    }

    chart(_BUILD[which](panels, rank, look), key=f"chart_{which}", alt=alts[which], pick=select_point)


def select_point(point: Any) -> None:
    """Select the site and direction of a point of a curve that was clicked."""
    layer, kind, direction = clicked_site(point)
    session.select(layer=layer, kind=kind, direction=direction)


def _twin(analysis: "Analysis", rank: int) -> None:
    """All sites as a table and as CSV."""
    every = numbers.panels_of(analysis, names=names_of(analysis))
    st.dataframe(
        numbers.panel_table(every, rank),
        hide_index=True,
        alt="The spectra as a table",
        column_config={
            name: st.column_config.NumberColumn(format=form, help=help_) for name, (form, help_) in _COLUMNS.items()
        },
    )
    download("All values as CSV", lambda: to_csv(numbers.csv_rows(every)), "spectrum.csv")


# --- nulls ---------------------------------------------------------------------------------------------------


def null_spectra(analysis: "Analysis") -> None:
    """A button for the nulls that need the model; their progress; what went wrong."""
    job = session.job(session.NULLS_JOB)
    if job is not None and job.running:
        progress.show_progress(job, "Stop the nulls", stopping="Stopping after this batch…")
        return
    if job is not None and job.error:
        failure("The nulls failed:", job.error)
    have = {name for found in analysis.sites.values() for name in found.nulls}
    if set(nulls_of(analysis)) <= have:
        _draw_new_nulls(analysis)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Capture the nulls", type="primary", help=_NULLS_HELP)
        seconds = analysis.provenance.seconds or 0
        count = len(nulls_of(analysis))
        caption(f"Shuffled answers{' and full-sequence loss' * (count > 1)}: about {count * seconds + 2:.0f} s.")
    if pressed:
        launch.start_nulls(analysis)
        st.rerun()


def _draw_new_nulls(analysis: "Analysis") -> None:
    """Have the nulls that were just computed among what is drawn, once: who takes one away again does not want it."""
    job = session.job(session.NULLS_JOB)
    made = None if job is None else job.result
    if made is None or made.name != analysis.name or st.session_state.get(session.NULLS_DRAWN) is made:
        return
    st.session_state[session.NULLS_DRAWN] = made
    others = [name for name in st.session_state.get(session.OVERLAYS) or () if name not in nulls_of(analysis)]
    st.session_state[session.OVERLAYS] = [*nulls_of(analysis), *others]

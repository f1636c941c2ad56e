"""The parts of the Spectrum page about contrasts: making one of the active capture, and what it holds."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from app.spectrum import charts, contrast_charts, contrast_numbers
from app.spectrum.map_view import drawn_layers
from app.spectrum.views import select_point
from app.ui import launch, progress, session
from app.ui.header import capture_label
from app.ui.tables import to_csv
from app.ui.widgets import caption, chart, distinct_labels, download, escaped, failure, is_dark
from spd_core.errors import SpdError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from spd_core.subspace.analysis import Analysis, LeftOut

TOGETHER, EACH = "Energy of both", "Energy per direction"
_BUILD: dict[str, "Callable[..., Figure]"] = {
    TOGETHER: contrast_charts.held_together,
    EACH: contrast_charts.held_by_each,
}
_HELP = (
    "Directions along which this loss varies and that of another capability does not: generalised eigenvectors of both "
    "captures. They become a capture of their own, for all pages: tokens, lanes, exports, evaluations."
)


# --- making one --------------------------------------------------------------------------------------------------


def make_contrast(analysis: "Analysis") -> None:
    """Choose what to leave out of the active capture, and a button; of a contrast nothing."""
    if _watch_making() or analysis.provenance.left_out is not None:
        return
    mine = escaped(analysis.provenance.capability)
    names = [name for name in session.analysis_names() if name != analysis.name]
    with st.popover(f"What is {mine}'s alone", icon=":material/join_left:", help=_HELP):
        chosen = st.multiselect(
            "Leave out what these share",
            names,
            key=session.CONTRAST_WITH,
            persist_state="session",
            format_func=distinct_labels(names, capture_label),
            placeholder="Choose a capture" if names else "There is no other capture yet",
        )
        caption("No model is needed. Directions that they share come last, the private ones first.")
        if st.button("Make the contrast", type="primary", disabled=not chosen):
            _start(analysis, [name for name in chosen if name in names])


def _start(analysis: "Analysis", others: list[str]) -> None:
    try:
        opened = [session.open_analysis(name) for name in others]
    except SpdError as error:
        failure("No contrast was made:", str(error))
        return
    launch.start_contrast(analysis, opened)
    st.rerun()


def _watch_making() -> bool:
    """The contrast that is being made, ticking, and why the last one was not made; whether one is."""
    job = session.job(session.CONTRAST_JOB)
    if job is None:
        return False
    if job.running:
        progress.show_progress(job, "Stop the contrast", stopping="Stopping after this site…")
    elif job.error:
        failure("No contrast was made:", job.error)
    elif job.notice:
        st.warning(f"The contrast is {escaped(job.notice)}", icon=":material/save:")
    return job.running


# --- what it holds -------------------------------------------------------------------------------------------


def contrast_curves(which: str, made_of: "LeftOut", analysis: "Analysis", rank: int) -> None:
    """Two curves a site, how to read them, the table twin and the downloads."""
    mine, theirs = made_of.capability, " and ".join(made_of.others)
    shared = st.toggle("Same scales in all panels", True, key=session.SHARED, bind="query-params")
    at = session.selection(analysis)
    look = charts.Look(is_dark(), shared=shared, selected=(at.layer, at.kind, at.direction))
    build = partial(_BUILD[which], rank=rank, mine=mine, theirs=theirs)
    panels = contrast_numbers.contrast_panels(analysis, drawn_layers(analysis))
    table = contrast_numbers.contrast_table(contrast_numbers.contrast_panels(analysis), rank, mine, theirs)
    held = "; ".join(f"{row['Site']} {row[f'Of {mine}']:g}% and {row[f'Of {theirs}']:g}%" for row in table[:8])

    chart(
        build(panels, look=look),
        key="chart_contrast",
        alt=f"{which}, {mine} and {theirs}, for each site. At rank {rank} the directions hold: {held}.",
        pick=select_point,
    )
    st.markdown(f"**How to read this:** {_READ[which]} Click a point to select its direction on all pages.")
    columns = {name: st.column_config.NumberColumn(format="%.1f%%") for name in table[0] if "f " in name}
    columns |= {
        name: st.column_config.NumberColumn(format="%.1f%%", help=_UNSEEN) for name in table[0] if "Uns" in name
    }
    columns["λ₁"] = st.column_config.NumberColumn(format="%.3g", help=_RATIO)
    st.dataframe(table, hide_index=True, alt="What the directions hold, as a table", column_config=columns)
    every = contrast_numbers.contrast_panels(analysis)
    download("All values as CSV", lambda: to_csv(contrast_numbers.contrast_rows(every)), "contrast.csv")


_RATIO = (
    "The first direction's share of the capability's energy ÷ (its share of the others' + an average direction's), "
    "before the directions are made orthogonal"
)
_UNSEEN = "Directions that half of the examples choose, measured on the other half; the mean of both ways round"
_READ = {
    TOGETHER: "the wider the gap between the two solid curves at the rank, the better the directions tell the two "
    "apart. Dashed are the same two for the plain subspace of as many directions.",
    EACH: "each direction's share of either. Directions come by their ratio, the capability's own first, so the energy "
    "does not fall steadily as singular values do.",
}


def made_from(made_of: "LeftOut") -> None:
    """Which captures it was made of, and the way back to the first of them."""
    others = ", ".join(map(capture_label, made_of.captures))
    caption(
        f"Contrast: {escaped(capture_label(made_of.capture))} without {escaped(others)}; shrinkage "
        f"{made_of.shrinkage:g}. Nulls and the bootstrap band stand with those captures."
    )
    if made_of.capture in session.analysis_names():  # it may have been deleted
        st.button(
            f"Back to {escaped(made_of.capability)}",
            icon=":material/undo:",
            help="Makes the capture that this contrast was made of the active one; the contrast stays saved.",
            on_click=session.take_in_hand,
            args=(made_of.capture,),
            kwargs={"keep_rank": True},
        )

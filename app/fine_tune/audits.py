"""The audits of a run, as a part of it, and those that come with SPD Lab: looked at before anything is trained."""

from typing import TYPE_CHECKING

import streamlit as st

from app.fine_tune import audit_view
from app.fine_tune.audit_files import recorded_training, trainings_of
from app.ui import links, session
from app.ui.widgets import caption, counted, escaped, failure
from spd_core.distill.recorded_audits import recorded_audits
from spd_core.errors import InputError

if TYPE_CHECKING:
    from spd_core.runs.folder import Run


def has_audits(run: "Run") -> bool:
    """Whether a run has audits so far."""
    return bool(trainings_of(run))


def panel(run: "Run") -> None:
    """Of the arms of a run that have some."""
    found = trainings_of(run)
    if found:
        audit_view.panel(found)
    else:
        caption("No arm of this run is audited so far; OmniOPD's are, from their first step on.")


def offer() -> None:
    """The way to the recorded ones, where there are any."""
    if recorded_audits():
        with st.container(horizontal=True, vertical_alignment="center"):
            name = recorded_audits()[0]
            st.button("See a recorded audit", icon=":material/fact_check:", on_click=_show, args=(name,))
            caption("What OmniOPD looks at in training: a student's text beside its teacher's.")


def recorded_shown() -> str:
    """Name of the recorded ones that the page shows in place of its parts; empty for none."""
    links.take_linked(session.RECORDED_AUDIT)
    name = st.session_state.get(session.RECORDED_AUDIT, "")
    return name if name in recorded_audits() else ""


def recorded_panel(name: str) -> None:
    """The recorded ones, and how they came about."""
    row = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    try:
        training, settings = recorded_training(name)
        row.markdown(f"#### {escaped(training.title)} :gray-badge[:material/inventory_2: recorded]")
    except InputError as error:
        failure("The recorded audits cannot be opened:", str(error))
        return
    finally:
        row.button("Back to Fine-tune", icon=":material/arrow_back:", on_click=_show, args=("",))
    chunks = settings.chunks
    caption(
        escaped(
            f"{settings.model} · {counted(settings.prompts, 'prompt')}, {counted(settings.epochs, 'epoch')}, "
            f"{settings.max_new_tokens} new tokens · up to {counted(chunks.chunks, 'chunk')} of "
            f"{counted(chunks.chunk_tokens, 'token')}, {counted(chunks.samples, 'continuation')} each · the teacher: "
            f"{settings.teacher}. A real training that comes with SPD Lab: nothing is loaded."
        )
    )
    audit_view.panel([training])


def _show(name: str) -> None:
    """Show them, or the page again; for callbacks."""
    st.session_state[session.RECORDED_AUDIT] = name
    links.write_linked(dict.fromkeys(session.AUDIT, "") | {session.RECORDED_AUDIT: name})
    for key in session.AUDIT:
        st.session_state.pop(key, None)

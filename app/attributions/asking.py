"""What the parts that need the model share: the button that starts a job, and its result, which stays."""

from typing import Any

import streamlit as st

from app import classroom
from app.jobs import probing
from app.jobs.job import Job
from app.jobs.models import shared
from app.jobs.probing import Probed
from app.jobs.requests import ReadRequest
from app.ui import launch, progress, session
from app.ui.widgets import (
    caption,
    escaped,
    failure,
    model_name,
)

_WORK: dict[str, Any] = {
    session.READ_JOB: probing.read_own_text,
    session.LENS_JOB: probing.lenses,
    session.CHECK_JOB: probing.check,
    session.RIGHT_JOB: probing.right,
}


def start_button(label: str, job_key: str, request: Any, *, anew: bool = False) -> None:
    """The button that starts a job; while it runs, its progress (ticking) and a stop button. Errors stay below.

    Args:
        anew: what it would find is on the page already, so it stands back and says so.
    """
    job = session.job(job_key)
    if job is not None and job.running:
        drawn = job.news is not None
        progress.show_progress(job, done=lambda: job.news is not None and not drawn)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            f"{label} anew" if anew else label,
            type="secondary" if anew else "primary",
            shortcut=None if anew else "Ctrl+Enter",
        )
        if shared().models.resident is None:
            name = escaped(model_name(request.analysis.provenance))
            caption(f"Loads {name} {'and computes what stands above once more' if anew else 'first'}.")
    if pressed:
        key, store = session.model_key(request.analysis), shared().models

        def work(job: "Job[Any, Any]") -> Any:
            return _WORK[job_key](job, request, key, store)

        refused = classroom.too_long_a_text(request.text) if isinstance(request, ReadRequest) else ""
        launch.start(job_key, work, refused=refused)
        st.rerun()
    if job is not None and job.error:
        failure("This did not work:", job.error)


def latest_result(job_key: str) -> "Probed[Any, Any] | None":
    """The latest result, or what there is of it; one that failed or has only begun does not take the last one away."""
    job = session.job(job_key)
    found = (job.result or job.news) if job is not None else None
    if found is not None:
        st.session_state[f"{session.RESULT}_{job_key}"] = found
    return st.session_state.get(f"{session.RESULT}_{job_key}")


def say_outdated(what: str) -> None:
    st.info(
        f"{what} has changed since this was computed; it stays until you press the button again.",
        icon=":material/edit:",
    )

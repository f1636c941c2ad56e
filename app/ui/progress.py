"""What pages show of running jobs: how far they are, a button that stops them, and who else is at work."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.jobs.job import Job, others_at_work
from app.ui import session
from app.ui.widgets import caption, counted, escaped


def show_progress(
    job: Job[Any, Any],
    stop: str = "Stop",
    *,
    stopping: str = "Stopping…",
    more: Callable[[], object] | None = None,
    done: Callable[[], bool] | None = None,
) -> None:
    """Progress of a job, drawn again by itself while it runs; then the whole page is.

    Args:
        stop: what the button says, and `stopping` once it was pressed.
        more: draws what else there is to tell.
        done: whether there is already something that the page should draw.
    """

    @st.fragment(run_every=0.4)
    def tick() -> None:
        if not job.running or (done is not None and done()):
            st.rerun()
        job.seen()
        st.progress(min(job.share, 1.0), text=escaped(job.phase))
        say_others_at_work(job)
        if more is not None:
            more()
        label = stopping if job.stop_asked else stop
        st.button(label, on_click=job.stop, disabled=job.stop_asked, icon=":material/stop_circle:")

    tick()


def say_others_at_work(own: Job[Any, Any] | None) -> None:
    """Say it when other tabs are using the model at the same time."""
    others = others_at_work(own)
    if others:
        caption(f"{counted(others, 'other job')} at work on this machine: you take turns, so each step takes longer.")


def show_other_jobs(shown: tuple[str, ...]) -> None:
    """While jobs of this session run, how far they are on every page (ticking, which also keeps them alive).

    `shown` are the keys of jobs whose progress the page shows by itself.
    """
    running = session.running_jobs()
    if not running:
        return

    @st.fragment(run_every=1.0)
    def tick() -> None:
        if not all(job.running for job in running.values()):
            st.rerun()  # a whole run, so that the page takes up the result and the ticking ends
        for key, job in running.items():
            job.seen()
            if key not in shown:
                caption(f"{_AT_WORK[key]}: {escaped(job.phase)}, {job.share:.0%}")

    tick()


_AT_WORK = {
    session.CAPTURE_JOB: "A capture is running",
    session.NULLS_JOB: "Null spectra are captured",
    session.WRITE_JOB: "Lanes are written",
    session.READ_JOB: "A text is read",
    session.LENS_JOB: "The logit lens is computed",
    session.CHECK_JOB: "The causal check is running",
    session.EXPORT_JOB: "A merged checkpoint is written",
}

"""What a page shows of a job of its own: how far it is, a button that stops it, and who else is at work."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.jobs.job import Job, others_at_work
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

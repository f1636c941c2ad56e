"""One evaluation on the page: how it stands, what it does now, what can be done with it, and what it has found."""

import time
from collections.abc import Callable

import streamlit as st

from app.evaluation import form
from app.runs.actions import run_actions
from app.runs.kept import command_and_notes, run_log
from app.runs.panel import (
    open_shown,
    redraw_while_live,
    run_header,
    run_progress,
)
from app.ui import session
from app.ui.at_work import how_far
from spd_core.evaluation.progress import EvaluationView, describe, finished_cells, in_short, left, speed, steps
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.folder import Run
from spd_core.runs.record import Status
from spd_core.runs.states import LIVE

_RESULTS_EVERY = 5.0
"""Seconds between two drawings of the results while cells are filled: their statistics take a moment."""

_LOG_EVERY = 3.0
"""Seconds between two drawings of the log while it grows."""


def panel(name: str, to_form: Callable[[], None]) -> None:
    """Everything of one evaluation. While it works, its head is drawn again every second and a half, and the results
    with the cells that are filled."""
    opened = open_shown(name, "evaluation", lambda record: record.evaluation)
    if opened is None:
        return
    run, recipe = opened.run, opened.recipe
    filled, drawn = finished_cells(recipe, run.folder), time.monotonic()

    def clone() -> None:
        form.load_evaluation(recipe)
        to_form()

    def draw(status: Status, view: EvaluationView) -> None:
        cells = finished_cells(recipe, run.folder)
        if cells != filled and time.monotonic() - drawn > _RESULTS_EVERY:
            st.rerun()
        run_header(run, status, in_short(recipe))
        done, planned = steps(view, recipe, cells)
        what = f"Stage {min(done + 1, planned)} of {planned} · {describe(view, recipe)}"
        _, share, whole = how_far(run, view)
        run_progress(status, what, share, speed(view), left(view, recipe.batch_size), whole)
        if status.state not in LIVE:  # before that it stands with the results, which are drawn less often
            results.draw_results_verdict(run)
        run_actions(run, status, clone, session.EVALUATION_RUN)

    def propose(wanted: EvaluationRecipe) -> None:
        form.load_evaluation(wanted)
        to_form()
        st.toast("The form is filled in: its cost and the button are at the top.", icon=":material/edit_note:")

    from app.evaluation import results

    redraw_while_live(opened, "evaluation", EvaluationView, draw)
    live = opened.status.state in LIVE
    results.panel(run, propose, live)
    st.fragment(_more, run_every=_LOG_EVERY if live else None)(run)


def _more(run: Run) -> None:
    with st.expander(
        "Log, command and notes", icon=":material/terminal:", key=session.EVALUATION_MORE, on_change="rerun"
    ) as more:
        if more.open:
            run_log(run)
            command_and_notes(run)

"""One evaluation on the page: how it stands, what it does now, what can be done with it, and what it has found."""

import time
from collections.abc import Callable

import streamlit as st
from spd_core.text import opening

from app.evaluation import form
from app.runs import panel as run_panel
from app.runs.all_runs import Listed, Shelf, on_disk, parts, said_state, stamp, title
from app.runs.panel import LIVE
from app.ui import session
from app.ui.widgets import failure
from spd_core.errors import InputError
from spd_core.evaluation.progress import (
    EvaluationView,
    describe,
    finished_cells,
    in_short,
    left,
    planned_cells,
    speed,
    steps,
)
from spd_core.models.families import BUILTIN
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs import queue
from spd_core.runs.folder import Run, open_run

_RESULTS_EVERY = 5.0
"""Seconds between two drawings of the results while cells are filled: their statistics take a moment."""


def panel(name: str, to_form: Callable[[], None]) -> None:
    """Everything of one evaluation. While it works, its head is drawn again every second and a half, and the results
    with the cells that are filled."""
    try:
        run = open_run(name)
        recipe, status = run.record.evaluation, queue.status_of(run)
    except InputError as error:
        failure("This evaluation cannot be opened:", str(error))
        return
    live, filled, drawn = status.state in LIVE, finished_cells(recipe, run.folder), time.monotonic()

    def clone() -> None:
        form.load(recipe)
        to_form()

    @st.fragment(run_every=1.5 if live else None)
    def draw() -> None:
        try:
            now, view = queue.status_of(run), run_panel.watched(run, EvaluationView)
        except InputError as error:
            failure("This evaluation cannot be read:", str(error))
            return
        cells = finished_cells(recipe, run.folder)
        if (now.state in LIVE) != live or (cells != filled and time.monotonic() - drawn > _RESULTS_EVERY):
            st.rerun()
        run_panel.head(run, now, in_short(recipe))
        done, planned = steps(view, recipe, cells)
        what = f"Step {min(done + 1, planned)} of {planned}: {describe(view, recipe)}"
        run_panel.progress(now, what, done / max(planned, 1), speed(view), left(view, recipe.batch_size))
        run_panel.actions(run, now, clone, session.EVALUATION_RUN)
        _more(run)

    draw()
    from app.evaluation import results

    results.panel(run)


def _more(run: Run) -> None:
    with st.expander("Log, command and notes", icon=":material/terminal:", key="evaluation_more",
                     on_change="rerun") as more:  # fmt: skip
        if more.open:
            run_panel.log(run)
            run_panel.about(run)


# --- all of them -------------------------------------------------------------------------------------------------


def _row(one: Listed) -> dict[str, str]:
    record = one.run.record
    recipe = record.evaluation
    subjects, sets = parts(recipe)
    return {
        "Evaluation": opening(title(record), 80),
        "In-domain": recipe.capability,
        "Model": "built-in" if recipe.model == BUILTIN else recipe.model,
        "Subjects": subjects,
        "Sets": sets,
        "Cells": f"{_filled(one.run, one.run.id, stamp(one))} of {planned_cells(recipe)}",
        "State": said_state(one.status),
        "Created": record.created.replace("T", " "),
        "On disk": on_disk(one),
    }


@st.cache_data(max_entries=500, show_spinner=False)
def _filled(_run: Run, id: str, stamp: tuple[float, float]) -> int:
    """Finished cells; looked for again when the run has moved on."""
    return finished_cells(_run.record.evaluation, _run.folder)


SHELF = Shelf(
    EvaluationRecipe, "evaluation", session.EVALUATION_RUN, "evaluations",
    "There is no evaluation yet. Start one under **New evaluation**; every evaluation is kept here.",
    "Title, capability, model, subject, set, state or notes", "with its results; the arms that it trained stay", _row,
)  # fmt: skip

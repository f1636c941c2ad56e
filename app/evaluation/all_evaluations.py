"""The list of all evaluations: what stands in a row."""

from collections.abc import Sequence

import streamlit as st

from app.runs.all_runs import ListedRun, RunKind, contents_of, last_change, run_title, size_on_disk, state_in_words
from app.ui import session
from spd_core.evaluation.progress import finished_cells, planned_cells
from spd_core.models.families import BUILTIN
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.folder import Run
from spd_core.text import opening


def _row(one: ListedRun) -> dict[str, str]:
    record = one.run.record
    recipe = record.evaluation
    subjects, sets = contents_of(recipe)
    return {
        "Evaluation": opening(run_title(record), 80),
        "In-domain": recipe.capability,
        "Model": "built-in" if recipe.model == BUILTIN else recipe.model,
        "Subjects": subjects,
        "Sets": sets,
        "Cells": f"{_filled(one.run, one.run.id, last_change(one))} of {planned_cells(recipe)}",
        "State": state_in_words(one.status),
        "Created": record.created.replace("T", " "),
        "On disk": size_on_disk(one),
    }


@st.cache_data(max_entries=500, show_spinner=False)
def _filled(_run: Run, id: str, stamp: tuple[float, float]) -> int:
    """Finished cells; looked for again when the run has moved on."""
    return finished_cells(_run.record.evaluation, _run.folder)


def _compare(listed: Sequence[ListedRun]) -> None:
    """Several beside each other; imported only when there are several, as statistics take a moment."""
    from app.evaluation import compare

    compare.listed_panel(listed)


EVALUATIONS = RunKind(
    EvaluationRecipe,
    "evaluation",
    session.EVALUATION_RUN,
    session.EVALUATIONS_LIST,
    "There is no evaluation yet. Start one under **New evaluation**; every evaluation is kept here.",
    "Title, capability, model, subject, set, state or notes",
    "with its results; the arms that it trained stay",
    _row,
    _compare,
)

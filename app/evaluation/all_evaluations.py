"""The list of all evaluations: what stands in a row."""

import streamlit as st

from app.runs.all_runs import Listed, Shelf, on_disk, parts, said_state, stamp, title
from app.ui import session
from spd_core.evaluation.progress import finished_cells, planned_cells
from spd_core.generation.report import opening
from spd_core.models.families import BUILTIN
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.folder import Run


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
    EvaluationRecipe, "evaluation", session.EVALUATION_RUN, session.EVALUATIONS_LIST,
    "There is no evaluation yet. Start one under **New evaluation**; every evaluation is kept here.",
    "Title, capability, model, subject, set, state or notes", "with its results; the arms that it trained stay", _row,
)  # fmt: skip

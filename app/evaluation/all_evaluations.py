"""The list of all evaluations: what stands in a row."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.runs.listed import ListedRun, RunKind, contents_of, last_change
from app.ui import session
from spd_core.errors import InputError
from spd_core.evaluation.progress import finished_cells
from spd_core.models.families import BUILTIN
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.folder import Run
from spd_core.text import shown

if TYPE_CHECKING:
    from spd_core.evaluation.table import Table


def _row(one: ListedRun) -> dict[str, Any]:
    recipe = one.run.record.evaluation
    subjects, sets = contents_of(recipe)
    found = _results(one.run, str(one.run.folder), last_change(one)) if not one.busy else Results()
    return {
        "What it shows": found.headlines or None,
        "Base": _percent(found.base),
        "Best": _percent(found.best),
        "Best subject": shown(found.who) or None,
        "Cells": 100 * _filled(one.run, one.run.id, last_change(one)) / len(recipe.cells),
        "Subjects": shown(subjects),
        "Sets": shown(sets),
        "In-domain": shown(recipe.capability),
        "Model": "built-in" if recipe.model == BUILTIN else shown(recipe.model),
    }


_COLUMNS: Mapping[str, Any] = {
    "Evaluation": st.column_config.TextColumn(width=165),
    "What it shows": st.column_config.TextColumn(
        width=158, help="Comparisons with the base: ▲ helps, ▼ hurts, and those where nothing is shown."
    ),
    "Base": st.column_config.NumberColumn(
        format="%.1f%%", width=80, help="Of the in-domain set, or else of the first that is scored as right or wrong."
    ),
    "Best": st.column_config.NumberColumn(
        format="%.1f%%", width=80, help="The highest score of another subject there."
    ),
    "Best subject": st.column_config.TextColumn(width=150, help="Highest is not shown to be better: see its claims."),
    "Cells": st.column_config.ProgressColumn(
        format="%d%%", min_value=0, max_value=100, width=90, help="Cells that are filled."
    ),
    "Subjects": st.column_config.TextColumn(width=260),
    "Sets": st.column_config.TextColumn(width=180),
    "In-domain": st.column_config.TextColumn(width=110),
}


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


@dataclass(frozen=True)
class Results:
    """What an evaluation has found, in a row.

    Attributes:
        headlines: `▲ 1 · ▼ 2 · 28 not shown`; empty without a claim.
        base, best: shares of right answers on the in-domain set, or the first scored so; None where there is none.
        who: the title of the best subject but the base.
    """

    headlines: str = ""
    base: float | None = None
    best: float | None = None
    who: str = ""


@st.cache_data(max_entries=500, show_spinner="Reading results…")
def _results(_run: Run, folder: str, stamp: tuple[float, float]) -> Results:
    from spd_core.evaluation.table import read_table

    try:
        return results_of_table(read_table(_run.record.evaluation, _run.folder))
    except InputError:  # its page says what is wrong
        return Results()


def results_of_table(table: "Table") -> Results:
    """The same of a table, as far as it is filled."""
    count = Counter[str](claim.headline for claim in table.claims.values())
    signs = [f"{sign} {count[word]}" for sign, word in (("▲", "helps"), ("▼", "hurts")) if count[word]]
    words = " · ".join([*signs, f"{count['not shown']} not shown"]) if table.claims else ""
    shares = sorted((column for column in table.columns if not column.likelihood), key=lambda one: not one.in_domain)
    name = shares[0].name if shares else None
    scores = {who: one for (who, where), one in table.answered.items() if where == name}
    base = scores.pop(table.base.name, None)
    best = max(scores.values(), key=lambda one: one.estimate.value, default=None)
    return Results(
        words,
        None if base is None else base.estimate.value,
        None if best is None else best.estimate.value,
        "" if best is None else best.subject.title,
    )


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
    "Title, capability, model, subject, set, state, notes or tag",
    "with all results; arms that were trained stay",
    _row,
    _COLUMNS,
    ("Subjects", "Sets", "In-domain", "Model"),
    _compare,
    session.EVALUATIONS_COMPARED,
)

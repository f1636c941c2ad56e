"""What would tell more than an evaluation does: missing controls and more items, with cost and what could then be seen.

A click fills the form with the proposal; nothing starts by itself, and what was answered already is only read.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import streamlit as st

from app.evaluation.cost import added_seconds
from app.ui import session
from app.ui.widgets import caption, counted, duration, escaped
from spd_core.errors import InputError
from spd_core.evaluation.claims import Claim
from spd_core.evaluation.proposals import items_of, missing_controls, why_no_control, with_controls, with_items
from spd_core.evaluation.statistics import detectable_with
from spd_core.evaluation.table import Column, Table
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.text import opening, shown

_TIMES = 4
"""By how much a set is extended at once: four times the items halve what cannot be seen."""


@dataclass(frozen=True)
class Step:
    """A proposal.

    Attributes:
        label: of its button.
        gives: what it adds, and what could then be seen, in words.
    """

    label: str
    gives: str
    recipe: EvaluationRecipe


def panel(table: Table, propose: Callable[[EvaluationRecipe], None], recorded: bool) -> None:
    """A row for each proposal; `propose` is used as a callback. Of a recorded table, nothing is there to go on with."""
    steps = list(steps_of(table))
    if not steps:
        return
    with st.expander("What would tell more", icon=":material/add_task:", expanded=True):
        for at, step in enumerate(steps):
            row = st.container(horizontal=True, vertical_alignment="center", gap="small")
            row.button(step.label, on_click=propose, args=(step.recipe,), key=f"{session.NEXT_STEP}_{at}", width=380)
            with row:
                caption(f"{escaped(step.gives)} {escaped(_cost(step.recipe, table.recipe))}")
        for said in filter(None, (why_no_control(table.recipe, one.name) for one in table.recipe.subjects)):
            caption(f"Not available: {escaped(said)}")
        again = (
            "All of it is then trained and answered on this machine." if recorded else "Answered items are only read."
        )
        caption(f"Each fills the form, where you see everything before you start it. {again}")


def steps_of(table: Table) -> Iterator[Step]:
    """Missing controls of each subject that claims to use the subspace, then more items of each set."""
    recipe = table.recipe
    for subject in recipe.subjects:
        controls = missing_controls(recipe, subject.name)
        if controls:
            names = ", ".join(one.title for one in controls)
            yield Step(
                f"Add the missing controls of {opening(shown(subject.title), 40)}",
                f"{counted(len(controls), 'control')}: {names}.",
                with_controls(recipe, (subject.name,)),
            )
    for column in table.columns:
        claims = [one for (_, name), one in table.claims.items() if name == column.name]
        n = max((one.difference.n for one in claims), default=0)
        wanted = next(one for one in recipe.sets if one.name == column.name)
        limit = wanted.limit or 0  # of a task; of each, where it is a group
        if wanted.task is not None and (limit == 0 or n < limit):  # all of it was asked
            continue
        try:
            whole = items_of(wanted)
        except InputError:  # its file is gone: it cannot be extended
            continue
        most = min(_TIMES * n, whole or _TIMES * n)
        if most > n > 0:
            asked = most if wanted.task is None else limit * _TIMES
            yield Step(
                f"Extend {opening(shown(column.title), 30)} to n = {most}",
                f"From {n} items: a difference below about {_size(claims, n, column)} may have gone unseen, then one "
                f"below about {_size(claims, most, column)}.",
                with_items(recipe, column.name, asked),
            )


def _size(claims: Sequence[Claim], n: int, column: Column) -> str:
    """The largest of the differences that these comparisons would not see with `n` items."""
    least = max(detectable_with(one.difference, n) for one in claims)
    if math.isinf(least):
        return "any size"
    return f"{least:.2g} nats" if column.likelihood else f"{math.ceil(100 * least - 1e-9)} points"


def _cost(proposed: EvaluationRecipe, answered: EvaluationRecipe) -> str:
    try:
        seconds = added_seconds(proposed, answered)
    except InputError:
        return ""
    return "Time not known yet." if seconds is None else f"About {duration(seconds)} at most."

"""Evaluations beside each other: what they share, paired where the items are the same. One is what others are held to.

What is matched and how it is paired is in `spd_core/evaluation/compared.py`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from app.evaluation import pair_charts
from app.runs.listed import ListedRun, run_label, run_title
from app.ui import session
from app.ui.open_tables import table_of
from app.ui.tables import table_html
from app.ui.widgets import caption, chart, counted, distinct_labels, escaped, is_dark
from spd_core.evaluation.compared import shared_cells
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.folder import Damaged, Run, all_runs
from spd_core.text import shown

if TYPE_CHECKING:
    from spd_core.evaluation.table import Table

MOST = 4
"""Evaluations beside each other."""


def panel(run: Run, table: "Table") -> None:
    """This evaluation, and others that are held to it."""
    others = {one.id: one for one in _evaluations() if one.id != run.id}
    if not others:
        caption("Another evaluation can be compared with this one as soon as there is one.")
        return
    chosen = st.multiselect(
        "Compare with",
        tuple(others),
        key=session.COMPARED_WITH,
        persist_state="session",
        max_selections=MOST - 1,
        format_func=distinct_labels(tuple(others), lambda id: run_label(others[id].record)),
        placeholder="Choose evaluations",
        help="The same subjects on the same sets are paired item by item.",
    )
    shared = [_pair(table, others[id]) for id in chosen if id in others]
    if any(shared):
        _how_to_read("this evaluation")


def listed_panel(listed: Sequence[ListedRun]) -> None:
    """Two to four that were selected in the list of all evaluations: the others are held to the oldest."""
    known = {one.run.id: one.run for one in listed}
    picked = [known[id] for id in st.session_state.get(session.EVALUATIONS_COMPARED, ()) if id in known]
    if len(picked) < 2:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"##### {len(picked)} evaluations beside each other")
        st.button(
            "Close", icon=":material/close:", on_click=st.session_state.pop, args=(session.EVALUATIONS_COMPARED, None)
        )
    reference, *others = sorted(picked, key=lambda run: run.record.created)
    first = table_of(reference)
    shared = [_pair(first, other) for other in others]
    if any(shared):
        _how_to_read(run_title(reference.record))


def _evaluations() -> list[Run]:
    """Those on this machine, the newest first."""
    return [
        one for one in all_runs() if not isinstance(one, Damaged) and isinstance(one.record.recipe, EvaluationRecipe)
    ]


def _pair(first: "Table", other: Run) -> bool:
    """What an evaluation shares with the first one: a picture of the differences, and the table. Whether it has any."""
    pairs = shared_cells(first, table_of(other))
    title = shown(other.record.title or other.record.recipe.capability)
    st.markdown(f"###### {escaped(title)} of {other.record.created.replace('T', ' ')}")
    if not pairs:
        caption("They share no subject on a set that both have answered.")
        return False
    same = [one for one in pairs if one.same_subject]
    others = [one for one in pairs if not one.same_subject]
    caption(
        f"{counted(len(pairs), 'cell')} in common: {_of_all(len(same), len(pairs))} of the very same subject (by its "
        f"fingerprint), {_of_all(sum(one.same_items for one in pairs), len(pairs))} on the same items."
    )
    if paired := [one for one in others if one.difference is not None]:
        chart(
            pair_charts.pair_differences(paired, is_dark()),
            key=f"chart_pairs_{other.id}",
            alt=pair_charts.pair_differences_alt(paired),
        )
    if others:
        st.html(table_html(pair_charts.pair_rows(others), f"Different subjects in common with {title}"))
    if same:
        unlike = any(one.difference is None or one.difference.effect for one in same)
        with st.expander(f"The same subject in both: {counted(len(same), 'cell')}", expanded=unlike):
            st.html(table_html(pair_charts.pair_rows(same), f"The same subjects in common with {title}"))
    return True


def _of_all(count: int, all_of_them: int) -> str:
    return "all" if count == all_of_them else str(count or "none")


def _how_to_read(reference: str) -> None:
    caption(
        f"How to read this: a difference is the other evaluation − {escaped(shown(reference))}, on the items that both "
        "have answered; right of zero the other is better. The same subject twice is no comparison: it should answer "
        "alike. p is corrected (Holm) over all pairs of different subjects."
    )

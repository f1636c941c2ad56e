"""What stands above all results of an evaluation: its verdict, what was seen before, and what is damaged."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import streamlit as st

from app.ui import session
from app.ui.set_panels import set_title
from app.ui.verdict import draw_verdict
from app.ui.widgets import caption, counted, escaped
from spd_core.errors import SpdError
from spd_core.evaluation.budgets import unequal
from spd_core.evaluation.claims import strongest
from spd_core.evaluation.contamination import seen_items
from spd_core.evaluation.damaged import answer_again
from spd_core.evaluation.report import MARKS
from spd_core.evaluation.table import Table
from spd_core.evaluation.verdict import verdict
from spd_core.text import shown

if TYPE_CHECKING:
    from spd_core.runs.folder import Run


def verdict_panel(table: Table) -> None:
    """The verdict, its first sentence large; with how many items subjects had seen before."""
    kind = strongest(table.claims.values())
    said = verdict(table.claims.values(), table.comparisons - len(table.claims))
    draw_verdict(said, kind=kind.replace(" ", "-"), mark=MARKS[kind], warnings=list(warning_lines(table)))


def warning_lines(table: Table) -> Iterator[str]:
    """What stands below the verdict: what was seen before, and arms at unequal cost."""
    yield from seen_lines(table)
    if sentence := unequal(table.recipe.subjects, table.budgets):
        yield sentence


def seen_lines(table: Table) -> Iterator[str]:
    """A sentence for each subject and set of whose items it has seen some, and one for those that do not say."""
    unknown: dict[str, None] = {}
    for (_, set_name), one in table.answered.items():
        if one.seen_flag and seen_items(one.subject, one.cells) is None:
            unknown[one.subject.title] = None
        elif one.seen_flag:
            yield f"{set_title(table.column(set_name))}: {one.seen_flag.partition(': ')[2]}."
    if unknown:
        yield f"What these were trained on is not known, and items may be among it: {', '.join(unknown)}."


def damaged_panel(run: "Run", table: Table, live: bool) -> None:
    """Which cells are damaged and left out, and the button that answers them again."""
    if not table.damaged:
        return
    titles = {subject.name: subject.title for subject in table.recipe.subjects}
    with st.container(border=True):
        st.markdown(f":material/broken_image: **{_how_many(table)}**")
        where = (
            f"{shown(titles.get(one.subject, one.subject))} on {shown(one.set)} (seed {one.seed})"
            for one in table.damaged
        )
        caption(f"Left out: {escaped('; '.join(where))}.")
        st.button(
            "Answer these again",
            type="primary",
            icon=":material/healing:",
            disabled=live or all(one.newer for one in table.damaged),
            on_click=_answer_again,
            args=(run,),
            help="Damaged files are moved aside, not deleted; items whose answers are whole are only read.",
        )
        with st.expander("Which files", icon=":material/description:"):
            caption("  \n".join(escaped(shown(one.reason)) for one in table.damaged))


def _how_many(table: Table) -> str:
    """`1 cell of 12 is damaged and left out; the others are as they were.`"""
    n = len(table.damaged)
    if n == table.planned:
        return f"{f'All {n} cells are' if n > 1 else 'The only cell is'} damaged and left out."
    said = f"{counted(n, 'cell')} of {table.planned} {'is' if n == 1 else 'are'} damaged and left out"
    return f"{said}; the others are as they were."


def _answer_again(run: "Run") -> None:
    try:
        answer_again(run)
    except SpdError as error:
        st.session_state[session.RUN_TROUBLE] = str(error)

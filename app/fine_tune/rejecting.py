"""Rejected rows, saved as one goes: a tick is on the disk before anything else is done with the run.

Where an arm has been trained on such rows already, that is asked about first. What the disk refuses is told, and the
tick is shown as it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from app.ui import session
from app.ui.widgets import caption, counted, escaped, failure
from spd_core.distill.checkpoints import trained_on_rejected
from spd_core.errors import InputError, SpdError
from spd_core.recipes.distill import ArmName, short_name
from spd_core.runs import queue, states

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from spd_core.runs.folder import Run

OPEN = ("review", "stopped", "failed", "lost")
"""States in which rows can be rejected: nothing works on the run."""


@dataclass(frozen=True)
class Ticks:
    """The ticks of a table that is on the page: what they were when it was drawn, and what they are now.

    Attributes:
        key: of the table; its edits tell what was ticked since.
        kept: by the row's number, as drawn at first; rows that have no tick are not in it.
        numbers: of all rows of the table, in its order.
    """

    run: str
    corpus: str
    key: str
    kept: dict[int, bool]
    numbers: tuple[int, ...]

    def now(self) -> dict[int, bool]:
        """What is ticked now."""
        edits = st.session_state.get(self.key, {}).get("edited_rows", {})
        changed = {self.numbers[int(at)]: bool(edit["keep"]) for at, edit in edits.items() if "keep" in edit}
        return {number: changed.get(number, kept) for number, kept in self.kept.items()}


@dataclass(frozen=True)
class _Question:
    """A rejection that waits for an answer: of whose training it throws steps away."""

    run: str
    corpus: str
    keep: dict[int, bool]
    lost: Mapping[ArmName, tuple[int, int]]


# --- saving ------------------------------------------------------------------------------------------------------


def save_ticks(run: "Run", ticks: Ticks) -> bool:
    """Save what was ticked since the last look; false when it is not saved, and the table has to be drawn anew."""
    seen: dict[int, bool] = st.session_state.get(session.CORPUS_EDITED, {}).get(ticks.key, ticks.kept)
    now = ticks.now()
    st.session_state[session.CORPUS_EDITED] = {ticks.key: now}
    return keep(run, ticks.corpus, {number: one for number, one in now.items() if one != seen[number]})


def approve(run: "Run") -> None:
    """Let a run go on to its training, with the ticks that are on the page.

    Raises:
        SpdError: they cannot be saved, or the run does not wait (any more).
    """
    ticks = st.session_state.get(session.CORPUS_TABLE)
    if isinstance(ticks, Ticks) and ticks.run == run.id and not save_ticks(run, ticks):
        raise InputError(st.session_state.pop(session.CORPUS_TROUBLE, "the last tick is not saved; look at it first"))
    queue.approve(run)


def keep(run: "Run", corpus: str, keep: Mapping[int, bool], *, asked: bool = False) -> bool:
    """Keep or reject rows, by their numbers, and save that; false when it is not saved, which the page then says.

    Args:
        asked: somebody has agreed that an arm starts again.
    """
    if not keep:
        return True
    state = st.session_state
    try:
        if states.state_of(run) not in OPEN:
            raise InputError("the run works on these rows now; stop it first, then tick again")
        before = run.rejected()
        mine = {*before.get(corpus, ()), *(number for number, one in keep.items() if not one)}
        after = {**before, corpus: frozenset(mine - {number for number, one in keep.items() if one})}
        lost = {} if asked else trained_on_rejected(run, after)
        if not lost:
            run.set_rejected(after)
            return True
        state[session.CORPUS_QUESTION] = _Question(run.id, corpus, dict(keep), lost)
    except SpdError as error:
        state[session.CORPUS_TROUBLE] = str(error)
    redraw_ticks()
    return False


def redraw_ticks() -> None:
    """Have the tables drawn anew, as it is on the disk."""
    st.session_state[session.CORPUS_TIMES] = st.session_state.get(session.CORPUS_TIMES, 0) + 1


# --- saying ------------------------------------------------------------------------------------------------------


def say(run: "Run", row: "DeltaGenerator") -> None:
    """What is saved, in `row`; below it what was not, and what has to be answered first."""
    trouble = st.session_state.pop(session.CORPUS_TROUBLE, "")
    if trouble:
        failure("Not saved, and the tick is as it was:", trouble)
    question = st.session_state.get(session.CORPUS_QUESTION)
    if question is not None and question.run == run.id:
        _ask(run, question)
    n = sum(map(len, run.rejected().values()))
    what = f"{counted(n, 'row')} rejected" if n else "no row rejected"
    with row:
        caption(f":material/cloud_done: Saved: {what}. To reject a row, untick **Keep**: that is saved at once.")


def _ask(run: "Run", question: _Question) -> None:
    lost = [
        f"{escaped(short_name(arm))} has trained {done} of {planned} steps"
        for arm, (done, planned) in question.lost.items()
    ]
    again = "it starts" if len(lost) == 1 else "they start"
    out = [number for number, kept in question.keep.items() if not kept]
    which = "rows you take out" if out else "other rows than these"
    st.warning(f"**{', '.join(lost)} on {which}: {again} again from the first step.**", icon=":material/restart_alt:")
    row = st.container(horizontal=True)
    row.button("Leave the rows as they were", on_click=_answer, args=(run, None), key=session.CORPUS_NO)
    row.button(
        "Change the rows, and start again",
        type="primary",
        on_click=_answer,
        args=(run, question),
        key=session.CORPUS_YES,
    )


def _answer(run: "Run", question: _Question | None) -> None:
    st.session_state.pop(session.CORPUS_QUESTION, None)
    if question is not None:
        keep(run, question.corpus, question.keep, asked=True)
    redraw_ticks()

"""What can be done with a run: stop, kill, resume, clone and delete, as its state allows."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import streamlit as st

from app.runs.panel import choose_run
from app.ui import session
from app.ui.widgets import counted, delete_button, escaped, failure
from spd_core.errors import InputError, SpdError
from spd_core.evaluation.references import references_to
from spd_core.runs import queue
from spd_core.runs.folder import Damaged, Run
from spd_core.runs.record import Status
from spd_core.runs.states import LIVE
from spd_core.text import shown

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator


def try_it(action: Callable[[], object]) -> None:
    """A button's work; what goes wrong is told by the page that comes after."""
    try:
        action()
    except SpdError as error:
        st.session_state[session.RUN_TROUBLE] = str(error)


@dataclass(frozen=True)
class GoOn:
    """The button that lets a run go on which waits for review.

    Attributes:
        refusal: why it cannot be pressed; empty where it can.
    """

    label: str
    action: Callable[[], object]
    refusal: str = ""


def run_actions(
    run: Run,
    status: Status,
    clone: Callable[[], None],
    key: str = session.RUN,
    go_on: GoOn | None = None,
    more: Callable[["DeltaGenerator"], None] | None = None,
) -> None:
    """Stop, kill, resume, clone (a callback), delete: what the state allows, in one row.

    Args:
        key: where the page keeps its run.
        more: draws what else can be done with this run, after what comes next and before the rest.
    """
    trouble = st.session_state.pop(session.RUN_TROUBLE, "")
    if trouble:
        failure("That did not work:", trouble)
    if status.state == "review":
        st.info(
            "The corpora are written. Look at them below, reject what should not be trained on, then go on.",
            icon=":material/rate_review:",
        )
        if go_on is not None and go_on.refusal:
            st.warning(escaped(go_on.refusal), icon=":material/block:")
    row = st.container(horizontal=True, vertical_alignment="center")
    if status.needs_other_settings:
        _clone_button(row, clone, "primary")
    _next_step(run, status, row, go_on)
    if more is not None:
        more(row)
    if not status.needs_other_settings:
        _clone_button(row, clone, "primary" if run.recorded and more is None else "secondary")
    if status.state not in LIVE and not run.recorded:
        title = f"{shown(run.record.title or run.record.recipe.capability)} of {run.record.created.replace('T', ' ')}"
        delete_button(
            "Delete this run",
            title,
            row,
            delete=lambda: delete_run(run, key),
            disabled=False,
            warn=lambda: said_of_references([run]),
        )


def _clone_button(row: "DeltaGenerator", clone: Callable[[], None], look: Literal["primary", "secondary"]) -> None:
    if row.button("Clone with changes", type=look, on_click=clone, icon=":material/content_copy:"):
        st.rerun()  # the whole page, and not this fragment alone


def _next_step(run: Run, status: Status, row: "DeltaGenerator", go_on: GoOn | None) -> None:
    """How it ends or goes on: stop, kill, go on after a review, resume."""
    if status.state in LIVE and run.asked_to_stop():
        waited = max(0.0, time.time() - run.asked_at())
        row.button("Stopping after this step…", disabled=True, icon=":material/stop_circle:")
        row.button(
            "Kill it now",
            on_click=try_it,
            args=(lambda: queue.kill(run),),
            icon=":material/dangerous:",
            help=f"It is killed by itself {queue.GRACE:.0f} s after it was asked ({waited:.0f} s ago). What it "
            "has finished stays.",
        )
    elif status.state in LIVE:
        row.button(
            "Stop this run",
            on_click=try_it,
            args=(lambda: queue.stop(run),),
            icon=":material/stop_circle:",
            help="It ends at its next step, and keeps everything; resume goes on from there.",
        )
    elif go_on is not None:
        row.button(
            go_on.label,
            type="primary",
            on_click=try_it,
            args=(go_on.action,),
            disabled=bool(go_on.refusal),
            key=session.GO_ON,
        )
    elif status.state in ("stopped", "failed", "lost"):
        row.button(
            "Resume",
            type="secondary" if status.needs_other_settings else "primary",
            on_click=try_it,
            args=(lambda: queue.resume(run),),
            icon=":material/resume:",
            help="Goes on where it stood, to the same result as if it had not stopped.",
        )


def said_of_references(runs: Sequence[Run]) -> str:
    """What would point at nothing without these runs; empty where nothing refers to them."""
    try:
        found = references_to([run.id for run in runs])
    except InputError:  # the list says so
        return ""
    titles = ", ".join(shown(one.record.title or one.record.recipe.capability) for one in found.runs[:3])
    more = f" and {len(found.runs) - 3} more" if len(found.runs) > 3 else ""
    parts = [f"{counted(len(found.runs), 'evaluation')} ({titles}{more})"] * bool(found.runs)
    parts += [f"{counted(found.texts, 'saved text')} of Side by side"] * bool(found.texts)
    if not parts:
        return ""
    return (
        f"{' and '.join(parts)} used adapters or captures of it: what was answered and written stays, but cannot be "
        "asked again, nor opened with what wrote it."
    )


def delete_run(run: Run | Damaged, key: str) -> None:
    """Delete a run that somebody has confirmed; the page that shows it under `key` turns away from it."""
    try:
        freed = queue.delete(run)
    except SpdError as error:
        failure("It was not deleted:", str(error))
        return
    if st.session_state.get(key) == run.id:
        choose_run("", key)
    session.say_next(f"Deleted; {freed / 2**20:,.1f} MiB are free again.")
    st.rerun()

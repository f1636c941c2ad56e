"""What can be done with the runs that are selected in a list: open one, compare some, tag and delete any number."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from app.runs.actions import delete_run, said_of_references
from app.runs.listed import ListedRun, RunKind, run_label, size_on_disk
from app.runs.panel import choose_run
from app.ui import session
from app.ui.widgets import caption, counted, delete_button, escaped
from spd_core.errors import SpdError
from spd_core.runs import queue
from spd_core.runs.folder import Run

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

MOST_COMPARED = 4
_NAMED = 3
"""Runs that are named before they are deleted; more are counted."""


def actions(
    selected: Sequence[ListedRun], listed: Sequence[ListedRun], open_run: Callable[[str], None], kind: RunKind
) -> None:
    """A row of buttons; those that need another number of runs say so."""
    trouble = st.session_state.pop(session.RUN_TROUBLE, "")
    if trouble:
        st.error(f"**That did not work:** {escaped(trouble)}", icon=":material/error:")
    row = st.container(horizontal=True, vertical_alignment="center")
    ids = [one.run.id for one in selected]
    kept = any(one.run.recorded for one in selected)  # comes with SPD Lab, and stays as it is
    if row.button(
        f"Open {kind.noun}",
        icon=":material/folder_open:",
        type="primary",
        disabled=len(selected) != 1,
        on_click=open_run,
        args=tuple(ids[:1]),
        help="Tick one in the first column." if len(selected) != 1 else None,
    ):
        st.rerun()  # the whole page, and not this fragment alone
    if kind.compare is not None and row.button(
        "Compare",
        icon=":material/compare_arrows:",
        disabled=not 2 <= len(selected) <= MOST_COMPARED,
        on_click=_compare,
        args=(kind.compared_key, ids),
        help=f"Tick two to {MOST_COMPARED}." if not 2 <= len(selected) <= MOST_COMPARED else None,
    ):
        st.rerun()
    with row.popover("Tags", icon=":material/sell:", disabled=not selected or kept):
        _pick_tags(selected, listed, kind)
    _delete(selected, row, kind)
    with row:
        caption(f"**{len(selected)} selected**" if selected else "Tick rows to do something with them.")


def _compare(key: str, ids: list[str]) -> None:
    """Noted, as the widget that shows them is outside of this fragment."""
    st.session_state[session.COMPARE_NEXT] = (key, ids)


# --- tags --------------------------------------------------------------------------------------------------------


def _pick_tags(selected: Sequence[ListedRun], listed: Sequence[ListedRun], kind: RunKind) -> None:
    """Tags of the selected runs: those that all have are shown, and what changes is changed of all, at once."""
    known = sorted({tag for one in listed for tag in one.tags}, key=str.casefold)
    common = [tag for tag in known if all(tag in one.tags for one in selected)]
    some = sorted({tag for one in selected for tag in one.tags} - set(common), key=str.casefold)
    key = f"{kind.keys}_tagging_{'-'.join(one.run.id for one in selected)}"
    st.multiselect(
        f"Tags of {counted(len(selected), kind.noun)}",
        known,
        common,
        key=key,
        on_change=_tag,
        args=(key, selected, common),
        accept_new_options=True,
        placeholder="Choose, or type a new one",
        help="Words to find them again by. Saved as you go.",
    )
    if some:
        caption(f"Some also have: {escaped(', '.join(some))}.")
    if st.session_state.pop(session.TAGS_CHANGED, False):
        st.rerun()  # the whole page, whose list shows them


def _tag(key: str, selected: Sequence[ListedRun], before: Sequence[str]) -> None:
    after = set(st.session_state[key])
    gone = set(before) - after
    try:
        for one in selected:
            one.run.set_tags(({*one.tags} - gone) | after)
        st.session_state[session.TAGS_CHANGED] = True
    except SpdError as error:
        st.session_state[session.RUN_TROUBLE] = str(error)


# --- deleting ----------------------------------------------------------------------------------------------------


def _delete(selected: Sequence[ListedRun], row: "DeltaGenerator", kind: RunKind) -> None:
    """A button that asks once, and says how much goes and what would point at nothing."""
    size = sum(map(size_on_disk, selected)) / 2**20
    named = "; ".join(run_label(one.run.record) for one in selected[:_NAMED])
    more = f" and {len(selected) - _NAMED} more" if len(selected) > _NAMED else ""
    what = f"{counted(len(selected), kind.noun)}, {size:,.1f} MiB {kind.holds}: {named}{more}"
    runs = [one.run for one in selected]
    delete_button(
        f"Delete {kind.noun}{'s' * (len(selected) > 1)}",
        what,
        row,
        delete=lambda: _delete_all(runs, kind.key),
        disabled=not selected or any(one.busy or one.run.recorded for one in selected),
        warn=lambda: said_of_references(runs),
    )


def _delete_all(runs: Sequence[Run], key: str) -> None:
    """Delete all of them; what cannot be deleted stays, and the others go."""
    if len(runs) == 1:
        delete_run(runs[0], key)
        return
    freed, refused = 0, []
    for run in runs:
        try:
            freed += queue.delete(run)
        except SpdError as error:
            refused.append(str(error))
    if st.session_state.get(key) in {run.id for run in runs}:
        choose_run("", key)
    if refused:
        st.session_state[session.RUN_TROUBLE] = "; ".join(refused)
    gone = len(runs) - len(refused)
    session.say_next(f"{gone} of {len(runs)} deleted; {freed / 2**20:,.1f} MiB are free again.")
    st.rerun()

"""All runs of one kind on this machine: search, sort, tag, open, compare and delete them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from app.runs.actions import delete_run
from app.runs.listed import ListedRun, RunKind, events_of, matches, run_title, size_on_disk, state_in_words
from app.runs.selected import actions
from app.ui import session
from app.ui.tables import table_html
from app.ui.widgets import caption, counted, delete_button, escaped, failure
from spd_core.errors import InputError
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs import states
from spd_core.runs.folder import Damaged, Run, all_runs, recorded_runs
from spd_core.runs.record import State
from spd_core.text import opening, shown

_REFRESH = 5.0
"""Seconds between two drawings of the list while a run in it waits or works."""
_ICONS: dict[State, str] = {
    "queued": "○", "starting": "▶", "running": "▶", "review": "◐", "done": "✓", "stopped": "■", "failed": "✕",
    "lost": "✕",
}  # fmt: skip
"""Before the word, so that a column of states is seen at a glance."""


# --- what there is -----------------------------------------------------------------------------------------------


def all_runs_panel(open_run: Callable[[str], None], kind: RunKind) -> None:
    """Everything about the runs of one kind; `open_run` is used as a callback, and turns to the run of a name."""
    try:
        listed, damaged = _listed(kind.recipe_type)
    except InputError as error:
        failure("The runs cannot be listed:", str(error))
        return
    if not listed and not damaged:
        st.info(kind.none, icon=":material/playlist_add:")
    if listed:
        _list(_filtered(listed, kind), listed, open_run, kind)
    _damaged(damaged, kind)
    if len(listed) > 1 and kind.compare is not None:
        key, ids = st.session_state.pop(session.COMPARE_NEXT, ("", []))
        if key:
            st.session_state[key] = ids
        kind.compare(listed)


def _listed(kind: type[Recipe] | type[EvaluationRecipe]) -> tuple[list[ListedRun], list[Damaged]]:
    """All runs of a kind, the newest first and recorded ones last, and the directories that cannot be read."""
    listed, damaged = [], []
    for run in (*all_runs(), *recorded_runs()):
        if isinstance(run, Damaged):
            damaged.append(run)
            continue
        if not isinstance(run.record.recipe, kind):
            continue  # it has a page of its own
        try:
            listed.append(ListedRun(run, states.status_of(run), _tags(run)))
        except InputError as error:  # damaged between two looks
            damaged.append(Damaged(run.id, str(error)))
    return listed, damaged


def _tags(run: Run) -> tuple[str, ...]:
    try:
        return run.tags()
    except InputError:  # told when somebody tags it
        return ()


def _filtered(listed: Sequence[ListedRun], kind: RunKind) -> list[ListedRun]:
    """Those that a search finds and that have all the tags that were chosen."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = st.text_input(
            "Search", key=f"{kind.keys}_search", persist_state="session", width=430, placeholder=kind.hint,
            icon=":material/search:",
        )  # fmt: skip
        known = sorted({tag for one in listed for tag in one.tags}, key=str.casefold)
        tags = (
            st.multiselect("Tagged", known, key=f"{kind.keys}_tags", persist_state="session", width=300)
            if known
            else []
        )
    matching = [one for one in listed if matches(one.run, one.status, query or "") and set(tags) <= set(one.tags)]
    if not matching:
        what = f" matches {escaped(repr(query))}" if query else ""
        tagged = f" is tagged {escaped(', '.join(tags))}" if tags else ""
        none = f"None of {counted(len(listed), kind.noun)}{what}{' and' * bool(what and tagged)}{tagged}"
        caption(f"{none}. Clear the fields above to see all.")
    return matching


# --- the list ----------------------------------------------------------------------------------------------------


def _list(
    matching: Sequence[ListedRun], listed: Sequence[ListedRun], open_run: Callable[[str], None], kind: RunKind
) -> None:
    """The table of those found, and what can be done with those selected; drawn again while one waits or works."""
    if not matching:
        return
    changing = any(one.busy or one.status.state == "queued" for one in matching)

    @st.fragment(run_every=_REFRESH if changing else None)
    def draw() -> None:
        try:
            now = [ListedRun(one.run, states.status_of(one.run), one.tags) for one in matching]
        except InputError:  # one was deleted elsewhere, or is damaged: the whole list is drawn anew
            st.rerun()
        if [one.status.state for one in now] != [one.status.state for one in matching]:
            st.rerun()
        actions(_select(now, kind), listed, open_run, kind)

    draw()


def list_key(ids: Sequence[str], kind: RunKind) -> str:
    """Key of the table of these runs: rows are selected by their place, which means another run in another list."""
    return f"{kind.keys}_list_{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:12]}"


def _select(now: Sequence[ListedRun], kind: RunKind) -> list[ListedRun]:
    """The table; returns the runs that are selected in it."""
    import pandas as pd

    event = st.dataframe(
        pd.DataFrame([_cells(one, kind) for one in now]),
        hide_index=True,
        key=list_key([one.run.id for one in now], kind),
        on_select="rerun",
        selection_mode="multi-row",
        column_config={**_COLUMNS, **kind.columns},
        placeholder="–",
        height=min(38 + 35 * len(now), 650),
        alt=f"{kind.noun.capitalize()}s, the newest first; a click on a heading sorts, a tick selects",
    )
    rows = event["selection"]["rows"] if event else []
    return [now[row] for row in rows if row < len(now)]


def _cells(one: ListedRun, kind: RunKind) -> dict[str, Any]:
    record, worked = one.run.record, events_of(one).worked
    own = kind.row(one)
    first, *results = (name for name in own if name not in kind.last)
    return {  # a phone shows two columns: what it is called, and what came out
        kind.noun.capitalize(): shown(opening(run_title(record), 80)),
        first: own[first],
        "State": "◆ recorded" if one.run.recorded else f"{_ICONS[one.status.state]} {state_in_words(one.status)}",
        **{name: own[name] for name in results},
        "Tags": list(one.tags),
        "Created": datetime.fromisoformat(record.created),
        "Worked": worked / 60 if worked else None,
        "Size": size_on_disk(one) / 2**20,
        **{name: own[name] for name in kind.last},
    }


_COLUMNS: Mapping[str, Any] = {
    "State": st.column_config.TextColumn(width=125),
    "Tags": st.column_config.ListColumn(width=100),
    "Created": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm", width=140),
    "Worked": st.column_config.NumberColumn(format="%.1f min", width=80, help="Waiting and pauses left out."),
    "Size": st.column_config.NumberColumn(format="%.1f MiB", width=85, help="On this disk, adapters included."),
}


def _damaged(damaged: Sequence[Damaged], kind: RunKind) -> None:
    if not damaged:
        return
    st.warning(f"{counted(len(damaged), 'damaged run')} cannot be read.", icon=":material/warning:")
    st.html(table_html([{"Directory": one.id, "What is wrong": one.reason} for one in damaged], "Damaged runs"))
    known = {one.id: one for one in damaged}
    chosen = st.selectbox(
        "Damaged run", tuple(known), key=f"{kind.keys}_damaged", format_func=lambda id: opening(id, 60), width=620
    )
    one = known.get(chosen, damaged[0])
    row = st.container(horizontal=True)
    delete_button(
        "Delete damaged run", opening(one.id, 60), row, delete=lambda: delete_run(one, kind.key), disabled=False
    )

"""All runs of one kind on this machine: search, open, delete, and compare two to four of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app.runs.form import arm_names
from app.runs.panel import delete_run
from app.ui.tables import table_html
from app.ui.widgets import caption, counted, delete_button, distinct_labels, escaped, failure
from spd_core.errors import InputError
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs import queue
from spd_core.runs.folder import Damaged, Run, all_runs, size_of
from spd_core.runs.record import RunRecord, State, Status
from spd_core.runs.view import RunView
from spd_core.text import opening

MOST_ROWS = 25
"""Rows of the table; older runs are found by searching."""
_BUSY = ("starting", "running")
_STATES: dict[State, str] = {"done": "finished", "review": "waits for review"}


@dataclass(frozen=True)
class ListedRun:
    """A run and how it stands."""

    run: Run
    status: Status


@dataclass(frozen=True)
class RunKind:
    """In what the lists of two kinds of runs differ.

    Attributes:
        recipe_type: of their recipes.
        noun: what one is called.
        key: where their page keeps the run that it shows.
        keys: what the keys of widgets begin with.
        none: said when there is none.
        hint: what a search looks at.
        holds: said of the disk space of one.
        row: one in the table.
        compare: draws several beside each other.
    """

    recipe_type: type[Recipe] | type[EvaluationRecipe]
    noun: str
    key: str
    keys: str
    none: str
    hint: str
    holds: str
    row: Callable[[ListedRun], dict[str, str]]
    compare: Callable[[Sequence[ListedRun]], None] | None = None


# --- what there is -----------------------------------------------------------------------------------------------


def all_runs_panel(open_run: Callable[[str], None], kind: RunKind) -> None:
    """Everything about the runs of one kind; `open_run` is used as a callback, and turns to the run of a name."""
    try:
        listed, damaged = _listed(kind.recipe_type)
    except InputError as error:
        failure("The runs cannot be listed:", str(error))
        return
    if not listed and not damaged:
        caption(kind.none)
    if listed:
        query = (
            st.text_input(
                "Search", key=f"{kind.keys}_search", persist_state="session", width=620, placeholder=kind.hint
            )
            or ""
        )
        matching = [one for one in listed if matches(one.run, one.status, query)]
        _table(matching, len(listed), query, kind)
        if matching:
            _one(matching, open_run, kind)
    _damaged(damaged, kind)
    if len(listed) > 1 and kind.compare is not None:
        kind.compare(listed)


def _listed(kind: type[Recipe] | type[EvaluationRecipe]) -> tuple[list[ListedRun], list[Damaged]]:
    """All runs of a kind, the newest first, and the directories that cannot be read."""
    listed, damaged = [], []
    for run in all_runs():
        if isinstance(run, Damaged):
            damaged.append(run)
            continue
        if not isinstance(run.record.recipe, kind):
            continue  # it has a page of its own
        try:
            listed.append(ListedRun(run, queue.status_of(run)))
        except InputError as error:  # damaged between two looks
            damaged.append(Damaged(run.id, str(error)))
    return listed, damaged


def matches(run: Run, status: Status, query: str) -> bool:
    """Whether every word of the query stands in what a run is called, was asked, how it stands, or its notes."""
    words = query.casefold().split()
    if not words:
        return True
    recipe = run.record.recipe
    try:
        notes = run.notes()
    except InputError:
        notes = ""
    text = " ".join(
        (
            run.id,
            run.record.title,
            recipe.capability,
            recipe.model,
            *recipe.arms,
            *contents_of(recipe),
            status.state,
            state_in_words(status),
            notes,
        )
    ).casefold()
    return all(word in text for word in words)


def contents_of(recipe: Recipe | EvaluationRecipe) -> tuple[str, ...]:
    """What a run is made of: arms, or subjects and sets."""
    if isinstance(recipe, Recipe):
        return (arm_names(recipe.arms),)
    return ("; ".join(one.title for one in recipe.subjects), ", ".join(one.name for one in recipe.sets))


def state_in_words(status: Status) -> str:
    """A state in words."""
    return _STATES.get(status.state, status.state)


def run_title(record: RunRecord) -> str:
    """What a run is called."""
    return record.title or record.recipe.capability


def run_label(record: RunRecord) -> str:
    """A run in a list to choose from: when, what, made of what."""
    when = record.created.replace("T", " ")
    return f"{when} · {opening(run_title(record), 60)} · {opening(' on '.join(contents_of(record.recipe)), 90)}"


# --- what is read of each, once ----------------------------------------------------------------------------------


def last_change(one: ListedRun) -> tuple[float, float]:
    """Changes with every beat of a run at work, and with its state."""
    return one.status.since, one.run.last_beat()


@st.cache_resource(max_entries=200, show_spinner=False)
def _view(_run: Run, folder: str, stamp: tuple[float, float]) -> RunView:
    """What a run has told; to be read only."""
    view = RunView()
    said = _run.events()
    view.take(said.events, said.damaged)
    return view


@st.cache_data(max_entries=1000, ttl=60, show_spinner=False)
def _size(folder: str, stamp: tuple[float, float]) -> int:
    return size_of(Path(folder))


def events_of(one: ListedRun) -> RunView:
    """The same; nothing where its events cannot be read."""
    try:
        return _view(one.run, str(one.run.folder), last_change(one))
    except InputError:
        return RunView()


def size_on_disk(one: ListedRun) -> str:
    """What a run takes, for people."""
    return f"{_size(str(one.run.folder), last_change(one)) / 2**20:,.1f} MiB"


# --- the table ---------------------------------------------------------------------------------------------------


def _table(matching: Sequence[ListedRun], known: int, query: str, kind: RunKind) -> None:
    """The newest of those found; drawn again by itself while one of them waits or works."""
    if not matching:
        caption(f"None of {counted(known, kind.noun)} matches {escaped(repr(query))}.")
        return
    rows = matching[:MOST_ROWS]
    changing = any(one.status.state in (*_BUSY, "queued") for one in rows)

    @st.fragment(run_every=5.0 if changing else None)
    def draw() -> None:
        try:
            now = [ListedRun(one.run, queue.status_of(one.run)) for one in rows]
        except InputError:  # one was deleted elsewhere, or is damaged: the whole list is drawn anew
            st.rerun()
        if [one.status.state for one in now] != [one.status.state for one in rows]:
            st.rerun()
        st.html(table_html([kind.row(one) for one in now], f"{kind.noun.capitalize()}s, the newest first"))

    draw()
    if len(matching) > MOST_ROWS:
        caption(f"The newest {MOST_ROWS} of {len(matching)}; search to find older ones.")


def _one(matching: Sequence[ListedRun], open_run: Callable[[str], None], kind: RunKind) -> None:
    """Choose one run, to open or to delete it."""
    known = {one.run.id: one for one in matching}
    chosen = st.selectbox(
        f"{counted(len(matching), kind.noun)}, the newest first",
        tuple(known),
        key=f"{kind.keys}_chosen",
        width=620,
        format_func=distinct_labels(tuple(known), lambda id: run_label(known[id].run.record)),
        persist_state="session",
    )
    one = known.get(chosen, matching[0])
    row = st.container(horizontal=True)
    row.button(f"Open {kind.noun}", icon=":material/folder_open:", on_click=open_run, args=(one.run.id,))
    what = f"{run_label(one.run.record)}, {size_on_disk(one)} {kind.holds}"
    delete_button(
        f"Delete {kind.noun}",
        what,
        row,
        delete=lambda: delete_run(one.run, kind.key),
        disabled=one.status.state in _BUSY,
    )


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

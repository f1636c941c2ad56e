"""All runs of one kind on this machine: search, open, delete, and compare two to four of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app.runs.form import arm_names
from app.runs.panel import delete
from app.ui.tables import table_html
from app.ui.widgets import counted, deletion, failure, plain, small, told_apart
from spd_core.errors import InputError
from spd_core.generation.report import opening
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs import queue
from spd_core.runs.folder import Damaged, Run, all_runs, size_of
from spd_core.runs.record import RunRecord, State, Status
from spd_core.runs.view import RunView

SHOWN = 25
"""Rows of the table; older runs are found by searching."""
_BUSY = ("starting", "running")
_STATES: dict[State, str] = {"done": "finished", "review": "waits for review"}


@dataclass(frozen=True)
class Listed:
    """A run and how it stands."""

    run: Run
    status: Status


@dataclass(frozen=True)
class Shelf:
    """In what the lists of two kinds of runs differ.

    Attributes:
        kind: of their recipes.
        noun: what one is called.
        key: where their page keeps the run that it shows.
        keys: what the keys of widgets begin with.
        none: said when there is none.
        hint: what a search looks at.
        holds: said of the disk space of one.
        row: one in the table.
        compare: draws several beside each other.
    """

    kind: type[Recipe] | type[EvaluationRecipe]
    noun: str
    key: str
    keys: str
    none: str
    hint: str
    holds: str
    row: Callable[[Listed], dict[str, str]]
    compare: Callable[[Sequence[Listed]], None] | None = None


# --- what there is -----------------------------------------------------------------------------------------------


def all_runs_panel(open_run: Callable[[str], None], shelf: Shelf) -> None:
    """Everything about the runs of one kind; `open_run` is used as a callback, and turns to the run of a name."""
    try:
        listed, damaged = _listed(shelf.kind)
    except InputError as error:
        failure("The runs cannot be listed:", str(error))
        return
    if not listed and not damaged:
        small(shelf.none)
    if listed:
        query = st.text_input("Search", key=f"{shelf.keys}_search", persist_state="session", width=620,
                              placeholder=shelf.hint) or ""  # fmt: skip
        found = [one for one in listed if matches(one.run, one.status, query)]
        _table(found, len(listed), query, shelf)
        if found:
            _one(found, open_run, shelf)
    _damaged(damaged, shelf)
    if len(listed) > 1 and shelf.compare is not None:
        shelf.compare(listed)


def _listed(kind: type[Recipe] | type[EvaluationRecipe]) -> tuple[list[Listed], list[Damaged]]:
    """All runs of a kind, the newest first, and the directories that cannot be read."""
    listed, damaged = [], []
    for run in all_runs():
        if isinstance(run, Damaged):
            damaged.append(run)
            continue
        if not isinstance(run.record.recipe, kind):
            continue  # it has a page of its own
        try:
            listed.append(Listed(run, queue.status_of(run)))
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
    text = " ".join((run.id, run.record.title, recipe.capability, recipe.model, *recipe.arms, *parts(recipe),
                     status.state, said_state(status), notes)).casefold()  # fmt: skip
    return all(word in text for word in words)


def parts(recipe: Recipe | EvaluationRecipe) -> tuple[str, ...]:
    """What a run is made of: arms, or subjects and sets."""
    if isinstance(recipe, Recipe):
        return (arm_names(recipe.arms),)
    return ("; ".join(one.title for one in recipe.subjects), ", ".join(one.name for one in recipe.sets))


def said_state(status: Status) -> str:
    """A state in words."""
    return _STATES.get(status.state, status.state)


def title(record: RunRecord) -> str:
    """What a run is called."""
    return record.title or record.recipe.capability


def label(record: RunRecord) -> str:
    """A run in a list to choose from: when, what, made of what."""
    when = record.created.replace("T", " ")
    return f"{when} · {opening(title(record), 60)} · {opening(' on '.join(parts(record.recipe)), 90)}"


# --- what is read of each, once ----------------------------------------------------------------------------------


def stamp(one: Listed) -> tuple[float, float]:
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


def told(one: Listed) -> RunView:
    """The same; nothing where its events cannot be read."""
    try:
        return _view(one.run, str(one.run.folder), stamp(one))
    except InputError:
        return RunView()


def on_disk(one: Listed) -> str:
    """What a run takes, for people."""
    return f"{_size(str(one.run.folder), stamp(one)) / 2**20:,.1f} MiB"


# --- the table ---------------------------------------------------------------------------------------------------


def _table(found: Sequence[Listed], known: int, query: str, shelf: Shelf) -> None:
    """The newest of those found; drawn again by itself while one of them waits or works."""
    if not found:
        small(f"None of {counted(known, shelf.noun)} matches {plain(repr(query))}.")
        return
    rows = found[:SHOWN]
    changing = any(one.status.state in (*_BUSY, "queued") for one in rows)

    @st.fragment(run_every=5.0 if changing else None)
    def draw() -> None:
        try:
            now = [Listed(one.run, queue.status_of(one.run)) for one in rows]
        except InputError:  # one was deleted elsewhere, or is damaged: the whole list is drawn anew
            st.rerun()
        if [one.status.state for one in now] != [one.status.state for one in rows]:
            st.rerun()
        st.html(table_html([shelf.row(one) for one in now], f"{shelf.noun.capitalize()}s, the newest first"))

    draw()
    if len(found) > SHOWN:
        small(f"The newest {SHOWN} of {len(found)}; search to find older ones.")


def _one(found: Sequence[Listed], open_run: Callable[[str], None], shelf: Shelf) -> None:
    """Choose one run, to open or to delete it."""
    known = {one.run.id: one for one in found}
    chosen = st.selectbox(
        f"{counted(len(found), shelf.noun)}, the newest first", tuple(known), key=f"{shelf.keys}_chosen", width=620,
        format_func=told_apart(tuple(known), lambda id: label(known[id].run.record)), persist_state="session",
    )  # fmt: skip
    one = known.get(chosen, found[0])
    row = st.container(horizontal=True)
    row.button(f"Open {shelf.noun}", icon=":material/folder_open:", on_click=open_run, args=(one.run.id,))
    what = f"{label(one.run.record)}, {on_disk(one)} {shelf.holds}"
    deletion(f"Delete {shelf.noun}", what, row, delete=lambda: delete(one.run, shelf.key),
             disabled=one.status.state in _BUSY)  # fmt: skip


def _damaged(damaged: Sequence[Damaged], shelf: Shelf) -> None:
    if not damaged:
        return
    st.warning(f"{counted(len(damaged), 'damaged run')} cannot be read.", icon=":material/warning:")
    st.html(table_html([{"Directory": one.id, "What is wrong": one.reason} for one in damaged], "Damaged runs"))
    known = {one.id: one for one in damaged}
    chosen = st.selectbox(
        "Damaged run", tuple(known), key=f"{shelf.keys}_damaged", format_func=lambda id: opening(id, 60), width=620
    )
    one = known.get(chosen, damaged[0])
    row = st.container(horizontal=True)
    deletion("Delete damaged run", opening(one.id, 60), row, delete=lambda: delete(one, shelf.key), disabled=False)

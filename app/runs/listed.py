"""A run as lists show it: how it stands, what it is called, what a search looks at, and what is read of it, once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from app.runs.form import arm_names
from spd_core.errors import InputError
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.folder import Run, size_of
from spd_core.runs.record import RunRecord, State, Status
from spd_core.runs.states import BUSY
from spd_core.runs.view import RunView
from spd_core.text import opening

_STATES: dict[State, str] = {"done": "finished", "review": "waits for review"}


@dataclass(frozen=True)
class ListedRun:
    """A run, how it stands, and its tags."""

    run: Run
    status: Status
    tags: tuple[str, ...] = ()

    @property
    def busy(self) -> bool:
        """Whether a process works on it."""
        return self.status.state in BUSY


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
        row: what stands in its row beside what all runs have, and `columns` how it is drawn; `last` are the names of
            what comes after that.
        compare: draws several beside each other; `compared_key` is where it keeps their names.
    """

    recipe_type: type[Recipe] | type[EvaluationRecipe]
    noun: str
    key: str
    keys: str
    none: str
    hint: str
    holds: str
    row: Callable[[ListedRun], Mapping[str, Any]]
    columns: Mapping[str, Any]
    last: tuple[str, ...]
    compare: Callable[[Sequence[ListedRun]], None] | None = None
    compared_key: str = ""


def matches(run: Run, status: Status, query: str) -> bool:
    """Whether every word of the query stands in what a run is called, was asked, how it stands, its notes or tags."""
    words = query.casefold().split()
    if not words:
        return True
    recipe = run.record.recipe
    try:
        notes = " ".join((run.notes(), *run.tags()))
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
            "recorded" * run.recorded,
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


def size_on_disk(one: ListedRun) -> int:
    """Bytes that a run takes."""
    return _size(str(one.run.folder), last_change(one))

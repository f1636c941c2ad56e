"""The table of an evaluation, read once for each state of its cells and of their items."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import streamlit as st

from app.jobs.models import no_import_meanwhile
from spd_core.errors import InputError
from spd_core.evaluation.cells import items_path
from spd_core.evaluation.table import Table, read_table
from spd_core.recipes.evaluation import EvaluationRecipe

if TYPE_CHECKING:
    from spd_core.runs.folder import Run

Stamp: TypeAlias = tuple[str, int, int]
"""Path, time of change in nanoseconds, and size of a file."""


def table_of(run: "Run") -> Table:
    """The table of a run; read, and its statistics computed, only when a cell or its items are new or have changed."""
    return _table(str(run.folder), tuple(sorted(set(_stamps(run.folder / "cells")))), run.record.evaluation)


@st.cache_resource(max_entries=4, show_spinner="Computing intervals and tests…")
def _table(folder: str, stamps: tuple[Stamp, ...], _recipe: EvaluationRecipe) -> Table:
    with no_import_meanwhile():
        return read_table(_recipe, Path(folder))


def _stamps(folder: Path) -> Iterator[Stamp]:
    """Of the file of each finished cell, and of that of its items."""
    for path in folder.glob("*.json"):
        cell = _stamp(path)
        yield cell
        items = _items_of(*cell)
        if items is not None:
            yield _stamp(items)


def _stamp(path: Path) -> Stamp:
    try:
        found = os.stat(path)
    except FileNotFoundError:  # the table says what is missing
        return str(path), 0, 0
    return str(path), found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=2000)
def _items_of(cell: str, _changed: int, _size: int) -> Path | None:
    """Where the items of a cell lie; None where the cell is damaged, which the table says."""
    try:
        return items_path(Path(cell))
    except InputError:
        return None

"""The table of an evaluation, read once for each state of its cells."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from spd_core.evaluation.table import Table, read_table
from spd_core.recipes.evaluation import EvaluationRecipe

if TYPE_CHECKING:
    from spd_core.runs.folder import Run


def table_of(run: "Run") -> Table:
    """The table of a run; read, and its statistics computed, only when a cell is new or has changed."""
    return _table(str(run.folder), _stamps(run.folder / "cells"), run.record.evaluation)


@st.cache_resource(max_entries=4, show_spinner="Computing intervals and tests…")
def _table(folder: str, stamps: tuple[tuple[str, int, int], ...], _recipe: EvaluationRecipe) -> Table:
    return read_table(_recipe, Path(folder))


def _stamps(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, time of change and size of each finished cell's files."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith((".json", ".jsonl"))]
    except FileNotFoundError:  # none yet, or the run is being deleted
        return ()
    return tuple(sorted((name, stat.st_mtime_ns, stat.st_size) for name, stat in found))

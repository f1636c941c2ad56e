"""Cells that cannot be read as they were written: found beside the whole ones, set aside, and answered again.

Nothing is deleted: a damaged cell is moved into `cells/set-aside/` of its run. Imports no torch.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from spd_core.errors import InputError, NewerFormatError
from spd_core.evaluation.cells import Cell, cell_path, read_cell
from spd_core.evaluation.store import Asked, ItemRecord
from spd_core.recipes.evaluation import CellKey, EvaluationRecipe
from spd_core.runs import queue
from spd_core.runs.folder import Run
from spd_core.storage import storage_errors

FilledCells: TypeAlias = Mapping[CellKey, tuple[Cell, list[ItemRecord]]]


@dataclass(frozen=True)
class DamagedCell:
    """A cell that is there and does not count.

    Attributes:
        subject, seed, set: names as in the recipe.
        reason: what is wrong, and what helps.
        newer: it is whole, but of a newer version: answering it again would not help.
    """

    subject: str
    seed: int
    set: str
    reason: str
    newer: bool = False


def read_cells(recipe: EvaluationRecipe, folder: Path) -> tuple[FilledCells, tuple[DamagedCell, ...]]:
    """The finished cells of a run with their items, in the order of the recipe, and those that are damaged."""
    whole: dict[CellKey, tuple[Cell, list[ItemRecord]]] = {}
    damaged: list[DamagedCell] = []
    for key in recipe.cells:
        try:
            found = read_cell(folder, *key)
        except InputError as error:
            damaged.append(DamagedCell(*key, str(error), isinstance(error, NewerFormatError)))
        else:
            whole |= {} if found is None else {key: found}
    others = _of_other_items(recipe, whole)
    return {key: one for key, one in whole.items() if key not in others}, (*damaged, *others.values())


def _of_other_items(recipe: EvaluationRecipe, whole: FilledCells) -> dict[CellKey, DamagedCell]:
    """Cells whose items are not those of the base (where that is missing, of the first subject): they are no pairs."""
    base = next(subject.name for subject in recipe.subjects if subject.kind == "base")
    firsts: dict[str, tuple[str, list[Asked]]] = {}
    found: dict[CellKey, DamagedCell] = {}
    for key in sorted(whole, key=lambda key: key[0] != base):  # stable: the others as in the recipe
        name, _, set_name = key
        asked = [record.asked for record in whole[key][1]]
        first, same = firsts.setdefault(set_name, (name, asked))
        if asked != same:
            found[key] = DamagedCell(
                *key, f"it has answered other items than {first}: {set_name} was edited meanwhile; answer it again"
            )
    return found


# --- mending -----------------------------------------------------------------------------------------------------


def set_aside(folder: Path, damaged: Sequence[DamagedCell]) -> list[Path]:
    """Move damaged cells out of the way, those of a newer version left where they are; returns where they lie now.

    Raises:
        StorageError: the disk refuses.
    """
    moved = []
    for one in damaged:
        path = cell_path(folder, one.subject, one.seed, one.set)
        aside = path.parent / "set-aside"
        for file in (path, path.with_suffix(".jsonl")):  # items lay beside the cells once
            if not one.newer and os.path.lexists(file):
                with storage_errors(aside):
                    aside.mkdir(exist_ok=True)
                    moved.append(file.rename(_free(aside, file)))
    return moved


def _free(aside: Path, file: Path) -> Path:
    """A name that nothing there has yet."""
    names = (aside / f"{file.stem}.{number}{file.suffix}" for number in range(1, 10**6))
    return next(path for path in names if not os.path.lexists(path))


def answer_again(run: Run) -> tuple[DamagedCell, ...]:
    """Put an evaluation with damaged cells into the queue, however it ended: its job sets them aside and answers just
    those, of whose items the whole ones are only read. Returns them.

    Raises:
        InputError: no cell is damaged, only such as a newer version wrote, or the run is at work.
        SpdError: the disk refuses.
    """
    damaged = [one for one in read_cells(run.record.evaluation, run.folder)[1] if not one.newer]
    if not damaged:
        raise InputError(f"no cell of {run.id} is damaged so that answering it again would help")
    queue.resume(run, finished=True)
    return tuple(damaged)

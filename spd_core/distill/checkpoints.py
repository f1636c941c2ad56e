"""Checkpoints of a training that shall go on: whole or not there, known by the rows they were made with.

    checkpoints/.saving/checkpoint-<step>     while one is written
    checkpoints/checkpoint-<step>/whole.json  written last, before the folder gets its name

Imports no torch: pages ask, too. The trainer that writes them is in `distill/saving.py`.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from spd_core.distill.corpus import CorpusRow, corpus_path, read_corpus
from spd_core.distill.review import divided_by
from spd_core.errors import InputError, NewerFormatError
from spd_core.intervention.cards import AdapterCard, is_finished, read_card
from spd_core.recipes.distill import ArmName, Recipe, TrainSettings
from spd_core.records import Record, read_record
from spd_core.runs.folder import Run
from spd_core.storage import remove_folder, storage_errors, sync, to_disk, to_json, write_text

ADAPTER, CHECKPOINTS, STAGING = "adapter", "checkpoints", ".saving"
STATE, _WHOLE = "trainer_state.json", "whole.json"


class WholeCheckpoint(Record):
    """What a checkpoint holds when nothing is missing.

    Attributes:
        rows: sha256 of the rows that it was trained on (`rows_digest`).
        files: sha256 of each file by its name.
    """

    format: int = 1
    rows: str
    files: dict[str, str]


def rows_digest(rows: Iterable[CorpusRow]) -> str:
    """sha256 of rows in their order, as adapters' cards have it."""
    return hashlib.sha256("".join(row.model_dump_json() for row in rows).encode()).hexdigest()


def deciding(trained: Iterable[CorpusRow], held_out: Iterable[CorpusRow], settings: TrainSettings) -> list[CorpusRow]:
    """The rows that decide what is learned: those that are trained on, and those that end it where they do."""
    return [*trained, *(held_out if settings.patience else ())]


# --- writing -----------------------------------------------------------------------------------------------------


def put_in_place(written: Path, place: Path, rows: str) -> None:
    """Give a checkpoint that is written its name: with the sums of its files, when all of it is on the disk.

    Raises:
        StorageError: the disk refuses.
    """
    names = sorted(path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file())
    files = {name: _digest(written / name) for name in names}
    write_text(written / _WHOLE, to_json(WholeCheckpoint(rows=rows, files=files).model_dump(mode="json")))
    with storage_errors(place):
        to_disk(written)
        if place.exists():
            remove_folder(place)
        os.replace(written, place)
        sync(place.parent)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- going on ----------------------------------------------------------------------------------------------------


def fitting(folder: Path, rows: str, *, unmarked: bool = True) -> list[Path]:
    """Whole checkpoints that were made with these rows (`rows_digest`), the newest first.

    One whose best predecessor is gone is none of them: early stopping would end with other weights than the best.

    Args:
        unmarked: those of versions before December 2026, which do not say what they were trained on, count as well.

    Raises:
        NewerFormatError: a newer version has written one.
    """
    whole = [path for path in sorted(_in(folder), key=_step, reverse=True) if _fits(path, rows, unmarked)]
    steps = {_step(path) for path in whole}
    return [path for path in whole if _best(path) in (None, *steps)]


def clear(folder: Path, keep: Collection[Path]) -> list[Path]:
    """Remove all but these checkpoints: what a kill has cut off, and what was made with other rows; returns the latter.

    Raises:
        StorageError: the disk refuses.
    """
    shutil.rmtree(folder / STAGING, ignore_errors=True)
    others = [path for path in _in(folder) if path not in keep]
    for path in others:
        remove_folder(path)
    return others


def _in(folder: Path) -> list[Path]:
    return list(folder.glob("checkpoint-*[0-9]"))


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _fits(checkpoint: Path, rows: str, unmarked: bool) -> bool:
    if not (checkpoint / _WHOLE).exists():
        return unmarked and _state(checkpoint) is not None  # its state was written last
    try:
        made = read_record(WholeCheckpoint, checkpoint / _WHOLE)
        return made.rows == rows and all(_digest(checkpoint / name) == known for name, known in made.files.items())
    except NewerFormatError:
        raise
    except (InputError, OSError):
        return False


def _state(checkpoint: Path) -> tuple[int, int] | None:
    """Steps done and planned; None where the file that says so is not whole."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        state = json.loads((checkpoint / STATE).read_text("utf-8"))
        return int(state["global_step"]), int(state["max_steps"])
    return None


def _best(checkpoint: Path) -> int | None:
    """The step of the best checkpoint so far, as a whole one knows it; None where none was looked for."""
    step: int | None = json.loads((checkpoint / STATE).read_text("utf-8")).get("best_global_step")
    return step


def best_of(folder: Path, step: int | None) -> str | None:
    """The checkpoint of a step by its place now, which is another one when the run was moved; None without one."""
    place = folder / f"checkpoint-{step}"
    return str(place) if step is not None and place.is_dir() else None


# --- an arm that starts again ------------------------------------------------------------------------------------


def first_of_several(folder: Path, arm: str, rounds: int) -> AdapterCard | None:
    """The card of an arm's first round that later ones are to go on from; None where it, or all of them, are not done.

    Raises:
        InputError: a card is damaged.
    """
    first, last = (folder / "arms" / arm / f"round-{number}" / ADAPTER for number in (1, rounds))
    return read_card(first) if is_finished(first) and not is_finished(last) else None


def forget_arm(folder: Path, arm: str) -> None:
    """Remove what an arm of a run has learned, and what its later rounds have captured and written.

    Raises:
        StorageError: the disk refuses.
    """
    later = [path for path in folder.glob(f"corpora/{arm}-round-*.jsonl") if not path.stem.endswith("-round-1")]
    with storage_errors(folder):
        for path in later:
            path.unlink()
    for path in (folder / "arms" / arm, folder / "adapters" / arm, *folder.glob(f"captures/*-{arm}-round-*")):
        if path.is_dir():
            remove_folder(path)


# --- what a rejection makes wrong --------------------------------------------------------------------------------


def trained_on_rejected(run: Run, rejected: Mapping[str, Collection[int]]) -> dict[ArmName, tuple[int, int]]:
    """Arms whose checkpoints were made with other rows than are left if these are rejected: steps done and planned.

    So are those whose first round is over, and whose later ones are to come: they start again from the first one.

    Raises:
        InputError: a corpus or a card is damaged, or the capability is gone.
    """
    recipe, before = run.record.distillation, run.rejected()
    found: dict[ArmName, tuple[int, int]] = {}
    for arm in recipe.arms:
        name = recipe.corpus_name(arm)
        old, new = before.get(name, frozenset()), rejected.get(name, frozenset())
        steps = None if set(old) == set(new) else _steps(run.folder, arm, recipe.rounds)
        if steps is None:
            continue
        rows = read_corpus(corpus_path(run.folder, name, 1))
        if _deciding(recipe, rows, old) != _deciding(recipe, rows, new):
            found[arm] = steps
    return found


def _deciding(recipe: Recipe, rows: Sequence[CorpusRow], rejected: Collection[int]) -> list[CorpusRow]:
    left = divided_by(recipe, rows, rejected)
    return deciding(left.trained, left.held_out, recipe.train)


def _steps(folder: Path, arm: str, rounds: int) -> tuple[int, int] | None:
    """Steps done and planned of an arm's first round: of its newest checkpoint, or all of them; None without any."""
    newest = max(filter(None, map(_state, _in(folder / "arms" / arm / "round-1" / CHECKPOINTS))), default=None)
    first = first_of_several(folder, arm, rounds) if newest is None else None
    return newest if first is None else (first.steps, first.planned)

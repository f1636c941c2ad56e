"""The cells of an evaluation: one subject with one seed on one set, as a file in the run's folder.

    SPD_HOME/runs/<run>/cells/<subject>--<seed>--<set>.json

A cell names its items, which `evaluation/store.py` keeps for all evaluations. Imports no torch: pages read it, too.
"""

import gzip
from collections.abc import Sequence
from pathlib import Path

from spd_core.engines.written import WrittenBy
from spd_core.errors import InputError, NewerFormatError
from spd_core.evaluation.store import About, ItemRecord, ItemStore, of_newer
from spd_core.records import Record, read_record, read_rows, to_lines
from spd_core.storage import storage_errors, to_json, write_text

_CELLS, _PACKED = "cells", ".jsonl.gz"


class Cell(Record):
    """One subject with one seed on one set, as it was evaluated.

    Attributes:
        subject, seed, set: names as in the recipe.
        adapter: `run/arm` of the adapter that the subject was tuned by; empty where there was none, and in tables made
            before November 2026.
        model, revision, dtype: that answered.
        capture: of a projected one, the capture that it projected into, as `subspace/store.py` opens it: a name on the
            shelf, or `RUN/NAME` of one in a run's folder. Empty in tables made before December 2026.
        subspace: of a projected one, its identity (see `Subspace.fingerprint`); empty likewise.
        written: what an engine that answered was like; None where SPD Lab answered itself.
        unfit: items that the scorer cannot score, left out of every subject alike.
        seen: items whose prompts this subject was calibrated or trained on; None where that is not known.
        seen_items: ids of those items; empty in tables made before December 2026.
        chance: expected share of right guesses, of a set with options; None of others.
        tokens, seconds, reused: see `events.CellDone`.
        fingerprint: sha256 of the set as it was read.
        items: keys of its records in the set's order; empty where an older version kept them beside the cell.
    """

    format: int = 3
    subject: str
    seed: int
    set: str
    title: str
    about: About
    adapter: str = ""
    model: str
    revision: str
    dtype: str
    capture: str = ""
    subspace: str = ""
    written: WrittenBy | None = None
    unfit: int = 0
    seen: int | None = None
    seen_items: tuple[str, ...] = ()
    chance: float | None = None
    tokens: int = 0
    seconds: float = 0.0
    reused: int = 0
    fingerprint: str
    created: str
    items: tuple[str, ...] = ()


def cell_path(folder: Path, subject: str, seed: int, set_name: str) -> Path:
    """Where a run keeps what is known of a cell; its items are in the `ItemStore` that `about` names."""
    return folder / _CELLS / f"{subject}--{seed}--{set_name}.json"


def write_cell(folder: Path, cell: Cell, items: Sequence[ItemRecord]) -> None:
    """Put a finished cell into a run; items that are not stored yet are, first.

    Raises:
        StorageError: the disk refuses.
    """
    store = ItemStore(cell.about)
    known = store.by_key()
    missing = [record for record in items if record.key not in known]
    if missing:
        with store.writing():
            store.add(missing)
    named = cell.model_copy(update={"items": tuple(record.key for record in items)})
    write_text(cell_path(folder, cell.subject, cell.seed, cell.set), to_json(named.model_dump(mode="json")))


def read_cell(folder: Path, subject: str, seed: int, set_name: str) -> tuple[Cell, list[ItemRecord]] | None:
    """A finished cell and its items; None while there is none.

    Raises:
        InputError: it is damaged, or its items are gone; `NewerFormatError` where a newer version has written them.
    """
    path = cell_path(folder, subject, seed, set_name)
    if not path.exists():
        return None
    cell = _read(path)
    if (cell.subject, cell.seed, cell.set) != (subject, seed, set_name):
        raise InputError(f"{path} is the cell of another subject, seed or set; {_remedy(path)}")
    if not cell.items:  # of an older version, which kept its items twice
        items = read_rows(ItemRecord, _beside(path), "items")
        if not items:
            raise InputError(f"{_beside(path)} holds no item; {_remedy(path)}")
        return cell, items
    store = ItemStore(cell.about)
    known = store.by_key()
    gone = sum(key not in known for key in cell.items)
    if 0 < gone <= (newer := store.newer):
        raise NewerFormatError(
            f"{gone} of {len(cell.items)} items of {path} cannot be read: {of_newer(newer)}; update this one"
        )
    if gone:
        raise InputError(
            f"{gone} of {len(cell.items)} items of {path} are damaged or gone in {store.path}; {_remedy(path)}"
        )
    return cell, [known[key] for key in cell.items]


def items_path(path: Path) -> Path:
    """Where the items lie of the cell in a file.

    Raises:
        InputError: it is damaged.
    """
    cell = _read(path)
    return ItemStore(cell.about).path if cell.items else _beside(path)


def write_beside(path: Path, cell: Cell, items: Sequence[ItemRecord]) -> None:
    """Write a cell whose items lie packed beside it, as it is recorded: the store of items is a machine's own.

    Raises:
        StorageError: the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with storage_errors(path):
        path.with_suffix(_PACKED).write_bytes(gzip.compress(to_lines(items).encode(), mtime=0))
    write_text(path, to_json(cell.model_copy(update={"items": ()}).model_dump(mode="json")))


def _beside(path: Path) -> Path:
    """The items beside a cell, packed or as older versions kept them."""
    packed = path.with_suffix(_PACKED)
    return packed if packed.exists() else path.with_suffix(".jsonl")


def _read(path: Path) -> Cell:
    return read_record(Cell, path, newest=3, remedy=_remedy(path))


def _remedy(path: Path) -> str:
    return f"answer it again: python -m spd_core table --run {path.parent.parent.name}"


def is_filled(folder: Path, subject: str, seed: int, set_name: str, fingerprint: str, about: About) -> bool:
    """Whether a cell is there, of the items of this fingerprint, asked as `about` says, whoever the subject was.

    Raises:
        InputError: it is damaged.
    """
    path = cell_path(folder, subject, seed, set_name)
    if not path.exists():
        return False
    cell = _read(path)
    return cell.fingerprint == fingerprint and cell.about.model_copy(update={"subject": about.subject}) == about

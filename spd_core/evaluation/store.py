"""What an evaluation leaves on disk: a record for every item, kept for all evaluations, and the cells of a run.

Records lie under what they depend on, so that whoever asks the same subject the same items again only reads:

    SPD_HOME/evaluations/<sha256 of about.json>/about.json  items.jsonl
    SPD_HOME/runs/<run>/cells/<subject>--<seed>--<set>.json  .jsonl

Imports no torch: pages read it, too.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from spd_core.data.capability import Scorer
from spd_core.errors import InputError
from spd_core.records import Record, append_rows, cut_torn_line, read_record, read_rows, to_lines
from spd_core.storage import exclusive, spd_home, storage_errors, to_json, write_text

SCORING = 1
"""Counts changes of the scorers; records of other counts are not read."""
_CELLS = "cells"


class ItemRecord(Record):
    """One item, answered.

    Attributes:
        prompt: what the model read.
        gold: the right answer as the set has it.
        tests: sha256 of the tests and setup that decide about code; empty of other items.
        extracted: the answer that was read out of the completion; None where there is none.
        correct: None where the scorer knows no right or wrong (`nll`).
        early: whether it would be right had the model stopped after the first line that holds an answer.
        ended: the model ended by itself, or went on with a question of its own.
        tokens: new ones; of a likelihood, the scored ones.
        finish: `eos`, `length`, or empty where nothing was written.
        nll: mean −log p of the right answer's tokens, in nats.
        reason: why code is not right.
    """

    id: str
    prompt: str
    gold: str
    tests: str = ""
    completion: str = ""
    extracted: str | None = None
    correct: bool | None = None
    early: bool | None = None
    ended: bool = False
    tokens: int = 0
    finish: Literal["eos", "length", ""] = ""
    nll: float | None = None
    reason: str = ""

    @property
    def asked(self) -> "Asked":
        """What was asked and how it is judged: another item under the same id is another one."""
        return self.id, self.prompt, self.gold, self.tests

    @property
    def value(self) -> float:
        """1 or 0 for right or wrong, or nats."""
        return float(bool(self.correct)) if self.nll is None else self.nll


Asked: TypeAlias = tuple[str, str, str, str]
"""Id, prompt, gold and tests of an item."""


class About(Record):
    """All that a record depends on, besides its item.

    Attributes:
        subject: sha256 of the model, its projection and its adapter.
        template, style, max_new_tokens: how the item is put, and how long the answer may be.
    """

    subject: str
    set: str
    template: str
    scorer: Scorer
    style: str
    max_new_tokens: int
    scoring: int = SCORING

    @property
    def key(self) -> str:
        """Name of the folder of its records."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()[:32]


class Cell(Record):
    """One subject with one seed on one set, as it was evaluated.

    Attributes:
        subject, seed, set: names as in the recipe.
        adapter: `run/arm` of the adapter that the subject was tuned by; empty where there was none, and in tables made
            before November 2026.
        model, revision, dtype: that answered.
        unfit: items that the scorer cannot score, left out of every subject alike.
        seen: items whose prompts the subspace was captured from or a corpus was written on.
        chance: expected share of right guesses, of a set with options; None of others.
        tokens, seconds, reused: see `events.CellDone`.
        fingerprint: sha256 of the set as it was read.
    """

    format: int = 1
    subject: str
    seed: int
    set: str
    title: str
    about: About
    adapter: str = ""
    model: str
    revision: str
    dtype: str
    unfit: int = 0
    seen: int = 0
    chance: float | None = None
    tokens: int = 0
    seconds: float = 0.0
    reused: int = 0
    fingerprint: str
    created: str


class ItemStore:
    """The records of one subject on one kind of items; one process at a time writes them."""

    def __init__(self, about: About) -> None:
        self.about = about
        self.folder = spd_home() / "evaluations" / about.key
        self.path = self.folder / "items.jsonl"

    @contextmanager
    def writing(self, stop: Callable[[], bool] | None = None) -> Iterator[bool]:
        """Have it alone: another process that writes the same records is waited for. False when `stop` said so first.

        Raises:
            StorageError: the disk refuses.
        """
        lock = self.folder / "lock"
        with storage_errors(lock):
            self.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(lock, stop) as held:
            if held:
                if not (self.folder / "about.json").exists():
                    write_text(self.folder / "about.json", to_json(self.about.model_dump(mode="json")))
                cut_torn_line(self.path)
            yield held

    def records(self) -> "dict[Asked, ItemRecord]":
        """All records by what was asked; of an item that was edited, those of both forms.

        Raises:
            InputError: a line is damaged (named, with the remedy).
        """
        found = read_rows(ItemRecord, self.path, "evaluation records") if self.path.exists() else []
        return {record.asked: record for record in found}

    def add(self, records: Sequence[ItemRecord]) -> None:
        """Add records; errors as of `append_rows`."""
        append_rows(self.path, records)


# --- cells of a run ----------------------------------------------------------------------------------------------


def cell_path(folder: Path, subject: str, seed: int, set_name: str) -> Path:
    """Where a run keeps what is known of a cell; its items lie beside it, as `.jsonl`."""
    return folder / _CELLS / f"{subject}--{seed}--{set_name}.json"


def write_cell(folder: Path, cell: Cell, items: Sequence[ItemRecord]) -> None:
    """Put a finished cell into a run, its items first.

    Raises:
        StorageError: the disk refuses.
    """
    path = cell_path(folder, cell.subject, cell.seed, cell.set)
    write_text(path.with_suffix(".jsonl"), to_lines(items))
    write_text(path, to_json(cell.model_dump(mode="json")))


def read_cell(folder: Path, subject: str, seed: int, set_name: str) -> tuple[Cell, list[ItemRecord]] | None:
    """A finished cell and its items; None while there is none.

    Raises:
        InputError: it is damaged.
    """
    path = cell_path(folder, subject, seed, set_name)
    if not path.exists():
        return None
    cell = read_record(Cell, path)
    items = read_rows(ItemRecord, path.with_suffix(".jsonl"), "items")
    if not items:
        raise InputError(f"{path.with_suffix('.jsonl')} holds no item; delete {path}, and run the table again")
    return cell, items


def is_filled(folder: Path, subject: str, seed: int, set_name: str, fingerprint: str, about: About) -> bool:
    """Whether a cell is there, of the items of this fingerprint, asked as `about` says, whoever the subject was.

    Raises:
        InputError: it is damaged.
    """
    path = cell_path(folder, subject, seed, set_name)
    if not path.exists():
        return False
    cell = read_record(Cell, path)
    return cell.fingerprint == fingerprint and cell.about.model_copy(update={"subject": about.subject}) == about

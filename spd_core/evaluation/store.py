"""A record for every item that a subject has answered, kept for all evaluations; those of a run are in its cells.

Records lie under what they depend on, so that whoever asks the same subject the same items again only reads:

    SPD_HOME/evaluations/<sha256 of about.json>/about.json  items.jsonl  damaged.jsonl

Imports no torch: pages read it, too.
"""

import hashlib
import json
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

from pydantic import Field

from spd_core.peers import ALONE, Peers
from spd_core.records import Record, SharedRows, SortedLines, append_rows, cut_torn_line, sorted_lines
from spd_core.storage import append_to, exclusive, spd_home, storage_errors, to_json, write_text

SCORING = 1
"""Counts changes of the scorers; records of other counts are not read."""


class ItemRecord(Record):
    """One item, answered.

    Attributes:
        prompt: what the model read.
        gold: the right answer as the set has it.
        tests: sha256 of the tests and setup that decide about code, or of what a task of lm-evaluation-harness knows
            of the item and does with it; empty of other items.
        extracted: the answer that was read out of the completion; None where there is none.
        correct: None where the scorer knows no right or wrong (`nll`).
        early: whether it would be right had the model stopped after the first line that holds an answer.
        ended: the model ended by itself, or went on with a question of its own.
        tokens: new ones; of a likelihood, the scored ones.
        finish: `eos`, `length`, or empty where nothing was written.
        nll: mean −log p of the right answer's tokens, in nats.
        reason: why code is not right.
        entropy: mean over its tokens of the entropy they were drawn from, in nats; of drawn answers alone.
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
    tokens: int = Field(default=0, ge=0, lt=2**53)
    finish: Literal["eos", "length", ""] = ""
    nll: float | None = None
    reason: str = ""
    entropy: float | None = Field(default=None, exclude_if=lambda nats: nats is None)

    @property
    def asked(self) -> "Asked":
        """What was asked and how it is judged: another item under the same id is another one."""
        return self.id, self.prompt, self.gold, self.tests

    @property
    def key(self) -> str:
        """The start of a sha256 of all it says, by which cells name it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def value(self) -> float:
        """1 or 0 for right or wrong, or nats."""
        return float(bool(self.correct)) if self.nll is None else self.nll


def drawn_from(id: str) -> str:
    """The id of the item that one of several drawn answers is to: `ID` of `ID#2`."""
    item, mark, number = id.rpartition("#")
    return item if mark and number.isdecimal() else id


Asked: TypeAlias = tuple[str, str, str, str]
"""Id, prompt, gold and tests of an item."""


class About(Record):
    """All that a record depends on, besides its item.

    Attributes:
        subject: sha256 of the model, its projection and its adapter.
        template, style, max_new_tokens: how the item is put, and how long the answer may be; of a task of
            lm-evaluation-harness, which version of which task.
        scorer: a capability's, or `harness:TASK/METRIC`.
        writer: the engine that answered (see `WrittenBy.writer`); empty where SPD Lab answered itself.
        sampling: how answers were drawn; empty where the likeliest token was taken each time.
    """

    subject: str
    set: str
    template: str
    scorer: str
    style: str
    max_new_tokens: int
    scoring: int = SCORING
    writer: str = ""
    sampling: str = Field(default="", exclude_if=operator.not_)

    @property
    def key(self) -> str:
        """Name of the folder of its records; as before engines could write, where none has."""
        said = self.model_dump(exclude=None if self.writer else {"writer"})
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


class ItemStore:
    """The records of one subject on one kind of items; one process at a time writes them, or all of one launch."""

    def __init__(self, about: About, peers: Peers = ALONE) -> None:
        self.about = about
        self.peers = peers
        self.folder = spd_home() / "evaluations" / about.key
        self.path = self.folder / "items.jsonl"
        self._rows = SharedRows(self.path, peers)
        self._before = 0  # rows that were there before anything was added

    @contextmanager
    def writing(self, stop: Callable[[], bool] | None = None) -> "Iterator[dict[Asked, ItemRecord] | None]":
        """Have it alone: another process that writes the same records is waited for.

        Of several processes, the first one has it for all. They add records as `SharedRows` says; afterwards they are
        in one file.

        Yields:
            The records that are there (see `records`), the same to all processes; None when `stop` said so first.

        Raises:
            StorageError: the disk refuses.
        """
        with self._held(stop) as held:
            if self.peers.agreed(lambda: held):
                self.peers.from_first(self._mend)
                self._rows.bring_together(self._whole)  # what is left of others that were killed
                self._before, known = self._rows.looked_at(lambda: (self._rows.count(), self.records()))
                yield known
                self._rows.bring_together(self._whole)
            else:
                yield None

    @contextmanager
    def _held(self, stop: Callable[[], bool] | None) -> Iterator[bool]:
        if not self.peers.first:
            yield True
            return
        lock = self.folder / "lock"
        with storage_errors(lock):
            self.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(lock, stop) as held:
            yield held

    def _mend(self) -> None:
        """Move damaged lines out of the way, into a file of their own; nothing is deleted, and what a newer version has
        written stays where it is."""
        if not (self.folder / "about.json").exists():
            write_text(self.folder / "about.json", to_json(self.about.model_dump(mode="json")))
        cut_torn_line(self.path)
        found = self._lines()
        if found.newer:
            print(f"{self.path}: {of_newer(len(found.newer))}, and their items are answered again", file=sys.stderr)
        if found.damaged:
            aside = self.folder / "damaged.jsonl"
            with storage_errors(aside), append_to(aside) as file:
                file.write(b"".join(line + b"\n" for line in found.damaged))
            write_text(self.path, self._whole())

    def _whole(self) -> str:
        """All rows, as one file has them."""
        found = self._lines()
        return "".join(line.decode() + "\n" for line in (*found.rows, *found.newer))

    def records(self) -> "dict[Asked, ItemRecord]":
        """All records by what was asked; of an item that was edited, those of both forms. Damaged lines are left out,
        and those of a newer version.

        Raises:
            InputError: the file cannot be read.
        """
        return {record.asked: record for record in self._lines().rows.values()}

    def by_key(self) -> dict[str, ItemRecord]:
        """All records by their keys; raises like `records`."""
        return {record.key: record for record in self._lines().rows.values()}

    @property
    def newer(self) -> int:
        """How many records a newer version has written, which this one cannot read; raises like `records`."""
        return len(self._lines().newer)

    def _lines(self) -> SortedLines[ItemRecord]:
        whole = SortedLines[ItemRecord]()
        for file in self._rows.files():
            found = sorted_lines(ItemRecord, file, "evaluation records")
            whole.rows.update(found.rows)
            whole.newer.extend(line for line in found.newer if line not in whole.newer)
            whole.damaged.extend(found.damaged)
        return whole

    def add(self, records: Sequence[ItemRecord]) -> None:
        """Add records; errors as of `append_rows`."""
        append_rows(self._rows.own, records)

    def added(self) -> int:
        """How many records all processes have added since this one began to write."""
        return self._rows.count() - self._before


def of_newer(records: int) -> str:
    """What is said of records that this version cannot read."""
    return f"records that a newer SPD Lab has written ({records}) are left as they are"

"""Records: what is kept as JSON or as rows of JSON, how it is read, and what is said when it cannot be.

Rows grow while a model writes, and each is on the disk before the next batch begins. A crash can tear off the last
line; whatever was whole before is kept. Imports no torch.
"""

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from spd_core.errors import InputError, NewerFormatError, StorageError
from spd_core.peers import ALONE, Peers
from spd_core.storage import read_bytes, write_text


class Record(BaseModel):
    """Base of what is saved: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    def in_short(self) -> Any:
        """As JSON, without what is as by default; a record that has a name may give that."""
        return self.model_dump(mode="json", exclude_defaults=True)


class Request(Record):
    """Base of what somebody asks for: every number is one (`Infinity` and `NaN` are refused)."""

    model_config = ConfigDict(allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _can_be_counted(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > _MOST:
            raise ValueError(f"above {_MOST:,}, which nothing can be counted to; choose a smaller number")
        return value


_R = TypeVar("_R", bound=Record)
_L = TypeVar("_L")
MOST_UNPACKED = 256 * 2**20
"""Bytes of a packed file of rows: a small one can be larger than any memory."""
_MOST = 2**53 - 1  # what a browser can count to
_TAGS = ("distillation", "evaluation")  # pydantic's own names for forms of a field, which no file contains


# --- one record --------------------------------------------------------------------------------------------------


def read_record(
    kind: type[_R],
    path: Path,
    *,
    newest: int = 1,
    called: str = "",
    fault: str = "is damaged",
    remedy: str = "delete the run, and start it again",
) -> _R:
    """A record from its JSON file.

    Args:
        newest: the highest `format` that this version reads.
        called: what errors call it; the path by default.
        fault: what errors say of it when it cannot be read as this kind of record.
        remedy: what to do when it is missing or damaged.

    Raises:
        InputError: it is missing, damaged, or of a newer format.
    """
    name = called or str(path)
    try:
        found = json_value(read_bytes(path, remedy=remedy))
        refuse_newer(found, newest, name)
        return kind.model_validate(found)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} {fault} ({first_error(error)}); {remedy}") from error


def refuse_newer(record: Any, newest: int, name: str) -> None:
    """Raise `NewerFormatError` where a record's `format` is above the newest that this version reads."""
    written = record.get("format") if isinstance(record, Mapping) else None
    if isinstance(written, int) and written > newest:
        raise NewerFormatError(f"{name} was written by a newer SPD Lab (format {written}); update this one")


def first_error(error: Exception) -> str:
    """The first thing that is wrong, in a line: of a validation the setting and the reason."""
    if isinstance(error, ValidationError):
        wrong = error.errors()[0]
        place = ".".join(str(part) for part in wrong["loc"] if part not in _TAGS)
        return f"{place}: {wrong['msg'].removeprefix('Value error, ')}".lstrip(": ")
    return (str(error) or type(error).__name__).splitlines()[0]


def json_value(written: bytes | str) -> Any:
    """What JSON says, made of characters that can be written again: an escape can give half of a surrogate pair.

    Raises:
        ValueError: it is no JSON, or holds such a half.
        RecursionError: it is nested too deeply.
    """
    found = json.loads(written)
    if ("\\u" if isinstance(written, str) else b"\\u") in written:  # type: ignore[operator]
        json.dumps(found, ensure_ascii=False).encode()
    return found


def json_object(line: str) -> dict[str, Any]:
    """The JSON object that a line holds; raises `ValueError` with the reason and the remedy when it holds none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error}); write one object a line") from error
    if not isinstance(row, dict):
        raise ValueError(f"a JSON {type(row).__name__}, expected an object {{…}}")
    return row


# --- rows --------------------------------------------------------------------------------------------------------


def read_rows(kind: type[_R], path: Path, what: str) -> list[_R]:
    """The rows of a file, packed where its name ends in `.gz`, in its order; a last line without its end (torn by a
    crash) is left out.

    Args:
        what: what the file is called in errors, such as `corpus`.

    Raises:
        InputError: the file cannot be read, or a line is no row; the message names the line.
    """
    rows = []
    for number, line in enumerate(_lines(path, what), 1):
        try:
            rows.append(_row(kind, line))
        except (ValueError, InputError) as error:
            reason = first_error(error)
            raise InputError(f"{path}, line {number}: {reason}; correct or remove the line") from error
    return rows


@dataclass(frozen=True)
class SortedLines(Generic[_R]):
    """The lines of a file of rows; a torn last one is none of them.

    Attributes:
        rows: in the file's order, each once.
        newer: whole, but with fields that this version does not know.
        damaged: those that are no rows.
    """

    rows: dict[bytes, _R] = field(default_factory=dict)
    newer: list[bytes] = field(default_factory=list)
    damaged: list[bytes] = field(default_factory=list)


def sorted_lines(kind: type[_R], path: Path, what: str) -> SortedLines[_R]:
    """The lines of a file, by what they are worth.

    Raises:
        InputError: the file cannot be read.
    """
    found = SortedLines[_R]()
    for line in _lines(path, what):
        try:
            found.rows[line] = _row(kind, line)
        except (ValueError, InputError) as error:
            (found.newer if _only_says_more(error) else found.damaged).append(line)
    return found


def _only_says_more(error: Exception) -> bool:
    """Whether all that is wrong with a row are fields that it has beyond the known ones: a newer version wrote it."""
    return isinstance(error, ValidationError) and all(one["type"] == "extra_forbidden" for one in error.errors())


def _lines(path: Path, what: str) -> list[bytes]:
    try:
        whole, _, _torn = (_unpacked(path, what) if path.suffix == ".gz" else path.read_bytes()).rpartition(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read the {what} {path}: {error}") from error
    return whole.split(b"\n") if whole else []


def _unpacked(path: Path, what: str) -> bytes:
    with gzip.open(path) as file:
        found = file.read(MOST_UNPACKED + 1)
    if len(found) > MOST_UNPACKED:
        raise InputError(f"the {what} {path} have more than {MOST_UNPACKED:,} bytes unpacked; unpack the file yourself")
    return found


def _row(kind: type[_R], line: bytes) -> _R:
    row = json_object(line.decode())
    if b"\\u" in line:
        json_value(line)
    return kind.model_validate(row)


def cut_torn_line(path: Path) -> None:
    """Make the file ready to go on: what a crash has torn off behind the last whole line is cut away.

    Raises:
        StorageError: the disk refuses.
    """
    with _refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def append_rows(path: Path, rows: Sequence[Record]) -> None:
    """Add rows to the file's end, on the disk when this returns.

    Raises:
        StorageError: the disk refuses.
    """
    with _refusals(path), path.open("ab") as file:
        file.write(to_lines(rows).encode())
        file.flush()
        os.fsync(file.fileno())


def to_lines(rows: Sequence[Record]) -> str:
    """Rows as the file has them."""
    return "".join(row.model_dump_json() + "\n" for row in rows)


# --- rows that several processes write ---------------------------------------------------------------------------


@dataclass(frozen=True)
class SharedRows:
    """A file of rows that several processes write: the first one into it, every other into a part of its own beside it.

    Every row is on the disk before the next begins, and nothing is lost where they are killed, or where it is gone on
    with another number of processes: what is left of parts counts, and whoever is first brings them together.
    """

    path: Path
    peers: Peers = ALONE
    _seen: dict[Path, tuple[int, int]] = field(default_factory=dict)  # bytes that were looked at, rows in them

    @property
    def own(self) -> Path:
        """The file that this process writes."""
        return self._part(self.peers.rank) if self.peers.rank else self.path

    def _part(self, rank: int) -> Path:
        return self.path.with_name(f"{self.path.stem}.part-{rank}.jsonl")

    def _parts(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.stem}.part-*.jsonl"))

    def files(self) -> list[Path]:
        """All that hold rows: the file itself first."""
        return [file for file in (self.path, *self._parts()) if file.exists()]

    def count(self) -> int:
        """How many rows there are; only what is new is read."""
        for file in self.files():
            size, rows = self._seen.get(file, (0, 0))
            new = read_bytes(file, size, missing_ok=True)
            self._seen[file] = (size + len(new), rows + new.count(b"\n"))
        return sum(rows for _, rows in self._seen.values())

    def looked_at(self, look: Callable[[], _L]) -> _L:
        """What each process finds, before any of them adds a row: else they would not share the same work.

        Raises:
            SpdError: what `look` raises.
        """
        found = look()
        self.peers.wait()
        return found

    def bring_together(self, whole: Callable[[], str]) -> None:
        """Make one file of all, by the first process; the others wait until that is done.

        Args:
            whole: gives all rows, as the file shall have them.

        Raises:
            StorageError: the disk refuses; nothing is lost.
        """
        self.peers.wait()
        parts = self._parts()
        if self.peers.first and parts:
            write_text(self.path, whole())
            for part in parts:
                part.unlink()
        self._seen.clear()
        self.peers.wait()


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; every row before it is kept. Free space and go on"
        ) from error

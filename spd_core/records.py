"""Files of rows that grow while a model writes: one record a line, on the disk before the next batch begins.

A crash can tear off the last line; whatever was whole before is kept. Imports no torch.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from spd_core.data.capability import json_object
from spd_core.errors import InputError, StorageError
from spd_core.recipes.lanes import Record

_R = TypeVar("_R", bound=Record)


def read_rows(kind: type[_R], path: Path, what: str) -> list[_R]:
    """The rows of a file, in its order; a last line without its end (torn by a crash) is left out.

    Args:
        what: what the file is called in errors, such as `corpus`.

    Raises:
        InputError: the file cannot be read, or a line is no row; the message names the line.
    """
    try:
        whole, _, _torn = path.read_bytes().rpartition(b"\n")
        lines = whole.decode().split("\n") if whole else []  # `splitlines` would also cut at U+2028 in a text
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the {what} {path}: {error}") from error
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(kind.model_validate(json_object(line)))
        except ValidationError as error:
            wrong = error.errors()[0]
            where = ".".join(map(str, wrong["loc"]))
            raise InputError(f"{path}, line {number}: {where}: {wrong['msg']}; correct or remove the line") from error
        except (ValueError, InputError) as error:
            raise InputError(f"{path}, line {number}: {error}; correct or remove the line") from error
    return rows


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


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; every row before it is kept. Free space "
                           "and go on") from error  # fmt: skip

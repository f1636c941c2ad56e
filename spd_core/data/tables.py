"""Takes a JSONL or CSV file apart into rows, and tells every row that cannot be. Knows nothing of what they mean."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from spd_core.errors import InputError
from spd_core.records import json_object

Encoding: TypeAlias = Literal["utf-8", "cp1252", "utf-16"]
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LARGEST_FILE = 20 * 2**20
"""Bytes; what the app's upload takes."""
MOST_ROWS = 10_000


@dataclass(frozen=True)
class Problem:
    """What is wrong with one row.

    Attributes:
        line: 1-based line of the file where the row begins.
        column: the file's own name for it; `row` when the row as a whole is wrong.
        value: what stands there, shortened.
    """

    line: int
    column: str
    value: str
    reason: str

    def __str__(self) -> str:
        where = "" if self.column == "row" else f"{self.column}: "
        return f"line {self.line}: {where}{self.reason}"


@dataclass(frozen=True)
class FileTable:
    """A file as rows, before anybody says what its columns mean.

    Attributes:
        rows: (line, cells by column).
        problems: rows that could not be taken apart.
    """

    name: str
    rows: tuple[tuple[int, dict[str, Any]], ...]
    problems: tuple[Problem, ...] = ()

    @property
    def columns(self) -> list[str]:
        """All columns, in the order in which they first appear."""
        return list(dict.fromkeys(column for _, row in self.rows for column in row))


def read_file(path: str) -> tuple[str, bytes]:
    """Name and content of a file on this machine.

    Raises:
        InputError: there is none, it is too large, or it cannot be read.
    """
    try:
        file = Path(path).expanduser()
        if not file.is_file():
            raise InputError(f"no file at {path}; check the path")
        if file.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} is larger than {LARGEST_FILE >> 20} MiB; import a part of it")
        return file.name, file.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: no such user in ~user
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}; check the path") from error


def read_file_table(name: str, data: bytes, encoding: Encoding = "utf-8", separator: str | None = None) -> FileTable:
    """The rows of a JSONL or CSV file; rows that cannot be taken apart are listed, the others kept.

    A CSV begins with a header; its separator is detected when it is not given. Blanks after a separator count
    only inside quotes.

    Raises:
        InputError: not text in this encoding, an unusable header, no row at all, or too many.
    """
    text = _decoded(name, data, encoding)
    if name.lower().endswith((".jsonl", ".json", ".ndjson")) or text.lstrip().startswith("{"):
        table = _read_jsonl(name, text)
    else:
        table = _read_csv(name, text, separator or find_separator(text))
    if not table.rows and not table.problems:
        raise no_example(name)
    return table


def no_example(name: str) -> InputError:
    """The error of a file without any example."""
    return InputError(
        f'{name} holds no example; add rows such as {{"prompt": "2 + 2?", "answer": "4"}}, or in a CSV below a header '
        "such as prompt,answer"
    )


def _check_count(name: str, rows: Sized, problems: Sized) -> None:
    if len(rows) + len(problems) > MOST_ROWS:
        raise InputError(
            f"{name} has more than {MOST_ROWS:,} rows; import a part of it (a capture takes 20 to 500 examples)"
        )


def _decoded(name: str, data: bytes, encoding: Encoding) -> str:
    if encoding == "utf-8" and data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{name} is UTF-16 text; choose the encoding utf-16, or save it as UTF-8")
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{name} is not {encoding} text (line {line}, byte {error.start}); save it as UTF-8, or choose another "
            "encoding (cp1252 for older Windows files)"
        ) from error


def _read_jsonl(name: str, text: str) -> FileTable:
    if text.lstrip().startswith("["):
        raise InputError(f"{name} is one JSON list; write one object a line instead (JSONL)")
    rows: list[tuple[int, dict[str, Any]]] = []
    problems = []
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            rows.append((line, json_object(written)))
        except ValueError as error:
            problems.append(Problem(line, "row", shortened(written), str(error)))
        _check_count(name, rows, problems)
    return FileTable(name, tuple(rows), tuple(problems))


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str] | str]]:
    """(line, cells) of every record that is not blank; the reason instead of cells where it is not CSV."""
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = "a quotation mark that opens here is never closed" if "end of data" in str(error) else str(error)
            yield line, f"not CSV ({reason})"
            continue
        if any(cell.strip() for cell in cells):
            yield line, cells


def find_separator(text: str) -> str:
    """The separator with which most of the first rows have as many cells as the header; a comma when none has."""

    def fit(separator: str) -> tuple[float, int]:
        cells = [found for _, found in _records(text[:65536], separator) if not isinstance(found, str)][:50]
        width = len(cells[0]) if cells else 0
        return (sum(len(row) == width for row in cells) / len(cells), width) if width > 1 else (0.0, 0)

    return max(SEPARATORS, key=fit)


def _read_csv(name: str, text: str, separator: str) -> FileTable:
    records = _records(text.replace("\r\n", "\n").replace("\r", "\n"), separator)
    columns = _header(name, next(records, (1, [])))
    rows, problems = [], []
    for line, cells in records:
        if isinstance(cells, str):
            problems.append(Problem(line, "row", "", cells))
        elif len(cells) != len(columns):
            reason = f"{len(cells)} cells, but the header has {len(columns)}; put text with a separator in quotes"
            problems.append(Problem(line, "row", shortened(separator.join(cells)), reason))
        else:
            rows.append((line, dict(zip(columns, cells, strict=True))))
        _check_count(name, rows, problems)
    return FileTable(name, tuple(rows), tuple(problems))


def _header(name: str, record: tuple[int, list[str] | str]) -> tuple[str, ...]:
    line, cells = record
    if isinstance(cells, str):
        raise InputError(f"{name}, line {line}: the header is {cells}")
    columns = tuple(cell.strip() or f"column {number}" for number, cell in enumerate(cells, 1))
    repeated = next((column for column, count in Counter(columns).items() if count > 1), None)
    if repeated is not None:
        raise InputError(f"{name}, line {line}: two columns are named {repeated!r}; rename one")
    return columns


def shortened(value: Any, most: int = 80) -> str:
    """A cell as one short text that can be shown."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return text if len(text) <= most else text[: most - 1] + "…"

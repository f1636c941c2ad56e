"""Makes a capability of the user's own table: rows → examples, with every bad row told; and saves capabilities.

Knows nothing of widgets, models or tokens.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError

from spd_core.data.capability import Capability, Example, Settings, Split
from spd_core.data.public import PUBLIC_SETS
from spd_core.data.spans import char_spans, render_prompt
from spd_core.data.tables import FileTable, Problem, no_example, shortened
from spd_core.errors import InputError

Columns: TypeAlias = Mapping[str, str]
"""Which column gives which field of an example."""
OWN, CUSTOM = "SPD Lab", "my own columns"
"""Formats beside the public data sets: the columns of SPD Lab itself, or a mapping that the user gives."""
OWN_COLUMNS = {field: field for field in ("prompt", "answer", "id", "split", "tests", "setup", "spans")}
LONGEST_TEXT = 100_000
"""Characters of a cell; a capture reads 256 tokens."""

_GUESSES = {
    "prompt": ("prompt", "question", "instruction", "problem", "input", "text"),
    "answer": ("answer", "output", "target", "completion", "response", "solution", "code", "label"),
    "id": ("id",),
    "split": ("split",),
    "tests": ("tests", "test_list"),
    "spans": ("spans",),
}
_HALF = "holds half of a surrogate pair, which is no character; remove it"
_SPLIT_WORDS = {"training": "train", "test": "heldout", "validation": "heldout", "held out": "heldout"}


@dataclass(frozen=True)
class Imported:
    """What became of a table.

    Attributes:
        problems: why rows were left out, by line; a row can have several.
        unmarked: good rows in which the span rule finds nothing: a capture skips them.
    """

    capability: Capability
    problems: tuple[Problem, ...]
    unmarked: tuple[Problem, ...]

    @property
    def bad_rows(self) -> int:
        """How many rows were left out."""
        return len({problem.line for problem in self.problems})


# --- what the columns mean -----------------------------------------------------------------------------------


def take_settings(table: FileTable) -> tuple[Settings, FileTable]:
    """The settings row that a file of SPD Lab's own begins with (else the file's name and the defaults), and the rest.

    Raises:
        InputError: a malformed settings row, or nothing below it.
    """
    if not table.rows or "capability" not in table.rows[0][1]:
        return Settings(capability=Path(table.name).stem), table
    line, row = table.rows[0]
    rest = replace(table, rows=table.rows[1:])
    if not rest.rows and not rest.problems:
        raise no_example(table.name)
    return make_settings(f"{table.name}, line {line}: ", **row), rest


def recognise(table: FileTable) -> str:
    """The format of a table: `OWN`, the public data set whose reader takes its first row, else `CUSTOM`."""
    names = set(table.columns)
    if {"prompt", "answer"} <= names or names <= set(OWN_COLUMNS):
        return OWN
    first = replace(table, rows=table.rows[:1], problems=())
    for name, task in sorted(PUBLIC_SETS.items(), key=lambda item: -len(item[1].row.model_fields)):
        tried = convert(first, task.settings, task=name)
        if not tried.problems and not tried.unmarked:  # other sets have a question and an answer too
            return name
    return CUSTOM


def guess_columns(columns: Iterable[str]) -> dict[str, str]:
    """The columns that by their names are most likely prompt, answer, id, split, tests and spans."""
    by_name = {column.lower(): column for column in reversed(list(columns))}
    found: dict[str, str] = {}
    for field, names in _GUESSES.items():
        likely = next((by_name[name] for name in names if name in by_name), None)
        if likely is not None:
            found[field] = likely
    return found


def make_settings(where: str = "", **fields: Any) -> Settings:
    """The settings row with these fields.

    Raises:
        InputError: a field has a value that cannot be; `where` goes before the message.
    """
    for name, value in fields.items():
        if reason := _unfit(value):
            raise InputError(f"{where}{name}: {reason}")
    try:
        return Settings.model_validate(fields)
    except ValidationError as error:
        told = _problems(error, 0, fields, {})[0]
        raise InputError(f"{where}{told.column}: {told.reason}") from error


def convert(
    table: FileTable,
    settings: Settings,
    columns: Columns = OWN_COLUMNS,
    task: str | None = None,
    split: Split = "calibration",
) -> Imported:
    """The examples of a table, and every row that gives none with the reason.

    `columns` says which column gives which field; a public data set named by `task` has a reader of its own.
    Rows without a split get `split`.
    """
    problems, kept = list(table.problems), []
    lines: dict[str, int] = {}
    for line, row in table.rows:
        example = _example(line, row, columns, task, split)
        if isinstance(example, Example) and example.id in lines:
            reason = f"the id is also on line {lines[example.id]}; ids must be unique"
            example = [Problem(line, columns.get("id", "id"), shortened(example.id), reason)]
        if isinstance(example, list):
            problems += example
            continue
        if example.id:
            lines[example.id] = line
        kept.append((line, example))
    named = [(line, _with_id(example, line, lines)) for line, example in kept]
    problems.sort(key=lambda problem: problem.line)
    unmarked = [
        Problem(line, "row", shortened(example.answer), "the span rule finds nothing; a capture skips it")
        for line, example in named
        if not char_spans(example, settings, render_prompt(example, settings, "raw", None), "aligned")
    ]
    capability = Capability(settings, tuple(example for _, example in named))
    return Imported(capability, tuple(problems), tuple(unmarked))


def _with_id(example: Example, line: int, taken: dict[str, int]) -> Example:
    """The example with an id of its own: its line, unless an id of the file says the same."""
    if example.id:
        return example
    name, number = f"line-{line}", 2
    while name in taken:
        name, number = f"line-{line}-{number}", number + 1
    taken[name] = line
    return example.model_copy(update={"id": name})


def _example(
    line: int, row: dict[str, Any], columns: Columns, task: str | None, split: Split
) -> Example | list[Problem]:
    """The example of a row, or all that is wrong with it."""
    wrong: list[Problem] = []
    try:
        if task:
            read = PUBLIC_SETS[task].row.model_validate({column: _parsed(value) for column, value in row.items()})
            fields, columns = {"id": f"{task}-{line}", **read.example()}, {}
        else:
            fields = {field: _cell(field, row[column]) for field, column in columns.items() if column in row}
            fields = {field: value for field, value in fields.items() if value is not None}
        wrong = [
            Problem(line, columns.get(field, field), shortened(value), reason)
            for field, value in fields.items()
            for reason in filter(None, map(_unfit, value if isinstance(value, list | tuple) else [value]))
        ]
        example = Example.model_validate({"split": split, **fields})
        if not wrong:
            example.check_ranges()
        return wrong or example
    except ValidationError as error:
        told = {problem.column for problem in wrong}
        return wrong + [found for found in _problems(error, line, row, columns) if found.column not in told]
    except ValueError as error:
        return [Problem(line, columns.get("spans", "spans"), shortened(row.get("spans", "")), str(error))]


def _parsed(value: Any) -> Any:
    """A cell of a CSV that holds JSON (a list, an object) as that; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _cell(field: str, value: Any) -> Any:
    """A cell as its field wants it: numbers as text, lists out of text; None when an optional one is empty."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return "" if field in ("prompt", "answer") else None
    if field in ("tests", "spans"):
        value = _parsed(value)
        return value.splitlines() if field == "tests" and isinstance(value, str) else value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.12g}" if isinstance(value, float) else str(value)
    if field == "split" and isinstance(value, str):
        word = value.strip().lower()
        return _SPLIT_WORDS.get(word, word)
    return value


def _unfit(text: Any) -> str | None:
    """Why a text, or what holds texts, cannot be an example's; None when it can."""
    if not isinstance(text, str):
        try:
            json.dumps(text, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return _HALF
        return None
    if "\0" in text:
        return "holds a NUL character; remove it"
    if any("\ud800" <= char <= "\udfff" for char in text):  # what JSON escapes can give
        return _HALF
    if len(text) > LONGEST_TEXT:
        return f"{len(text):,} characters; at most {LONGEST_TEXT:,}"
    return None


def _problems(error: ValidationError, line: int, row: dict[str, Any], columns: Columns) -> list[Problem]:
    """One problem for each field that is wrong; a span rule fails once for each form it may take."""
    told: dict[str, Any] = {}
    for found in error.errors():
        field = str(found["loc"][0]) if found["loc"] else "row"
        if field not in told or (
            found["type"] in ("value_error", "too_short") and told[field]["type"] != "value_error"
        ):
            told[field] = found
    problems = []
    for field, found in told.items():
        column = columns.get(field, field)
        reason = "empty; fill it in, or delete the row" if found["type"] == "string_too_short" else found["msg"]
        problems.append(Problem(line, column, shortened(row.get(column, "")), reason.removeprefix("Value error, ")))
    return problems


# --- saving --------------------------------------------------------------------------------------------------

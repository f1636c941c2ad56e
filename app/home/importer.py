"""A file of the user's own: which column is what, and how its answers are marked and scored."""

import functools
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast, get_args

import streamlit as st

from app.home import examples
from app.ui import session
from app.ui.widgets import caption, counted, escaped, failure
from spd_core.data.capability import Capability, Scorer, Settings, Split
from spd_core.data.importing import (
    CUSTOM,
    OWN,
    OWN_COLUMNS,
    Imported,
    convert,
    guess_columns,
    make_settings,
    recognise,
    take_settings,
)
from spd_core.data.public import PUBLIC_SETS
from spd_core.data.tables import SEPARATORS, Encoding, FileTable, read_file, read_file_table
from spd_core.errors import InputError

NONE = "(none)"
_FIELDS = {"prompt": "Prompt", "answer": "Answer", "id": "Id", "split": "Split", "tests": "Tests", "spans": "Spans"}
_NEEDED = {"prompt", "answer"}
_HELP = {
    "split": "calibration, train or heldout; test and validation count as heldout.",
    "tests": "Assertions that decide whether code is right: a JSON list, or one per line.",
    "spans": "A row's own loss: [[0, 2]] for the first two characters of its answer, or a rule such as number, "
    'after:TEXT or {"regex": "[0-9]+"}. Rows without one take the rule below.',
}
_RULES = {"the whole answer": "answer", "the last number": "number", "the tests": "tests"}
_AFTER, _REGEX, _FILE = "what follows a text", "a regular expression", "as the file says"


def pick_capability_file() -> tuple[str, bytes] | None:
    """Name and content of an upload, or else of a path on the server's machine; None while there is neither.

    Raises:
        InputError: the path cannot be read.
    """
    upload = st.file_uploader(
        "Upload a JSONL or CSV file", type=("jsonl", "csv", "tsv", "txt"), key=session.CAPABILITY_UPLOAD
    )
    path = st.text_input("Or its path on this machine", key=session.CAPABILITY_PATH, persist_state="session")
    if upload is not None:
        return upload.name, upload.getvalue()
    if path and path.strip():
        return read_file(path.strip())
    caption(
        "One example per row: one JSON object per line, such as "
        + escaped('{"prompt": "2 + 2?", "answer": "4"}')
        + ", or a CSV with a header."
    )
    return None


def import_form(name: str, data: bytes) -> Capability | None:
    """The examples of the file, as the form says; None while something is wrong, with the reason on screen."""
    try:
        with st.container(border=True):
            top = st.container(horizontal=True, vertical_alignment="bottom")
            table = _table(name, data, top)
            settings, table = take_settings(table)
            read = _mapping(table, settings, top)
            if read is None:
                return None
            report = st.container()
            imported = read(_mend(table, read(table)))
            with report:
                remedy = "Fix these rows below, or fix the file and upload it again."
                if not examples.usable(imported, name, remedy):
                    return None
    except InputError as error:
        failure("This capability file cannot be used:", str(error))
        return None
    return imported.capability


def _token(table: FileTable) -> str:
    """What the form's choices belong to: mending a file and uploading it again keeps them."""
    return f"{table.name}-{zlib.crc32(repr(table.columns).encode('utf-8', 'replace')):08x}"


def _key(*parts: Any) -> str:
    return "-".join(map(str, (session.IMPORT, *parts)))


def _table(name: str, data: bytes, top: Any) -> FileTable:
    """The file's rows; encoding and separator are folded away."""
    with top.popover("File", icon=":material/description:"):
        encoding = st.selectbox("Encoding", get_args(Encoding), key=_key("encoding"), persist_state="session")
        separator = st.selectbox(
            "Separator of a CSV",
            ("detected", *SEPARATORS.values()),
            key=_key("separator"),
            persist_state="session",
        )
    chosen = next((mark for mark, word in SEPARATORS.items() if word == separator), None)
    return _read(name, data, cast(Encoding, encoding), chosen)


@st.cache_resource(max_entries=4, show_spinner=False)
def _read(name: str, data: bytes, encoding: Encoding, separator: str | None) -> FileTable:
    return read_file_table(name, data, encoding, separator)


def _mapping(table: FileTable, settings: Settings, top: Any) -> Callable[[FileTable], Imported] | None:
    """How to read the rows: by a format that is known, or by the columns that are chosen; None until they are."""
    formats = (OWN, *PUBLIC_SETS, CUSTOM)
    format_ = top.selectbox(
        "Columns are those of",
        formats,
        index=formats.index(recognise(table)),
        key=_key("format", _token(table)),
        persist_state="session",
        width=240,
        help="Recognised by the first row. Each public data set has its own reader.",
    )
    split = top.selectbox(
        "Rows without a split go to",
        get_args(Split),
        key=_key("split"),
        persist_state="session",
        width=240,
        format_func=examples.SPLITS.get,
    )
    st.text(f"{table.name}: {counted(len(table.rows), 'row')}, columns {', '.join(table.columns)[:200]}")
    task = format_ if format_ in PUBLIC_SETS else None
    columns = _pick_columns(table) if format_ == CUSTOM else OWN_COLUMNS
    if columns is None:
        st.info("Choose the columns that hold the prompt and the answer.", icon=":material/view_column:")
        return None
    if task:
        settings = PUBLIC_SETS[task].settings.model_copy(update={"capability": settings.capability})
    chosen = _pick_settings(_token(table), format_, settings)
    return functools.partial(convert, settings=chosen, columns=columns, task=task, split=cast(Split, split))


def _mend(table: FileTable, found: Imported) -> FileTable:
    """The table with what the user changes in its bad rows; rows that could not be taken apart are not among them."""
    lines = {problem.line for problem in found.problems}
    bad = {
        line: {column: _text(row.get(column)) for column in table.columns} for line, row in table.rows if line in lines
    }
    if not bad:
        return table
    import pandas as pd

    with st.expander(f"Fix {counted(len(bad), 'row')} here"):
        caption("Double-click a cell to change it; what you write counts at once, for this import and not in the file.")
        rows = pd.DataFrame(list(bad.values()), index=pd.Index(list(bad), name="Line"), dtype=object)
        mended = st.data_editor(
            rows,
            key=_key("mend", _token(table), zlib.crc32(repr(bad).encode("utf-8", "replace"))),
            column_config={"_index": st.column_config.NumberColumn("Line", disabled=True)},
            alt="Rows that cannot be read, to fix",
        )
    changes = {
        line: {column: row[column] or "" for column in table.columns if row[column] != bad[line][column]}
        for line, row in zip(bad, examples.records(mended), strict=True)
    }
    return replace(table, rows=tuple((line, {**row, **changes.get(line, {})}) for line, row in table.rows))


def _text(cell: Any) -> str | None:
    """A cell as text that can be edited."""
    return cell if cell is None or isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)


def _pick_columns(table: FileTable) -> dict[str, str] | None:
    """Which column gives which field; None until those of prompt and answer are chosen.

    Raises:
        InputError: both from one column.
    """
    guessed, columns = guess_columns(table.columns), {}
    for place, (field, label) in zip(st.columns(len(_FIELDS)), _FIELDS.items(), strict=True):
        options = table.columns if field in _NEEDED else [NONE, *table.columns]
        likely = guessed.get(field, None if field in _NEEDED else NONE)
        chosen = place.selectbox(
            f"{label} column",
            options,
            index=options.index(likely) if likely else None,
            placeholder="Choose",
            key=_key(field, _token(table)),
            persist_state="session",
            help=_HELP.get(field),
        )
        if chosen is not None and chosen != NONE:
            columns[field] = chosen
    if not set(columns) >= _NEEDED:
        return None
    if columns["prompt"] == columns["answer"]:
        raise InputError(f"prompt and answer are both the column {columns['prompt']!r}; choose two columns")
    return columns


def _pick_settings(file: str, format_: str, settings: Settings) -> Settings:
    """Title, template, span rule and scorer, folded away when the file or the format says them.

    Raises:
        InputError: a template without {prompt}, or a span rule that is none.
    """

    def key(what: str) -> str:
        return _key(what, format_, file)

    with st.expander("Title, template, span rule and scorer", expanded=format_ == CUSTOM):
        left, right = st.columns(2)
        title = left.text_input("Title", settings.title, key=key("title"), persist_state="session")
        template = left.text_area(
            "Template",
            settings.template,
            key=key("template"),
            persist_state="session",
            height=100,
            help="The text before the answer; {prompt} stands for the prompt.",
        )
        scorers = get_args(Scorer)
        scorer = right.selectbox(
            "Scorer",
            scorers,
            index=scorers.index(settings.scorer),
            key=key("scorer"),
            persist_state="session",
            help="How a written answer is judged: number, letter and exact compare; python runs the tests.",
        )
        with right:
            spans = _pick_rule(settings, key("spans"))
    fields = settings.model_dump(by_alias=True)
    return make_settings(**{**fields, "title": title, "template": template, "scorer": scorer, "spans": spans})


def _pick_rule(settings: Settings, key: str) -> Any:
    """The span rule, as a capability file writes it."""
    rules = [*_RULES, _AFTER, _REGEX]
    rule = settings.spans
    known = {value: words for words, value in _RULES.items()}
    if isinstance(rule, str):
        now = known.get(rule, _AFTER)
    else:
        now, rules = _FILE, [*rules, _FILE]
    chosen = st.selectbox(
        "The loss is on",
        rules,
        index=rules.index(now),
        key=key,
        persist_state="session",
        help="The span rule: which part of the answer decides whether it is correct.",
    )
    if chosen == _FILE:
        return rule if isinstance(rule, str) else rule.model_dump(by_alias=True)
    if chosen == _AFTER:
        mark = rule.removeprefix("after:") if now == _AFTER and isinstance(rule, str) else "#### "
        return "after:" + (st.text_input("After the last", mark, key=f"{key}-text", persist_state="session") or "")
    if chosen == _REGEX:
        text = st.text_input("Regular expression", r"\d+", key=f"{key}-regex", persist_state="session")
        return {"regex": text or "", "in": "answer"}
    return _RULES[chosen]

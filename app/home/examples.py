"""The examples of a capability as a table: browse them, edit them, save them as one's own."""

import zlib
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.ui import session
from app.ui.widgets import caption, counted, escaped, failure
from spd_core.data.capability import Capability, Example, Split
from spd_core.data.catalog import save_capability, saved_capabilities, suggested_name
from spd_core.data.importing import Imported, convert
from spd_core.data.tables import FileTable, Problem
from spd_core.errors import SpdError

if TYPE_CHECKING:
    from pandas import DataFrame

BROWSE, EDIT = "Browse examples", "Edit and save"
SPLITS: dict[Split, str] = {"calibration": "calibration", "train": "training", "heldout": "held out"}
_COLUMNS = {
    "id": st.column_config.TextColumn("Id", width="small"),
    "split": st.column_config.TextColumn("Split", width="small"),
    "prompt": st.column_config.TextColumn("Prompt", width="large"),
    "answer": st.column_config.TextColumn("Answer", width="medium"),
}


def counts(capability: Capability) -> str:
    """How many examples each split has, as markdown."""
    numbers = ((words, len(capability.split(name).examples)) for name, words in SPLITS.items())
    return "Examples: " + " · ".join(f"{words} **{n}**" for words, n in numbers)


def pick_view() -> str | None:
    """Whether to browse or to edit; None for neither."""
    return st.segmented_control(
        "Examples", (BROWSE, EDIT), key=session.EXAMPLES_VIEW, persist_state="session", label_visibility="collapsed"
    )


def panel(capability: Capability, view: str | None, imported: bool) -> None:
    """The examples as `view` says; those of a file just imported are always shown, and can be saved."""
    _news(capability.name)
    if view == EDIT:
        if own_name(capability) != capability.name:
            caption(f"What you save is a copy: {escaped(capability.name)} stays as it is.")
        edited = edit(capability)
        if edited is not None:
            _save_row(edited, own_name(capability))
    elif view == BROWSE or imported:
        browse(capability)
        if imported:
            _save_row(capability, suggested_name(capability.name))


def own_name(capability: Capability) -> str:
    """The name to propose: its own for the user's, a copy's for what comes with SPD Lab."""
    return capability.name if capability.name in saved_capabilities() else suggested_name(f"{capability.name}-copy")


# --- browse --------------------------------------------------------------------------------------------------


def browse(capability: Capability) -> None:
    """A table of one split; choosing a calibration example shows it below as tokens."""
    numbers = {name: len(capability.split(name).examples) for name in SPLITS}
    present = [name for name, n in numbers.items() if n]
    split = st.segmented_control(
        "Split",
        present,
        default=present[0],
        required=True,
        key=session.EXAMPLES_SPLIT,
        persist_state="session",
        format_func=lambda name: f"{SPLITS[name]} {numbers[name]}",
    )
    examples = capability.split(split if split in present else present[0]).examples
    choosable = split == "calibration"
    st.dataframe(
        [_row(example) for example in examples],
        column_config=_COLUMNS,
        hide_index=True,
        height=_height(len(examples)),
        key=f"{session.EXAMPLES_TABLE}-{split}",
        selection_mode="single-row",
        on_select=_choose if choosable else "ignore",
        alt=f"{counted(len(examples), 'example')} of one split",
    )
    if choosable:
        caption("Choose a row at its left edge to see which of its tokens carry the loss, under 3.")


def _height(rows: int) -> int:
    """Pixels of a table with this many rows; long ones scroll."""
    return min(38 + 35 * rows, 283)


def _choose() -> None:
    """Take the chosen row over to the preview of the loss mask."""
    rows = st.session_state[f"{session.EXAMPLES_TABLE}-calibration"]["selection"]["rows"]
    if rows:
        st.session_state[session.PREVIEW] = rows[0] + 1


def _row(example: Example) -> dict[str, str]:
    return {"id": example.id, "split": example.split, "prompt": example.prompt, "answer": example.answer}


# --- problems ------------------------------------------------------------------------------------------------


def usable(imported: Imported, where: str, remedy: str) -> bool:
    """Show what is wrong with which rows; whether to go on with the good ones."""
    good, bad = len(imported.capability.examples), imported.bad_rows
    if imported.unmarked:
        st.warning(
            f"{counted(len(imported.unmarked), 'row')} will be skipped by a capture: the span rule finds nothing in "
            f"the answer (line {imported.unmarked[0].line} first). Choose another span rule, or leave it so.",
            icon=":material/skip_next:",
        )
    if not bad:
        return True
    more = f", and {bad - 1:,} more" if bad > 1 else ""
    failure(f"{counted(bad, 'row')} of {good + bad:,} cannot be read:", f"{where}, {imported.problems[0]}{more}")
    _problem_table(imported.problems)
    caption(f"{escaped(remedy)} The table can be downloaded with the button at its corner.")
    if not good:
        return False
    agreed = f"{session.LEAVE_OUT}-{zlib.crc32(repr(imported.problems).encode('utf-8', 'replace'))}"  # to these only
    return st.checkbox(f"Leave these out and continue with {counted(good, 'good row')}", key=agreed)


def _problem_table(problems: tuple[Problem, ...]) -> None:
    st.dataframe(
        [{"Line": p.line, "Column": p.column, "Value": p.value, "Reason": p.reason} for p in problems],
        column_config={
            "Line": st.column_config.NumberColumn(width=60),
            "Column": st.column_config.TextColumn(width="small"),
            "Value": st.column_config.TextColumn(width="medium"),
            "Reason": st.column_config.TextColumn(width="large"),
        },
        hide_index=True,
        height=_height(len(problems)),
        alt="Rows that cannot be read, and why",
    )


# --- edit ----------------------------------------------------------------------------------------------------


def edit(capability: Capability) -> Capability | None:
    """The capability as edited in the table; None while rows are wrong and not left out."""
    rows = st.data_editor(
        _draft(capability),
        num_rows="dynamic",
        hide_index=True,
        height=360,
        key=_editor(capability),
        column_order=("split", "prompt", "answer"),
        alt="Examples to edit",
        column_config={
            **_COLUMNS,
            "split": st.column_config.SelectboxColumn("Split", options=list(SPLITS), default="calibration"),
        },
    )
    now = records(rows)
    st.session_state[session.DRAFT] = (capability.fingerprint, st.session_state[session.DRAFT][1], now)
    caption(
        "Double-click a cell to change it; the last, empty row adds one; choose rows at the left edge to delete them."
    )
    before = {example.id: example for example in capability.examples}
    kept = {"tests", "setup", "spans"}
    cells = [
        (number, {**_kept(before.get(record["id"] or ""), kept), **record}) for number, record in enumerate(now, 1)
    ]
    imported = convert(FileTable("the table", tuple(cells)), capability.settings)
    if not usable(imported, "The table", "Line counts the table's rows from 1."):
        return None
    return imported.capability


def _kept(example: Example | None, fields: set[str]) -> dict[str, Any]:
    """What the table does not show of an example and an edited row keeps."""
    return example.model_dump(mode="json", by_alias=True, include=fields) if example else {}


def _editor(capability: Capability) -> str:
    return f"{session.DRAFT}-{capability.fingerprint[:12]}"


def _draft(capability: Capability) -> "DataFrame":
    """The rows that editing starts from. The editor is forgotten when its page is left: then, what it last said."""
    import pandas as pd

    fingerprint, base, now = st.session_state.get(session.DRAFT, ("", [], []))
    if fingerprint != capability.fingerprint:
        base = now = [_row(example) for example in capability.examples]
    elif _editor(capability) not in st.session_state:
        base = now
    st.session_state[session.DRAFT] = (capability.fingerprint, base, now)
    return pd.DataFrame(base, columns=["id", "split", "prompt", "answer"], dtype=object)


def records(rows: "DataFrame") -> list[dict[str, str | None]]:
    """An editor's rows; an empty cell is None, however pandas writes it."""
    return [
        {str(key): value if isinstance(value, str) else None for key, value in record.items()}
        for record in rows.to_dict("records")
    ]


# --- save ----------------------------------------------------------------------------------------------------


def _save_row(capability: Capability, proposed: str) -> None:
    """Name, replacement and button."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    name = row.text_input(
        "Save as",
        proposed,
        max_chars=70,
        key=f"{session.SAVE_NAME}-{proposed}",
        width=280,
        help="Letters, digits, dots and dashes. It is then listed with the capabilities.",
    )
    name = (name or "").strip()
    overwrite = False
    if name in saved_capabilities():
        overwrite = row.checkbox(f"Replace the saved {escaped(name)}", key=f"{session.SAVE_REPLACE}-{name}")
    row.button(
        f"Save {counted(len(capability.examples), 'example')}",
        on_click=_save,
        args=(capability, name, overwrite),
        icon=":material/save:",
    )


def _save(capability: Capability, name: str, overwrite: bool) -> None:
    """Save, and choose what was saved."""
    try:
        path = save_capability(capability, name, overwrite)
    except SpdError as error:
        st.session_state[session.SAVE_NEWS] = (None, str(error))
        return
    st.session_state[session.SAVE_NEWS] = (name, f"{counted(len(capability.examples), 'example')} in {path}")
    st.session_state[session.CAPABILITY] = name
    st.session_state[session.EXAMPLES_VIEW] = BROWSE
    st.session_state.pop(session.DRAFT, None)


def _news(name: str) -> None:
    """What became of the last save: a failure once, a success while that capability is chosen."""
    saved, text = st.session_state.get(session.SAVE_NEWS, (None, ""))
    if text and saved is None:
        failure("Not saved:", text)
        del st.session_state[session.SAVE_NEWS]
    elif saved == name:
        st.success(f"Saved: {escaped(text)}", icon=":material/save:")

"""Item by item: what the base and a subject were asked, answered, and were judged by. Model text is only ever text."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.evaluation.item_pairs import Pair, filtered, filters, paired_items, shortened, table_rows, verdict
from app.evaluation.set_panels import answered_sets, set_title
from app.side_by_side import opening
from app.ui import session
from app.ui.widgets import caption, counted, distinct_labels, escaped
from spd_core.errors import SpdError
from spd_core.evaluation.store import Cell, ItemRecord
from spd_core.evaluation.table import Answered, Table
from spd_core.text import shown

if TYPE_CHECKING:
    from pandas import DataFrame
    from streamlit.delta_generator import DeltaGenerator

PAGE = 100
"""Most rows of the table at a time."""


# --- the panel ---------------------------------------------------------------------------------------------------


def panel(table: Table) -> None:
    """Subject, set and filter; the items; and one of them in full."""
    if not table.answered:
        caption("Every item with what the base and a subject answered appears here with the first finished cell.")
        return
    row = st.container(horizontal=True, vertical_alignment="bottom")
    picked = _pick_cell(table, row)
    if picked is None:
        caption("This subject has not answered this set yet: choose another.")
        return
    mine, base, at = picked
    pairs = paired_items(mine, base, at)
    name, search = _pick_filter(pairs, mine.likelihood, row)
    left = filtered(pairs, name, search)
    caption(f"{counted(len(left), 'item')} of {len(pairs)}. Choose a row at its left edge to read it in full.")
    if left:
        _table(left, mine)
    ids = {pair.mine.id: pair for pair in left}
    pair = ids.get(st.session_state.get(session.ITEM, ""))
    if pair is not None:
        _detail(pair, mine, table, mine.cells[at])


def show_items_of(subject: str, set_name: str) -> None:
    """Have the items of this cell shown; for callbacks."""
    st.session_state.update({session.ITEM_SUBJECT: subject, session.ITEM_SET: set_name})
    st.session_state.pop(session.ITEM, None)


def _forget(key: str, options: Sequence[Any]) -> None:
    """Drop what is chosen when it is no option (any more)."""
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)


def _pick_cell(table: Table, row: "DeltaGenerator") -> tuple[Answered, Answered | None, int] | None:
    titles = {
        subject.name: subject.title
        for subject in table.recipe.subjects
        if any(name == subject.name for name, _ in table.answered)
    }
    sets = {column.name: set_title(column) for column in answered_sets(table)}
    _forget(session.ITEM_SUBJECT, tuple(titles))
    _forget(session.ITEM_SET, tuple(sets))
    first = next((at for at, name in enumerate(titles) if name != table.base.name), 0)
    subject = row.selectbox(
        "Subject",
        tuple(titles),
        first,
        key=session.ITEM_SUBJECT,
        persist_state="session",
        width=260,
        format_func=distinct_labels(tuple(titles), lambda name: shown(titles[name])),
    )
    chosen_set = row.selectbox(
        "Set",
        tuple(sets),
        key=session.ITEM_SET,
        persist_state="session",
        width=260,
        format_func=distinct_labels(tuple(sets), lambda name: shown(sets[name])),
    )
    mine = table.answered.get((subject, chosen_set))
    if mine is None:
        return None
    seeds = tuple(cell.seed for cell in mine.cells)
    at = 0
    if len(seeds) > 1:
        _forget(session.ITEM_SEED, seeds)
        seed = row.selectbox("Seed", seeds, key=session.ITEM_SEED, persist_state="session", width=120)
        at = seeds.index(seed)
    return mine, table.answered.get((table.base.name, chosen_set)), at


def _pick_filter(pairs: Sequence[Pair], likelihood: bool, row: "DeltaGenerator") -> tuple[str, str]:
    names = filters(pairs, likelihood)
    counts = {name: len(filtered(pairs, name)) for name in names}
    _forget(session.ITEM_FILTER, names)
    name = row.selectbox(
        "Items",
        names,
        key=session.ITEM_FILTER,
        persist_state="session",
        width=260,
        format_func=lambda name: f"{name} ({counts.get(name, 0)})",
    )
    search = (
        row.text_input(
            "Search",
            key=session.ITEM_SEARCH,
            persist_state="session",
            width=260,
            placeholder="in prompts, answers and completions",
        )
        or ""
    )
    return name, search


# --- the table ---------------------------------------------------------------------------------------------------


def _table(pairs: Sequence[Pair], mine: Answered) -> None:
    import pandas as pd

    start = 0
    if len(pairs) > PAGE:
        pages = -(-len(pairs) // PAGE)
        page = st.number_input(f"Page, 1 to {pages}", 1, pages, key=f"{session.ITEM_PAGE}_{pages}", width=160)
        start = PAGE * (session.clamped(page, 1, pages) - 1)
    drawn = pairs[start : start + PAGE]
    frame: DataFrame = pd.DataFrame(table_rows(drawn, mine.likelihood))
    # other rows are another table: a row that was chosen in the one before is none of its own
    which = hashlib.sha256(repr([mine.subject.name, *(pair.mine.id for pair in drawn)]).encode()).hexdigest()[:12]
    key = f"{session.ITEM_TABLE}_{which}"

    def choose_row() -> None:
        at = st.session_state[key]["selection"]["rows"]
        st.session_state[session.ITEM] = drawn[at[0]].mine.id if at and at[0] < len(drawn) else ""

    st.dataframe(
        frame,
        hide_index=True,
        height=min(38 + 35 * len(drawn), 388),
        column_config=_columns(),
        key=key,
        on_select=choose_row,
        selection_mode="single-row",
        alt=f"{counted(len(drawn), 'item')}: prompt, right answer, answers of the base and {shown(mine.subject.title)}",
    )


_COLUMNS: Mapping[str, tuple[str, int]] = {
    "prompt": ("Prompt", 230),
    "gold": ("Right answer", 110),
    "base_right": ("Base", 80),
    "base_answer": ("Base: read", 90),
    "subject_right": ("Subject", 80),
    "subject_answer": ("Subject: read", 100),
    "base_text": ("Base: completion", 200),
    "subject_text": ("Subject: completion", 200),
    "reason": ("Why not right", 180),
    "item": ("Item", 110),
}
_NUMBERS = {
    "base_nats": ("Base (nats)", "%.3f"),
    "subject_nats": ("Subject (nats)", "%.3f"),
    "change": ("Change (nats)", "%+.3f"),
}


def _columns() -> dict[str, Any]:
    """Headers and widths; the subject is called so, as its own name would be cut."""
    texts = {name: st.column_config.TextColumn(title, width=width) for name, (title, width) in _COLUMNS.items()}
    return texts | {
        name: st.column_config.NumberColumn(title, format=form, width=110) for name, (title, form) in _NUMBERS.items()
    }


# --- one item ----------------------------------------------------------------------------------------------------


def _detail(pair: Pair, mine: Answered, table: Table, cell: Cell) -> None:
    record = pair.mine
    st.markdown(f"##### Item {escaped(shown(record.id))}")
    left, right = st.columns(2, gap="medium")
    with left:
        _text("What the model read", record.prompt)
    with right:
        _text("Right answer", record.gold)
        _open_button(record, mine, table, cell)
    columns = st.columns(2 if pair.base is not None else 1, gap="medium")
    for column, title, one in zip(
        columns[::-1], (mine.subject.title, table.base.title), (record, pair.base), strict=False
    ):
        if one is not None:
            with column:
                _answer(title, one)


def _text(title: str, text: str) -> None:
    caption(f"**{escaped(title)}**")
    st.code(shown(text), language=None, wrap_lines=True)


def _answer(title: str, one: ItemRecord) -> None:
    if one.nll is not None:
        length = counted(one.tokens, "token")
        caption(f"**{escaped(shown(title))}**: {one.nll:.4f} nats per token of the right answer, {length}")
        return
    cut_off = "went on with a question of its own" if one.ended else "ran into the length limit"
    ended = cut_off if one.finish == "length" else "ended by itself"
    caption(f"**{escaped(shown(title))}**: {verdict(one)} · {counted(one.tokens, 'token')}, {ended}")
    st.code(shown(one.completion) or "∅ (nothing)", language=None, wrap_lines=True)
    caption(
        "No answer could be read."
        if one.extracted is None
        else f"Answer read: {escaped(shortened(one.extracted) or '∅')}"
    )
    if one.reason:
        caption(f"Why it is not right: {escaped(shown(one.reason))}")


def _open_button(record: ItemRecord, mine: Answered, table: Table, cell: Cell) -> None:
    try:
        found = opening.how_to_open(table.recipe, mine.subject, cell, record)
    except SpdError as error:
        caption(f"It cannot be opened in Side by side: {escaped(str(error))}.")
        return
    if st.button(
        "Open in Side by side",
        icon=":material/splitscreen_right:",
        help="The same prompt, letter for letter, greedy as here, with a lane for this subject beside the raw one",
    ):
        opening.open_item(found)
    for note in found.notes:
        caption(escaped(note))

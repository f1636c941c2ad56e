"""Item by item: which subject, set and items, a table of them, and keys that step through them. One: `one_item`."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.evaluation import one_item
from app.evaluation.item_pairs import Pair, filtered, filters, paired_items, table_rows
from app.ui import links, session
from app.ui.set_panels import answered_sets, set_title
from app.ui.stepping import step_buttons
from app.ui.widgets import caption, counted, distinct_labels, escaped
from spd_core.evaluation.table import Answered, Table
from spd_core.text import shown

if TYPE_CHECKING:
    from pandas import DataFrame
    from streamlit.delta_generator import DeltaGenerator

PAGE = 100
"""Most rows of the table at a time."""


# --- the panel ---------------------------------------------------------------------------------------------------


def panel(table: Table) -> None:
    """Subject, set and filter; the items; and one of them in full. All of it is in the URL."""
    if not table.answered:
        caption("Every item with what the base and a subject answered appears here with the first finished cell.")
        return
    links.take_linked(*one_item.LINKED)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    picked = _pick_cell(table, row)
    if picked is None:
        caption("This subject has not answered this set yet: choose another.")
        return
    mine, base, at = picked
    pairs = paired_items(mine, base, at)
    name, search = _pick_filter(pairs, mine.likelihood, row)
    left = filtered(pairs, name, search)
    if not left:
        caption(f"None of {counted(len(pairs), 'item')} is left: choose another filter, or search for less.")
    else:
        pair = _stepped(left)
        _table(left, mine, left.index(pair))
        links.write_linked({key: str(st.session_state.get(key) or "") for key in one_item.LINKED})
        one_item.item_panel(pair.mine, mine, mine.cells[at], table)


def forget_link() -> None:
    """Have none of it in the URL: another part of the results is shown."""
    links.write_linked(dict.fromkeys(one_item.LINKED, ""))


def _stepped(left: Sequence[Pair]) -> Pair:
    """The item that is read, the first until one is chosen; with the buttons and keys that step through them."""
    ids = [pair.mine.id for pair in left]
    at = ids.index(st.session_state[session.ITEM]) if st.session_state.get(session.ITEM) in ids else 0
    st.session_state[session.ITEM] = ids[at]

    def step(by: int) -> None:
        now = ids.index(st.session_state[session.ITEM])
        st.session_state[session.ITEM] = ids[session.clamped(now + by, 0, len(ids) - 1)]

    with st.container(horizontal=True, vertical_alignment="center"):
        step_buttons(at, len(ids), step)
        caption(f"Item **{at + 1}** of {len(ids)}: {escaped(shown(ids[at]))}")
    return left[at]


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
        width="stretch",
        format_func=distinct_labels(tuple(titles), lambda name: shown(titles[name])),
    )
    chosen_set = row.selectbox(
        "Set",
        tuple(sets),
        key=session.ITEM_SET,
        persist_state="session",
        width="stretch",
        format_func=distinct_labels(tuple(sets), lambda name: shown(sets[name])),
    )
    mine = table.answered.get((subject, chosen_set))
    if mine is None:
        return None
    seeds = tuple(cell.seed for cell in mine.cells)
    at = 0
    if len(seeds) > 1:
        linked = st.session_state.get(session.ITEM_SEED)
        if isinstance(linked, str) and linked.isdecimal() and len(linked) < 12:
            st.session_state[session.ITEM_SEED] = int(linked)
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
        width="stretch",
        format_func=lambda name: f"{name} ({counts.get(name, 0)})",
    )
    search = (
        row.text_input(
            "Search",
            key=session.ITEM_SEARCH,
            persist_state="session",
            width="stretch",
            placeholder="in prompts, answers and completions",
        )
        or ""
    )
    return name, search


# --- the table ---------------------------------------------------------------------------------------------------


def _table(pairs: Sequence[Pair], mine: Answered, at: int) -> None:
    """The items around the one that is read, which is the chosen row."""
    import pandas as pd

    start = at // PAGE * PAGE
    drawn = pairs[start : start + PAGE]
    if len(pairs) > PAGE:
        caption(f"Items {start + 1} to {start + len(drawn)} of {len(pairs)}: the table turns its page as you step.")
    frame: DataFrame = pd.DataFrame(table_rows(drawn, mine.likelihood))
    # other rows are another table: a row that was chosen in the one before is none of its own
    which = hashlib.sha256(repr([mine.subject.name, *(pair.mine.id for pair in drawn)]).encode()).hexdigest()[:12]
    key = f"{session.ITEM_TABLE}_{which}"

    def choose_row() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows and rows[0] < len(drawn):
            st.session_state[session.ITEM] = drawn[rows[0]].mine.id

    st.session_state[key] = {"selection": {"rows": [at - start], "columns": [], "cells": []}}
    st.dataframe(
        frame,
        hide_index=True,
        height=min(38 + 35 * len(drawn), 283),
        column_config=_columns(),
        key=key,
        on_select=choose_row,
        selection_mode="single-row",
        alt=f"{counted(len(drawn), 'item')}: prompt, right answer, answers of the base and {shown(mine.subject.title)}",
    )


_COLUMNS: Mapping[str, tuple[str, int]] = {
    "prompt": ("Prompt", 165),
    "base_right": ("Base", 70),
    "subject_right": ("Subject", 76),
    "gold": ("Right answer", 105),
    "base_answer": ("Base: read", 90),
    "subject_answer": ("Subject: read", 100),
    "base_text": ("Base: completion", 220),
    "subject_text": ("Subject: completion", 220),
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

"""The list of everything kept: search, filters, sizes, and what can be done with the rows that are ticked."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from app.library.rows import NAMES, matches_words, row_of, summary
from app.library.selected import thing_actions
from app.ui import session
from app.ui.tables import table_html
from app.ui.verdict import draw_verdict
from app.ui.widgets import caption, counted, failure
from spd_core.errors import InputError
from spd_core.library.labels import Label, read_labels
from spd_core.library.shelf import Shelf, read_shelf
from spd_core.library.things import KINDS, Ref, Thing

_COLUMNS: Mapping[str, Any] = {
    "Title": st.column_config.TextColumn(width=330),
    "Kind": st.column_config.TextColumn(width=120),
    "State": st.column_config.TextColumn(width=105),
    "Size": st.column_config.NumberColumn(format="bytes", width=85, help="On this disk."),
    "Stands on": st.column_config.NumberColumn(width=80, help="Things that it was made of."),
    "Needed by": st.column_config.NumberColumn(width=85, help="Things that were made of it, or used it."),
    "Tags": st.column_config.ListColumn(width=110),
    "Made": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm", width=140),
}


def panel(to_import: Callable[[], None]) -> None:
    """The list, its filters above it and its actions below."""
    try:
        shelf = read_shelf()
        labels = read_labels(list(shelf.things))
    except InputError as error:
        failure("The library cannot be read:", str(error))
        return
    own = [one for one in shelf.things.values() if not one.recorded]
    if own:
        draw_verdict(summary(own, shelf))
    else:
        st.info(
            "Nothing of your own yet: captures, texts, runs and evaluations that you make appear here by themselves. "
            "Until then, this is what comes with SPD Lab; or bring in a bundle that somebody gave you.",
            icon=":material/inventory_2:",
        )
        st.button("Import a bundle", icon=":material/upload:", on_click=to_import)
    found = _filtered(shelf, labels, bool(own))
    if not found:
        caption("Nothing matches. Clear the fields above to see all.")
        return
    selected = _select(found, shelf, labels)
    thing_actions(selected, shelf, labels)
    _damaged([one for one in found if one.problem])


def _filtered(shelf: Shelf, labels: Mapping[Ref, Label], has_own: bool) -> list[Thing]:
    """The things that the fields leave, the newest first."""
    everything = list(shelf.things.values())
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input(
            "Search",
            key=session.LIBRARY_SEARCH,
            persist_state="session",
            width=320,
            placeholder="Title, name, tag, note or model",
            icon=":material/search:",
        )
        kinds = st.multiselect(
            "Kind",
            [kind for kind in KINDS if any(one.ref.kind == kind for one in everything)],
            key=session.LIBRARY_KINDS,
            persist_state="session",
            format_func=lambda kind: NAMES[kind].capitalize(),
            placeholder="All kinds",
            width=280,
        )
        models = sorted({one.model for one in everything if one.model})
        model = st.selectbox(
            "Model",
            models,
            index=None,
            key=session.LIBRARY_MODEL,
            persist_state="session",
            placeholder="All models",
            width=260,
        )
        recorded = not has_own or st.toggle(
            "With recorded ones", key=session.LIBRARY_RECORDED, bind="query-params", help="What comes with SPD Lab, too"
        )
    return [
        one
        for one in everything
        if (recorded or not one.recorded)
        and (not kinds or one.ref.kind in kinds)
        and (model is None or one.model == model)
        and matches_words(one, labels.get(one.ref), words or "")
    ]


def list_key_of(things: Sequence[Thing]) -> str:
    """Key of the table of these things: rows are selected by their place, which means another one in another list."""
    named = " ".join(str(one.ref) for one in things)
    return f"{session.LIBRARY_LIST}_{hashlib.sha256(named.encode()).hexdigest()[:12]}"


def _select(things: Sequence[Thing], shelf: Shelf, labels: Mapping[Ref, Label]) -> list[Thing]:
    import pandas as pd

    event = st.dataframe(
        pd.DataFrame([row_of(one, shelf, labels) for one in things]),
        hide_index=True,
        key=list_key_of(things),
        on_select="rerun",
        selection_mode="multi-row",
        column_config=dict(_COLUMNS),
        placeholder="–",
        height=min(38 + 35 * len(things), 460),
        alt="Everything kept, the newest first; a click on a heading sorts, a tick selects",
    )
    rows = event["selection"]["rows"] if event else []
    return [things[row] for row in rows if row < len(things)]


def _damaged(things: Sequence[Thing]) -> None:
    if things:
        st.warning(f"{counted(len(things), 'thing')} cannot be read.", icon=":material/warning:")
        rows = [{"Thing": str(one.ref), "What is wrong": one.problem} for one in things]
        st.html(table_html(rows, "Damaged things"))

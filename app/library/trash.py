"""What was deleted and can be brought back, and the news of a deletion with its undo."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app.library.rows import NAMES, size_in_words
from app.ui import session
from app.ui.widgets import caption, counted, escaped, failure
from spd_core.errors import SpdError
from spd_core.library.shelf import read_shelf
from spd_core.library.things import Thing
from spd_core.library.trash import (
    Trashed,
    empty_trash,
    exports,
    exports_to_trash,
    move_to_trash,
    restore,
    trash_size,
    trashed_things,
)
from spd_core.text import shown


def say_news() -> None:
    """What was done last; of a deletion with a button that takes it back. Said until the next thing is done."""
    news = st.session_state.get(session.LIBRARY_NEWS)
    if news is None:
        return
    text, undo = news
    with st.container(horizontal=True, vertical_alignment="center"):
        st.success(escaped(text), icon=":material/check_circle:", width="stretch")
        if undo:
            st.button(
                "Undo", icon=":material/undo:", on_click=_bring_back, args=(undo,), key=f"{session.LIBRARY_NEWS}_undo"
            )
        st.button("Close", icon=":material/close:", on_click=_forget, key=f"{session.LIBRARY_NEWS}_close")


def _forget() -> None:
    st.session_state.pop(session.LIBRARY_NEWS, None)


def _bring_back(name: str) -> None:
    """For callbacks; several deletions are a line each."""
    try:
        found = [thing for one in name.splitlines() for thing in restore(one).things]
        said = f"{counted(len(found), 'thing')} brought back."
    except SpdError as error:
        said = f"Not brought back: {error}"
    st.session_state[session.LIBRARY_NEWS] = (said, "")


def panel() -> None:
    """What waits in the trash, each with a way back; and what nothing refers to."""
    waiting = trashed_things()
    if not waiting:
        st.info("The trash is empty. What you delete in the library waits here.", icon=":material/delete:")
    else:
        size = size_in_words(trash_size())
        for one in waiting:
            _row(one)
        st.markdown(f"Emptying the trash frees **{size}**, for good.")
        _empty(size)
    _prune()


def _row(one: Trashed) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        titles = "; ".join(thing.title for thing in one.things[:4])
        more = f"; and {len(one.things) - 4} more" if len(one.things) > 4 else ""
        st.markdown(f"{escaped(one.deleted.replace('T', ' '))} · {escaped(titles)}{more}", width="stretch")
        st.button(
            "Bring back",
            icon=":material/undo:",
            on_click=_bring_back,
            args=(one.name,),
            key=f"{session.LIBRARY_LIST}_back_{one.name}",
        )


def _empty(size: str) -> None:
    key = f"{session.ASKED_TO_DELETE}_trash"
    if st.button("Empty the trash", icon=":material/delete_forever:"):
        st.session_state[key] = True
    if not st.session_state.get(key):
        return
    st.warning(f"All of it will be deleted permanently, {size}.", icon=":material/warning:")
    answers = st.container(horizontal=True)
    answers.button("Keep it", on_click=st.session_state.pop, args=(key, None), key=f"{key}_no")
    if answers.button("Delete permanently", type="primary", key=f"{key}_yes"):
        del st.session_state[key]
        try:
            freed = empty_trash()
        except SpdError as error:
            failure("The trash was not emptied:", str(error))
            return
        st.session_state[session.LIBRARY_NEWS] = (f"{size_in_words(freed)} are free again.", "")
        st.rerun()


def _prune() -> None:
    """What could go: answers that only spare answering again, and what nothing else refers to, each by its tick."""
    shelf = read_shelf()
    st.subheader("What nothing refers to", anchor=False)
    unused = shelf.unused()
    if unused:
        size = size_in_words(sum(one.size for one in unused))
        caption(f"Answers that no evaluation on this machine names, {size}: the same question is answered anew.")
        st.button(
            f"Move {counted(len(unused), 'set')} to the trash",
            icon=":material/cleaning_services:",
            on_click=_delete,
            args=(unused, ()),
        )
    _choose(shelf.unreferenced(), exports())


def _choose(things: Sequence[Thing], made: Mapping[str, int]) -> None:
    """A list of what may still be of use to somebody: nothing of it goes by itself."""
    if not things and not made:
        caption("Every capture and text is used by something else, and nothing was exported.")
        return
    caption("Captures and texts that nothing stands on, and exports. You may want them all the same: tick what may go.")
    rows: list[dict[str, Any]] = [
        {"What": shown(one.title), "Kind": NAMES[one.ref.kind].capitalize(), "Size": one.size, "Name": one.ref.name}
        for one in things
    ]
    rows += [{"What": name, "Kind": "Export", "Size": size, "Name": name} for name, size in made.items()]
    import pandas as pd

    named = " ".join(f"{row['Kind']} {row['Name']}" for row in rows)
    event = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        key=f"{session.LIBRARY_LIST}_unused_{hashlib.sha256(named.encode()).hexdigest()[:12]}",
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "Size": st.column_config.NumberColumn(format="bytes"),
            "What": st.column_config.TextColumn(width=420),
        },
        height=min(38 + 35 * len(rows), 320),
        alt="What nothing refers to: captures, texts and exports; a tick selects",
    )
    ticked = [row for row in (event["selection"]["rows"] if event else []) if row < len(rows)]
    chosen = [things[row] for row in ticked if row < len(things)]
    names = [rows[row]["Name"] for row in ticked if row >= len(things)]
    st.button(
        f"Move {counted(len(ticked), 'thing')} to the trash" if ticked else "Move to the trash",
        icon=":material/delete:",
        disabled=not ticked,
        on_click=_delete,
        args=(chosen, names),
    )


def _delete(things: Sequence[Thing], names: Sequence[str]) -> None:
    """For callbacks: into the trash, with the way back in the news."""
    try:
        done = [move_to_trash(things)] if things else []
        done += [exports_to_trash(names)] if names else []
        said = f"{counted(len(things) + len(names), 'thing')} moved to the trash."
    except SpdError as error:
        done, said = [], f"Not moved: {error}"
    st.session_state[session.LIBRARY_NEWS] = (said, "\n".join(one.name for one in done))

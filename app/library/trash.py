"""What was deleted and can be brought back, and the news of a deletion with its undo."""

import streamlit as st

from app.library.rows import size_in_words
from app.ui import session
from app.ui.tables import table_html
from app.ui.widgets import caption, counted, escaped, failure
from spd_core.errors import SpdError
from spd_core.library.shelf import read_shelf
from spd_core.library.trash import Trashed, empty_trash, move_to_trash, restore, trash_size, trashed_things


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
    try:
        found = restore(name)
        said = f"{counted(len(found.things), 'thing')} brought back."
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
    """Answers that no evaluation names: they only spare answering again."""
    unused = read_shelf().unused()
    st.subheader("What nothing refers to", anchor=False)
    if not unused:
        caption("Every set of answers is used by an evaluation.")
        return
    caption("Answers that no evaluation on this machine names. Without them, the same question is answered anew.")
    rows = [
        {"Answers": one.title, "Made": one.made.replace("T", " "), "Size": size_in_words(one.size)} for one in unused
    ]
    st.html(table_html(rows, "Answers that nothing refers to"))
    if st.button(f"Move {counted(len(unused), 'set')} to the trash", icon=":material/cleaning_services:"):
        try:
            done = move_to_trash(unused)
        except SpdError as error:
            failure("It was not moved:", str(error))
            return
        st.session_state[session.LIBRARY_NEWS] = (
            f"{counted(len(unused), 'set')} of answers moved to the trash.",
            done.name,
        )
        st.rerun()

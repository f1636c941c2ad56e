"""What of a session stands in the URL, so that a copied link restores it: written by pages, read once by a session.

Widgets that are bound to a query parameter do so by themselves; which keys there are is in `app/ui/session.py`.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import streamlit as st

from app.ui import session

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis


def read_link() -> None:
    """On a session's first run: take over what the link says; senseless values are left to the clamping."""
    if session.LINK_READ in st.session_state:
        return
    st.session_state[session.LINK_READ] = True
    for key in (session.CAPTURE, *session.SELECTION):
        text = st.query_params.get(key)
        if text is None:
            continue
        if key in (session.CAPTURE, session.KIND):
            st.session_state[key] = text
        elif text.isdecimal() and len(text) < 10:
            st.session_state[key] = int(text) - (key in (session.DIRECTION, session.EXAMPLE))  # people count from 1


def write_link(analysis: "Analysis") -> None:
    """Bring the URL up to date, so that it can be copied; it stays while what it names is waited for."""
    if session.wanted() is not None:
        return
    selected = session.selection(analysis)
    values = {
        session.CAPTURE: analysis.name,
        session.LAYER: selected.layer,
        session.KIND: selected.kind,
        session.DIRECTION: selected.direction + 1,
        session.EXAMPLE: selected.example + 1,
        session.TOKEN: selected.token,
        session.RANK: session.chosen_rank(analysis.d_kv),
    }
    write_linked({key: str(value) for key, value in values.items()})


def take_linked(*keys: str) -> None:
    """On a session's first look at these keys: have what the link says as their values, whatever that is."""
    for key in keys:
        if key not in st.session_state and key in st.query_params:
            st.session_state[key] = st.query_params[key]


def follow(key: str, options: Collection[str]) -> None:
    """Have what the address says as the value of a bound widget that is about to be drawn.

    Streamlit prefers what was chosen when the page was shown last, even where a link says otherwise.
    """
    linked = st.query_params.get(key)
    if linked in options and st.session_state.get(key) != linked:
        st.session_state[key] = linked


def write_linked(values: Mapping[str, str]) -> None:
    """Have these in the URL, all in one message to the browser; empty ones leave it."""
    for key in [key for key, value in values.items() if not value]:
        st.query_params.pop(key, None)
    changed = {key: value for key, value in values.items() if value and st.query_params.get(key) != value}
    if changed:
        st.query_params.update(changed)

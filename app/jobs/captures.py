"""Saved captures, opened once for all sessions."""

import streamlit as st

from spd_core.errors import InputError
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.store import changed_at, open_capture


def load_saved(name: str) -> Analysis:
    """A saved or recorded analysis, or one in a run's folder (`RUN/NAME`); kept in memory while among the last few.

    Raises:
        InputError: no analysis of that name, or its files are damaged.
    """
    try:
        return _loaded(name, changed_at(name))
    except FileNotFoundError as error:  # another tab deletes it at this moment
        raise InputError(f"the capture {name!r} was deleted; choose another") from error


@st.cache_resource(max_entries=8, show_spinner=False)
def _loaded(name: str, stamp: int) -> Analysis:
    return open_capture(name)

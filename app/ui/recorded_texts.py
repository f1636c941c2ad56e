"""Texts of Side by side that come with SPD Lab: those of a capture, and the one that shows most."""

from pathlib import Path

import streamlit as st

from spd_core.errors import InputError
from spd_core.generation import comparison as texts
from spd_core.generation.comparison import Comparison
from spd_core.generation.report import first_difference


@st.cache_resource(max_entries=200, show_spinner=False)
def read_once(path: str, stamp: int) -> Comparison:
    """The result in a file, read again only when it was changed."""
    return texts.read_comparison(Path(path))


def open_once(name: str) -> Comparison:
    """The saved or recorded result of an id; raises `InputError` when there is none, or it is damaged."""
    path = texts.find_comparison(name)
    try:
        return read_once(str(path), path.stat().st_mtime_ns)
    except FileNotFoundError as error:  # another tab deletes it at this moment
        raise InputError(f"the result {name!r} was deleted; choose another") from error


def recorded_for(capture: str, prompt: str | None = None) -> Comparison | None:
    """The recorded result of a capture and a prompt; without a prompt the first one whose lanes differ, which shows
    most."""
    found = [one for name in texts.recorded_ids() if (one := _readable(name)) and one.analysis == capture]
    if prompt is not None:
        return next((one for one in found if one.prompt == prompt), None)
    return next((one for one in found if first_difference(one.lanes[-1], one) is not None), next(iter(found), None))


def _readable(name: str) -> Comparison | None:
    try:
        return open_once(name)
    except InputError:  # a damaged recorded file is told where it is chosen
        return None

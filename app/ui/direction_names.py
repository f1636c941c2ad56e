"""What directions of a capture are called, wherever one of them is named on a page."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from app.ui.widgets import caption, escaped
from spd_core.errors import InputError
from spd_core.subspace.direction_notes import DirectionNote, DirectionPlace, notes_on, read_notes
from spd_core.subspace.store import find_capture, notes_in

if TYPE_CHECKING:
    from spd_core.models.families import Site
    from spd_core.subspace.analysis import Analysis


def notes_path(name: str) -> Path | None:
    """Where the notes of a capture lie; None of one that the disk refused."""
    try:
        return notes_in(find_capture(name))
    except InputError:
        return None


def notes_at(path: Path | None) -> tuple[DirectionNote, ...]:
    """All notes in a file, read again only when it was changed.

    Raises:
        InputError: it is damaged.
    """
    if path is None or not path.exists():
        return ()
    return _read_once(str(path), path.stat().st_mtime_ns)


@st.cache_resource(max_entries=50, show_spinner=False)
def _read_once(path: str, stamp: int) -> tuple[DirectionNote, ...]:
    return read_notes(Path(path))


def notes_of(analysis: "Analysis") -> Mapping[DirectionPlace, DirectionNote]:
    """The notes on directions of a capture, by their places; none where the file is damaged, which its page says."""
    try:
        return notes_on(analysis, notes_at(notes_path(analysis.name)))
    except InputError:
        return {}


def names_of(analysis: "Analysis") -> dict[DirectionPlace, str]:
    """The names of directions that have one, by their places; plain text, to be escaped where it is drawn."""
    return {place: note.name for place, note in notes_of(analysis).items() if note.name}


def say_damaged_notes(analysis: "Analysis") -> None:
    """Why no direction has its name, where the file cannot be read."""
    try:
        notes_at(notes_path(analysis.name))
    except InputError as error:
        caption(escaped(f"The notes on directions cannot be read: {error}"))


def direction_title(analysis: "Analysis", site: "Site", direction: int) -> str:
    """`layer 29 value, direction 1 “carries”`, for a 0-based direction; plain text."""
    name = names_of(analysis).get((site.layer, site.kind, direction))
    return f"{site.label}, direction {direction + 1}{f' “{name}”' if name else ''}"

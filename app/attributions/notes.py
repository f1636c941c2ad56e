"""Notes on directions: name and remark of the selected one, and a search among all of them."""

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from app.ui import session
from app.ui.direction_names import notes_at, notes_of, notes_path, say_damaged_notes
from app.ui.header import capture_label
from app.ui.session import Selection
from app.ui.widgets import caption, counted, escaped, failure
from spd_core.errors import InputError, SpdError
from spd_core.subspace.direction_notes import (
    LONGEST_NAME,
    LONGEST_REMARK,
    DirectionNote,
    note_on,
    notes_with,
    write_note,
)
from spd_core.subspace.store import find_capture, notes_in
from spd_core.text import opening

if TYPE_CHECKING:
    from spd_core.models.families import Site
    from spd_core.subspace.analysis import Analysis

_MOST_HITS = 12


def notes_popover(analysis: "Analysis", site: "Site", at: Selection) -> None:
    """Where the selected direction is named, and any direction is found by its note."""
    with st.popover(
        "Notes",
        icon=":material/edit_note:",
        key=session.NOTES_OPEN,
        on_change="rerun",
        help="Name this direction, or find one by its name",
    ) as notes:
        if not notes.open:
            return
        say_damaged_notes(analysis)
        _note_form(analysis, site, at.direction)
        _search(analysis)


def say_remark(analysis: "Analysis", site: "Site", at: Selection) -> None:
    """The remark on the selected direction, if there is one."""
    note = notes_of(analysis).get((site.layer, site.kind, at.direction))
    if note is not None and note.remark:
        caption(f"Your remark: {escaped(note.remark)}")


# --- one note ------------------------------------------------------------------------------------------------


def _note_form(analysis: "Analysis", site: "Site", direction: int) -> None:
    """Name and remark of a direction, saved with one button."""
    place = (site.layer, site.kind, direction)
    note = notes_of(analysis).get(place)
    name_key, remark_key = (
        f"{key}_{analysis.name}_{'_'.join(map(str, place))}" for key in (session.NOTE_NAME, session.NOTE_REMARK)
    )
    with st.form(f"{name_key}_form", border=False):
        st.text_input(
            f"Name of {site.label}, direction {direction + 1}",
            note.name if note else "",
            max_chars=LONGEST_NAME,
            key=name_key,
            placeholder="Such as: digits that carry",
        )
        caption("Kept with the capture on this server: whoever uses it sees and can change your notes.")
        st.text_area("Remark", note.remark if note else "", max_chars=LONGEST_REMARK, key=remark_key, height=80)
        st.form_submit_button("Save the note", on_click=partial(_save, analysis, site, direction, name_key, remark_key))
    said = st.session_state.get(session.NOTE_NEWS)
    if said is not None and said[0] == (analysis.name, *place):
        caption(":green[:material/check:] Saved.") if not said[1] else failure("The note was not saved:", said[1])


def _save(analysis: "Analysis", site: "Site", direction: int, name_key: str, remark_key: str) -> None:
    """Write what the form says; what went wrong stands below it until the next time."""
    state, trouble = st.session_state, ""
    try:
        write_note(
            notes_in(find_capture(analysis.name)),
            note_on(analysis, site, direction, state[name_key], state[remark_key]),
        )
    except SpdError as error:
        trouble = str(error)
    state[session.NOTE_NEWS] = ((analysis.name, site.layer, site.kind, direction), trouble)


# --- all notes -----------------------------------------------------------------------------------------------


def _search(analysis: "Analysis") -> None:
    """All notes of this and of other captures, or those that hold some words; a press opens the direction."""
    words = st.text_input(
        "Find a direction by its note",
        key=session.NOTE_SEARCH,
        placeholder="Words of a name or a remark",
        persist_state="session",
    )
    own = notes_of(analysis)
    hits = [(analysis.name, note) for note in notes_with(own.values(), words or "")]
    others = [(name, note) for name in session.analysis_names() if name != analysis.name
              for note in notes_with(_readable(name), words or "")]  # fmt: skip
    for name, note in [*hits, *others][:_MOST_HITS]:
        _hit(name, note, other=name != analysis.name)
    count = len(hits) + len(others)
    if count > _MOST_HITS:
        caption(f"{count - _MOST_HITS:,} more: say more words.")
    if not count:
        caption("No note holds these words." if words else "No direction has a note yet.")
    lost = len(_readable(analysis.name)) - len(own)
    if lost:
        caption(f"{counted(lost, 'note')} on directions of a capture that this one has replaced: not shown.")


def _readable(name: str) -> tuple[DirectionNote, ...]:
    try:
        return notes_at(notes_path(name))
    except InputError:  # said where that capture is the active one
        return ()


def _hit(capture: str, note: DirectionNote, other: bool) -> None:
    where = f"layer {note.layer} {note.kind}, direction {note.direction}"
    place = "_".join(map(str, (capture, note.layer, note.kind, note.direction)))
    said = (note.name or opening(note.remark, LONGEST_NAME), where, *([capture_label(capture)] if other else []))
    st.button(
        escaped(" · ".join(said)),
        key=f"{session.NOTE_HIT}_{place}",
        type="tertiary",
        icon=":material/arrow_forward:",
        on_click=partial(_open, capture if other else "", note),
    )


def _open(capture: str, note: DirectionNote) -> None:
    """Select the direction of a note, and its capture where that is another one."""
    if capture:
        session.take_in_hand(capture)
    layer, kind, direction = note.place
    session.select(layer=layer, kind=kind, direction=direction)

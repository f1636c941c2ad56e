"""What can be done with the things that are ticked: open, hand on, compare, write on, and delete them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from app.library import compare, replaying
from app.library.opening import open_thing, opens
from app.library.rows import NAMES, kinds_in_words, size_in_words, title_of
from app.runs.checkpoints import export_adapter_here, export_folded_here, show_checkpoint
from app.ui import session
from app.ui.tables import table_html
from app.ui.widgets import caption, counted, download, escaped, failure
from spd_core.errors import InputError, SpdError
from spd_core.intervention.cards import adapter_folder, read_card
from spd_core.library.bundle import bundle_bytes, bundled_things
from spd_core.library.labels import Label, write_label
from spd_core.library.shelf import Shelf
from spd_core.library.things import Ref, Thing
from spd_core.library.trash import move_to_trash

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator


def thing_actions(selected: Sequence[Thing], shelf: Shelf, labels: Mapping[Ref, Label]) -> None:
    """A row of buttons, and below it what is known of the one thing that is ticked."""
    row = st.container(horizontal=True, vertical_alignment="center")
    one = selected[0] if len(selected) == 1 else None
    row.button(
        "Open",
        icon=":material/folder_open:",
        type="primary",
        disabled=one is None or bool(one.problem) or not opens(one.ref),
        on_click=open_thing,
        args=(one.ref,) if one is not None else (),
        help="Tick one in the first column." if one is None else None,
    )
    with row:
        _export(selected, shelf)
    _checkpoints(one, row)
    comparing = compare.button(selected, row)
    replaying.replay_button(selected, row)
    _delete(selected, shelf, row)
    with row:
        caption(f"**{len(selected)} selected**" if selected else "Tick rows to do something with them.")
    show_checkpoint()
    replaying.shown(replaying.named(selected))
    if comparing:
        compare.panel(selected)
    elif one is not None:
        _details(one, shelf, labels)


# --- handing on ----------------------------------------------------------------------------------------------------


def _export(selected: Sequence[Thing], shelf: Shelf) -> None:
    """The button that writes a bundle, and what it would hold."""
    refs, reason = [one.ref for one in selected], ""
    try:
        held = bundled_things(shelf, refs)
    except InputError as error:
        held, reason = [], str(error)
    if not selected or reason:
        said = reason or "Tick what to hand on; all that it stands on comes along."
        st.button("Export bundle", icon=":material/download:", disabled=True, help=escaped(said))
        return
    size = sum(one.size for one in held)
    more = len(held) - len(selected)
    brings = f"{kinds_in_words(held)}; before it is packed about {size_in_words(size)}."
    along = f" {counted(more, 'thing')} that they stand on come along." if more else ""
    download(
        f"Export bundle ({len(held)})" if more else "Export bundle",
        lambda: bundle_bytes(refs),
        f"{refs[0].name.replace('/', '-')[:60]}.zip",
        help=f"One zip to hand on: {brings}{along}",
    )


def _checkpoints(one: Thing | None, row: "DeltaGenerator") -> None:
    """What other tools load: of an adapter peft's files or a merged checkpoint, of a capture a folded one."""
    if one is None or one.problem or one.ref.kind not in ("adapter", "capture"):
        return
    with row.popover("For other tools", icon=":material/ios_share:"):
        try:
            if one.ref.kind == "adapter":
                export_adapter_here(read_card(adapter_folder(one.ref.name)))
            else:
                export_folded_here(session.open_analysis(one.ref.name))
        except InputError as error:
            failure("It cannot be exported:", str(error))


# --- deleting --------------------------------------------------------------------------------------------------------


def _delete(selected: Sequence[Thing], shelf: Shelf, row: "DeltaGenerator") -> None:
    """The button that moves things to the trash; where others stand on them, it names those and asks."""
    key = f"{session.ASKED_TO_DELETE}_library"
    chosen = [str(one.ref) for one in selected]
    own = bool(selected) and not any(one.recorded for one in selected)
    told = "They can be brought back from the trash." if own else "Tick your own things; recorded ones stay."
    if row.button("Delete", icon=":material/delete:", disabled=not own, help=told):
        st.session_state[key] = chosen
    if not own or st.session_state.get(key) != chosen:
        return
    taken = _without_parts(selected, shelf)
    left = _would_lack(taken, shelf)
    if not left:
        _trash(taken)
        return
    named = "; ".join(f"{NAMES[one.ref.kind]} {one.title}" for one in left[:5])
    more = f"; and {len(left) - 5} more" if len(left) > 5 else ""
    st.warning(
        f"**{counted(len(left), 'thing')} stand{'s' * (len(left) == 1)} on this**, and would lack it: "
        f"{escaped(named)}{more}.",
        icon=":material/link_off:",
    )
    answers = st.container(horizontal=True)
    answers.button("Keep it", on_click=st.session_state.pop, args=(key, None), key=f"{key}_no")
    if answers.button("Delete anyway", type="primary", key=f"{key}_yes"):
        _trash(taken)


def _without_parts(selected: Sequence[Thing], shelf: Shelf) -> list[Thing]:
    """The chosen things, but for adapters that lie in a run which is among them."""
    inside = {one.ref for one in _inside(selected, shelf)}
    return [one for one in selected if one.ref not in inside]


def _inside(things: Sequence[Thing], shelf: Shelf) -> list[Thing]:
    """Adapters that lie in the folders of runs, and go where these go."""
    return [part for one in things if one.ref.kind == "run" for part in shelf.adapters_of(one.ref.name)]


def _would_lack(taken: Sequence[Thing], shelf: Shelf) -> list[Thing]:
    """What stands on things that are to be deleted, and is not deleted with them."""
    going = [*taken, *_inside(taken, shelf)]
    refs = {one.ref for one in going}
    standing = {other.ref: other for one in going for other in shelf.standing_on(one.ref)}
    return [other for ref, other in standing.items() if ref not in refs]


def _trash(things: Sequence[Thing]) -> None:
    st.session_state.pop(f"{session.ASKED_TO_DELETE}_library", None)
    try:
        done = move_to_trash(things)
    except SpdError as error:
        failure("It was not deleted:", str(error))
        return
    gone = {one.ref.name for one in things if one.ref.kind == "capture"}
    if st.session_state.get(session.CAPTURE) in gone:
        del st.session_state[session.CAPTURE]
    st.session_state[session.LIBRARY_NEWS] = (f"{kinds_in_words(things).capitalize()} moved to the trash.", done.name)
    st.rerun()


# --- one thing -------------------------------------------------------------------------------------------------------


def _details(thing: Thing, shelf: Shelf, labels: Mapping[Ref, Label]) -> None:
    """What is known of a thing, what it stands on and what stands on it, and what is written on it."""
    left, right = st.columns((3, 2), gap="large")
    with left:
        st.subheader(escaped(title_of(thing, labels)), anchor=False)
        facts = [NAMES[thing.ref.kind], thing.made.replace("T", " "), size_in_words(thing.size), thing.model]
        numbers = " on ".join(filter(None, (thing.dtype, thing.device)))
        caption(escaped(" · ".join(filter(None, (*facts, numbers, thing.ref.name)))))
        if thing.problem:
            failure("It cannot be read:", thing.problem)
        _relations(thing, shelf)
    with right:
        if thing.recorded:
            caption("It comes with SPD Lab: nothing is written on it here.")
        else:
            _write_on(thing, labels.get(thing.ref, Label()), labels)


def _relations(thing: Thing, shelf: Shelf) -> None:
    rows = [{"": "stands on", "Kind": NAMES[ref.kind], "What": _named(ref, shelf)} for ref in thing.stands_on]
    rows += [
        {"": "is needed by", "Kind": NAMES[one.ref.kind], "What": f"{one.title} ({one.ref.name})"}
        for one in shelf.standing_on(thing.ref)
    ]
    if rows:
        st.html(table_html(rows, "What it stands on, and what stands on it", compact=True))
    else:
        caption("It stands on nothing else, and nothing stands on it.")


def _named(ref: Ref, shelf: Shelf) -> str:
    found = shelf.things.get(ref)
    return f"{ref.name}, which is gone" if found is None else f"{found.title} ({ref.name})"


def _write_on(thing: Thing, label: Label, labels: Mapping[Ref, Label]) -> None:
    known = sorted({tag for one in labels.values() for tag in one.tags}, key=str.casefold)
    key = f"{session.LABEL}_{thing.ref}"
    with st.form(key, border=True):
        title = st.text_input("Title", label.title, placeholder=thing.title, key=f"{key}_title", max_chars=120)
        tags = st.multiselect(
            "Tags", known, list(label.tags), key=f"{key}_tags", accept_new_options=True, placeholder="Add a tag"
        )
        note = st.text_area("Note", label.note, key=f"{key}_note", height=90, placeholder="What is it good for?")
        if st.form_submit_button("Save", icon=":material/save:"):
            try:
                write_label(thing.ref, title, tags, note)
            except SpdError as error:
                failure("It was not saved:", str(error))
            else:
                st.rerun()

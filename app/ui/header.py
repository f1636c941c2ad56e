"""What surrounds every page: title, what is in hand and switching it, the shared selection, the device panel."""

import gc
import re
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from app.classroom import is_classroom
from app.jobs.job import others_at_work
from app.jobs.models import shared
from app.ui import at_work, links, session
from app.ui.direction_names import direction_title
from app.ui.widgets import (
    caption,
    counted,
    delete_button,
    distinct_labels,
    download,
    escaped,
    failure,
    gib,
    model_name,
    news,
    ranges,
)
from spd_core.errors import InputError, SpdError
from spd_core.glossary import TERMS
from spd_core.subspace.store import recorded_captures
from spd_core.templates import render

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis


def header(
    title: str, question: str, *, shows: tuple[str, ...] = (), shown_run: str = "", page: Path | None = None
) -> "Analysis | None":
    """Title, the question that the page answers, the strip, and what works now; returns the analysis in hand.

    Args:
        shows: keys of jobs whose progress the page shows by itself.
        shown_run: the run that the page shows by itself.
        page: where this is, for pages that runs lead to. Runs capture for themselves: what is in hand is no part of
            them, and stands on the other pages alone.
    """
    at_work.leave_for(page)
    news()
    links.read_link()
    with st.container(horizontal=True, vertical_alignment="bottom", key="title"):
        st.title(title, anchor=False, width="content")
        st.markdown(question, width="stretch")
        if page is not None:
            _words_button()
            _device_button()
    strip = st.container(key="strip") if page is None else None
    analysis = _in_hand(told=page is None)
    if strip is not None:
        with strip:
            _strip(analysis)
    at_work.strip(shows, shown_run)
    if analysis is not None:
        links.write_link(analysis)
    return analysis


def _in_hand(told: bool) -> "Analysis | None":
    """The capture in hand; `told` says on the page why it is not the one that was asked for, or there is none."""
    analysis, damaged = None, ""
    try:
        analysis = session.in_hand()
    except InputError as error:
        damaged = str(error)
    if not told:
        return analysis
    wanted = session.wanted()
    if wanted is not None:
        instead = "" if damaged else " A recorded capture is shown until it is here."
        failure("What the link names cannot be opened:", f"{wanted.reason}.{instead}")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(
                session.LIBRARY,
                label="Import a bundle that holds it",
                icon=":material/inventory_2:",
                query_params={session.LIBRARY_VIEW: session.IMPORT_BUNDLE},
            )
            if analysis is not None:
                st.button("Use the recorded capture", on_click=session.take_in_hand, args=(analysis.name,))
    if damaged:
        failure("The recorded capture cannot be opened:", f"{damaged}. Reinstall SPD Lab, or capture your own.")
    return analysis


def _strip(analysis: "Analysis | None") -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width="stretch"):
            if analysis is None:
                caption("No capture yet: make one on **Home**.")
            else:
                badge = ":gray-badge[recorded]" if analysis.recorded else ":blue-badge[yours]"
                told = f"{_BADGE[analysis.recorded]} {capture_details(analysis)}"
                st.markdown(f":small[{badge} {describe_capture(analysis)}]", help=told)
        with st.container(horizontal=True, width="content", gap="small"):
            with st.popover("Switch", icon=":material/swap_horiz:", help="Choose another capture, site or direction"):
                _switch(analysis)
            _words_button()
            _device_button()


def _words_button() -> None:
    with st.popover("Words", icon=":material/menu_book:", help="What the words mean"):
        st.html(glossary_html())


@lru_cache
def glossary_html() -> str:
    """Every page has it, and it never changes."""
    return render("glossary.html", terms=TERMS)


def _device_button() -> None:
    with st.popover("Device", icon=":material/memory:", help="The model in memory"):
        _device()


_BADGE = {
    True: "Real results that come with SPD Lab: nothing is loaded until you start something.",
    False: "Captured on this machine.",
}


def describe_capture(analysis: "Analysis") -> str:
    """Model, capability, rank and selection in one short line, escaped."""
    record, at = analysis.provenance, session.selection(analysis)
    model = model_name(record).rpartition("/")[2].partition("@")[0]
    selected = direction_title(analysis, analysis.site(at.layer, at.kind), at.direction)
    return (
        f"**{escaped(record.capability)}** on {escaped(model)} · "
        f"rank {session.chosen_rank(analysis.d_kv)} of {analysis.d_kv} · "
        f"selected: **{escaped(selected)}**"
    )


def capture_details(analysis: "Analysis") -> str:
    """What else made the capture, escaped."""
    record = analysis.provenance
    return (
        f"{escaped(model_name(record))}, {counted(record.examples_used, 'example')}, {escaped(record.loss)} loss, "
        f"{escaped(record.prompt_style)} prompts, layers {ranges(analysis.layers)}."
    )


# --- switching -----------------------------------------------------------------------------------------------


def capture_label(name: str) -> str:
    """What to call a saved analysis: its capability and when it was captured, or the run that captured it."""
    found = re.fullmatch(r"(\d{8}-\d{6})-(.+)-(?:[0-9a-f]{4}|[0-9a-f]{7})", name)
    run, slash, own = name.rpartition("/")
    if slash:
        return f"{own.partition('-')[0]} · of the run {run}"
    if not found:
        return f"{name} (recorded)" if name in recorded_captures() else name
    try:
        when = time.strftime("%d %b %Y, %H:%M:%S", time.strptime(found[1], "%Y%m%d-%H%M%S"))
    except ValueError:  # a folder that somebody named in our way
        return name
    return f"{found[2]} · {when}"


def _switch(analysis: "Analysis | None") -> None:
    names = session.analysis_names()
    if analysis is not None:  # in hand, though it is on no shelf: a run's own
        names = list(dict.fromkeys((*names, analysis.name)))
    if not names or analysis is None:
        caption("There is no capture to switch to.")
        return
    label = distinct_labels(names, capture_label)
    chosen = st.selectbox(
        "Choose a capture",
        names,
        names.index(analysis.name),
        format_func=lambda name: f"{label(name)} · active" if name == analysis.name else label(name),
    )
    row = st.container(horizontal=True)
    if row.button("Use this capture", disabled=chosen == analysis.name):
        session.take_in_hand(chosen)
        st.rerun()
    own = chosen not in recorded_captures() and "/" not in chosen  # a run's own goes with its run
    if own:
        with row:
            _bundle(chosen)
    delete_button(
        "Delete", capture_label(chosen), row, delete=lambda: _delete(chosen, chosen == analysis.name), disabled=not own
    )
    at = session.selection(analysis)
    left, middle, right = st.columns(3)
    layer = left.selectbox("Layer", analysis.layers, analysis.layers.index(at.layer))
    kind = middle.selectbox("Key or value", ("key", "value"), int(at.kind == "value"))
    direction = right.number_input("Direction", 1, analysis.known_directions, at.direction + 1)
    if (layer, kind, direction - 1) != (at.layer, at.kind, at.direction):
        session.select(layer=layer, kind=kind, direction=int(direction) - 1)
        st.rerun()


def _bundle(name: str) -> None:
    """A page's address opens the same view where the capture is, so that it can be sent along."""

    def make() -> bytes:
        from spd_core.library.bundle import bundle_bytes
        from spd_core.library.things import Ref

        return bundle_bytes([Ref("capture", name)])

    told = "A page's address opens the same view wherever this capture is. Send its bundle along: Library imports it."
    download("Bundle for links", make, f"{name}.zip", help=told)


def _delete(name: str, held: bool) -> None:
    try:
        session.delete_capture(name)
    except SpdError as error:
        failure("It was not deleted:", str(error))
        return
    if held:
        session.take_in_hand(recorded_captures()[0]) if recorded_captures() else st.session_state.pop(
            session.CAPTURE, None
        )
    st.rerun()


# --- the device ----------------------------------------------------------------------------------------------


def _device() -> None:
    lm = shared().models.resident
    if lm is None:
        st.markdown("**No model is in memory.** The first action that needs one loads it.")
    else:
        weights = sum(parameter.nbytes for parameter in lm.model.parameters())
        dtype = str(lm.dtype).removeprefix("torch.")
        st.markdown(
            f"**{escaped(lm.name)}** ({escaped(lm.revision)})  \n{dtype} on {lm.device}, {gib(weights)} of weights"
        )
    import psutil

    memory = psutil.virtual_memory()
    caption(
        f"This app uses {gib(psutil.Process().memory_info().rss)}; {gib(memory.available)} of {gib(memory.total)} free."
    )
    working = others_at_work()
    if working:
        caption(f"{counted(working, 'job')} of this or other tabs at work; they take turns, step by step.")
    if is_classroom():
        return
    if st.button(
        "Unload the model", disabled=lm is None or bool(working), help="Free its memory; nothing saved is lost"
    ):
        del lm
        shared().models.unload()
        gc.collect()
        st.rerun()

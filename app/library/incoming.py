"""A bundle that somebody gave you: what the check finds, and the button that brings it in."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import streamlit as st

from app.library import replaying
from app.library.rows import NAMES, size_in_words
from app.ui import session
from app.ui.tables import table_html
from app.ui.verdict import draw_verdict
from app.ui.widgets import caption, counted, escaped, failure
from spd_core.errors import SpdError
from spd_core.library.incoming import Arrival, Findings, check_bundle, import_bundle

_MOST_MIB = 1024
_MARKS = {"new": "+ new", "here": "= here already", "adds": "+ adds", "refused": "✕ in the way"}


def panel(to_list: Callable[[], None]) -> None:
    """Choose a bundle; what is in it, checked; bring it in."""
    caption(
        "Everything in a bundle is checked before anything of it is kept: names, sizes, sums, and each thing by its "
        "own reader. Nothing in it is run."
    )
    source = _pick()
    if source is None:
        return
    try:
        with st.spinner("Checking the bundle…"):
            found = _checked(*source)
    except SpdError as error:
        failure("This bundle is not imported:", str(error))
        return
    _show(found)
    row = st.container(horizontal=True)
    if row.button(
        f"Import {counted(found.count('new') + found.count('adds'), 'thing')}",
        type="primary",
        icon=":material/download_done:",
        shortcut="Ctrl+Enter",
        disabled=bool(found.refused) or not (found.count("new") or found.count("adds")),
    ):
        _bring_in(source[1], to_list)
    with row:
        replaying.bundle_button(source[0], _kept(source[1]))
    replaying.shown(source[0])


def _kept(source: BinaryIO | Path) -> BinaryIO | Path:
    """What a job may read while the page reads the upload itself."""
    return io.BytesIO(source.getvalue()) if isinstance(source, io.BytesIO) else source


def _pick() -> tuple[str, BinaryIO | Path] | None:
    """The upload or the path, with what tells it from others; None while there is neither."""
    left, right = st.columns(2)
    upload = left.file_uploader("Upload a bundle", type="zip", key=session.BUNDLE_UPLOAD, max_upload_size=_MOST_MIB)
    path = right.text_input("Or its path on this machine", key=session.BUNDLE_PATH, persist_state="session")
    if upload is not None:
        return upload.file_id, upload
    if path and path.strip():
        place = Path(path.strip()).expanduser()
        stamp = place.stat().st_mtime_ns if place.is_file() else 0
        return f"{place} {stamp}", place
    return None


def _checked(token: str, source: BinaryIO | Path) -> Findings:
    """The findings, once for each file: a large one is not unpacked at every look."""
    known = st.session_state.get(session.BUNDLE_FOUND)
    if known is None or known[0] != token:
        if isinstance(source, io.IOBase):
            source.seek(0)
        known = (token, check_bundle(source))
        st.session_state[session.BUNDLE_FOUND] = known
    found: Findings = known[1]
    return found


def _show(found: Findings) -> None:
    manifest = found.manifest
    draw_verdict(_sentence(found), kind="hurts" if found.refused else "page-verdict")
    rows = [_row(one) for one in found.arrivals]
    st.html(table_html(rows, "What is in the bundle"))
    versions = ", ".join(f"{name} {value}" for name, value in sorted(manifest.versions.items()))
    facts = (
        f"Written {manifest.created.replace('T', ' ')} by SPD Lab {manifest.spd_lab} on {manifest.machine}; {versions}"
    )
    caption(escaped(facts))
    if manifest.notebook is not None:
        caption("A notebook is in it: unpack the zip, and open it there in Jupyter. It is neither brought in nor run.")


def _row(one: Arrival) -> dict[str, str]:
    return {
        "": _MARKS[one.arrives],
        "Thing": one.title,
        "Kind": NAMES[one.ref.kind],
        "Size": size_in_words(one.size),
        "What becomes of it": one.said,
    }


def _sentence(found: Findings) -> str:
    whole = f"The bundle is whole: {counted(len(found.arrivals), 'thing')}, every sum is right and every file opens."
    refused, new, here = len(found.refused), found.count("new") + found.count("adds"), found.count("here")
    if refused:
        return f"{whole} But {counted(refused, 'thing')} would take the place of another one: nothing can be imported."
    if not new:
        return f"{whole} All of it is here already."
    return f"{whole} {_are(new)} new" + (f", {_are(here)} here already." if here else ".")


def _are(n: int) -> str:
    return f"{n} {'is' if n == 1 else 'are'}"


def _bring_in(source: BinaryIO | Path, to_list: Callable[[], None]) -> None:
    if isinstance(source, io.IOBase):
        source.seek(0)
    try:
        done = import_bundle(source)
    except SpdError as error:
        failure("Nothing was imported:", str(error))
        return
    st.session_state.pop(session.BUNDLE_FOUND, None)
    came = done.count("new") + done.count("adds")
    st.session_state[session.LIBRARY_NEWS] = (f"{counted(came, 'thing')} imported.", "")
    to_list()
    st.rerun()

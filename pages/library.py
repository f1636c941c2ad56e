"""Library: what have I got, and can I hand it on? Everything that is kept, bundles out and in, and the trash."""

import streamlit as st

from app.classroom import is_classroom, not_here
from app.library import incoming, shelf_list, trash
from app.ui import session
from app.ui.header import header
from app.ui.links import follow
from app.ui.widgets import caption, escaped
from spd_core.storage import spd_home

KEPT, IMPORT, TRASH = "Everything kept", session.IMPORT_BUNDLE, "Trash"

header(
    "Library",
    "What have I got, and can I hand it on?",
    page=session.LIBRARY,
    shows=(session.REPLAY_JOB, session.EXPORT_JOB),
)
session.take_turn(session.LIBRARY_VIEW)
follow(session.LIBRARY_VIEW, (KEPT, IMPORT, TRASH))
part = st.segmented_control(
    "Part of the page",
    (KEPT, IMPORT, TRASH),
    default=KEPT,
    required=True,
    key=session.LIBRARY_VIEW,
    bind="query-params",
    label_visibility="collapsed",
)
trash.say_news()
if part == IMPORT and (refused := not_here("no bundles are imported")):
    st.info(refused)
elif part == IMPORT:
    incoming.panel(lambda: session.turn_to(session.LIBRARY_VIEW, KEPT))
elif part == TRASH:
    trash.panel()
else:
    shelf_list.panel(lambda: session.turn_to(session.LIBRARY_VIEW, IMPORT))
if not is_classroom():
    caption(f"All of it lies on this machine, in {escaped(str(spd_home()))}")

"""How it works: the method in seven steps, on the numbers of the capture in hand."""

import streamlit as st

from app.lesson.screens import STEPS, draw_step
from app.ui import session
from app.ui.header import header
from app.ui.links import take_linked, write_linked
from app.ui.stepping import step_buttons
from app.ui.widgets import empty_page

analysis = header("How it works", "The method in seven steps, on the numbers of this capture.")
if analysis is None:
    empty_page("The method on the numbers of a capture appears here.")
else:
    take_linked(session.LESSON_STEP)
    text = str(st.session_state.get(session.LESSON_STEP, "1"))
    at = session.clamped(int(text) if text.isdecimal() and len(text) < 4 else 1, 1, len(STEPS)) - 1

    def go(by: int) -> None:
        st.session_state[session.LESSON_STEP] = str(session.clamped(at + 1 + by, 1, len(STEPS)))

    write_linked({session.LESSON_STEP: str(at + 1)})
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(f"{at + 1} of {len(STEPS)} · {STEPS[at].title}", anchor=False, width="stretch")
        step_buttons(at, len(STEPS), go)
    draw_step(analysis, STEPS[at])

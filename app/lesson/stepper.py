"""Where the lesson stands, and the ways on: the names of its steps, Previous and Next, keys; and its large form.

Presented, a step is all that is on the screen: what hides the rest, and enlarges the type, is in `app/ui/style.css`,
which looks for the name of the container here.
"""

from collections.abc import Sequence

import streamlit as st

from app.ui import session
from app.ui.links import take_linked, write_linked
from app.ui.stepping import ARROWS, CLICKER, step_buttons, stepping


def at_step(count: int) -> int:
    """The step that a link, a key or a click has chosen, 0-based."""
    take_linked(session.LESSON_STEP)
    text = str(st.session_state.get(session.LESSON_STEP, "1"))
    return session.clamped(int(text) if text.isdecimal() and len(text) < 4 else 1, 1, count) - 1


def is_presented() -> bool:
    """Whether a step is to fill the screen."""
    take_linked(session.PRESENTED)
    return st.session_state.get(session.PRESENTED) == "1"


def _present(on: bool) -> None:
    st.session_state[session.PRESENTED] = "1" if on else ""


def draw_stepper(titles: Sequence[str]) -> int:
    """The bar above a step; returns which step it is, 0-based."""
    at, presented = at_step(len(titles)), is_presented()
    write_linked({session.LESSON_STEP: str(at + 1), session.PRESENTED: "1" if presented else ""})

    def go(by: int) -> None:
        step = session.clamped(at_step(len(titles)) + 1 + by, 1, len(titles))
        st.session_state[session.LESSON_STEP] = str(step)

    if not presented:
        _names(titles, at)
    with st.container(horizontal=True, vertical_alignment="center", key="lesson_bar"):
        st.header(f"{at + 1} of {len(titles)} · {titles[at]}", anchor=False, width="stretch")
        step_buttons(at, len(titles), go, {**ARROWS, **CLICKER} if presented else ARROWS)
        if presented:
            st.button("Leave", shortcut="Escape", on_click=_present, args=(False,))
        else:
            st.button(
                "Present",
                icon=":material/present_to_all:",
                shortcut="P",
                on_click=_present,
                args=(True,),
                help="Large type, and nothing else on the screen. The arrow keys step, Esc leaves.",
            )
    return at


def _names(titles: Sequence[str], at: int) -> None:
    """All steps, by name; on a phone by number, and the one that is shown by its name in the heading below."""

    def choose() -> None:
        if not stepping():
            st.session_state[session.LESSON_STEP] = str(st.session_state[session.LESSON_STEPPER] + 1)

    st.session_state[session.LESSON_STEPPER] = at
    st.segmented_control(
        "Steps",
        range(len(titles)),
        required=True,
        key=session.LESSON_STEPPER,
        on_change=choose,
        format_func=lambda step: f"**{step + 1}** {titles[step]}",
        label_visibility="collapsed",
        width="stretch",
    )

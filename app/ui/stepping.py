"""Previous and Next, with the keys K and J and those that a page adds: presses count, however fast they follow.

Presses of a button that come while a page is drawn are one press to Streamlit. So the browser counts those of the keys,
and says how many there were.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import streamlit as st

from app.ui import session

_COMPONENT = st.components.v2.component(
    "spd_step_keys",
    html="<span hidden></span>",
    js=Path(__file__).with_name("step_keys.js").read_text("utf-8"),
)


ARROWS: Mapping[str, int] = {"ArrowLeft": -1, "ArrowRight": 1}
CLICKER: Mapping[str, int] = {"PageUp": -1, "PageDown": 1}
"""What a presenter's remote control sends."""


def step_buttons(at: int, count: int, step: Callable[[int], object], keys: Mapping[str, int] | None = None) -> None:
    """Both buttons, at place `at` of `count`; `step` is told how many to go on, from where it stands by then.

    Args:
        keys: how far further keys lead, by what browsers call them.
    """
    st.session_state.pop(session.STEPPED, None)

    def go(by: int) -> None:
        st.session_state[session.STEPPED] = True
        step(by)

    for label, key, by in (("Previous", "K", -1), ("Next", "J", 1)):
        st.button(label, shortcut=key, disabled=not 0 <= at + by < count, on_click=go, args=(by,))
    with st.container(key="step_keys_box"):
        _COMPONENT(
            key=session.STEP_KEYS, data={"keys": dict(keys or {})}, on_pressed_change=lambda: go(_take(*_pressed()))
        )


def stepping() -> bool:
    """For callbacks of fields that show the place: whether this run is one of steps.

    A step can come before the last one is drawn; then the browser sends the place before it along, as if it were typed.
    """
    return session.STEPPED in st.session_state or _pressed() != st.session_state.get(session.STEPS_TAKEN, ("", 0))


def _pressed() -> tuple[str, int]:
    """Since when the browser counts, and how many steps, J less K."""
    pressed = getattr(st.session_state.get(session.STEP_KEYS), "pressed", None)
    return (str(pressed[0]), int(pressed[1])) if isinstance(pressed, list) else ("", 0)


def _take(since: str, steps: int) -> int:
    """Those of the steps that were not taken yet."""
    known, taken = st.session_state.get(session.STEPS_TAKEN, ("", 0))
    st.session_state[session.STEPS_TAKEN] = (since, steps)
    return steps - (taken if known == since else 0)

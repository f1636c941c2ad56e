"""How it works: the method in seven steps, on the numbers of the capture in hand."""

import streamlit as st

from app.lesson.screens import STEPS, draw_step
from app.lesson.stepper import draw_stepper, is_presented
from app.ui.header import header
from app.ui.widgets import empty_page

analysis = header("How it works", "The method in seven steps, on the numbers of this capture.")
if analysis is None:
    empty_page("The method on the numbers of a capture appears here.")
else:
    with st.container(key="presented" if is_presented() else "lesson"):
        draw_step(analysis, STEPS[draw_stepper([step.title for step in STEPS])])

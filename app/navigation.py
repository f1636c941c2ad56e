"""The script that every visit runs: lists the pages, and runs the one that is asked for."""

import streamlit as st

from app.jobs.models import preparation
from app.ui.session import ATTRIBUTIONS, EVALUATION, FINE_TUNE, HOME, LESSON, LIBRARY, SIDE_BY_SIDE, SPECTRUM
from spd_core.storage import ROOT

st.set_page_config(page_title="SPD Lab", page_icon=ROOT / "app" / "icon.svg", layout="wide")
st.navigation(
    [
        st.Page(HOME, title="Home", icon=":material/home:", default=True),
        st.Page(LESSON, title="How it works", icon=":material/school:", url_path="how-it-works"),
        st.Page(SPECTRUM, title="Spectrum", icon=":material/show_chart:", url_path="spectrum"),
        st.Page(ATTRIBUTIONS, title="Token attributions", icon=":material/format_color_text:", url_path="attributions"),
        st.Page(SIDE_BY_SIDE, title="Side by side", icon=":material/splitscreen_right:", url_path="side-by-side"),
        st.Page(FINE_TUNE, title="Fine-tune", icon=":material/model_training:", url_path="fine-tune"),
        st.Page(EVALUATION, title="Evaluation", icon=":material/fact_check:", url_path="evaluation"),
        st.Page(LIBRARY, title="Library", icon=":material/inventory_2:", url_path="library"),
    ],
    position="top",
).run()
preparation("builtin", None, 2.5)  # warms the engine up, when the browser has drawn the page

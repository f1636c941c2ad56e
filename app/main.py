"""Entry point: `streamlit run app/main.py`. Puts the repository on the path, and lists the pages."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: its waiting threads leave the page a core

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # `streamlit run` puts only this folder there
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

from app.resources import preparation  # noqa: E402
from app.session import ATTRIBUTIONS, HOME, SIDE_BY_SIDE, SPECTRUM  # noqa: E402

st.set_page_config(page_title="SPD Lab", page_icon=ROOT / "app" / "icon.svg", layout="wide")
st.navigation(
    [
        st.Page(HOME, title="Home", icon=":material/home:", default=True),
        st.Page(SPECTRUM, title="Spectrum", icon=":material/show_chart:", url_path="spectrum"),
        st.Page(ATTRIBUTIONS, title="Token attributions", icon=":material/format_color_text:", url_path="attributions"),
        st.Page(SIDE_BY_SIDE, title="Side by side", icon=":material/splitscreen_right:", url_path="side-by-side"),
    ],
    position="top",
).run()
preparation("builtin", None, 2.5)  # warms the engine up, when the browser has drawn the page

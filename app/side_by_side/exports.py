"""What can be taken away of a result: the whole record, and a program that writes it again."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from app.ui.widgets import download
from spd_core.generation import comparison as texts
from spd_core.generation import report
from spd_core.generation.comparison import Comparison


def draw_exports(comparison: Comparison) -> None:
    """A button for each form."""
    made = {
        "JSON": (texts.comparison_json, "json"),
        "Python": (report.to_python, "py"),
    }
    with st.container(horizontal=True):
        for name, (make, suffix) in made.items():
            download(
                name,
                partial(_exported, make, comparison),
                f"side-by-side-{comparison.id}.{suffix}",
                help=_EXPORTS[name],
            )


def _exported(make: Callable[[Comparison], str], comparison: Comparison) -> bytes:
    return make(comparison).encode()


_EXPORTS = {
    "JSON": "The whole record, token by token.",
    "Python": "A program that writes these texts again with spd_core.",
}

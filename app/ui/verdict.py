"""What a page shows, in a sentence, above everything else: a calm line that a screen reader is told of when it changes.

Knows nothing of how the sentence comes about: rules are in the engine (`spd_core/subspace/verdict.py` and its like).
"""

import streamlit as st

from spd_core.templates import render


def draw_verdict(text: str) -> None:
    """The verdict, escaped: its first sentence large, the others below it; nothing where there is none.

    Args:
        text: sentences of our own, which end in `. ` but for the last.
    """
    if not text:
        return
    first, stop, rest = text.partition(". ")
    st.html(render("page_verdict.html", first=f"{first}." if stop else first, rest=rest))

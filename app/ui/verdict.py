"""What a page shows, in a sentence, above everything else: a calm line that a screen reader is told of when it changes.

Knows nothing of how the sentence comes about: rules are in the engine (`spd_core/subspace/verdict.py` and its like).
"""

from collections.abc import Sequence

import streamlit as st

from spd_core.templates import render


def draw_verdict(text: str, *, kind: str = "page-verdict", mark: str = "", warnings: Sequence[str] = ()) -> None:
    """The verdict, escaped: its first sentence large, the others below it; nothing where there is none.

    A term of the glossary is underlined where it comes up first, and says what it means when it is pointed at, tapped
    or reached by the tab key.

    Args:
        text: sentences of our own, which end in `. ` but for the last.
        kind: the colour: `helps`, `hurts`, `not-shown`, or the page's own.
        mark: a sign before it.
        warnings: a line each, below.
    """
    if not text:
        return
    first, stop, rest = text.partition(". ")
    first = f"{first}." if stop else first
    st.html(render("verdict.html", kind=kind, mark=mark, first=first, rest=rest, warnings=list(warnings)))

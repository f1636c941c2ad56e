"""The token strip: an example as its tokens, those that carry the loss marked. Everything is escaped.

Its looks are in `style.css`.
"""

from typing import TYPE_CHECKING

from spd_core.templates import render
from spd_core.text import shown

if TYPE_CHECKING:
    from spd_core.data.spans import Encoded


def visible(text: str) -> str:
    """White space made visible (· for a space, ⇥ for a tab, ↵ before each line break), control characters escaped."""
    return shown(text).replace(" ", "·").replace("\t", "⇥").replace("\n", "↵\n")


def strip(encoded: "Encoded") -> str:
    """HTML of the tokens; those under the loss are bold, underlined, framed and reachable with the Tab key."""
    supervised = set(encoded.supervised)
    # A special token has no characters of its own.
    shown = [(visible(encoded.text[start:end]) or "∅", t in supervised) for t, (start, end) in
             enumerate(encoded.offsets)]  # fmt: skip
    return render("strip.html", tokens=shown, marked=len(supervised))

"""Tokens on the page: an example with its loss marked, and the coloured strip, to be stepped through and chosen.

The strip is a Streamlit component of its own. Text reaches the page escaped, or through `textContent` alone, so that
nothing in it can act. Looks are in `style.css` and `token_strip.css`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from spd_core.templates import FOLDER, render
from spd_core.text import shown, signed

if TYPE_CHECKING:
    from pandas import DataFrame

    from spd_core.data.spans import Encoded


def visible(text: str) -> str:
    """White space made visible (· for a space, ⇥ for a tab, ↵ before each line break), control characters escaped."""
    return shown(text).replace(" ", "·").replace("\t", "⇥").replace("\n", "↵\n")


def drawn_token(text: str, continued: bool) -> str:
    """A token in a strip: a character of several tokens is drawn with its first one; a special token has none."""
    return "…" if continued else visible(text) or "∅"


def loss_mask_html(encoded: "Encoded") -> str:
    """HTML of the tokens; those under the loss are bold, underlined, framed and reachable with the Tab key."""
    supervised = set(encoded.supervised)
    tokens = [
        (drawn_token(encoded.text[start:end], encoded.continues(t)), t in supervised)
        for t, (start, end) in enumerate(encoded.offsets)
    ]
    return render("strip.html", tokens=tokens, marked=len(supervised))


# --- the coloured strip ------------------------------------------------------------------------------------------

LARGEST = 5
"""How many of a text's tokens are underlined: those with the largest numbers."""


@dataclass(frozen=True)
class Scale:
    """How numbers become colours.

    Attributes:
        largest: the number from which the colour is full; centred at 0 when diverging, else from 0 up.
        unit: of the numbers, for people.
        percent: written as percentages.
        diverging: two colours, one for each sign; else one, and its depth follows the square root of the number,
            for shares are squares.
    """

    largest: float
    unit: str
    percent: bool = False
    diverging: bool = True

    def shade(self, values: Any) -> "np.ndarray":
        """[n] −1 to 1: the depth of the colour, with its sign."""
        shade = np.clip(np.asarray(values, np.float64) / self.largest, -1, 1)
        return shade if self.diverging else np.sqrt(shade.clip(min=0))

    def written(self, value: float) -> str:
        """A number with three digits and a true minus sign."""
        return signed(value, "+.3g" if not self.percent else ".3%" if value < 0.01 else ".1%")

    def ticks(self) -> tuple[str, str]:
        """Numbers at both ends of the legend."""
        low = f"≤ {self.written(-self.largest)}" if self.diverging else "0"
        return low, f"≥ {self.written(self.largest)}"


def strip_data(
    rows: "DataFrame", column: str, scale: Scale, tips: list[str], *, label: str, selected: int | None, hide: bool
) -> dict[str, Any]:
    """What the component draws, from the tokens of one text in order.

    Args:
        rows: of `tables.tokens_of`, with `column`.
        tips: what to say of each token.
        hide: leave tokens that are set aside without a colour.
    """
    drawn = ~rows.aside.to_numpy() if hide else np.ones(len(rows), bool)
    shade = np.where(drawn, scale.shade(rows[column]), 0.0)
    marked = [int(i) for i in np.argsort(-np.abs(shade), kind="stable")[:LARGEST] if abs(shade[i]) > 0.1]
    tokens = [
        {
            "text": drawn_token(text, continued),
            "shade": round(float(shade[i]), 3),
            "largest": i in marked,
            "loss": bool(loss),
            "aside": not drawn[i],
            "tip": tips[i],
        }
        for i, (text, continued, loss) in enumerate(zip(rows.text, rows.continued, rows.supervised, strict=True))
    ]
    legend = {"ticks": scale.ticks(), "unit": scale.unit, "loss": bool(rows.supervised.any()), "aside": not drawn.all()}
    return {"tokens": tokens, "label": label, "selected": selected, "diverging": scale.diverging, "legend": legend}


_FOLDER = Path(__file__).parent
_COMPONENT = st.components.v2.component(
    "spd_token_strip",
    html=(FOLDER / "token_strip.html").read_text("utf-8"),
    css=(_FOLDER / "token_strip.css").read_text("utf-8"),
    js=(_FOLDER / "token_strip.js").read_text("utf-8"),
)


def token_strip(data: dict[str, Any], *, key: str, on_pick: Callable[[int], None]) -> None:
    """Draw a strip; `on_pick` gets the index of the token that was clicked, or chosen with Enter."""

    def picked() -> None:
        index = st.session_state[key].picked
        if isinstance(index, int | float) and 0 <= index < len(data["tokens"]):
            on_pick(int(index))

    _COMPONENT(key=key, data=data, on_picked_change=picked)

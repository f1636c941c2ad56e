"""The token strip: an example as its tokens, those that carry the loss marked. Everything is escaped.

Its looks are in `style.css`.
"""

import html
from typing import TYPE_CHECKING

from spd_core.text import shown

if TYPE_CHECKING:
    from spd_core.data.spans import Encoded


def visible(text: str) -> str:
    """White space made visible (· for a space, ⇥ for a tab, ↵ before each line break), control characters escaped."""
    return shown(text).replace(" ", "·").replace("\t", "⇥").replace("\n", "↵\n")


def strip(encoded: "Encoded") -> str:
    """HTML of the tokens; those under the loss are bold, underlined, framed and reachable with the Tab key."""
    supervised = set(encoded.supervised)
    spans = [_token(t, encoded.text[start:end], t in supervised) for t, (start, end) in enumerate(encoded.offsets)]
    label = f"{len(encoded.ids)} tokens, {len(supervised)} of them under the loss"
    return f'<div class="spd-strip" role="group" aria-label="{label}">{"<wbr>".join(spans)}</div>'


def _token(position: int, text: str, on: bool) -> str:
    title = f"token {position}: {'the loss is taken here' if on else 'context, no loss'}"
    shown = html.escape(visible(text) or "∅", quote=True)  # a special token has no characters of its own
    kind = ' class="tk on" tabindex="0"' if on else ' class="tk"'
    return f'<span{kind} title="{title}">{shown}</span>'

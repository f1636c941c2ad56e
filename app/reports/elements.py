"""Scripts, data and looks as elements of a page that trusts them by their hashes, and nothing else. Pure.

Templates escape whatever is filled in, which a script cannot be: here alone something is put into a page as it is, and
what could end its element early is refused or spelled out.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from spd_core.errors import InputError

_ACTS = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_ENDS = re.compile(r"</(script|style)|<!--|<script|\r|\0", re.IGNORECASE)


def json_element(name: str, value: Any) -> Markup:
    """Data in a page, for a script to read: `<`, `>` and `&` are spelled out, so that no text in it can be a tag.

    Raises:
        ValueError: a number in it is infinite or none.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(_ACTS)
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, Markup(text))


def script_element(program: str) -> tuple[Markup, str]:
    """One of our own scripts, with the source by which a policy allows it; raises as `trusted`."""
    return Markup("<script>{}</script>").format(Markup(trusted(program))), hash_source(program)


def style_element(rules: str, *, name: str = "", kind: str = "") -> tuple[Markup, str]:
    """Looks of our own, with the source by which a policy allows them; raises as `trusted`."""
    element = Markup('<style id="{}" class="{}">{}</style>').format(name, kind, Markup(trusted(rules)))
    return element, hash_source(rules)


def trusted(text: str) -> str:
    """A text of our own that stands in a page as it is.

    Raises:
        InputError: it holds what would end its element, or what a browser would read as another text than was hashed.
    """
    if found := _ENDS.search(text):
        raise InputError(f"a script or style holds {found[0]!r} at character {found.start()}; spell it in another way")
    return text


def hash_source(text: str) -> str:
    """`'sha256-…'`: how a Content-Security-Policy names one script or style by what it holds."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def content_policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """A policy under which these scripts and styles act, and nothing can be fetched or sent.

    Pictures may come of the page itself alone: a figure that is saved as PNG is drawn as one first.
    """
    return (
        f"default-src 'none'; script-src {' '.join(scripts)}; style-src {' '.join(styles)}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )

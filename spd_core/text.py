"""Text that nobody trusts, fit to be shown: what a model, a file or a user wrote is shown literally.

Nothing in it acts on what surrounds it.
"""

import html
import unicodedata

_LETS_THROUGH = "\n\t\u200c\u200d"  # joiners shape letters and emoji, and act on nothing else


def shown(text: str) -> str:
    """Text with control and formatting characters as escapes such as ⟨U+202E⟩: ANSI codes, bidirectional controls."""
    return "".join(
        f"⟨U+{ord(char):04X}⟩"
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in _LETS_THROUGH
        else char
        for char in text
    )


def opening(text: str, most: int) -> str:
    """How a text begins: its first line, at most so many characters, as it is `shown`."""
    line = next(iter(shown(text).strip().splitlines()), "")
    return line if len(line) <= most else line[: most - 1] + "…"


def literal(text: str) -> str:
    """HTML that shows a text as it is."""
    return html.escape(shown(text))


def signed(value: float, form: str = ".2f") -> str:
    """A number with a true minus sign; two decimals unless `form` says otherwise."""
    return f"{value:{form}}".replace("-", "−")

"""Text of a model, a user or a file made harmless, as it is, on one line or in Markdown; HTML is in `templates.py`."""

import unicodedata

_LETS_THROUGH = "\n\t\u200c\u200d"  # joiners shape letters and emoji, and act on nothing else


def shown(text: str) -> str:
    """Text with control and formatting characters as escapes such as ⟨U+202E⟩: ANSI codes, bidirectional controls."""
    if text.isprintable():  # none of these categories is
        return text
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


def signed(value: float, form: str = ".2f") -> str:
    """A number with a true minus sign; two decimals unless `form` says otherwise."""
    return f"{value:{form}}".replace("-", "−")


def plain_markdown(text: str) -> str:
    """Text on one line whose marks Markdown leaves alone, in a table's cell, too."""
    for mark in "\\|*_`<>[]":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())

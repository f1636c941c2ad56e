"""A text in which something was replaced, that still knows where each of its characters stood before."""

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rewritten:
    """A text after replacements.

    Attributes:
        starts, ends: of each character, the first character of the original that it stands for and the one after the
            last; a character that was put in stands for all that was taken out there.
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, text: str, start: int = 0) -> "Rewritten":
        """A text as it is; `start` is where it begins in the original."""
        return cls(text, tuple(range(start, start + len(text))), tuple(range(start + 1, start + len(text) + 1)))

    def sub(self, pattern: str, new: str | Callable[[re.Match[str]], str]) -> "Rewritten":
        """What `re.sub` makes of it."""
        texts: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        kept = 0
        for found in re.finditer(pattern, self.text):
            first, after = found.span()
            put_in = new(found) if callable(new) else found.expand(new)
            texts += (self.text[kept:first], put_in)
            starts += (*self.starts[kept:first], *[self.starts[first]] * len(put_in))
            ends += (*self.ends[kept:first], *[self.ends[after - 1]] * len(put_in))
            kept = after
        return Rewritten(
            "".join((*texts, self.text[kept:])), (*starts, *self.starts[kept:]), (*ends, *self.ends[kept:])
        )

    def place(self, first: int, after: int) -> tuple[int, int]:
        """Where the characters from `first` to before `after` stood in the original."""
        return self.starts[first], self.ends[after - 1]

"""Regular expressions that users write: matched with a time limit that interrupts, and other threads go on meanwhile.

`re` can be neither interrupted nor limited: `(a+)+$` on a long answer stops a whole server. `regex` can, and lets go of
the interpreter while it matches a `str`. Patterns of our own, which are linear, use `re`.
"""

import regex

from spd_core.errors import InputError

LIMIT = 1.0
"""Seconds that a pattern may take on one text; what is linear takes milliseconds."""
LONGEST = 1_000
"""Characters of a pattern."""


def check_pattern(pattern: str) -> None:
    """Refuse what is no regular expression.

    Raises:
        InputError: it is not one, or is too long, with the reason.
    """
    _compiled(pattern)


def find_spans(pattern: str, text: str) -> list[tuple[int, int]]:
    """Where a pattern matches: group 1 where it has one, else the whole match; `^` and `$` are ends of lines.

    Raises:
        InputError: it is no regular expression, or takes longer than `LIMIT` seconds.
    """
    compiled = _compiled(pattern)
    try:
        found = [match.span(min(1, compiled.groups)) for match in compiled.finditer(text, timeout=LIMIT)]
    except TimeoutError:
        raise InputError(
            f"the pattern {pattern[:60]!r} takes longer than {LIMIT:g} s on a text of {len(text):,} characters; "
            "write it without a repetition inside a repetition"
        ) from None
    return [(start, end) for start, end in found if start < end]


def _compiled(pattern: str) -> "regex.Pattern[str]":
    if len(pattern) > LONGEST:
        raise InputError(f"a regular expression of {len(pattern):,} characters; the most is {LONGEST:,}")
    try:
        return regex.compile(pattern, regex.MULTILINE)
    except (regex.error, OverflowError, RecursionError, ValueError) as error:  # a{10^20}, or nested a thousand deep
        raise InputError(f"not a regular expression: {error}") from error

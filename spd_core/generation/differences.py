"""What tells two texts apart, word by word and token by token, and whether a text has degenerated.

Knows only strings and sequences.
"""

import re
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import NamedTuple

REPEATED_SHARE = 0.5
"""Above this share of repeated 4-grams a text counts as degenerate. Our choice: people's own text lies near 0."""
REPEATED_FROM = 16
"""Fewest tokens for that rule; in less text a repetition means little."""
LONGEST_RUN = 8
"""One token this often in a row counts as degenerate."""


class Piece(NamedTuple):
    """A part of a text, and whether the other text lacks it."""

    text: str
    changed: bool


def word_diff(first: str, second: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces, changed words marked; white space is kept, so that the pieces join to the text."""
    words = [re.findall(r"\S+|\s+", text) for text in (first, second)]
    matcher = SequenceMatcher(None, words[0], words[1], autojunk=False)
    sides: tuple[list[Piece], list[Piece]] = ([], [])
    for tag, *ends in matcher.get_opcodes():
        for side, own, (start, end) in zip(sides, words, (ends[:2], ends[2:]), strict=True):
            if start < end:
                side.append(Piece("".join(own[start:end]), tag != "equal"))
    return sides


def first_divergence(first: Sequence[int], second: Sequence[int]) -> int | None:
    """Index of the first token at which two sequences of ids differ, or at which one has ended; None when equal."""
    shared = zip(first, second, strict=False)
    differing = next((at for at, (a, b) in enumerate(shared) if a != b), min(len(first), len(second)))
    return None if differing == len(first) == len(second) else differing


def repeated_share(tokens: Sequence[Hashable], n: int = 4) -> float:
    """Share of n-grams that have occurred before, from 0 to 1; 0 when there is none.

    1 − |unique n-grams| / |n-grams|: seq-rep-n of Welleck et al. (2020), Neural text generation with unlikelihood
    training.
    """
    grams = [tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def longest_run(tokens: Sequence[Hashable]) -> int:
    """How often one token stands in a row, at most."""
    return max((len(list(run)) for _, run in groupby(tokens)), default=0)


def degeneration(tokens: Sequence[Hashable], text: str) -> str:
    """Why a text counts as degenerate, with the number; empty when it does not.

    It is empty or white space, repeats more than `REPEATED_SHARE` of its 4-grams (from `REPEATED_FROM` tokens on),
    or has one token `LONGEST_RUN` times in a row.
    """
    if not text.strip():
        return "empty"
    reasons = []
    share, run = repeated_share(tokens), longest_run(tokens)
    if len(tokens) >= REPEATED_FROM and share > REPEATED_SHARE:
        reasons.append(f"repeats itself ({share:.0%} of its 4-grams)")
    if run >= LONGEST_RUN:
        reasons.append(f"one token {run} times in a row")
    return ", ".join(reasons)

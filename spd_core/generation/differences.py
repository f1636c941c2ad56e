"""What tells two texts apart, word by word and token by token, and whether a text has degenerated.

Knows only strings and sequences.
"""

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import NamedTuple

REPEATED_SHARE = 0.5
"""Above this share of repeated 4-grams a text counts as degenerate. Our choice: people's own text lies near 0."""
REPEATED_FROM = 16
"""Fewest tokens for that rule; in less text a repetition means little."""
MOST_PAIRS = 20_000
"""Pairs of equal words in two texts up to which `difflib` compares them: in time that grows with their number."""
LONGEST_RUN = 8
"""One token this often in a row counts as degenerate."""


class Piece(NamedTuple):
    """A part of a text, and whether the other text lacks it."""

    text: str
    changed: bool


def word_diff(first: str, second: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces, changed words marked; white space is kept, so that the pieces join to the text."""
    words = [re.findall(r"\S+|\s+", text) for text in (first, second)]
    sides: tuple[list[Piece], list[Piece]] = ([], [])
    at = (0, 0)
    for starts, length in (*_shared_blocks(*words), ((len(words[0]), len(words[1])), 0)):
        for side, own, before, start in zip(sides, words, at, starts, strict=True):
            if before < start:
                side.append(Piece("".join(own[before:start]), True))
            if length:
                side.append(Piece("".join(own[start : start + length]), False))
        at = starts[0] + length, starts[1] + length
    return sides


def _shared_blocks(first: Sequence[str], second: Sequence[str]) -> list[tuple[tuple[int, int], int]]:
    """Runs of words that both have, in order: where each begins in either, and its length.

    The longest run comes first, as people would look for it (`difflib`); that takes a minute where a thousand words
    say the same again and again, and there it is a longest common subsequence.
    """
    counts = Counter(second)
    if sum(counts[word] for word in first) <= MOST_PAIRS:
        matches = SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
        return [((match.a, match.b), match.size) for match in matches if match.size]
    blocks: list[tuple[tuple[int, int], int]] = []
    for a, b in common_subsequence(first, second):
        (start, length) = blocks[-1] if blocks else ((-1, -1), 0)
        if blocks and (start[0] + length, start[1] + length) == (a, b):
            blocks[-1] = start, length + 1
        else:
            blocks.append(((a, b), 1))
    return blocks


def common_subsequence(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Pairs of places of a longest common subsequence, ascending.

    Bit-parallel (Hyyrö, 2004): a row of the table of lengths is one integer, whose bit j is 0 where the length grows
    from j to j + 1 items of `second`. A thousand items take milliseconds, whatever they are.
    """
    places: dict[Hashable, int] = {}
    for at, item in enumerate(second):
        places[item] = places.get(item, 0) | 1 << at
    every = (1 << len(second)) - 1
    row, rows = every, []
    for item in first:
        hits = row & places.get(item, 0)
        row = (row + hits | row - hits) & every
        rows.append(row)
    pairs = []
    a, b = len(first), len(second)
    while a and b:
        if rows[a - 1] >> b - 1 & 1:
            b -= 1
        elif a > 1 and not rows[a - 2] >> b - 1 & 1:
            a -= 1
        else:
            a, b = a - 1, b - 1
            pairs.append((a, b))
    return pairs[::-1]


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

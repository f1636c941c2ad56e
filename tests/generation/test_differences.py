"""Word diff, first divergence and the degeneration rule on hand-made texts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spd_core.generation import differences
from spd_core.generation.differences import (
    Piece,
    common_subsequence,
    degeneration,
    first_divergence,
    longest_run,
    repeated_share,
    word_diff,
)

LOOP = "the cat sat on the mat and " * 8
PROSE = (
    "Three boxes hold four pens each, so twelve pens lie in them together; two are taken away, and ten remain at the "
    "end of the day for anybody who wants to write something down."
)


def test_word_diff_marks_the_words_that_the_other_text_lacks() -> None:
    left, right = word_diff("one two  three\nfour", "one 2  three\nfour five")
    assert left == [Piece("one ", False), Piece("two", True), Piece("  three\nfour", False)]
    assert right == [Piece("one ", False), Piece("2", True), Piece("  three\nfour", False), Piece(" five", True)]


@pytest.mark.parametrize(("first", "second"), [("", ""), ("", "a b"), (" a\n", "a"), (LOOP, PROSE), ("a", "a")])
def test_pieces_join_to_the_texts(first: str, second: str) -> None:
    left, right = word_diff(first, second)
    assert ("".join(p.text for p in left), "".join(p.text for p in right)) == (first, second)
    assert any(p.changed for p in (*left, *right)) == (first != second)


@pytest.mark.parametrize(
    ("first", "second", "at"),
    [([1, 2, 3], [1, 2, 3], None), ([1, 2, 3], [1, 9, 3], 1), ([1, 2], [1, 2, 3], 2), ([], [4], 0), ([], [], None)],
)
def test_first_divergence(first: list[int], second: list[int], at: int | None) -> None:
    assert first_divergence(first, second) == first_divergence(second, first) == at


def test_repeated_share_is_seq_rep_n() -> None:
    assert repeated_share("abcd") == 0
    assert repeated_share("abcdabcd") == pytest.approx(1 / 5)  # abcd, bcda, cdab, dabc, abcd
    assert repeated_share("aaaaaaa") == pytest.approx(3 / 4)
    assert repeated_share("abab", n=2) == pytest.approx(1 / 3)
    assert repeated_share("abc") == 0


def test_longest_run() -> None:
    assert longest_run([1, 1, 2, 2, 2, 1]) == 3
    assert longest_run([]) == 0


def test_degenerate_texts_say_why_and_prose_does_not() -> None:
    assert degeneration(PROSE.split(), PROSE) == ""
    assert degeneration(LOOP.split(), LOOP) == "repeats itself (87% of its 4-grams)"
    assert degeneration([7] * 9, "!!!!!!!!!") == "one token 9 times in a row"
    assert "repeats itself" in degeneration([7] * 40, "! " * 40)
    assert degeneration([], "") == degeneration([5, 5], " \n") == "empty"
    assert degeneration(LOOP.split()[:12], LOOP) == "", "too short to tell"


# --- text that says the same again and again -------------------------------------------------------------------------


def longest_common(first: list[int], second: list[int]) -> int:
    """Length of a longest common subsequence, by the table of the textbook."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for a, one in enumerate(first):
        for b, other in enumerate(second):
            table[a + 1][b + 1] = table[a][b] + 1 if one == other else max(table[a][b + 1], table[a + 1][b])
    return table[-1][-1]


@given(st.lists(st.integers(0, 3), max_size=14), st.lists(st.integers(0, 3), max_size=14))
@settings(deadline=None, derandomize=True)
def test_a_common_subsequence_is_one_and_none_is_longer(first: list[int], second: list[int]) -> None:
    pairs = common_subsequence(first, second)
    assert len(pairs) == longest_common(first, second)
    assert all(first[a] == second[b] for a, b in pairs)
    assert pairs == sorted(pairs)
    assert all(len({pair[side] for pair in pairs}) == len(pairs) for side in (0, 1))


def test_a_looping_text_is_compared_in_bounded_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five thousand words in two loops: `difflib` would take minutes, and is not asked."""
    monkeypatch.setattr(differences, "SequenceMatcher", None)
    first, second = "the same " * 2500, "same the thing " * 1700
    left, right = word_diff(first, second)
    assert ("".join(p.text for p in left), "".join(p.text for p in right)) == (first, second)
    assert [p.text for p in left if not p.changed] == [p.text for p in right if not p.changed]
    assert any("thing" in p.text for p in right if p.changed)


def test_a_long_text_with_one_other_word() -> None:
    text = "the cat sat on the mat and " * 100
    left, right = word_diff(text + "slept", text + "ran")
    assert left == [Piece(text, False), Piece("slept", True)]
    assert right == [Piece(text, False), Piece("ran", True)]

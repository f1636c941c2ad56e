"""Word diff, first divergence and the degeneration rule on hand-made texts."""

import pytest

from spd_core.generation.differences import (
    Piece,
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

"""Where the answer stands that was read: in texts written by hand the place is between ⟦ and ⟧."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spd_core.data.capability import INSTRUCTION, QUESTION
from spd_core.evaluation.answer_places import answer_place
from spd_core.evaluation.rewritten import Rewritten
from spd_core.evaluation.store import About, ItemRecord

OPTIONS = "Which?\nA. one\nB. two\nC. three\nD. four"


def place(marked: str, extracted: str | None, scorer: Any, gold: str = "7", prompt: str = "p") -> tuple[str, str]:
    """What is marked in the text without its brackets, and what should be."""
    completion = marked.replace("⟦", "").replace("⟧", "")
    template = INSTRUCTION if scorer == "python" else QUESTION
    about = About(subject="s", set="x", template=template, scorer=scorer, style="raw", max_new_tokens=9)
    found = answer_place(
        ItemRecord(id="1", prompt=prompt, gold=gold, completion=completion, extracted=extracted), about
    )
    if found is None:
        return completion, marked
    start, end = found
    return f"{completion[:start]}⟦{completion[start:end]}⟧{completion[end:]}", marked


@pytest.mark.parametrize(
    ("marked", "extracted", "gold"),
    [
        (" ⟦12⟧", "12", "12"),
        ("7 + 5 is ⟦12⟧, of course.", "12", "12"),
        ("first 3,\nthen ⟦4⟧ pears\n\nso there", "4", "12"),
        ("It costs ⟦1,250.50⟧ dollars", "1250.50", "12"),
        ("It is ⟦−3⟧ degrees", "-3", "12"),
        ("It is ⟦-$3⟧", "-3", "12"),
        ("half of it, ⟦1½⟧ cups", "1.500000000", "12"),
        (r"so \boxed{⟦\frac{3}{4}⟧}", "0.75", "3/4"),
        ("3/⟦4⟧ of it", "4", "12"),
        ("⟦3/4⟧ of it", "0.75", "1/2"),
        ("25 cm^2 and ⟦30⟧ cm^2", "30", "12"),
        ("a 5.\nThe answer is ⟦6⟧.\nQuestion: and 9?\nAnswer: 10", "6", "12"),  # its own question is not read
        ("at ⟦3:30⟧", "3.5", "12"),
    ],
)
def test_numbers(marked: str, extracted: str, gold: str) -> None:
    found, wanted = place(marked, extracted, "number", gold)
    assert found == wanted


@pytest.mark.parametrize(
    ("marked", "extracted"),
    [
        (" ⟦B⟧", "B"),
        ("(⟦b⟧)", "B"),
        ("not A, so ⟦C⟧ it is", "C"),
        ("It is A or B.\nThe answer is ⟦D⟧, not A", "D"),
        ("I think option ⟦B⟧\nC", "B"),
    ],
)
def test_letters(marked: str, extracted: str) -> None:
    found, wanted = place(marked, extracted, "letter", "B", OPTIONS)
    assert found == wanted


@pytest.mark.parametrize(
    ("marked", "extracted"),
    [
        ("\n  ⟦Paris⟧.\nor Rome", "paris"),
        ("The answer is: ⟦New   York⟧!", "new york"),
        ("⟦ﬁne⟧", "fine"),  # a ligature is two letters after NFKC
        ("⟦e\u0301⟧", "é"),  # an accent of its own joins its letter: the whole line
    ],
)
def test_exact(marked: str, extracted: str) -> None:
    found, wanted = place(marked, extracted, "exact", "paris")
    assert found == wanted


@pytest.mark.parametrize(
    ("marked", "extracted"),
    [
        ("Sure:\n```python\n⟦def f():\n    return 1⟧\n```\nDone", "def f():\n    return 1"),
        ("  ⟦def f():\n      return 1⟧", "def f():\n    return 1"),
        (">>> ⟦x⟧", None),
    ],
)
def test_code(marked: str, extracted: str | None) -> None:
    found, wanted = place(marked, extracted, "python")
    assert found.replace("⟦  def", "  ⟦def") == (wanted if extracted else ">>> x")


@pytest.mark.parametrize(
    ("completion", "extracted", "scorer"),
    [
        ("12", "13", "number"),
        ("none", "3", "number"),
        ("A", "B", "letter"),
        ("x = 1", "y = 1", "python"),
        ("a", None, "exact"),
    ],
)
def test_no_mark_where_the_rules_read_another_answer(completion: str, extracted: str | None, scorer: Any) -> None:
    assert place(completion, extracted, scorer) == (completion, completion)


@given(st.text("ab1 ^", max_size=30))
def test_a_rewritten_text_is_what_re_makes_of_it(text: str) -> None:
    import re

    once = Rewritten.of(text).sub(r"a+", "xy").sub(r"\^(\d)", r"<\1>")
    assert once.text == re.sub(r"\^(\d)", r"<\1>", re.sub(r"a+", "xy", text))
    for at, character in enumerate(once.text):
        start, end = once.place(at, at + 1)
        assert 0 <= start < end <= len(text)
        if character in "b1 ":
            assert character in text[start:end]

"""What a completion says, by hand-written cases and on real rows; numbers against an independent rule, too."""

import ast
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from spd_core.data.capability import INSTRUCTION, QUESTION, Example, Settings, read_builtin
from spd_core.data.public import read_public
from spd_core.errors import InputError
from spd_core.evaluation import extract_code
from spd_core.evaluation.extract_code import code_after, code_in
from spd_core.evaluation.scoring import (
    Score,
    answer_part,
    first_letter,
    last_number,
    normalised,
    option_letters,
    score,
    scorer_fits,
)


def settings(scorer: Any, template: str = "") -> Settings:
    standard = INSTRUCTION if scorer == "python" else QUESTION
    return Settings(capability="mine", scorer=scorer, template=template or standard)


def passing(_code: str, _tests: Sequence[str], _setup: str, _reference: str) -> Any:
    return SimpleNamespace(passed=True, reason="")


def scored(
    scorer: Any, answer: str, completion: str, finish: str = "length", run: Any = passing, **fields: Any
) -> Score:
    example = Example(answer=answer, **{"prompt": "p", **fields})
    return score(example, settings(scorer), completion, finish, run)


# --- where the answer ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("completion", "part", "template"),
    [
        (" 4\nQuestion: and 5?\nAnswer: 9", " 4\n", ""),
        (" 4\r\nQuestion: and 5?", " 4\r\n", ""),
        (" 4\n\n### Question: and 5?", " 4\n\n", ""),
        (" 4\n**Question:** and 5?", " 4\n", ""),
        (" 4\n**Question: and 5?**", " 4\n", ""),
        (" 4. Question: why?", " 4. Question: why?", ""),  # within a line it is a word
        ("\nQuestion: 2 + 2?\nAnswer: 4", "\nQuestion: 2 + 2?\nAnswer: 4", ""),  # repeated before any answer
        ("\nQuestion: 2 + 2?\nAnswer: 4\nQuestion: x", "\nQuestion: 2 + 2?\nAnswer: 4\n", ""),
        (" 4<|im_end|>\n<|im_start|>user", " 4", ""),
        (" 4</s>", " 4", ""),
        ("<|endoftext|> 4", "", ""),
        ("<b>4</s> 5", "<b>4</s> 5", ""),
        (" 4\nQ: more\nA: 5", " 4\n", "Be careful.\nQ: {prompt}\nA:"),
        (" 4\nBe careful.\nQ: more", " 4\n", "Be careful.\nQ: {prompt}\nA:"),
        (" 4\nQuestion: x", " 4\nQuestion: x", "{prompt}\nAnswer:"),  # nothing to know a question by
        ("- 4\n- 5", "- 4\n- 5", "- {prompt}\n"),
        ("1. 4\n1. 5", "1. 4\n1. 5", "1. {prompt}\n"),
        (" 4\nQuite so", " 4\nQuite so", "Q {prompt}"),
        (" 4\nQ 2 + 2?", " 4\n", "Q {prompt}"),
        ("", "", ""),
    ],
)
def test_answer_part(completion: str, part: str, template: str) -> None:
    assert answer_part(completion, settings("number", template)) == part


@pytest.mark.parametrize(
    ("completion", "finish", "ended"),
    [
        (" 4", "eos", True),
        (" 4", "length", False),
        (" 4", "stopped", False),
        (" 4\nQuestion: 5?", "length", True),
        (" 4<|im_end|>", "length", True),
        (" 4\nSo", "length", False),
    ],
)
def test_a_model_ends_by_itself_or_by_a_question_of_its_own(completion: str, finish: str, ended: bool) -> None:
    assert scored("number", "4", completion, finish).ended is ended


# --- numbers -----------------------------------------------------------------------------------------------------

NUMBERS = [
    ("12 apples, then 7", "7"),
    ("$1,234,567.50 in all.", "1234567.5"),
    ("it is -3", "-3"),
    ("it is −3.25°", "-3.25"),  # the typographic minus
    (".5", "0.5"),
    ("18.", "18"),
    ("18, of course", "18"),
    ("#### 1,000", "1000"),
    ("none", None),
    ("", None),
    # separators
    ("1,234", "1234"),
    ("1,2,3", "3"),
    ("1, 2, 3", "3"),
    ("12,34", "34"),
    ("0,500", "500"),  # a decimal comma is not read
    ("1,234,56", "56"),
    ("1,234,567", "1234567"),
    ("1,234, and so on", "1234"),
    ("1234,", "1234"),
    ("in 2020\u00a0000", "0"),
    ("1\u00a0234", "1234"),
    ("12\u202f345.5", "12345.5"),
    ("100 200", "200"),
    ("1{,}234", "1234"),
    ("18\u00a0kg", "18"),
    ("\t18\r\n", "18"),
    # currency and percent
    ("$18", "18"),
    ("18€", "18"),
    ("£18.20", "18.20"),
    ("€ 18", "18"),
    ("\\$18", "18"),
    ("$18.", "18"),
    ("$.75", "0.75"),
    ("-$5", "-5"),
    ("$-5", "-5"),
    ("-\\$5", "-5"),
    ("$5-$3", "3"),
    ("5€-3€", "3"),
    ("40%", "40"),
    ("12.5%", "12.5"),
    ("18 dollars", "18"),
    ("$$-3$$", "-3"),
    ("$5$-$3$", "3"),
    # minus or not
    ("5 - 3", "3"),
    ("5-3", "3"),
    ("10-12", "12"),
    ("10–12", "12"),
    ("x = –3", "-3"),
    ("(-3)", "-3"),
    ("= -3", "-3"),
    ("(2)-3", "3"),
    ("20%-30%", "30"),
    ("COVID-19", "19"),
    ("- 3", "3"),  # a bullet
    ("the answer--3", "3"),  # a dash
    ("the answer — 3", "3"),
    ("from 5 to -3", "-3"),
    ("5, -3", "-3"),
    ("-0.5", "-0.5"),
    ("-.5", "-0.5"),
    ("-1,234", "-1234"),
    # dots
    ("So...5", "5"),
    ("No.5", "5"),
    ("3.", "3"),
    ("3.14.", "3.14"),
    ("1.5.2", "2"),
    ("5.0", "5"),
    ("007", "7"),
    # glued
    ("5kg", "5"),
    ("the 3rd", "3"),
    ("the 21st", "21"),
    ("x=5", "5"),
    ("USD18", "18"),
    ("3x5", "5"),
    ("2pm", "2"),
    ("**18**", "18"),
    ("\\boxed{18}", "18"),
    ("<<9*2=18>>18", "18"),
    ("25 cm^2", "25"),
    ("25 \\text{ m}^2", "25"),
    ("25 m^{2}", "25"),
    ("25 m²", "25"),
    ("25²", "25"),
    # scientific
    ("1e5", "100000"),
    ("1.5e-3", "0.0015"),
    ("2E3", "2000"),
    ("5e", "5"),
    ("5eggs", "5"),
    ("3 × 10^5", "5"),  # powers are not read
    # times
    ("3:00", "3"),
    ("at 3:30 pm", "3.5"),
    ("18:45.", "18.75"),
    ("16:9", "9"),
    ("1:2:3", "3"),
    ("10:30:15", "15"),
    # fractions
    ("3/4", "0.75"),
    ("1 1/2", "1.5"),
    ("-3/4", "-0.75"),
    ("$3/4$.", "0.75"),
    ("It is:\n3/4", "0.75"),
    ("It is 3/4", "4"),  # the last number
    ("48/2 = 24", "24"),
    ("3/0", "0"),
    ("1/2/3", "3"),
    ("5/6/2020", "2020"),
    ("½", "0.5"),
    ("1½ cups", "1.5"),
    ("1 ½ cups", "1.5"),
    ("\\frac{3}{4}", "0.75"),
    ("= 1\\frac{1}{2}", "1.5"),
    ("is \\frac{3}{4}", "4"),
    # other digits, and none
    ("١٢", "12"),
    ("\uff11\uff12", "12"),  # wide
    ("①", None),
    ("seventy-two", None),
    ("∞", None),
    ("inf", None),
    ("nan", None),
    ("-", None),
    ("$", None),
    (".", None),
    # which one
    ("The answer is 18 because 2+16", "16"),  # the last number, whatever the sentence says
    ("#### 72\n5 more", "5"),
    ("18\n\n", "18"),
    ("9" * 400, "9" * 400),
]


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_last_number(text: str, number: str | None) -> None:
    assert last_number(text) == (None if number is None else Decimal(number))


@pytest.mark.parametrize(
    ("text", "number"),
    [("It is 3/4", "0.75"), ("about 1 1/2 cups", "1.5"), ("3/4 or 2", "2"), ("5", "5"), ("\\frac{1}{4} left", "0.25")],
)
def test_last_number_with_fractions(text: str, number: str) -> None:
    assert last_number(text, fractions=True) == Decimal(number)


@pytest.mark.parametrize(
    ("gold", "completion", "extracted", "correct", "early"),
    [
        ("#### 72", " It is 72", "72", True, True),
        ("#### 72", " It is 72.00005", "72.00005", True, True),
        ("#### 72", " It is 72.0001", "72.0001", True, True),
        ("#### 72", " It is 72.0002", "72.0002", False, False),
        ("#### 1,000", " 1000", "1000", True, True),
        ("1000", " 1,000", "1000", True, True),
        ("#### 72", " seventy-two", None, False, False),
        ("#### 72", "", None, False, False),
        ("none", " 4", "4", False, False),
        ("4", " 4\nQuestion: and 5?\nAnswer: 9", "4", True, True),
        ("18", " 18\nBecause 2 + 16", "16", False, True),
        ("18", " 18 because 2 + 16", "16", False, False),
        ("18", " 2 + 16\n= 18", "18", True, False),
        ("18", "\n\nLet us see.\n18\n16", "16", False, True),
        ("2+2=4\n#### 4", " 1+1=2\n2+2=4\n#### 4\nThere are 5", "5", False, True),
        ("2+2=4\n#### 4", " 1+1=2\n#### 5\n#### 4", "4", True, False),
        ("4", " 1+1=2\n#### 4\nThere are 5", "5", False, False),  # the reference is not marked: the first line counts
        ("2+2=4\n#### 4", " ####\n4", "4", True, True),
        ("3/4", " It is 3/4.", "0.75", True, True),
        ("3/4", " It is 0.75", "0.75", True, True),
        ("3/4", " It is 1/4.", "0.25", False, False),
        ("0.75", " 3/4", "0.75", True, True),
        ("3:30", " at 3:30", "3.5", True, True),
        ("3:30", " at 4:30", "4.5", False, False),
        ("40", " 40%", "40", True, True),
        ("-3", " −3", "-3", True, True),
        ("3", " -3", "-3", False, False),
        ("9" * 400, "9" * 400, "9" * 400, True, True),
        ("9" * 400, "9" * 399 + "8", "9" * 399 + "8", False, False),  # both would be infinite as floats
        ("1e999", "2e999", "2E+999", False, False),
        ("9007199254740993", "9007199254740992", "9007199254740992", False, False),
    ],
)
def test_numbers_scored(gold: str, completion: str, extracted: str | None, correct: bool, early: bool) -> None:
    assert scored("number", gold, completion) == Score(extracted, correct, early, completion.count("Question") > 0)


@effort(deadline=None)
@given(st.integers(-(10**30), 10**30))
def test_an_integer_is_read_back_in_every_dress(number: int) -> None:
    for written in (f"{number}", f"{number:,}", f"{number:,}.00", f"{number:,}".replace(",", "\u202f")):
        for text in (
            written,
            f"It is {written}.",
            f"**{written}**",
            f"\\boxed{{{written}}}",
            f"={written}%",
            f"{written} kg",
        ):
            assert last_number(text) == number, text
    money = f"-${-number:,}" if number < 0 else f"${number:,}"
    assert last_number(f"They pay {money}.") == number


@effort(deadline=None)
@given(st.decimals(-(10**9), 10**9, places=3))
def test_a_decimal_is_read_back(number: Decimal) -> None:
    for text in (f"{number}", f"{number:,}", f"x = {number}.", f"1 and {number}\n", f"{number}".replace("-", "−")):
        assert last_number(text) == number, text


@effort(deadline=None)
@given(st.integers(0, 23), st.integers(0, 59))
def test_a_time_is_read_back(hours: int, minutes: int) -> None:
    assert last_number(f"at {hours}:{minutes:02}") == pytest.approx(Decimal(hours) + Decimal(minutes) / 60)


@effort(deadline=None)
@given(st.sampled_from([" 18", " It is 18.", " 2 + 16 = 18", " 7", " none", "\n\n18 kg"]), st.text(), st.booleans())
def test_what_follows_the_answer_leaves_early_alone(answer: str, prose: str, marked: bool) -> None:
    gold, prose = "#### 18" if marked else "18", prose.replace("#", "")
    if re.search(r"\d", answer):
        assert scored("number", gold, f"{answer}\n{prose}").early == scored("number", gold, answer).early


# --- letters -----------------------------------------------------------------------------------------------------

LETTERS = [
    (" B", "B"),
    ("(C) Rome", "C"),
    ("D. Bern", "D"),
    ("The answer is A.", "A"),
    ("ABC", None),
    ("E", None),
    ("D'oh! B", "B"),
    ("D\u2019oh! B", "B"),
    ("Because C", "C"),
    ("", None),
    # dress
    ("(B)", "B"),
    ("[B]", "B"),
    ("B.", "B"),
    ("B)", "B"),
    ("B:", "B"),
    ("B,", "B"),
    ("'B'", "B"),
    ('"B"', "B"),
    ("**B**", "B"),
    ("_B_", "B"),
    ("`B`", "B"),
    ("- B", "B"),
    ("$B$", "B"),
    ("\\boxed{B}", "B"),
    ("$\\boxed{\\text{B}}$", "B"),
    ("\\boxed{(B)}", "B"),
    ("\n\n B", "B"),
    ("\u00a0B", "B"),
    ("B\nC\nD", "B"),
    ("B. Rome\nC. Bern", "B"),
    ("B because C is too cold", "B"),
    ("B, A is wrong", "B"),
    ("B - Rome", "B"),
    ("B—because", "B"),
    # small letters
    ("b", "B"),
    ("(b)", "B"),
    ("b.", "B"),
    ("b)", "B"),
    (" a", "A"),
    ("a dog", None),
    ("b is right", None),
    ("the answer is a mammal", None),
    # named in words
    ("Answer: B", "B"),
    ("answer: B", "B"),
    ("the answer is (B)", "B"),
    ("The correct answer is **B**.", "B"),
    ("The correct answer is: B) Rome", "B"),
    ("The answer must be D", "D"),
    ("option B", "B"),
    ("Option B is right", "B"),
    ("The answer is option B", "B"),
    ("I think B", "B"),
    ("I would say (D).", "D"),
    ("Unlike B, the answer is C", "C"),
    ("So B.", "B"),
    # English words
    ("A good choice is C", "C"),
    ("A better answer is B", "B"),
    ("A dog", None),
    ("A dog.\nB", "B"),
    ("A", "A"),
    ("A.", "A"),
    ("A, since it is warm", "A"),
    ("A because it is warm", "A"),
    ("A is correct", "A"),
    ("A) dog", "A"),
    ("(A) dog", "A"),
    ("A. dog", "A"),
    ("A Milky Way", "A"),  # followed by a capital it is taken for the option
    ("The answer is A because", "A"),
    # more than one, or ruled out
    ("A or B", None),
    ("A and B", None),
    ("A/B", None),
    ("A & B", None),
    ("(A) or (B)", None),
    ("Both A and C", None),
    ("A, B, and C", None),
    ("The answer is A or B", None),
    ("A or B? C", "C"),
    ("D. Both A and C", "D"),
    ("A and B are wrong, so C", "C"),
    ("not A but C", "C"),
    ("It isn't A; it is D.", "D"),
    ("rather than A, C", "C"),
    ("neither A nor B", None),
    ("A is wrong, B is right", "B"),
    ("A isn't it. B", "B"),
    ("Option A is not right, option B is", "B"),
    # part of something else
    ("20 °C", None),
    ("C++", None),
    ("C# is a language", None),
    ("an A-level in D", "D"),
    ("Vitamin-B", None),
    ("8 A.M.", None),
    ("U.S.A.", None),
    ("D.C.", None),
    ("Bonn", None),
    ("B2", None),
    ("ÄB", None),
    ("ΑВС", None),  # noqa: RUF001  Greek and Cyrillic
]


@pytest.mark.parametrize(("text", "letter"), LETTERS)
def test_first_letter(text: str, letter: str | None) -> None:
    assert first_letter(text) == letter


@pytest.mark.parametrize(
    ("text", "letters", "letter"),
    [
        ("F", "ABCDEF", "F"),
        ("F", "ABCDE", None),
        ("The answer is (J).", "ABCDEFGHIJ", "J"),
        ("I think B", "ABCDEFGHIJ", "B"),
        ("I", "ABCDEFGHIJ", "I"),
        ("I.", "ABCDEFGHIJ", "I"),
        ("I'm sure: H", "ABCDEFGHIJ", "H"),
        ("I am", "ABCDEFGHIJ", None),
        ("The answer is I", "ABCDEFGHIJ", "I"),
        ("C", "AB", None),
    ],
)
def test_other_option_letters(text: str, letters: str, letter: str | None) -> None:
    assert first_letter(text, letters) == letter


@pytest.mark.parametrize(
    ("prompt", "answer", "letters"),
    [
        ("What?\nA. 1\nB. 2\nC. 3\nD. 4", "B", "ABCD"),
        ("What?\nA. 1\nB. 2", "B", "AB"),
        ("What?\n(A) 1\n(B) 2\n(C) 3\n(D) 4\n(E) 5", "A", "ABCDE"),
        ("What? A) 1 B) 2 C) 3 D) 4 E) 5", "A", "ABCDE"),
        ("\n".join(f"{letter}. x" for letter in "ABCDEFGHIJ"), "C", "ABCDEFGHIJ"),
        ("Is E. coli one?\nA. 1\nB. 2\nC. 3\nD. 4", "B", "ABCD"),
        ("What?", "B", "ABCD"),
        ("What?", "F", "ABCDEF"),
        ("What does vitamin A. do?", "(B)", "ABCD"),
        ("What?\nA. 1\nB. 2", "D. 4", "ABCD"),
    ],
)
def test_option_letters(prompt: str, answer: str, letters: str) -> None:
    assert option_letters(Example(prompt=prompt, answer=answer)) == letters


@pytest.mark.parametrize(
    ("gold", "completion", "extracted", "correct"),
    [
        ("B", " B", "B", True),
        (" B ", " B", "B", True),
        ("(B)", " B", "B", True),
        ("b", " B", "B", True),
        ("B. Rome", " B", "B", True),
        ("B", " C", "C", False),
        ("B", " A or B", None, False),
        ("A", " A or B", None, False),
        ("B", "", None, False),
        ("yes", " B", "B", False),
        ("A cat", " A", "A", False),
    ],
)
def test_letters_scored(gold: str, completion: str, extracted: str | None, correct: bool) -> None:
    assert scored("letter", gold, completion) == Score(extracted, correct, correct, False)


# --- fixed answers -----------------------------------------------------------------------------------------------

NORMAL = [
    (" (A) \nmore", "a"),
    ("\n\n True.", "true"),
    ('"Not  plausible"', "not plausible"),
    ("", ""),
    (" \n", ""),
    ("(A)", "a"),
    ("[A]", "a"),
    ("A.", "a"),
    ("**True**", "true"),
    ("`False`", "false"),
    ("“yes”", "yes"),
    ("So the answer is (A).", "a"),
    ("The answer is True.", "true"),
    ("the correct answer is: valid", "valid"),
    ("Therefore, the answer is no.", "no"),
    ("Answer: yes", "yes"),
    ("Answer:", "answer"),
    ("The answer is", "the answer is"),
    ("The answers are many", "the answers are many"),
    ("answering", "answering"),
    ("（Ａ）", "a"),  # noqa: RUF001  wide characters
    ("YES\u00a0 sir", "yes sir"),
    ("Straße", "strasse"),
    ("yes\r\nno", "yes"),
    ("[]", "[]"),
    ("()", "()"),
    ("...", "..."),
    (".5", ".5"),
    ("-5", "-5"),
    ("5%", "5%"),
    ("3.5", "3.5"),
    ("not-for-profit", "not-for-profit"),
    ("it's", "it's"),
    ("yes, because", "yes, because"),
]


@pytest.mark.parametrize(("text", "norm"), NORMAL)
def test_normalised(text: str, norm: str) -> None:
    assert normalised(text) == norm


@pytest.mark.parametrize(
    ("gold", "completion", "extracted", "correct"),
    [
        ("(A)", " (A)\nbecause", "a", True),
        ("(A)", " A", "a", True),
        ("(A)", " So the answer is (A).", "a", True),
        ("(A)", " (A) The blue jay", "a) the blue jay", False),  # an exact match
        ("yes", " Yes.", "yes", True),
        ("yes", " no", "no", False),
        ("yes", "", None, False),
        ("[]", " ()", "()", False),
    ],
)
def test_fixed_answers_scored(gold: str, completion: str, extracted: str | None, correct: bool) -> None:
    assert scored("exact", gold, completion) == Score(extracted, correct, correct, False)


# --- code --------------------------------------------------------------------------------------------------------

ADD = "def add(a, b):\n    return a + b"
TESTS = ("assert add(1, 2) == 3",)
OTHER = "def other():\n    return 1"

WRAPPED = {
    "bare": ADD,
    "after the space of the template": f" {ADD}\n",
    "after a line break": f"\n{ADD}",
    "indented": "\n".join(f"    {line}" for line in ADD.split("\n")),
    "indented by a tab": "\n".join(f"\t{line}" for line in ADD.split("\n")),
    "CRLF": ADD.replace("\n", "\r\n"),
    "fenced": f"\n```python\n{ADD}\n```",
    "fenced, py": f"```py\n{ADD}\n```",
    "fenced, Python3 and a space": f"``` Python3\n{ADD}\n```",
    "fenced, CRLF": f"```python\n{ADD}\n```".replace("\n", "\r\n"),
    "fenced by tildes": f"~~~\n{ADD}\n~~~",
    "fenced by four": f"````python\n{ADD}\n````",
    "fenced in a list": "1. Do:\n   ```python\n" + "\n".join(f"   {line}" for line in ADD.split("\n")) + "\n   ```",
    "fenced, with prose around": f"Here it is:\n```\n{ADD}\n```\nIt adds.",
    "fence never closed": f"```python\n{ADD}",
    "closing fence only": f"{ADD}\n```\nThis adds a and b.",
    "closing fence only, after prose": f"Take it from here.\n\n{ADD}\n```\nThis adds a and b.",
    "prose before": f"Here is the function you want:\n\n{ADD}",
    "prose before that begins as code does": f"from the two arguments:\nclass work:\n\n{ADD}",
    "prose right before that begins as code does": f"from two numbers:\n{ADD}",
    "the language's name before": f"python\n{ADD}",
    "one word before": f"Sure\n\n{ADD}",
    "prose after": f"{ADD}\n\nThis function adds its arguments.",
    "prose after, one word": f"{ADD}\n\nDone",
    "prose after, an annotation by accident": f"{ADD}\n\nOutput: three",
    "prose after, then more": f"{ADD}\n\nExample:\nprint(add(1, 2))",
    "an instruction of its own": f"{ADD}\n\nInstruction: more\nCode: def add(a, b): return 0",
    "a chat marker": f"{ADD}<|im_end|>",
    "a fenced one with a chat marker": f"```python\n{ADD}\n```<|endoftext|>",
    "cut off in what comes after": f"{ADD}\n\ndef test_add(",
    "cut off in a string after": f'{ADD}\n\nprint("The sum',
    "prompts": ">>> def add(a, b):\n...     return a + b",
    "prompts in prose": "You type:\n>>> def add(a, b):\n...     return a + b\n...\nDone.",
    "second of two blocks": f"```\npip install add\n```\nThen:\n```python\n{ADD}\n```",
    "second of two blocks, after another function": f"```python\n{OTHER}\n```\n```python\n{ADD}\n```",
    "first of two blocks": f"```python\n{ADD}\n```\n```python\nadd = 5\n```",
    "block after a line of code": f"You need this:\nimport math\n```python\n{ADD}\n```",
}


@pytest.mark.parametrize("completion", [pytest.param(text, id=name) for name, text in WRAPPED.items()])
def test_code_is_found_however_it_is_wrapped(completion: str) -> None:
    found = code_in(answer_part(completion, settings("python")), TESTS)
    assert found.strip() == ADD


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(f"import math\n\n# adds\n@staticmethod\n{ADD}", id="imports, comments, decorators"),
        pytest.param(f'{ADD}\n\nif __name__ == "__main__":\n    print(add(1, 2))', id="main"),
        pytest.param(f"{ADD}\n\nprint(add(1, 2))", id="prints"),
        pytest.param(f"{ADD}\n\n# done", id="a comment after"),
        pytest.param(f"{ADD}\n\n{OTHER}", id="two functions"),
        pytest.param(f"LIMIT = 5\n\n{ADD}\n\nadd.limit = LIMIT", id="assignments"),
        pytest.param("def add(a, b):\n\treturn a + b", id="tabs"),
        pytest.param("add = lambda a, b: a + b", id="lambda"),
        pytest.param("from operator import add", id="import alone"),
        pytest.param("class Adder:\n    def add(self): ...", id="class"),
        pytest.param("async def add(a, b): return a + b", id="async"),
        pytest.param(
            'def add(a, b):\n    """Adds.\n\n    >>> add(1, 2)\n    3\n    """\n    return a + b', id="doctest"
        ),
        pytest.param('def add(a, b):\n    """Adds\nat the margin\n"""\n    return a + b', id="margin in a string"),
        pytest.param('"""A module."""\nfrom operator import add', id="module docstring"),
        pytest.param(f"exit()\n{ADD}", id="a call first"),
        pytest.param("try:\n    from x import add\nexcept ImportError:\n    add = None", id="try"),
        pytest.param("add = {\n'a': 1,\n}", id="brackets at the margin"),
    ],
)
@pytest.mark.parametrize("wrap", ["{}", " {}\n", "```python\n{}\n```", "Here:\n\n```\n{}\n```\nDone, I think."])
def test_all_of_the_code_is_kept(code: str, wrap: str) -> None:
    assert code_in(wrap.replace("{}", code), TESTS).strip() == code


@pytest.mark.parametrize("line", ["x = (\n", "x = (\n\n", "def f(\n", "'''\n", "if x:\n", "```\nx = (\n```\n"])
def test_code_repeated_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    calls: list[str] = []

    def parse(code: str, _name: str) -> Any:
        calls.append(code)
        return compile(code, "code", "exec", ast.PyCF_ONLY_AST)

    monkeypatch.setattr(extract_code.ast, "parse", parse)
    assert code_in(line * 300) == line * 300
    assert len(calls) <= 1000  # not the square of the lines


HEADER = 'from math import sqrt\n\n\ndef root(x):\n    """ The root. """'
BODY = "\n    y = sqrt(x)\n\n    return y"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BODY, HEADER + BODY),
        (f"{BODY}\n\n\ndef other():\n    return 1\n", HEADER + BODY),
        (f"{BODY}\nprint(root(4))", HEADER + BODY),
        (f"{BODY}\n# Test\nroot(2)", HEADER + BODY),
        (f"{BODY}\n```\nThis is it.", HEADER + BODY),
        ("\n    return sqr", f"{HEADER}\n    return sqr"),
        (" # Ready\n    return 1", f"{HEADER} # Ready\n    return 1"),
        ("```python\ndef root(x):\n    return x ** 0.5\n```\nIt works.", "def root(x):\n    return x ** 0.5"),
        ("\ndef root(x):\n    return x ** 0.5", "def root(x):\n    return x ** 0.5"),
        ("\r\n    return 1\r\nroot(1)", f"{HEADER}\n    return 1"),
        ("", HEADER),
    ],
)
def test_code_that_goes_on_where_its_prompt_ends(text: str, expected: str) -> None:
    assert code_after(HEADER, text) == expected


def test_what_goes_on_is_run_with_its_prompt_and_marked_in_the_completion() -> None:
    ran: list[str] = []

    def keeping(code: str, *_: Any) -> SimpleNamespace:
        ran.append(code)
        return SimpleNamespace(passed=True, reason="")

    example = Example(id="a", prompt=HEADER, answer=BODY, tests=("assert root(4) == 2",))
    found = score(
        example, Settings(capability="c", template="{prompt}", scorer="python"), f"{BODY}\nx = 1", "eos", keeping
    )
    assert found.correct
    assert ran == [HEADER + BODY]
    assert found.extracted == BODY, "what it wrote itself"


def test_code_in_without_tests() -> None:
    assert code_in(f"Sure:\n```python\n{ADD}\n```\nDone.").strip() == ADD
    assert code_in(f"{ADD}\n\nThis adds.").strip() == ADD
    assert code_in(f"```\n{OTHER}\n```\n```\n{ADD}\n```").strip() == OTHER


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("", "nothing is defined"),
        ("I cannot.", "invalid syntax .*line 1"),
        ("exit()", "nothing is defined"),
        (f"{ADD}\n    return (", "'\\(' was never closed .*line 3"),
        ("def add(a, b)\n    return a + b", "expected ':' .*line 1"),
        ("def add(a, b):\nreturn a + b", "expected an indented block.*line 2"),
        ("Sure", "nothing is defined"),
        ("\0", "null bytes"),
        ("\ud800", "surrogates not allowed"),
        ("x = " + "(" * 1000, "too many nested"),
    ],
)
def test_what_is_no_code_is_not_run(completion: str, reason: str) -> None:
    found = scored("python", ADD, completion, run=None, tests=TESTS)
    assert found == Score(None, False, False, False, found.reason)
    assert re.search(f"^no code: .*{reason}", found.reason), found.reason


@pytest.mark.parametrize(("passed", "reason"), [(True, ""), (False, "AssertionError")])
def test_code_is_handed_over_and_the_verdict_taken(passed: bool, reason: str) -> None:
    calls: list[Any] = []

    def run(*given: Any) -> Any:
        calls.append(given)
        return SimpleNamespace(passed=passed, reason=reason)

    found = scored("python", "ref", f" {ADD}\n\nInstruction: x", run=run, tests=TESTS, setup="import math")
    assert [(code.strip(), *rest) for code, *rest in calls] == [(ADD, TESTS, "import math", "ref")]
    assert found == Score(calls[0][0], passed, passed, True, reason)


def test_a_likelihood_has_no_right_or_wrong() -> None:
    with pytest.raises(InputError, match="mine is scored by likelihood; use reference_nll"):
        scored("nll", "a", "a")


# --- any text ----------------------------------------------------------------------------------------------------

NASTY = (
    st.text() | st.text("0123456789,.-−–$€%/:eE \n½#^{}\\") | st.text("ABCDI ()'.,\nor") | st.text("def f():\n `>#.")
)


@effort(deadline=None)
@given(NASTY, NASTY, st.sampled_from(["number", "letter", "exact", "python"]), st.sampled_from(["eos", "length"]))
def test_no_text_raises(completion: str, gold: str, scorer: str, finish: str) -> None:
    found = scored(scorer, gold or "x", completion, finish, tests=TESTS)
    assert found.extracted is not None or not (found.correct or found.early)
    assert found.ended or finish == "length"
    fine = Example(id="fine", prompt="p", answer="1" if scorer in ("number", "exact") else "B", tests=TESTS)
    assert "fine" not in scorer_fits(settings(scorer), [fine, Example(id="x", prompt="p", answer=gold or "x")])


@effort(deadline=None)
@given(NASTY)
def test_a_text_that_is_not_blank_is_its_own_fixed_answer(text: str) -> None:
    assert scored("exact", text or "x", text).correct is bool(text.split("\nQuestion:")[0].strip())


# --- what fits ---------------------------------------------------------------------------------------------------


def examples(*answers: str, **fields: Any) -> list[Example]:
    return [Example(id=f"e{at}", prompt="p", answer=answer, **fields) for at, answer in enumerate(answers)]


@pytest.mark.parametrize(
    ("scorer", "answers", "unfit"),
    [
        ("number", ["4", "four", "#### 4", "5 ####"], ["e1", "e3"]),
        ("letter", ["A", "(J)", "K", "yes", "A dog", "b", "B. Rome"], ["e2", "e3", "e4"]),
        ("exact", ["yes", " ", "..."], ["e1"]),
        ("nll", ["yes", "\n"], ["e1"]),
    ],
)
def test_examples_that_do_not_fit_are_named(scorer: str, answers: list[str], unfit: list[str]) -> None:
    assert scorer_fits(settings(scorer), examples(*answers)) == unfit


def test_code_without_tests_does_not_fit() -> None:
    rows = [*examples(ADD, tests=TESTS), Example(id="bare", prompt="p", answer=ADD, tests=(" ",))]
    assert scorer_fits(settings("python"), rows) == ["bare"]


@pytest.mark.parametrize(
    ("scorer", "answers", "reason"),
    [
        (
            "number",
            ["Rome", "5 ####"],
            "mine: the scorer number fits none of its 2 .*'Rome'.*needs a number .* use the scorer exact",
        ),
        (
            "letter",
            ["Rome"],
            "mine: the scorer letter fits none of its 1 .*'Rome'.* from A to J .* use the scorer exact",
        ),
        ("python", [ADD], "mine: the scorer python .*'def add.*needs tests; add assertions .* or use the scorer nll"),
        ("exact", [" "], "mine: the scorer exact .*needs an answer that is not blank; fill in the answers"),
        ("number", [" "], "mine: the scorer number .*' '.*needs a number in the answer"),
        ("nll", ["\n"], "mine: the scorer nll .*needs an answer that is not blank"),
        ("exact", [], "mine: the scorer exact fits none of its 0 examples: it needs"),
    ],
)
def test_a_scorer_that_fits_nothing_is_refused(scorer: str, answers: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=f"^{reason}"):
        scorer_fits(settings(scorer), examples(*answers))


# --- real rows ---------------------------------------------------------------------------------------------------

FORMS = {  # typical surface forms of a short answer
    "number": [" {}", " The answer is {}.", " So they have ${} in all.", " {} dollars", " **{}**", "\n\\boxed{{{}}}"],
    "letter": [
        " {}",
        " ({})",
        " {}.",
        " {}) it is",
        " The answer is {}.",
        " Answer: {}",
        " **{}**",
        " {} because A is wrong",
    ],
    "exact": [" {}", " {}.", "\n{}\nbecause", " The answer is {}.", " **{}**", " So the answer is {}."],
}
SETS = ["gsm8k.train", "gsm8k.test", "svamp.test", "mmlu.dev", "mmlu.test", "bbh.test"]


@pytest.mark.parametrize("name", SETS)
def test_right_and_wrong_answers_of_real_rows(datasets_folder: Path, name: str) -> None:
    found = read_public(name.split(".")[0], datasets_folder / f"{name}.jsonl")
    rules, rows = found.settings, found.examples
    short = {row.id: row.answer.rpartition("#### ")[2].strip() for row in rows}
    missed, accepted, tried = [], [], 0
    for row in rows:
        others = (other for other in rows if normalised(short[other.id]) != normalised(short[row.id]))
        wrong = next(others)
        for form in ["{}\nQuestion: What is 7?\nAnswer: 7", *FORMS[rules.scorer]]:
            tried += 1
            if not score(row, rules, form.format(short[row.id]), "eos", passing).correct:
                missed.append((row.id, form))
            if score(row, rules, form.format(short[wrong.id]), "eos", passing).correct:
                accepted.append((row.id, form))
        if not score(row, rules, f" {row.answer}", "eos", passing).correct:
            missed.append((row.id, "whole"))
    assert scorer_fits(rules, rows) == []
    assert (missed, accepted) == ([], []), f"{name}: {len(missed)} missed, {len(accepted)} accepted of {tried}"


def flexible_extract(text: str) -> str | None:
    """lm-evaluation-harness, gsm8k.yaml: the filter `flexible-extract`, then what exact_match ignores."""
    found = [first or second for first, second in re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", text)]
    return re.sub(r",|\$|\.$", "", found[-1]) if found else None


@pytest.mark.parametrize("name", ["gsm8k.train", "gsm8k.test"])
def test_numbers_agree_with_flexible_extract(datasets_folder: Path, name: str) -> None:
    rows = read_public("gsm8k", datasets_folder / f"{name}.jsonl").examples
    texts = [row.answer for row in rows]
    texts += [line for text in texts for line in text.split("\n")[:-1]]  # each step of the reasoning, too
    compared, differing = 0, []
    for text in texts:
        ours, theirs = last_number(text), flexible_extract(text)
        if theirs is None or not re.fullmatch(r"-?\d*\.?\d+", theirs):
            continue  # theirs is no number ("..", ".")
        compared += 1
        if ours != Decimal(theirs):
            differing.append((text[-60:], str(ours), theirs))
    assert differing == [], f"{name}: {len(differing)} of {compared} differ"
    assert compared > 4 * len(rows), f"{name}: only {compared} of {len(texts)} compared"


@pytest.mark.parametrize(
    ("text", "theirs", "ours"),
    [("at 3:00", "00", "3"), ("5-3", "-3", "3"), ("1e5", "5", "100000"), ("25 m^2", "2", "25"), ("3/4", "4", "0.75")],
)
def test_where_we_mean_to_differ_from_flexible_extract(text: str, theirs: str, ours: str) -> None:
    assert flexible_extract(text) == theirs
    assert last_number(text) == Decimal(ours)


@pytest.mark.filterwarnings("ignore:invalid escape")  # in the data set
@pytest.mark.parametrize("name", ["mbpp.train", "mbpp.test"])
def test_real_code_comes_out_as_it_went_in(datasets_folder: Path, name: str) -> None:
    rows = read_public("mbpp", datasets_folder / f"{name}.jsonl").examples
    forms = ["{}", " {}\n", "```python\n{}\n```", "Here is the code:\n\n```\n{}\n```\nIt works.", "{}\n\nThis is it."]
    forms += ["~~~py\n{}\n~~~", "```python\n{}", "{}\n```\nThat is it.", "You can do it like this:\n\n{}"]
    changed = [
        (row.id, form)
        for row in rows
        for form in forms
        if code_in(form.replace("{}", row.answer), row.tests).strip("\n") != row.answer.strip("\n")
    ]
    assert changed == [], f"{name}: {len(changed)} of {len(rows) * len(forms)} changed"
    assert all(ast.parse(code_in(row.answer, row.tests)).body for row in rows)


@pytest.mark.parametrize("name", ["arithmetic", "multiple-choice", "python-functions"])
def test_built_in_references_are_right(name: str) -> None:
    found = read_builtin(name)
    assert scorer_fits(found.settings, found.examples) == []
    scores = [score(row, found.settings, f" {row.answer}", "eos", passing) for row in found.examples]
    assert all(one.correct and one.early and one.ended for one in scores)
    if name == "python-functions":
        assert [one.extracted for one in scores] == [row.answer for row in found.examples]

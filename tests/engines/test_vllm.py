"""A real vLLM on the built-in model: `make test-vllm`. Skipped where SPD_VLLM names none."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from spd_core.data.catalog import find_capability
from spd_core.distill.audits import AUDITS, read_audits
from spd_core.distill.pipeline import carry_out
from spd_core.distill.served import ServedStudent
from spd_core.distill.teachers import EngineTeacher, Prefix, SelfTeacher
from spd_core.distill.write import PlannedRow, planned_rows, write_corpus, write_corpus_by
from spd_core.engines.writing import ToBeServed, engine_for
from spd_core.engines.written import writer_of_corpus
from spd_core.intervention.cards import read_card
from spd_core.intervention.projection import Lane
from spd_core.recipes.distill import recipe_from
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.writer import Writer
from spd_core.subspace.store import open_capture
from spd_core.subspace.subspace import subspace_of

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not os.environ.get("SPD_VLLM"), reason="needs vLLM: make test-vllm"),
]
GREEDY = Sampling(temperature=0.0, max_new_tokens=16)
DRAWN = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=16, seed=7)
Write = Callable[..., Any]


@pytest.fixture(scope="module")
def lane(builtin_lm: Any) -> Lane:
    """Inside the recorded subspace of arithmetic."""
    return Lane(subspace_of(open_capture("arithmetic"), "half"), name="spd")


@pytest.fixture(scope="module")
def tasks(builtin_lm: Any) -> list[PlannedRow]:
    return planned_rows(builtin_lm, find_capability("arithmetic", split="train"), limit=8)


@pytest.fixture
def write(builtin_lm: Any, lane: Lane, tasks: list[PlannedRow], tmp_path: Path) -> Iterator[Write]:
    def through(name: str, sampling: Sampling, concurrency: int = 8) -> Any:
        path, writer = tmp_path / f"{name}.jsonl", Writer(kind="vllm", concurrency=concurrency, timeout=600)
        return write_corpus_by(writer, "spd", builtin_lm, tasks, lane, sampling, path, tmp_path / "engines")

    yield through
    assert not list((tmp_path / "engines").glob(".*"))


def test_a_folded_checkpoint_writes_what_the_hooks_write_here(
    write: Write, builtin_lm: Any, lane: Lane, tasks: list[PlannedRow], tmp_path: Path
) -> None:
    here = write_corpus(builtin_lm, tasks, lane, GREEDY, tmp_path / "here.jsonl")
    assert write("greedy", GREEDY) == here, "text by text, token by token, and how each ended"
    found = writer_of_corpus(tmp_path / "greedy.jsonl")
    assert found is not None
    assert found.writer.startswith("vllm ")
    assert (found.prompts, found.tokens) == ("token ids", "returned")
    assert found.gap is not None
    assert found.gap < 1e-3


def test_a_teacher_behind_it_writes_on_as_the_hooks_do_here(
    builtin_lm: Any, lane: Lane, tasks: list[PlannedRow], tmp_path: Path
) -> None:
    prefixes = []
    for task in tasks:
        text = f"{task.prompt} The answer"
        ids = tuple(builtin_lm.tokenizer(text)["input_ids"])
        prefixes.append(Prefix(task.number, 100, task.prompt, ids, text, " The answer"))
    wanted = ToBeServed("omniopd", builtin_lm, lane, True, tmp_path)
    longest = replace(DRAWN, max_new_tokens=32)  # what stands before a continuation, and the continuation
    with engine_for(Writer(kind="vllm", timeout=600), wanted, tasks, longest) as (own, _):
        teacher, here = EngineTeacher(own), SelfTeacher(builtin_lm, lane)
        assert teacher.write(prefixes, 1, GREEDY) == here.write(prefixes, 1, GREEDY)
        drawn = teacher.write(prefixes, 4, replace(DRAWN, temperature=1.5, top_p=1.0))
    assert [len(texts) for texts in drawn] == [4] * len(tasks)
    assert all(len(set(texts)) > 1 for texts in drawn), "each continuation has its own noise"


def test_a_student_writes_through_it_by_the_adapter_of_each_step(
    builtin_lm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps, check = [], ServedStudent.check

    def checked(own: ServedStudent, told: list[float], read: list[float], step: int) -> None:
        gaps.append(fmean(abs(one - other) for one, other in zip(told, read, strict=True)))
        check(own, told, read, step)

    monkeypatch.setattr(ServedStudent, "check", checked)
    recipe = recipe_from({
        "preset": "quick", "capability": "arithmetic", "arms": ["omniopd-raw"], "dtype": "float32", "drift": False,
        "corpus": {"prompts": 10, "held_out": 2, "max_new_tokens": 12, "writer": {"kind": "vllm", "timeout": 600}},
        "train": {"epochs": 1, "batch_size": 4, "learning_rate": 3e-3, "completions": 0},
        "rollout": {"temperature": 0.7, "top_p": 0.9},
        "omniopd": {"chunks": 1, "chunk_tokens": 4, "samples": 2, "accept_short": True},
    })  # fmt: skip
    assert carry_out(recipe, tmp_path) == "done"
    card = read_card(tmp_path / "adapters/omniopd-raw")
    assert (card.steps, card.rollouts.startswith("written through vllm ")) == (2, True)
    audits = read_audits(tmp_path / "arms/omniopd-raw/round-1" / AUDITS)
    assert all(len(one.entropies) in (len(one.tokens), len(one.tokens) - 1) for one in audits)
    assert max(gaps) < 1e-3
    assert len(gaps) == 2
    assert sorted(one.name for one in (tmp_path / "engines").iterdir()) == [
        "omniopd-raw-student.log",
        "omniopd-raw.log",
    ]


def test_a_request_with_its_seed_repeats_however_many_are_on_their_way(write: Write, tmp_path: Path) -> None:
    assert write("many", DRAWN) == write("one", DRAWN, concurrency=1)
    found = writer_of_corpus(tmp_path / "many.jsonl")
    assert found is not None
    assert found.repeats is True

"""Tasks of the harness in a table: scores as the harness' own and as by hand, pairs, controls, and going on."""

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from spd_core.errors import InputError
from spd_core.evaluation import harness_sets
from spd_core.evaluation.cells import read_cell
from spd_core.evaluation.fill import carry_out_table
from spd_core.evaluation.harness import harness_results
from spd_core.evaluation.harness_sets import HarnessItems, evaluate_items, read_items
from spd_core.evaluation.preflight import check
from spd_core.evaluation.report import notes
from spd_core.evaluation.store import ItemStore
from spd_core.evaluation.table import read_table
from spd_core.intervention.projection import Lane, projecting
from spd_core.recipes.evaluation import EvaluationRecipe, evaluation_from
from spd_core.recipes.sets import EvalSet, HarnessTask
from spd_core.runs.events import CellDone
from tests.evaluation import test_harness
from tests.evaluation.test_harness import CHOICES, MULTIPLE_CHOICE, QUESTIONS, WRITING, answers, greedy, labelled
from tests.intervention.test_projection import subspace_of

library, task = test_harness.library, test_harness.task


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SPD_HOME without runs or records."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))


def items_of(folder: Path, name: str = "harness:sums", **more: Any) -> HarnessItems:
    found = read_items(EvalSet(capability=name, data=str(folder), **more))
    assert isinstance(found, HarnessItems)
    return found


# --- what is named -------------------------------------------------------------------------------------------


def test_a_set_names_its_task_and_metric() -> None:
    assert EvalSet(capability="harness:arc_easy").task == HarnessTask("arc_easy")
    named = EvalSet(capability="harness:gsm8k:exact_match,flexible-extract")
    assert (named.task, named.name) == (
        HarnessTask("gsm8k", "exact_match,flexible-extract"), "harness-gsm8k-exact-match-flexible-extract")  # fmt: skip
    assert EvalSet(capability="arithmetic").task is None
    for wrong, message in (({"capability": "harness:"}, "names no task"),
                           ({"capability": "harness:x", "max_new_tokens": 4}, "says itself how long")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            EvalSet(**wrong)


def test_a_metric_that_the_task_lacks_is_told_with_those_it_has(task: Callable[..., Path]) -> None:
    folder = task("sums", CHOICES, MULTIPLE_CHOICE)
    assert items_of(folder).metric == "acc"
    assert items_of(folder, "harness:sums:acc_norm").metric == "acc_norm"
    with pytest.raises(InputError, match=r"task 'sums' has no metric f1,none; it has the metrics acc, acc_norm, after"):
        items_of(folder, "harness:sums:f1")


# --- scores --------------------------------------------------------------------------------------------------


def test_each_item_is_right_where_its_likeliest_choice_is(
    tiny_lm: Callable[[str], Any], task: Callable[..., Path]
) -> None:
    lm = tiny_lm("llama")
    rows = labelled(lm)
    folder, lane = task("sums", rows, MULTIPLE_CHOICE), Lane(subspace_of(lm))
    items = items_of(folder)
    assert items.chance == pytest.approx(1 / 3)
    for name, chosen in (("raw", Lane()), ("projected", lane)):
        with projecting(lm, chosen):
            expected = [choice for choice, _ in answers(lm, lm.model)]
        found = evaluate_items(lm, chosen, items, name, batch_size=2)
        assert found.whole
        assert [one.correct for one in found.records] == [
            choice == row["label"] for choice, row in zip(expected, rows, strict=True)
        ]
        assert [one.extracted for one in found.records] == [
            row["choices"][choice] for choice, row in zip(expected, rows, strict=True)
        ]
        assert [one.gold for one in found.records] == [row["choices"][row["label"]] for row in rows]
        assert [one.prompt for one in found.records] == [row["question"] for row in rows]
        whole = harness_results(lm, chosen, ["sums"], include_path=folder)["results"]["sums"]["acc,none"]
        assert sum(one.value for one in found.records) / len(rows) == pytest.approx(whole)


def test_what_is_written_is_kept(tiny_lm: Callable[[str], Any], task: Callable[..., Path]) -> None:
    lm = tiny_lm("llama")
    texts = [greedy(lm, question) for question in QUESTIONS]
    rows = [
        {"question": q, "target": t if at % 2 else "x"} for at, (q, t) in enumerate(zip(QUESTIONS, texts, strict=True))
    ]
    found = evaluate_items(lm, Lane(), items_of(task("words", rows, WRITING), "harness:words"), "f")
    assert [one.completion for one in found.records] == texts
    assert [one.correct for one in found.records] == [
        text == row["target"] for text, row in zip(texts, rows, strict=True)
    ]
    assert {one.early == one.correct for one in found.records} == {True}, "the task itself says where an answer ends"


def test_a_score_that_is_neither_right_nor_wrong_is_refused(
    tiny_lm: Callable[[str], Any], task: Callable[..., Path]
) -> None:
    metric = {"metric_list": [{"metric": "bleu", "aggregation": "mean", "higher_is_better": True}]}
    folder = task("sums", CHOICES, {**MULTIPLE_CHOICE, "process_results": "!function own.half", **metric})
    (folder / "own.py").write_text("def half(doc, results):\n    return {'bleu': 0.5}\n")
    path = folder / "sums.yaml"
    path.write_text(path.read_text().replace("'!function own.half'", "!function own.half"))
    with pytest.raises(InputError, match=r"bleu of sums-0 is 0.5, neither right \(1\) nor wrong \(0\)"):
        evaluate_items(tiny_lm("llama"), Lane(), items_of(folder), "f")


# --- going on ------------------------------------------------------------------------------------------------


def test_only_what_is_new_is_asked(
    tiny_lm: Callable[[str], Any], task: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, folder = tiny_lm("llama"), task("sums", CHOICES, MULTIPLE_CHOICE)
    whole = evaluate_items(lm, Lane(), items_of(folder), "once")
    asked: list[list[int]] = []
    ask = harness_sets._ask

    def counting(*args: Any) -> Any:
        asked.append(list(args[4]))
        return ask(*args)

    monkeypatch.setattr(harness_sets, "_ask", counting)
    few = evaluate_items(lm, Lane(), items_of(folder, limit=5), "f", batch_size=1)
    assert (few.reused, asked) == (0, [[0, 1, 2, 3], [4]])
    left = iter(range(1))
    stopped = evaluate_items(lm, Lane(), items_of(folder), "f", batch_size=2, stop=lambda: next(left, None) is None)
    assert (stopped.whole, stopped.reused, len(stopped.records)) == (False, 5, 13)
    asked.clear()
    rest = evaluate_items(lm, Lane(), items_of(folder), "f", batch_size=100)
    assert (asked, rest.reused) == ([list(range(13, 24))], 13)
    assert rest.records == whole.records
    asked.clear()
    again = evaluate_items(lm, Lane(), items_of(folder), "f")
    assert (asked, again.reused, again.tokens, again.records) == ([], 24, 0, whole.records)


def test_an_edited_row_is_asked_anew(tiny_lm: Callable[[str], Any], task: Callable[..., Path]) -> None:
    lm = tiny_lm("llama")
    evaluate_items(lm, Lane(), items_of(task("sums", CHOICES, MULTIPLE_CHOICE)), "f")
    edited = [{**row, "choices": ["other", *row["choices"][1:]]} if at == 3 else row for at, row in enumerate(CHOICES)]
    before = items_of(task("sums", CHOICES, MULTIPLE_CHOICE)).capability.fingerprint
    items = items_of(task("sums", edited, MULTIPLE_CHOICE))
    assert items.capability.fingerprint != before
    found = evaluate_items(lm, Lane(), items, "f")
    assert (found.whole, found.reused) == (True, 23)


@pytest.mark.parametrize(
    "changes", [{"doc_to_text": "Sum: {{question}}"}, {"target_delimiter": ""}, {"description": "Add. "}]
)
def test_a_task_that_was_edited_under_the_same_version_is_asked_anew(
    changes: dict[str, str], tiny_lm: Callable[[str], Any], task: Callable[..., Path]
) -> None:
    """Its rows are the same, and what the model reads of them is not."""
    lm = tiny_lm("llama")
    evaluate_items(lm, Lane(), items_of(task("sums", CHOICES, MULTIPLE_CHOICE)), "f")
    again = evaluate_items(lm, Lane(), items_of(task("sums", CHOICES, MULTIPLE_CHOICE)), "f")
    assert again.reused == len(CHOICES)
    found = evaluate_items(lm, Lane(), items_of(task("sums", CHOICES, {**MULTIPLE_CHOICE, **changes})), "f")
    assert (found.whole, found.reused) == (True, 0)


def test_worked_examples_are_the_same_however_many_are_asked(
    tiny_lm: Callable[[str], Any], task: Callable[..., Path]
) -> None:
    lm = tiny_lm("llama")
    folder = task("sums", CHOICES, MULTIPLE_CHOICE, num_fewshot=2, fewshot_split="test")
    whole = evaluate_items(lm, Lane(), items_of(folder), "whole")
    evaluate_items(lm, Lane(), items_of(folder, limit=4), "parts")
    parts = evaluate_items(lm, Lane(), items_of(folder), "parts")
    assert parts.reused == 4
    assert parts.records == whole.records
    assert whole.records[0].prompt.count(" =") == 3
    left = iter(range(1))
    stopped = evaluate_items(lm, Lane(), items_of(folder), "stop", batch_size=1, stop=lambda: next(left, None) is None)
    assert (stopped.whole, len(stopped.records)) == (False, 4), "midway"
    rest = evaluate_items(lm, Lane(), items_of(folder), "stop", batch_size=2)
    assert (rest.reused, rest.records) == (4, whole.records)


def test_a_group_is_all_its_tasks(tiny_lm: Callable[[str], Any], task: Callable[..., Path]) -> None:
    task("sums", CHOICES[:5], MULTIPLE_CHOICE)
    folder = task("more", CHOICES[5:], MULTIPLE_CHOICE)
    (folder / "both.yaml").write_text(yaml.safe_dump({"group": "both", "task": ["sums", "more"]}))
    found = evaluate_items(tiny_lm("llama"), Lane(), items_of(folder, "harness:both", limit=7), "f")
    assert sorted(one.id for one in found.records) == sorted(
        [*(f"sums-{at}" for at in range(5)), *(f"more-{at}" for at in range(7))]
    )


# --- in a table ----------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tmp_path: Path, family_folder: Callable[[str], Path], task: Callable[..., Path]) -> EvaluationRecipe:
    """Base and projected ones on a capability and on a task."""
    rows = [{"capability": "sums", "template": "Q: {prompt}", "spans": "number", "scorer": "number"}]
    for split in ("calibration", "heldout"):
        rows += [
            {"id": f"{split}{i}", "split": split, "prompt": f"{split} {i}", "answer": f"it is {i}"} for i in range(6)
        ]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = task("sums", CHOICES, MULTIPLE_CHOICE)
    return evaluation_from({
        "capability": str(path), "model": str(family_folder("llama")), "dtype": "float32",
        "subjects": ["base", "projected", "projected-random", "projected-full", "projected-shuffled"],
        "sets": [{"capability": str(path), "max_new_tokens": 5}, {"capability": "harness:sums", "data": str(folder)}],
        "batch_size": 3,
    })  # fmt: skip


def test_a_task_stands_in_table_and_claims_with_its_controls(recipe: EvaluationRecipe, tmp_path: Path) -> None:
    check(recipe)
    assert evaluation_from(json.loads(recipe.model_dump_json())) == recipe
    assert carry_out_table(recipe, tmp_path / "run") == "done"
    table = read_table(recipe, tmp_path / "run")
    assert (table.done, table.planned, table.damaged) == (10, 10, ())
    column = table.column("harness-sums")
    assert (column.title, column.in_domain, column.likelihood) == ("sums (acc, lm-evaluation-harness)", False, False)
    claim = table.claims["projected", "harness-sums"]
    base, mine = (table.answered[name, "harness-sums"] for name in ("base", "projected"))
    gained = sum(one > other for one, other in zip(mine.scores[0], base.scores[0], strict=True))
    assert (claim.difference.n, claim.difference.gained, claim.difference.test) == (24, gained, "exact McNemar")
    assert [control.state != "not run" for control in claim.controls] == [True] * 3
    assert not any(flag.startswith("stops early") for flag in claim.flags)
    cell = base.cells[0]
    assert (cell.about.scorer, cell.chance) == ("harness:sums/acc,none", pytest.approx(1 / 3))
    says = f"put and scored by lm-evaluation-harness {metadata.version('lm_eval')}, sums, version not given"
    assert any(says in note and note.endswith("; what counts is acc,none.") for note in notes(table)), notes(table)
    heard: list[CellDone] = []
    told: Any = lambda event: heard.append(event) if isinstance(event, CellDone) else None  # noqa: E731
    assert carry_out_table(recipe, tmp_path / "again", tell=told) == "done"
    assert {(one.set, one.n, one.reused, one.tokens) for one in heard} == {
        ("own", 6, 6, 0), ("harness-sums", 24, 24, 0)}  # fmt: skip
    found = read_cell(tmp_path / "run", "base", 42, "harness-sums")
    assert found is not None
    assert ItemStore(found[0].about).path.exists()


@pytest.mark.slow
def test_a_task_that_is_not_there_is_told_before_anything_starts(recipe: EvaluationRecipe) -> None:
    wrong = EvalSet(capability="harness:smus", data=recipe.sets[1].data)
    with pytest.raises(InputError, match="the harness has no task 'smus'"):
        check(recipe.model_copy(update={"sets": (*recipe.sets, wrong)}))

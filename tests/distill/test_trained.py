"""Which runs have trained some arms: one answer, arm by arm, from runs of all kinds of origin."""

import json
from pathlib import Path
from typing import Any

import pytest

from spd_core.data.capability import read_builtin
from spd_core.distill.trained import SOURCES, begun_by, note_sources, sources_of, still_to_train, trained_by
from spd_core.intervention.cards import CARD
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.recipes.evaluation import evaluation_from
from spd_core.runs import queue
from spd_core.runs.folder import Run
from spd_core.runs.record import State
from spd_core.storage import write_text


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text(read_builtin("arithmetic").to_jsonl())
    return path


def made(capability: Path, **changes: Any) -> Recipe:
    return recipe_from({"preset": "quick", "capability": str(capability), "arms": ["psr", "spd"], **changes})


def run_of(recipe: Recipe, state: State = "done", *, noted: bool = True) -> Run:
    """A run as it stands when it has begun, and then ended in this state."""
    run = queue.create_here(recipe)
    if noted:
        note_sources(recipe, run.folder)
    for arm in recipe.arms if state == "done" else ():
        write_text(run.folder / "adapters" / arm / CARD, "{}")
    run.write_status(run.status().model_copy(update={"state": state, "job": None, "launcher": None}))
    return run


def found(recipe: Recipe) -> dict[str, str]:
    """The run of each arm that is trained; the other two askers say the same."""
    runs = {arm: run.id for arm, run in trained_by(recipe).items()}
    left = still_to_train(recipe)
    assert tuple(arm for arm in recipe.arms if arm not in runs) == (left.arms if left is not None else ())
    return {str(arm): run for arm, run in runs.items()}


def test_a_finished_run_counts_wherever_it_was_started(sums: Path) -> None:
    assert found(made(sums)) == {}
    for state in ("stopped", "failed", "review", "queued"):
        run_of(made(sums), state)
    assert found(made(sums)) == {}
    run = run_of(made(sums, arms=["psr", "ssd", "spd"], drift=True, review=True))
    assert found(made(sums, drift=False)) == {"psr": run.id, "spd": run.id}, "what changes no arm does not count"
    assert found(made(sums, arms=["spd"])) == {"spd": run.id}


def test_arms_are_found_one_by_one(sums: Path) -> None:
    """An evaluation with all controls never used what Fine-tune had trained: no run there has just those arms."""
    first, second = run_of(made(sums)), run_of(made(sums, arms=["random", "psr"]))
    wanted = made(sums, arms=["psr", "spd", "random", "full"])
    assert found(wanted) == {"psr": second.id, "spd": first.id, "random": second.id}
    left = still_to_train(wanted)
    assert left == wanted.model_copy(update={"arms": ("full",)})


def test_a_run_of_the_same_preset_counts_for_an_evaluation(sums: Path) -> None:
    run = run_of(recipe_from({"preset": "quick", "capability": str(sums)}))  # as `distill` and the page make it
    subjects = ["base", "psr", "ssd", "spd", "random", "full", "shuffled"]
    evaluation = evaluation_from({"preset": "quick", "capability": str(sums), "subjects": subjects})
    (wanted,) = [evaluation.distillation(seed) for seed in evaluation.seeds]
    assert wanted is not None
    assert found(wanted) == {"psr": run.id, "ssd": run.id, "spd": run.id}
    other = evaluation_from({"preset": "paper", "capability": str(sums), "subjects": subjects}).distillation(42)
    assert other is not None
    assert found(other) == {}


@pytest.mark.parametrize(
    "changes",
    [{"seed": 7}, {"rounds": 2}, {"capture": {"examples": 20}}, {"train": {"epochs": 9}}, {"corpus": {"prompts": 30}},
     {"capture": {"rank": "4"}}, {"capture": {"strength": 0.5}}, {"train": {"batch_size": 4}}, {"dtype": "bfloat16"},
     {"corpus": {"temperature": 0.1}}, {"corpus": {"held_out": 4}}, {"corpus": {"drop": []}}, {"train": {"seed": 1}}],
)  # fmt: skip
def test_any_setting_that_an_arm_depends_on_counts(changes: dict[str, Any], sums: Path) -> None:
    run = run_of(made(sums, arms=["spd"]))
    assert found(made(sums, arms=["spd"])) == {"spd": run.id}
    assert found(made(sums, arms=["spd"], **changes)) == {}


@pytest.mark.parametrize(
    "changes",
    [{"drift": False}, {"review": True}, {"capture": {"batch_size": 3}}, {"corpus": {"batch_size": 3}},
     {"train": {"completions": 0}}, {"train": {"log_to": ["tensorboard"]}}],
)  # fmt: skip
def test_a_setting_that_no_arm_depends_on_does_not(changes: dict[str, Any], sums: Path) -> None:
    run = run_of(made(sums))
    assert found(made(sums, **changes)) == {"psr": run.id, "spd": run.id}


def test_as_many_examples_as_there_are_and_all_of_them_are_the_same(sums: Path) -> None:
    calibration = len(read_builtin("arithmetic").split("calibration").examples)
    run = run_of(made(sums, capture={"examples": calibration}))
    assert found(made(sums, capture={"examples": None})) == {"psr": run.id, "spd": run.id}


def test_an_arm_that_projects_nothing_depends_on_no_capture(sums: Path) -> None:
    run = run_of(made(sums))
    assert found(made(sums, capture={"examples": 20, "rank": "3"})) == {"psr": run.id}
    prompt = read_builtin("arithmetic").split("calibration").examples[0].prompt
    sums.write_text(sums.read_text().replace(prompt, "What is 1 + 1?"))
    assert found(made(sums)) == {"psr": run.id}


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_an_edited_capability_is_another_one_for_everybody(sums: Path, split: Any) -> None:
    """The page said "trained already", and the table trained for 24 minutes. Held-out prompts decide what leaks."""
    run = run_of(made(sums))
    assert found(made(sums)) == {"psr": run.id, "spd": run.id}
    prompt = read_builtin("arithmetic").split(split).examples[0].prompt
    sums.write_text(sums.read_text().replace(prompt, "What is 1 + 1?"))
    assert found(made(sums)) == {}
    assert begun_by(made(sums)) is None
    note_sources(made(sums), run.folder)  # going on does not make it another run
    assert found(made(sums)) == {}
    sums.unlink()
    assert found(made(sums)) == {}


def test_the_same_file_under_another_path_is_the_same(sums: Path, tmp_path: Path) -> None:
    run = run_of(made(sums))
    (tmp_path / "copy.jsonl").write_text(sums.read_text())
    assert found(made(tmp_path / "copy.jsonl")) == {"psr": run.id, "spd": run.id}


def test_rows_that_an_arm_was_trained_on_and_that_are_rejected_count_it_out(sums: Path) -> None:
    run = run_of(made(sums))
    run.set_rejected({"spd": [1], "psr": []})
    assert found(made(sums)) == {"psr": run.id}
    write_text(run.folder / "rejected.json", "{")
    assert found(made(sums)) == {}


def test_runs_that_did_not_say_what_they_meant_do_not_count(sums: Path) -> None:
    run_of(made(sums), noted=False)
    for text in ("", "[]", '{"mod'):
        write_text(run_of(made(sums), noted=False).folder / SOURCES, text)
    assert found(made(sums)) == {}


def test_a_run_of_an_earlier_version_noted_less(sums: Path) -> None:
    run = run_of(made(sums))
    noted = {name: value for name, value in sources_of(made(sums)).items() if name != "heldout"}
    write_text(run.folder / SOURCES, json.dumps(noted))
    assert found(made(sums)) == {"psr": run.id, "spd": run.id}


def test_an_adapter_that_was_deleted_does_not_count(sums: Path) -> None:
    run = run_of(made(sums))
    (run.folder / "adapters" / "spd" / CARD).unlink()
    assert found(made(sums)) == {"psr": run.id}


def test_a_run_that_has_begun_is_gone_on_with_when_it_is_the_very_same(sums: Path) -> None:
    run = run_of(made(sums), "stopped")
    begun = begun_by(made(sums))
    assert begun is not None
    assert begun.id == run.id
    assert begun_by(made(sums, arms=["spd"])) is None, "it would train more than was asked for"
    run.set_rejected({"psr": [1]})
    assert begun_by(made(sums)) is None, "it would train on less"
    run.set_rejected({"psr": []})
    assert begun_by(made(sums)) == begun, "the row was taken back"


def test_a_public_set_is_what_its_name_says(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_from({"preset": "quick", "capability": "gsm8k"})
    monkeypatch.setattr("spd_core.distill.trained.find_capability", lambda *_, **__: pytest.fail("asks the hub"))
    assert set(sources_of(recipe).values()) == {"public", ""}
    run = run_of(recipe)
    assert set(found(recipe).values()) == {run.id}
    assert found(recipe_from({"preset": "quick", "capability": "mbpp"})) == {}

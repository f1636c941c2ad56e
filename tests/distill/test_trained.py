"""Which run has trained some arms: one answer, from runs of all kinds of origin."""

from pathlib import Path
from typing import Any

import pytest

from spd_core.data.capability import read_builtin
from spd_core.distill.trained import begun_by, note_sources, sources_of, trained_by
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.runs import queue
from spd_core.runs.folder import Run
from spd_core.runs.record import State


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
    run.write_status(run.status().model_copy(update={"state": state, "job": None, "launcher": None}))
    return run


def found(recipe: Recipe) -> str | None:
    run = trained_by(recipe)
    return run.id if run is not None else None


def test_a_finished_run_counts_wherever_it_was_started(sums: Path) -> None:
    assert found(made(sums)) is None
    for state in ("stopped", "failed", "review", "queued"):
        run_of(made(sums), state)
    assert found(made(sums)) is None
    run = run_of(made(sums, arms=["psr", "ssd", "spd"], drift=True, review=True))
    assert found(made(sums, drift=False)) == run.id, "what changes no arm does not count"
    assert found(made(sums, arms=["spd"])) == run.id
    assert found(made(sums, arms=["spd", "random"])) is None


@pytest.mark.parametrize(
    "changes",
    [{"seed": 7}, {"rounds": 2}, {"capture": {"examples": 20}}, {"train": {"epochs": 9}}, {"corpus": {"prompts": 30}}],
)
def test_any_setting_that_an_arm_depends_on_counts(changes: dict[str, Any], sums: Path) -> None:
    run_of(made(sums))
    assert found(made(sums)) is not None
    assert found(made(sums, **changes)) is None


def test_an_edited_capability_is_another_one_for_everybody(sums: Path) -> None:
    """The page said "trained already", and the table trained for 24 minutes."""
    run = run_of(made(sums))
    assert found(made(sums)) == run.id
    prompt = read_builtin("arithmetic").split("train").examples[0].prompt
    sums.write_text(sums.read_text().replace(prompt, "What is 1 + 1?"))
    assert found(made(sums)) is None
    assert begun_by(made(sums)) is None
    note_sources(made(sums), run.folder)  # going on does not make it another run
    assert found(made(sums)) is None
    sums.unlink()
    assert found(made(sums)) is None


def test_rejected_rows_and_runs_that_did_not_say_do_not_count(sums: Path) -> None:
    run = run_of(made(sums))
    run.set_rejected({"spd": [1]})
    assert found(made(sums)) is None
    run_of(made(sums), noted=False)
    assert found(made(sums)) is None


def test_a_run_that_has_begun_is_gone_on_with_when_it_is_the_very_same(sums: Path) -> None:
    run = run_of(made(sums), "stopped")
    begun = begun_by(made(sums))
    assert begun is not None
    assert begun.id == run.id
    assert begun_by(made(sums, arms=["spd"])) is None, "it would train more than was asked for"


def test_a_public_set_is_what_its_name_says(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_from({"preset": "quick", "capability": "gsm8k"})
    monkeypatch.setattr("spd_core.distill.trained.find_capability", lambda *_, **__: pytest.fail("asks the hub"))
    assert set(sources_of(recipe).values()) == {"public", ""}
    run_of(recipe)
    assert found(recipe) is not None

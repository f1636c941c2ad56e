"""What is recorded of a run and its evaluation: all that can be looked at, no weights, and nothing of this machine."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spd_core.cli.demo_runs import ARMS, DISTILLATION, EVALUATION, ITEMS, record_runs
from spd_core.distill.corpus import corpus_path, read_corpus
from spd_core.errors import Stopped
from spd_core.evaluation.cells import Cell, read_cell, write_cell
from spd_core.evaluation.damaged import read_cells
from spd_core.evaluation.proposals import missing_controls
from spd_core.evaluation.store import About, ItemRecord
from spd_core.intervention.cards import AdapterCard, read_card, write_card
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe, evaluation_from
from spd_core.runs import states
from spd_core.runs.folder import all_runs, recorded_runs, runs_in
from spd_core.runs.remarks import RECORDED, recorded_folders
from spd_core.runs.view import RunView

RECIPE = DISTILLATION.model_copy(update={"arms": ("psr",)})
TABLE = evaluation_from({"preset": "quick", "subjects": ["base"], "sets": ["arithmetic"]})
ABOUT = About(subject="5ab", set="arithmetic", template="{prompt}", scorer="number", style="raw", max_new_tokens=8)
ITEM = ItemRecord(id="h1", prompt="1+1=", gold="2", completion=" 2", extracted="2", correct=True, early=True)


def distilled(recipe: Recipe, folder: Path, **_: Any) -> str:
    for name in ("corpora", "captures", "adapters/psr", "arms/omniopd/round-1/checkpoints"):
        (folder / name).mkdir(parents=True)
    (folder / "corpora" / "psr-round-1.jsonl").write_text("{}\n")
    (folder / "arms/omniopd/round-1/audits.jsonl").write_text("{}\n")
    (folder / "arms/omniopd/round-1/checkpoints/optimizer.pt").write_bytes(b"0" * 100)
    (folder / "captures" / "big.safetensors").write_bytes(b"0" * 100)
    write_card(
        AdapterCard(base="builtin", revision="r", dtype="float32", rows=1, steps=1, planned=1, finished=True,
                    settings=recipe.train, created="now", versions={}), folder / "adapters" / "psr",
    )  # fmt: skip
    (folder / "adapters" / "psr" / "adapter_model.safetensors").write_bytes(b"0" * 100)
    return "done"


def answered(recipe: EvaluationRecipe, folder: Path, **_: Any) -> str:
    cell = Cell(subject="base", seed=42, set="arithmetic", title="Arithmetic", about=ABOUT, model="builtin",
                revision="r", dtype="float32", fingerprint="f", created="now")  # fmt: skip
    write_cell(folder, cell, [ITEM])
    return "done"


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))

    def record(distil: Any = distilled, answer: Any = answered) -> dict[str, str]:
        works = {"distillation": distil, "evaluation": answer}
        return record_runs(tmp_path / "runs", works, lambda _: None, RECIPE, TABLE)

    return record


def test_it_holds_what_can_be_looked_at_and_no_more(
    recorded: Callable[..., dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recorded()
    run, table = (Path(made[kind]) for kind in ("distillation", "evaluation"))
    assert sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()) == [
        "adapters/psr/card.json", "arms/omniopd/round-1/audits.jsonl", "corpora/psr-round-1.jsonl", "run.json",
        "status.json",
    ]  # fmt: skip
    assert json.loads((run / "run.json").read_text())["command"] == (
        "python -m spd_core demo --out my-demo --only runs"
    )
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["job"], status["launcher"]) == ("done", None, None)
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "elsewhere"))
    cell = read_cell(table, "base", 42, "arithmetic")
    assert cell is not None
    assert cell[1] == [ITEM], "its items are beside it"


def test_finished_runs_are_taken_as_they_are(recorded: Callable[..., dict[str, str]]) -> None:
    def never(*_: Any, **__: Any) -> str:
        raise AssertionError("it was carried out already")

    made = recorded()
    assert recorded(never, never) == made
    assert len(all_runs()) == 2


def test_a_stop_leaves_what_was_recorded_and_the_next_call_goes_on(
    recorded: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    with pytest.raises(Stopped, match="goes on with it"):
        recorded(answer=lambda *_, **__: "stopped")
    assert not (tmp_path / "runs").exists()
    stopped = [run for run in all_runs() if states.state_of(run) == "stopped"]  # type: ignore[arg-type]
    made = recorded()
    assert [Path(made["evaluation"]).name] == [run.id for run in stopped]


def test_what_is_recorded_has_every_control_that_a_claim_about_spd_needs() -> None:
    for subject in ("spd", "projected"):
        missing = {one.name for one in missing_controls(EVALUATION, subject)}
        assert missing <= {"projected-full", "projected-shuffled"}, "of projecting alone only random is shown"
    assert DISTILLATION.arms == ARMS


# --- what comes with SPD Lab -------------------------------------------------------------------------------------


def test_what_was_recorded_is_whole_small_and_of_these_recipes() -> None:
    by_kind = {run.record.recipe.kind: run for run in runs_in(RECORDED)}
    assert by_kind["distillation"].record.recipe == DISTILLATION
    assert by_kind["evaluation"].record.recipe == EVALUATION
    assert sum(path.stat().st_size for path in RECORDED.rglob("*") if path.is_file()) <= 2e6
    assert not list(RECORDED.rglob("*.safetensors")), "no weights"
    assert {states.state_of(run) for run in by_kind.values()} == {"done"}
    cells, damaged = read_cells(EVALUATION, by_kind["evaluation"].folder)
    assert damaged == ()
    assert len(cells) == 9 * 2
    assert {len(items) for _, items in cells.values()} == {ITEMS}
    for arm in ARMS:
        assert cells[arm, 42, "arithmetic"][0].adapter == f"{by_kind['distillation'].id}/{arm}", "of the recorded run"


def test_a_recorded_run_tells_all_that_a_new_one_tells() -> None:
    (run,) = (run for run in recorded_runs() if run.record.recipe == DISTILLATION)
    said, view = run.events(), RunView()
    assert said.damaged == 0
    view.take(said.events)
    for arm in ARMS:
        curve = view.curves[arm, 1]
        assert len(read_corpus(corpus_path(run.folder, arm, 1))) == 48
        assert [step for step, _, _ in curve.held_out] == [step for step, _, _, _ in curve.scored] == [0, 5, 10]
        assert len(curve.steps) == 10
        assert None not in curve.learning_rates
        assert None not in curve.grad_norms
        assert read_card(run.folder / "adapters" / arm).held_out_loss == curve.held_out[-1][2]


def test_nothing_recorded_names_a_place_or_a_machine() -> None:
    for path in (path for folder in recorded_folders() for path in folder.rglob("*") if path.is_file()):
        written = path.read_bytes()
        text = (gzip.decompress(written) if path.suffix == ".gz" else written).decode()
        assert not re.search(r'"[^"]*(?:/home/|/root|/tmp|/Users/|[A-Z]:\\\\\\\\)|"host"|"pid"', text), path

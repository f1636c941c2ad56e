"""Runs that come with SPD Lab are read like any other, and never changed, counted or carried out."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spd_core.distill.trained import trained_by
from spd_core.errors import InputError
from spd_core.recipes.distill import Recipe
from spd_core.runs import queue, remarks, states
from spd_core.runs.costs import BUILTIN_RATES, measured_rates
from spd_core.runs.folder import Run, all_runs, open_run, recorded_runs
from spd_core.runs.job import run_job
from spd_core.runs.record import Status

RECIPE = Recipe(capability="arithmetic", arms=("spd",))


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished run, moved to where those lie that come with SPD Lab."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(queue, "start_next", list)
    made, place = queue.create(RECIPE, "Recorded"), tmp_path / "demo" / "runs"
    made.write_status(Status(state="done", since=time.time()))
    place.mkdir(parents=True)
    shutil.move(made.folder, place / made.id)
    monkeypatch.setattr(remarks, "RECORDED", place)
    monkeypatch.setattr(remarks, "STUDIES", tmp_path / "no studies")
    return open_run(made.id)


def test_it_opens_by_its_name_and_is_done(recorded: Run) -> None:
    assert recorded.recorded
    assert recorded_runs() == [recorded]
    assert recorded.record.recipe == RECIPE
    assert states.state_of(recorded) == "done"
    own = queue.create(RECIPE)
    assert not own.recorded
    assert recorded_runs() == [recorded], "a run of this machine is not recorded"
    for bad in ("../runs", recorded.id + "/..", ""):
        with pytest.raises(InputError):
            open_run(bad)


def test_it_counts_nowhere(recorded: Run) -> None:
    assert all_runs() == []
    assert queue.start_next() == []
    assert measured_rates("builtin") == BUILTIN_RATES
    assert trained_by(RECIPE) == {}


CHANGES: dict[str, Callable[[Run], object]] = {
    "resume": queue.resume,
    "resume a finished one": lambda run: queue.resume(run, finished=True),
    "approve": queue.approve,
    "stop": queue.stop,
    "delete": queue.delete,
    "carry out": lambda run: run_job(run, lambda *_, **__: "done"),
    "notes": lambda run: run.set_notes("mine"),
    "tags": lambda run: run.set_tags(["mine"]),
    "rejected": lambda run: run.set_rejected({"spd": [0]}),
    "reviewed": lambda run: run.set_reviewed(),
    "status": lambda run: run.write_status(Status(state="failed", since=0.0)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_nothing_changes_it(change: Callable[[Run], object], recorded: Run) -> None:
    before = {path: path.read_bytes() for path in sorted(recorded.folder.rglob("*")) if path.is_file()}
    with pytest.raises(InputError, match="is a recorded run, which comes with SPD Lab and stays as it is"):
        change(recorded)
    assert {path: path.read_bytes() for path in sorted(recorded.folder.rglob("*")) if path.is_file()} == before


def test_one_of_this_machine_goes_before_it(recorded: Run) -> None:
    shutil.copytree(recorded.folder, queue.runs_folder() / recorded.id)
    assert not open_run(recorded.id).recorded
    queue.delete(open_run(recorded.id))
    assert open_run(recorded.id).recorded

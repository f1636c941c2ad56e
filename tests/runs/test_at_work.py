"""Which runs work or wait: in their order, and without reading what has not changed."""

import os
from pathlib import Path

import pytest

from spd_core.recipes.distill import Recipe
from spd_core.runs import at_work, processes, queue
from spd_core.runs.at_work import runs_at_work
from spd_core.runs.folder import Run
from spd_core.runs.record import State, Status


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setattr(queue, "start_next", list)
    return tmp_path


def made(state: State, since: float) -> Run:
    run = queue.create(Recipe(capability="arithmetic"))
    me = processes.owner_of(os.getpid()) if state in ("starting", "running") else None
    run.write_status(Status(state=state, since=since, launcher=me, job=me))
    return run


def ids() -> list[tuple[str, int]]:
    return [(one.run.id, one.place) for one in runs_at_work()]


def test_those_that_work_come_first_then_the_queue_in_its_order() -> None:
    assert ids() == []
    later, first = made("queued", 30.0), made("queued", 20.0)
    for state in ("done", "failed", "stopped", "review"):
        made(state, 5.0)
    running, starting = made("running", 10.0), made("starting", 15.0)
    assert ids() == [(running.id, 0), (starting.id, 0), (first.id, 1), (later.id, 2)]
    first.write_status(Status(state="done", since=40.0))
    assert ids() == [(running.id, 0), (starting.id, 0), (later.id, 1)]


def test_a_run_whose_process_is_gone_does_not_work(home: Path) -> None:
    run = made("queued", 1.0)
    run.write_status(Status(state="running", since=1.0))
    assert ids() == []
    (run.folder / "status.json").write_text("{")
    (home / "runs" / "stray").mkdir()
    assert ids() == []


def test_what_has_not_changed_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [made("done", 1.0) for _ in range(5)]
    ids()
    read: list[Path] = []
    monkeypatch.setattr(at_work, "read_bytes", lambda path: read.append(path) or path.read_bytes())
    ids()
    assert read == []
    runs[0].write_status(Status(state="queued", since=2.0))
    assert ids() == [(runs[0].id, 1)]
    assert read == [runs[0].folder / "status.json"]

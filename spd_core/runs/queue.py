"""The queue of runs: creates, starts, stops, kills, resumes and deletes them. Imports no torch.

All is files, so that the queue holds over restarts, and one lock, so that two servers do not start one run twice. What
a job does in its own process is in `runs/job.py`.

By hand, as a task library does not help: Celery, RQ and dramatiq need a broker beside the app; huey can queue in files,
but runs its tasks in workers of its own, and none keeps a folder for each run whose job outlives the server, can be
stopped after a step, killed with its children, and resumed.
"""

import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from spd_core import storage
from spd_core.errors import InputError, SpdError
from spd_core.runs import processes
from spd_core.runs.folder import Damaged, Run, all_runs, names, open_run, size_of, write_record, write_status
from spd_core.runs.processes import LOCAL, Owner
from spd_core.runs.record import AnyRecipe, RunRecord, State, Status, anchored
from spd_core.runs.states import BUSY, state_of, status_of
from spd_core.storage import runs_folder

COMMANDS = {"distillation": "distill", "evaluation": "table"}
"""What carries out a run of each kind."""
GRACE = 60.0
"""Seconds that a job has between being asked to stop and being killed."""
_RESUMABLE: tuple[State, ...] = ("lost", "stopped", "failed")


@contextmanager
def locked() -> Iterator[None]:
    """Hold the lock of all runs, which the system lets go of when the process dies; errors as of a full disk."""
    path = runs_folder() / ".lock"
    with storage.storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with storage.exclusive(path):
        yield


# --- creating ----------------------------------------------------------------------------------------------------


def create(recipe: AnyRecipe, title: str = "", launcher: str = LOCAL) -> Run:
    """Put a new run into the queue, and start it if it is its turn.

    Raises:
        SpdError: the launcher is no command of this machine, `SPD_JOBS` is no number, or the disk refuses.
    """
    _jobs_at_once()
    run = _new(recipe, title, launcher, Status(state="queued", since=time.time()))
    start_next()
    return run


def create_here(recipe: AnyRecipe, title: str = "") -> Run:
    """A new run that this process is about to carry out itself; `StorageError` when the disk refuses."""
    mine = processes.owner_of(os.getpid())
    status = Status(state="starting", since=time.time(), launcher=mine, job=mine)
    return _new(recipe, title, LOCAL, status)


def _new(recipe: AnyRecipe, title: str, launcher: str, status: Status) -> Run:
    name = storage.new_name(Path(recipe.capability).stem)
    record = RunRecord(
        id=name,
        created=datetime.now().isoformat(timespec="seconds"),
        recipe=anchored(recipe),
        launcher=launcher,
        command=shlex.join(processes.job_command(launcher, name, COMMANDS[recipe.kind])),
        versions=storage.versions(),
        title=title,
    )
    with storage.new_folder(runs_folder() / name) as folder:
        write_record(folder, record)
        write_status(folder, status)
    return open_run(name)


# --- the queue ---------------------------------------------------------------------------------------------------


def start_next() -> list[Run]:
    """Start as many queued runs, the oldest first, as may run at a time: one, or `SPD_JOBS`; returns them.

    Those of a class wait in one queue, whichever shelf they lie on.

    Raises:
        SpdError: `SPD_JOBS` is no number, the folder of runs cannot be read, or the disk refuses.
    """
    at_once, homes = _jobs_at_once(), storage.homes_beside()
    if len(homes) == 1:
        return _start_oldest(at_once) if names() else []
    started = []
    with storage.exclusive(homes[0].parent / ".lock"):
        standing = [(status, home) for home in homes for status in _standing_at(home)]
        room = at_once - sum(status.state in BUSY for status, _ in standing)
        waiting = sorted((status.since, home) for status, home in standing if status.state == "queued")
        for _, home in waiting[: max(0, room)]:
            with storage.home_at(home):
                busy = sum(status.state in BUSY for status, _ in _standing())
                started += _start_oldest(busy + 1)
    return started


def _standing() -> list[tuple[Status, Run]]:
    return [(status_of(run), run) for run in all_runs() if isinstance(run, Run)]


def _standing_at(home: Path) -> list[Status]:
    with storage.home_at(home):
        return [status for status, _ in _standing()]


def _start_oldest(at_once: int) -> list[Run]:
    with locked():
        processes.reap()
        standing = _standing()
        room = at_once - sum(status.state in BUSY for status, _ in standing)
        queue = sorted((status.since, run.id, run) for status, run in standing if status.state == "queued")
        return [run for _, _, run in queue[: max(0, room)] if _start(run)]


def _jobs_at_once() -> int:
    text = os.environ.get("SPD_JOBS", "1")
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise InputError(f"SPD_JOBS={text!r} is no number of jobs at a time; set it to 1 or more, or unset it")
    return int(text)


def _start(run: Run) -> bool:
    """Start a run's job; false when it cannot be, which becomes the run's state."""
    launcher = run.record.launcher
    try:
        command = _command(run)
        with run.open_log() as log:
            owner = processes.start(command, processes.job_environment(launcher, run.id), runs_folder(), log)
    except (OSError, SpdError) as error:
        _write(run, "failed", f"cannot start: {error}")
        return False
    _write(run, "starting", launcher=owner)
    return True


def _command(run: Run) -> list[str]:
    """What carries a run out, as its record says; runs of older versions recorded what somebody had typed instead."""
    words = shlex.split(run.record.command)
    if words[-2:] == ["--run", run.id]:
        return words
    return processes.job_command(run.record.launcher, run.id, COMMANDS[run.record.recipe.kind])


def _write(run: Run, state: State, reason: str = "", launcher: Owner | None = None) -> None:
    run.write_status(Status(state=state, since=time.time(), reason=reason, launcher=launcher))


# --- stopping ----------------------------------------------------------------------------------------------------


def stop(run: Run) -> State:
    """Ask a job to end after its step, or take a run out of the queue; returns the state it is in then.

    Raises:
        SpdError: it is recorded, its status is damaged, or the disk refuses.
    """
    run.refuse_recorded()
    with locked():
        state = state_of(run)
        if state in BUSY:
            run.ask_to_stop()
        elif state in ("queued", "review"):
            _write(run, "stopped", "stopped on request")
        return state_of(run)


def kill(run: Run, reason: str = "killed on request") -> None:
    """End a job's processes at once; it can be resumed from its last checkpoint.

    Raises:
        SpdError: it works on another machine, its status is damaged, or a process does not end.
    """
    with locked():
        status = status_of(run)
        if status.state not in BUSY:
            return
        _end_processes(run, status)
        if run.status().state in BUSY:  # or it wrote a last word just before
            _write(run, "stopped", reason)
        run.forget_stop()


def _works_here(status: Status) -> bool:
    return any(owner is not None and processes.is_here(owner) for owner in (status.launcher, status.job))


def _end_processes(run: Run, status: Status) -> None:
    owners = [owner for owner in (status.launcher, status.job) if owner is not None]
    if status.state in BUSY and not _works_here(status):
        raise InputError(f"{run.id} runs on {owners[0].host if owners else 'another machine'}; end it there")
    processes.end_all(run.id, owners)


def enforce_stops(grace: float = GRACE) -> list[Run]:
    """Kill the jobs of this machine that were asked to stop more than `grace` seconds ago; returns them.

    Raises:
        SpdError: the folder of runs cannot be read, or a process does not end.
    """
    late = []
    for run in all_runs():
        if isinstance(run, Run) and run.asked_to_stop():
            waited, status = time.time() - run.asked_at(), status_of(run)
            if waited > grace and status.state in BUSY and _works_here(status):
                kill(run, f"killed {waited:.0f} seconds after it was asked to stop: it had not ended by itself")
                late.append(run)
    return late


# --- going on ----------------------------------------------------------------------------------------------------


def resume(run: Run, *, finished: bool = False) -> None:
    """Put a stopped, failed or lost run (with `finished` a done one, too) at the end of the queue; what it has is kept.

    Raises:
        InputError: it is in another state, or recorded.
        SpdError: the disk refuses, or what is left of its processes does not end.
    """
    _queue_again(run, "resume", (*_RESUMABLE, "done") if finished else _RESUMABLE)


def approve(run: Run) -> None:
    """Let a run go on that waits for a look at its corpus.

    Raises:
        SpdError: it does not wait for one, or the disk refuses.
    """
    _queue_again(run, "approve", ("review",))


def _queue_again(run: Run, what: Literal["resume", "approve"], states: tuple[State, ...]) -> None:
    run.refuse_recorded()
    _jobs_at_once()
    with locked():
        status = status_of(run)
        if status.state not in states:
            raise InputError(f"{run.id} is {status.state}; to {what} it, it must be {' or '.join(states)}")
        _end_processes(run, status)  # a lost job may have left some behind
        run.forget_stop()
        if what == "approve":
            run.set_reviewed()
        _write(run, "queued")
    start_next()


# --- deleting ----------------------------------------------------------------------------------------------------


def delete(run: Run | Damaged) -> int:
    """Delete a run and all it made, adapters included; returns the bytes that are free again.

    Links in it are removed, and what they lead to stays.

    Raises:
        SpdError: it runs, is recorded or is not there, or the disk refuses.
    """
    if isinstance(run, Run):
        run.refuse_recorded()
    with locked():
        if run.id not in names():
            raise InputError(f"no run {run.id!r} on this machine; it was deleted already")
        if isinstance(run, Run) and state_of(run) in BUSY:
            raise InputError(f"{run.id} is {state_of(run)}; stop it first, then delete it")
        folder = runs_folder() / run.id
        if folder.is_symlink():
            folder.unlink()
            return 0
        size = size_of(folder)
        storage.remove_folder(folder)
        return size

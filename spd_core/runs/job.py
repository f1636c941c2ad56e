"""Carries out a run in this process, and keeps its directory up to date. Knows nothing of how it came to be started.

Of the processes that `accelerate launch` starts, only the first writes; the others do their part of the work.
"""

import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Literal, TypeAlias

from spd_core.errors import InputError, MemoryLimitError, SpdError, StorageError
from spd_core.runs import processes, queue, states
from spd_core.runs.events import AnyEvent
from spd_core.runs.folder import Run
from spd_core.runs.launch import Launch
from spd_core.runs.record import State, Status
from spd_core.storage import exclusive

BEAT = 5.0
"""Seconds between two heartbeats."""
_NICENESS = 5
Outcome: TypeAlias = Literal["done", "stopped", "review"]
"""How work ends that did not fail; `review` waits for somebody to look at the corpora."""
Work: TypeAlias = Callable[..., Outcome]


def run_job(run: Run, work: Work, show: Callable[[AnyEvent], None] | None = None) -> Outcome:
    """Carry out a run, or go on with it; then start the next of the queue.

    Args:
        show: called with every event, after it was written down.
        work: what is done, such as `distill.pipeline.carry_out`; called where its failure becomes the run's reason.

    Raises:
        InputError: another process carries it out, or it is recorded.
        SpdError: it failed; the run knows why.
        KeyboardInterrupt: Ctrl+C for the second time.
    """
    run.refuse_recorded()
    if os.environ.get(processes.JOB) == run.id:  # leave the app what it needs
        os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    launch = Launch.join(run.folder)
    with _Stop(run).listening() as stop:
        if not is_main():
            return _do_my_share(run, work, stop, launch)
        with _alone(run):
            started = _begin(run)
            try:
                return _to_its_end(run, work, stop, show, started, launch)
            finally:
                _start_next(started)


def is_main() -> bool:
    """Whether this is the first process of a launch, or the only one."""
    return os.environ.get("RANK", "0") == "0"


# --- stopping ----------------------------------------------------------------------------------------------------


class _Stop:
    """Whether the job shall end: it was asked to, or got a signal."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.reason = ""
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        if not self.reason and self.run.asked_to_stop():
            self.reason = "stopped on request"
        return bool(self.reason)

    @contextmanager
    def listening(self) -> Iterator["_Stop"]:
        """Hear SIGTERM (a reboot, a cluster) and Ctrl+C, whose second time ends the process at once."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._heard) for number in (signal.SIGTERM, signal.SIGINT)}
        self._before = before
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        name = "Ctrl+C" if number == signal.SIGINT else signal.Signals(number).name
        self.reason = f"stopped by {name}"
        outer = getattr(self._before.get(signal.Signals(number)), "__self__", None)
        if isinstance(outer, _Stop):  # of the job that this one is a part of
            outer.reason = self.reason
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            print("\nending after this step; Ctrl+C again ends at once", file=sys.stderr)


# --- the course of a job -----------------------------------------------------------------------------------------


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Hold the run's lock, which the system lets go of when the process dies."""
    with exclusive(run.folder / "lock", wait=False) as held:
        if not held:
            raise InputError(_is_taken(run))
        yield


def _is_taken(run: Run) -> str:
    job = run.status().job
    who = f" (pid {job.pid} on {job.host})" if job is not None else ""
    return (
        f"another process{who} carries out {run.id}; wait for it, or stop it: python -m spd_core runs --stop {run.id}"
    )


def _begin(run: Run) -> Status:
    """Take the run over; returns the status from before that, with this process in it."""
    with queue.locked():  # whoever starts jobs writes that down before letting go of it
        before = states.status_of(run)
        mine = processes.owner_of(os.getpid())
        elsewhere = before.job is not None and not processes.is_here(before.job)
        if before.state == "running" and elsewhere:
            raise InputError(_is_taken(run))
        if os.environ.get(processes.JOB) != run.id:  # somebody typed the command
            run.forget_stop()
        run.load_ballast()
        launcher = before.launcher if before.state == "starting" else mine
        status = Status(state="running", since=time.time(), launcher=launcher, job=mine)
        run.write_status(status)
    return status


def _do_my_share(run: Run, work: Work, stop: _Stop, launch: Launch) -> Outcome:
    """What another process than the first one does of a run."""
    try:
        launch.begin()
        return _carry_out(run, work, stop, None)
    except Exception as error:
        launch.leave_word(error)
        raise


def _to_its_end(
    run: Run,
    work: Work,
    stop: _Stop,
    show: Callable[[AnyEvent], None] | None,
    started: Status,
    launch: Launch,
) -> Outcome:
    def end(state: State, reason: str = "", code: int = 0) -> None:
        run.write_status(
            started.model_copy(update={"state": state, "since": time.time(), "reason": reason, "exit_code": code})
        )
        run.forget_stop()

    def tell(event: AnyEvent) -> None:
        run.tell(event)
        if show is not None:
            show(event)

    try:
        with _beating(run):
            launch.begin()
            outcome = _carry_out(run, work, stop, tell)
    except KeyboardInterrupt:
        end("stopped", "interrupted by Ctrl+C; what was finished is kept", 130)
        raise
    except Exception as error:  # the only chance to say why
        failure = launch.cause(error) or _failure(run, error)
        end("failed", str(failure), failure.exit_code)  # gives up the ballast when the disk is full
        _log(run, error)
        raise failure from error
    end(outcome, stop.reason if outcome == "stopped" else "")
    return outcome


def _carry_out(run: Run, work: Work, stop: _Stop, tell: Callable[[AnyEvent], None] | None) -> Outcome:
    return work(
        run.record.recipe, run.folder, run=run.id, tell=tell, stop=stop, rejected=run.rejected(), reviewed=run.reviewed
    )


@contextmanager
def _beating(run: Run) -> Iterator[None]:
    """Show every few seconds that the process works."""
    over = threading.Event()

    def beat() -> None:
        run.beat()
        while not over.wait(BEAT):
            run.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _failure(run: Run, error: Exception) -> SpdError:
    """What a run says of an error."""
    if isinstance(error, SpdError):
        return error
    said = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, MemoryError) or "OutOfMemoryError" in said or "can't allocate memory" in said:
        return MemoryLimitError(
            "out of memory; close other programs and resume, or start a run with a smaller train.batch_size, "
            "corpus.batch_size, capture.batch_size or model; the log has the details"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError("the disk is full; free space, e.g. by deleting old runs, and resume; nothing is lost")
    return SpdError(f"unexpected {said}; the log has the details: {run.folder / 'log.txt'}")


def _log(run: Run, error: Exception) -> None:
    """Put into the log what an error does not say itself: where it was met, and what a library said of it."""
    if not isinstance(error, SpdError) or error.__cause__ is not None:
        with suppress(OSError), run.open_log() as log:
            log.write("".join(traceback.format_exception(error)).encode())


def _start_next(status: Status) -> None:
    """Start the next of the queue, unless this job was sent to another machine: jobs are started where the queue is."""
    if status.launcher is None or processes.is_here(status.launcher):
        try:
            queue.start_next()
        except SpdError as error:  # how this run ended is not to be hidden by it
            print(f"cannot start the next run: {error}", file=sys.stderr)

"""How a run stands: as it wrote last, or gone when its process is. Changes nothing, and imports no torch."""

import time

from spd_core.runs import processes
from spd_core.runs.folder import Run
from spd_core.runs.launch import last_words
from spd_core.runs.record import State, Status

BUSY: tuple[State, ...] = ("starting", "running")
"""A process works on it."""
LIVE: tuple[State, ...] = ("queued", *BUSY)
"""It works, or waits for its turn."""
_SILENCE = 120.0  # seconds without a heartbeat, after which a job on another machine counts as lost


def status_of(run: Run) -> Status:
    """How a run stands: what it wrote last, or `lost` when its process is gone without a last word.

    Raises:
        InputError: its status is damaged.
    """
    status = run.status()
    if status.state not in BUSY or _is_there(run, status):
        return status
    again = run.status()
    if again != status:  # it wrote its last word between the two looks
        return status_of(run)
    return _gone(run, status)


def state_of(run: Run) -> State:
    """The state alone; errors as in `status_of`."""
    return status_of(run).state


def _is_there(run: Run, status: Status) -> bool:
    owner = status.job or status.launcher
    if owner is None:
        return False
    if processes.is_here(owner):
        return processes.is_alive(owner)
    return time.time() - max(run.last_beat(), status.since) < _SILENCE


def _gone(run: Run, status: Status) -> Status:
    if run.asked_to_stop():
        reason = "its process ended without a last word after it was asked to stop; resume goes on where it stood"
        return status.model_copy(update={"state": "stopped", "reason": reason})
    reason = "its process is gone without a last word (killed, or the machine went off); resume goes on where it stood"
    if said := last_words(run.folder):
        reason = "; ".join((*said, "resume goes on where it stood"))
    if status.state == "starting":
        reason = "its process ended before the work began; the log says why"
    return status.model_copy(update={"state": "lost", "reason": reason})

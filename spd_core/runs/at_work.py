"""Which runs work or wait for their turn: the question of every page, so only what has changed is read.

Imports no torch.
"""

import functools
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spd_core.errors import InputError
from spd_core.runs import states
from spd_core.runs.folder import STATUS, Run, names, open_run
from spd_core.runs.record import Status
from spd_core.storage import read_bytes, runs_folder


@dataclass(frozen=True)
class AtWork:
    """A run that works, or waits for its turn.

    Attributes:
        place: in the queue, from 1; 0 for one that works.
    """

    run: Run
    status: Status
    place: int


def runs_at_work() -> list[AtWork]:
    """Those that work, the longest first, then those that wait, in their order.

    Damaged runs are left out: the lists of runs show them.

    Raises:
        InputError: the folder of runs cannot be read.
    """
    standing, home = [], str(runs_folder())
    for name in names():
        if _live(f"{home}/{name}/{STATUS}"):
            with suppress(InputError):
                run = _opened(home, name)
                standing.append((states.status_of(run), run))
    waiting = sorted((s.since, run.id) for s, run in standing if s.state == "queued")
    places = {id: place for place, (_, id) in enumerate(waiting, 1)}
    found = [AtWork(run, status, places.get(run.id, 0)) for status, run in standing if status.state in states.LIVE]
    return sorted(found, key=lambda one: (one.place, one.status.since))


def _live(path: str) -> bool:
    """Whether the last word of a run, in this file, was that it works or waits."""
    try:
        found = os.stat(path)
        return _state(path, found.st_mtime_ns, found.st_ino) in states.LIVE
    except OSError:
        return False


@functools.lru_cache(maxsize=4096)
def _state(path: str, _changed: int, _file: int) -> str:
    with suppress(InputError, ValueError, AttributeError):
        return str(json.loads(read_bytes(Path(path))).get("state"))
    return ""


@functools.lru_cache(maxsize=64)
def _opened(_home: str, name: str) -> Run:
    return open_run(name)

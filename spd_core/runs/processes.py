"""Starts, recognises and ends the processes of jobs. Knows nothing of runs but their names; imports no torch."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from spd_core.errors import InputError, SpdError
from spd_core.runs.record import Owner
from spd_core.storage import ROOT, spd_home

LOCAL = "local"
JOB = "SPD_RUN"
"""Environment variable that names the run a process was started for; its children inherit it."""

_PYTHON = Path(sys.executable).name  # found in the folder that `job_environment` puts in front of the path
_TORCH = ("torchrun", "torch.distributed.run")
_OF_A_RANK = ("RANK", "LOCAL_", "WORLD_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "ACCELERATE_", "OMP_NUM_")
_SAME_BIRTH = 2.0  # seconds; the clock that `born` is read from is corrected now and then
_started: list[subprocess.Popen[bytes]] = []


# --- who is alive ------------------------------------------------------------------------------------------------


def owner_of(pid: int) -> Owner:
    """A process as it is written into a run.

    Raises:
        psutil.NoSuchProcess: it is gone.
    """
    with suppress(ProcessLookupError):
        return Owner(pid=pid, born=psutil.Process(pid).create_time(), group=os.getpgid(pid), host=socket.gethostname())
    raise psutil.NoSuchProcess(pid)


def is_here(owner: Owner) -> bool:
    """Whether the process is, or was, one of this machine's."""
    return owner.host == socket.gethostname()


def is_alive(owner: Owner) -> bool:
    """Whether a process of this machine still runs; one that ended and was not reaped does not."""
    return _process(owner) is not None


def _process(owner: Owner) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(owner.pid)
        if abs(found.create_time() - owner.born) < _SAME_BIRTH and found.status() != psutil.STATUS_ZOMBIE:
            return found
    return None


def reap() -> None:
    """Take note of started processes that have ended, so that no zombies stay."""
    _started[:] = [child for child in _started if child.poll() is None]


# --- starting ----------------------------------------------------------------------------------------------------


def job_command(launcher: str, run: str, command: str = "distill") -> list[str]:
    """The command that carries out a run.

    Args:
        command: what kind of run it is: `distill` or `table`.
        launcher: `local`, or words such as `accelerate launch --num_processes 2`, `torchrun …` or `srun …`. Paths in
            them are best absolute: a job starts in the folder of runs.

    Raises:
        InputError: the launcher is no command of this machine.
    """
    job = ["-m", "spd_core", command, "--run", run]
    if launcher == LOCAL:
        return [_PYTHON, *job]
    words = _words(launcher)
    names = [Path(word).name for word in words]
    if any(name in _TORCH for name in names):
        return [*words, "-m", "--", *job[1:]]  # or it would take `--run` for an option of its own
    return [*words, *([] if "accelerate" in names else [_PYTHON]), *job]


def _words(launcher: str) -> list[str]:
    try:
        words = shlex.split(launcher)
    except ValueError as error:
        raise InputError(f"launcher {launcher!r}: {error}; close the quotes") from error
    found = shutil.which(words[0], path=_path()) if words else None
    if found is None:
        raise InputError(f"launcher {launcher!r}: no such command here; write {LOCAL}, or e.g. 'accelerate launch'")
    return [os.path.abspath(found) if "/" in words[0] else words[0], *words[1:]]


def _path() -> str:
    """The search path, with the folder of this Python in front: `accelerate` lies there, too."""
    return _joined(str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))


def _joined(first: str, others: str) -> str:
    return os.pathsep.join(dict.fromkeys([first, *filter(None, others.split(os.pathsep))]))


def job_environment(launcher: str, run: str) -> dict[str, str]:
    """The environment of a job: this process's, without what belongs to its own job or rank.

    A local job leaves a core to the app, unless the user has set `OMP_NUM_THREADS`; launchers divide the cores
    themselves.
    """
    own = dict(os.environ)
    threads = str(max(1, _cores() - 1))
    if "RANK" in own:
        own = {name: value for name, value in own.items() if not name.startswith(_OF_A_RANK)}
    if JOB in own and own.get("OMP_NUM_THREADS") == threads:
        del own["OMP_NUM_THREADS"]  # this process is a job, and got it from here
    if launcher == LOCAL:
        own.setdefault("OMP_NUM_THREADS", threads)
    own.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    modules = _joined(str(ROOT), own.get("PYTHONPATH", ""))
    home = {"SPD_HOME": str(spd_home())}
    return {**own, **home, "PATH": _path(), "PYTHONPATH": modules, "PYTHONUNBUFFERED": "1", JOB: run}


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start(command: Sequence[str], environment: Mapping[str, str], folder: Path, log: BinaryIO) -> Owner:
    """Start a process that outlives this one, its terminal and its session.

    Raises:
        OSError: it cannot be started.
    """
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    _started.append(child)
    return owner_of(child.pid)


# --- ending ------------------------------------------------------------------------------------------------------


def end_all(run: str, owners: Collection[Owner], patience: float = 10.0) -> None:
    """Kill all processes of a run on this machine: its owners, their children, and whatever was started for it.

    The launcher's process group would not do: torch's launchers give each rank a session of its own.

    Raises:
        SpdError: one does not end.
    """
    deadline = time.monotonic() + patience
    while found := {process.pid: process for process in _all_of(run, owners)}:
        if time.monotonic() > deadline:
            raise SpdError(f"processes {sorted(found)} of {run} do not end; wait, or restart the machine")
        for process in found.values():
            with suppress(psutil.Error):
                process.kill()
        time.sleep(0.05)
        reap()


def _all_of(run: str, owners: Collection[Owner]) -> Iterator[psutil.Process]:
    for owner in owners:
        parent = _process(owner) if is_here(owner) else None
        if parent is not None:
            yield from (process for process in [parent, *_children(parent)] if _counts(process))
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # other people's, and those that end just now
            if process.environ().get(JOB) == run and _counts(process):
                yield process


def _children(parent: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return list(parent.children(recursive=True))
    return []


def _counts(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE)
    return False

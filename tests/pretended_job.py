"""A job without a model: `python -m tests.pretended_job ID` is the real process around pretended work.

Which work it is, the run's title says. `python -m tests.pretended_job serve TITLE…` plays the server that is killed.
"""

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spd_core.errors import InputError, TrainingError
from spd_core.recipes.distill import Recipe
from spd_core.runs import processes, queue
from spd_core.runs.events import StageProgress
from spd_core.runs.folder import open_run
from spd_core.runs.job import run_job

STEPS = 4


def command(_launcher: str, run: str, _command: str = "") -> list[str]:
    """Instead of `processes.job_command`."""
    return [sys.executable, "-m", "tests.pretended_job", run]


def _steps(folder: Path, tell: Callable[[Any], None], stop: Callable[[], bool], **_: Any) -> str:
    """Four steps, the second of which waits until the file `go` is there; goes on where it stood."""
    path = folder / "steps.txt"
    for step in range(len(path.read_text().split()) if path.exists() else 0, STEPS):
        while step == 1 and not (folder / "go").exists():
            if stop():
                return "stopped"
            time.sleep(0.02)
        with path.open("a") as file:
            file.write(f"{step}\n")
        tell(StageProgress(time=time.time(), stage="train", done=step + 1, total=STEPS))
    return "done"


def _deaf(folder: Path, **_: Any) -> str:
    while not (folder / "go").exists():
        time.sleep(0.02)
    return "done"


def _raises(error: Exception) -> Callable[..., str]:
    def work(**_: Any) -> str:
        raise error

    return work


def _review(reviewed: bool, **_: Any) -> str:
    return "done" if reviewed else "review"


WORK: dict[str, Callable[..., str]] = {
    "steps": _steps,
    "deaf": _deaf,
    "quick": lambda **_: "done",
    "review": _review,
    "input": _raises(InputError("rank 9 exceeds 8; choose less")),
    "training": _raises(TrainingError("the loss is nan")),
    "odd": _raises(ValueError("seven\nis odd")),
    "memory": _raises(MemoryError()),
    "full": _raises(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
}


def main(argv: list[str]) -> None:
    """Carry out a run, or serve."""
    processes.job_command = command  # type: ignore[assignment]
    if argv[0] == "serve":
        for title in argv[1:]:
            print(queue.create(Recipe(capability="arithmetic"), title).id, flush=True)
        time.sleep(600)
    run = open_run(argv[0])
    work = WORK[run.record.title]

    def called(recipe: Recipe, folder: Path, **options: Any) -> Any:
        return work(folder=folder, **options)

    run_job(run, called)


if __name__ == "__main__":
    main(sys.argv[1:])

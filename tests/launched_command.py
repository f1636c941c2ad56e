"""`python -m spd_core` whose second process ends at a chosen moment: `SPD_TEST_DIES` names it."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spd_core.cli.main import main
from spd_core.distill import watch, write
from spd_core.errors import StorageError

STEP = 3


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _after(real: Callable[[Path, Sequence[Any]], None], end: Callable[[], None]) -> Callable[..., None]:
    def append(path: Path, rows: Sequence[Any]) -> None:
        real(path, rows)
        end()

    return append


def _full() -> None:
    raise StorageError("the disk of the second machine is full")


def _at_step(real: Callable[[], Any]) -> Callable[[], Any]:
    steps = iter(range(1, 1000))

    def together() -> Any:
        if next(steps) == STEP:
            _killed()
        return real()

    return together


if os.environ.get("RANK") == "1":
    match os.environ["SPD_TEST_DIES"]:
        case "corpus":
            write.append_rows = _after(write.append_rows, _killed)
        case "disk":
            write.append_rows = _after(write.append_rows, _full)
        case "training":
            watch.together = _at_step(watch.together)

if __name__ == "__main__":
    main()

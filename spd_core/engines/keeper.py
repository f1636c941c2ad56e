"""Runs a server as long as somebody wants it: ends it when its own standard input does, however its owner came to die.

Run by itself, as a process between the two: a job that is killed cannot end what it has started.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

_GRACE = 10.0
"""Seconds that the server has to end by itself."""


def keep(command: Sequence[str]) -> int:
    """Run a command in a process group of its own until it, or standard input, ends; its exit code."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_watch, args=(child.pid,), daemon=True).start()
    code = child.wait()
    _signal(child.pid, signal.SIGKILL)  # what it has left behind
    return code


def _watch(group: int) -> None:
    while sys.stdin.buffer.read(1):
        pass
    _signal(group, signal.SIGTERM)
    time.sleep(_GRACE)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:]))

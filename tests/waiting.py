"""How tests wait: for a state, never for a time, and all with one bound that no machine is too busy for."""

import time
from collections.abc import Callable

LONG = 600.0
"""Seconds after which a state that was waited for will not come any more."""


def until(what: Callable[[], object], instead: Callable[[], str] = lambda: "it did not come to pass") -> None:
    """Return as soon as `what` is so; fail with `instead` when it is not so for too long."""
    end = time.monotonic() + LONG
    while not what():
        assert time.monotonic() < end, instead()
        time.sleep(0.02)

"""One job at a time: who waits is told the place, and nobody comes twice before all others who wait came once."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from spd_core.errors import Stopped

_LOOK = 0.5
"""Seconds between two looks at whether somebody who waits has given up."""


@dataclass(eq=False)
class _Waiting:
    who: str
    came: int


@dataclass
class Turns:
    """A queue that is fair to people, and not to jobs: who was served last comes after those who were served before."""

    _changed: threading.Condition = field(default_factory=threading.Condition)
    _waiting: list[_Waiting] = field(default_factory=list)
    _served: dict[str, int] = field(default_factory=dict)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)
    _busy: bool = False

    @contextmanager
    def turn(self, who: str, tell: Callable[[int], None], stopping: Callable[[], bool]) -> Iterator[None]:
        """Wait for the turn of `who`, and have it within the block.

        Args:
            tell: gets how many come before, each time that changes.
            stopping: whether to give up.

        Raises:
            Stopped: it was given up.
        """
        with self._changed:
            self._wait(_Waiting(who, next(self._count)), tell, stopping)
            self._busy, self._served[who] = True, next(self._count)
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _wait(self, own: _Waiting, tell: Callable[[int], None], stopping: Callable[[], bool]) -> None:
        self._waiting.append(own)
        try:
            while (before := self._before(own)) > 0:
                tell(before)
                if stopping():
                    raise Stopped("stopped before its turn came; nothing was computed")
                self._changed.wait(_LOOK)
        finally:
            self._waiting.remove(own)
            self._changed.notify_all()

    def _before(self, own: _Waiting) -> int:
        """How many come before: the one at work, and those who wait and are served sooner."""
        order = self._order()
        return order.index(own) + self._busy

    def _order(self) -> list[_Waiting]:
        """Who waits, in the order of being served: round after round, each person once in every round."""
        rounds: dict[str, int] = {}
        places: dict[_Waiting, tuple[int, int, int]] = {}
        for one in sorted(self._waiting, key=lambda one: one.came):
            number = rounds[one.who] = rounds.get(one.who, -1) + 1
            places[one] = (number, self._served.get(one.who, -1) if number == 0 else 0, one.came)
        return sorted(self._waiting, key=places.__getitem__)

"""The processes that do one piece of work together, as one of them sees it; `runs/parallel.py` connects them.

All call the same functions in the same order; each does its share, and what is brought together all have alike.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from spd_core.errors import SpdError

if TYPE_CHECKING:
    from torch import Tensor

_T = TypeVar("_T")


@dataclass(frozen=True)
class Peers:
    """One of `count` processes. By itself, as here, it has nobody to wait for.

    Attributes:
        rank: its number, from 0; the first one writes and tells.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the first one."""
        return self.rank == 0

    # --- shares ------------------------------------------------------------------------------------------------

    def mine(self, pieces: Sequence[_T]) -> Sequence[_T]:
        """The pieces of work that this process does."""
        return pieces[self.rank :: self.count]

    def turns(self, pieces: Sequence[_T]) -> Iterator[_T | None]:
        """The same, one a turn; None where others still have one in the last turn."""
        for start in range(0, len(pieces), self.count):
            at = start + self.rank
            yield pieces[at] if at < len(pieces) else None

    # --- bringing together; `Launched` says how ----------------------------------------------------------------

    def wait(self) -> None:
        """Return when all have called it."""

    def gathered(self, value: _T) -> list[_T]:
        """What each has handed over, by rank, in all of them."""
        return [value]

    def handed_to(self, rank: int, value: _T) -> list[_T]:
        """The same for one of them alone; empty for all others."""
        return [value]

    def add_up(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all of them, added in the order of their ranks: always the same sum."""

    # --- agreeing ----------------------------------------------------------------------------------------------

    def from_first(self, make: Callable[[], _T]) -> _T:
        """What the first one makes, which alone does it; the same in all. Raises like `all_done`."""
        return cast(_T, self.all_done(lambda: make() if self.first else None)[0])

    def agreed(self, ask: Callable[[], bool] | None) -> bool:
        """What `ask` returns in the first one; false for None."""
        return self.from_first(lambda: ask is not None and ask())

    def all_done(self, work: Callable[[], _T]) -> list[_T]:
        """Do something in each, and return what came out, by rank.

        Raises:
            SpdError: what it raised, in all of them alike; where it did in several, the first, with what all say.
        """
        try:
            outcome: tuple[Any, Exception | None] = (work(), None)
        except Exception as error:
            if self.count == 1:
                raise
            outcome = (None, error if isinstance(error, SpdError) else _unexpected(error, self))
        outcomes = self.gathered(outcome)
        failed = [error for _, error in outcomes if error is not None]
        if failed:
            raise type(failed[0])("; ".join(dict.fromkeys(str(error) for error in failed)))
        return [done for done, _ in outcomes]


ALONE = Peers()
"""A process that does all by itself."""


def _unexpected(error: Exception, peers: Peers) -> SpdError:
    """What can be sent to others: not every error can be pickled."""
    traceback.print_exception(error)
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return SpdError(f"unexpected {said} in process {peers.rank + 1} of {peers.count}; its log has the details")

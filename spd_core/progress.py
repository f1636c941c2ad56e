"""How work tells how far it is, and how it is asked to stop: one way for all that takes long."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is.

    Attributes:
        done, total: of what it counts: examples, rows, items, lanes; or a share of 1.
        what: what is being done, for people; empty where whoever asked for it knows.
        tokens: that were gone through since it began, where they are counted.
        loss: mean −log p of the last batch, in nats, where there is one.
    """

    done: float
    total: float
    what: str = ""
    tokens: int = 0
    loss: float | None = None

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.done / self.total if self.total else 0.0


Tell: TypeAlias = Callable[[Progress], object]
"""Called with every progress."""
Stop: TypeAlias = Callable[[], bool]
"""Asked whether to end now, keeping what is finished."""


def silent(_at: Progress) -> None:
    """A `Tell` that tells nobody."""

"""Several processes in one: threads that are each other's peers, for what has to come out as with one."""

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from spd_core.peers import Peers

_T = TypeVar("_T")


@dataclass(frozen=True)
class Thread(Peers):
    """One of several threads that work together as processes would; what they hand over is copied."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))
    table: dict[int, Any] = field(default_factory=dict)

    def wait(self) -> None:
        self.barrier.wait(60)

    def gathered(self, value: _T) -> list[_T]:
        self.table[self.rank] = value
        self.wait()
        found = [copy.deepcopy(self.table[rank]) for rank in range(self.count)]
        self.wait()
        return found

    def handed_to(self, rank: int, value: _T) -> list[_T]:
        found = self.gathered(value)
        return found if rank == self.rank else []

    def add_up(self, tensor: Tensor) -> None:
        first, *others = self.gathered(tensor)
        for other in others:
            first += other
        tensor.copy_(first)


def side_by_side(count: int, work: Callable[[Peers], _T]) -> list[_T]:
    """What comes out of each of `count` peers that do the same thing together; raises what the first of them raises."""
    barrier, table = threading.Barrier(count), dict[int, Any]()

    def one(rank: int) -> _T:
        try:
            return work(Thread(rank, count, barrier, table))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(one, rank) for rank in range(count)]
    failed = [error for future in running if (error := future.exception()) is not None]
    for error in sorted(failed, key=lambda one: isinstance(one, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in running]

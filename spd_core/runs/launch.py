"""Why the processes of one launch end: each leaves word in the run's folder, and the first one finds who left none."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spd_core.errors import SpdError
from spd_core.peers import Peers
from spd_core.runs import processes
from spd_core.runs.parallel import PeerLostError, together
from spd_core.runs.record import Owner
from spd_core.storage import read_bytes, write_text

_PATIENCE = 3.0
"""Seconds that are waited for another process' word, or its end."""


@dataclass(frozen=True)
class Launch:
    """The processes of one launch, as one of them sees them.

    Attributes:
        folder: of the run that they work on.
        owners: each of them, by rank.
    """

    folder: Path
    peers: Peers
    owners: tuple[Owner, ...]

    @staticmethod
    def join(folder: Path) -> "Launch":
        """Connect with the others, where there are any."""
        peers = together()
        return Launch(folder, peers, tuple(peers.gathered(processes.owner_of(os.getpid()))))

    def begin(self) -> None:
        """Forget what an earlier launch has left; all call this before they work."""
        if self.peers.first:
            for path in _notes(self.folder):
                path.unlink(missing_ok=True)
        self.peers.wait()

    def leave_word(self, error: Exception) -> None:
        """Say why this process ends, unless that is another one's end."""
        if not _is_of_another(error):
            said = " ".join((str(error) if isinstance(error, SpdError) else f"{type(error).__name__}: {error}").split())
            with suppress(SpdError):  # the disk refuses: then it is gone without a word
                write_text(self.folder / f"ended-{self.peers.rank}.txt", f"{self._named(self.peers.rank)}: {said}")

    def cause(self, error: Exception) -> SpdError | None:
        """What ended another process, where an error is only that it does not answer; None of any other error."""
        if self.peers.count == 1 or not _is_of_another(error):
            return None
        end = time.monotonic() + _PATIENCE
        while not (said := [*last_words(self.folder), *self._gone()]) and time.monotonic() < end:
            time.sleep(0.1)
        return SpdError("; ".join(said) or str(error))

    def _gone(self) -> Iterator[str]:
        for rank, owner in enumerate(self.owners):
            silent = not (self.folder / f"ended-{rank}.txt").exists()
            if silent and processes.is_here(owner) and not processes.is_alive(owner):
                why = "gone without a word (killed, or out of memory)"
                yield f"{self._named(rank)} is {why}; resume goes on where it stood, with any number of processes"

    def _named(self, rank: int) -> str:
        return f"process {rank + 1} of {self.peers.count} (pid {self.owners[rank].pid})"


def last_words(folder: Path) -> list[str]:
    """What the processes of the last launch on a run have said before they ended, by rank."""
    return [read_bytes(path, missing_ok=True).decode(errors="replace") for path in _notes(folder)]


def _notes(folder: Path) -> list[Path]:
    return sorted(folder.glob("ended-*.txt"))


def _is_of_another(error: Exception) -> bool:
    """Whether it says that another process does not answer: ours, gloo's and NCCL's words for it."""
    said = f"{type(error).__name__} {error}".lower()
    return isinstance(error, PeerLostError) or (
        isinstance(error, RuntimeError) and any(word in said for word in ("gloo", "nccl", "distbackend", "distnetwork"))
    )

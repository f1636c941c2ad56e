"""Tells what the work of a run does: which stage begins, how far it is, what it has found."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spd_core.errors import Stopped
from spd_core.progress import Progress
from spd_core.recipes.distill import Stage
from spd_core.runs.events import AnyEvent, StageBegun, StageProgress
from spd_core.runs.parallel import together


@dataclass(kw_only=True)
class Telling:
    """Work that is at one stage at a time, of one arm and round, or of one subject, seed and set.

    Attributes:
        listener: told every event.
        stop: asked before each stage, and between tokens and steps.
        arm, round, set, since: whose stage it is (see `events.Event`), and since when.
    """

    listener: Callable[[AnyEvent], None] | None = None
    stop: Callable[[], bool] | None = None
    arm: str = ""
    round: int = 1
    set: str = ""
    since: float = 0.0

    def begin(self, stage: Stage, arm: str = "", round_: int = 1, set_name: str = "") -> None:
        """Tell that a stage begins; raises `Stopped` when somebody has asked to."""
        if together().agreed(self.stop):
            raise Stopped("stopped on request")
        self.arm, self.round, self.set, self.since = arm, round_, set_name, time.monotonic()
        self.tell(StageBegun, stage=stage)

    def tell(self, event: type[Any], **facts: Any) -> None:
        """Tell an event of the stage that runs."""
        if self.listener is not None:
            self.listener(event(time=time.time(), arm=self.arm, round=self.round, set=self.set, **facts))

    def progress(self, stage: Stage, at: Progress) -> None:
        """Tell how far the stage is."""
        done, total = int(at.done), int(at.total)
        self.tell(StageProgress, stage=stage, done=done, total=total, tokens=at.tokens, seconds=self.seconds)

    def capturing(self, stage: Stage, at: Progress) -> None:
        """Tell how far the gradients of a capture are; their spectra take a blink."""
        if at.loss is not None:
            self.progress(stage, at)

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return round(time.monotonic() - self.since, 3)

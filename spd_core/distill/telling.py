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
    """Work that is at one stage of one arm and round at a time.

    Attributes:
        listener: told every event.
        stop: asked before each stage, and between tokens and steps.
        arm, round, since: whose stage it is, and since when.
    """

    listener: Callable[[AnyEvent], None] | None = None
    stop: Callable[[], bool] | None = None
    arm: str = ""
    round: int = 1
    since: float = 0.0

    def begin(self, stage: Stage, arm: str = "", round_: int = 1) -> None:
        """Tell that a stage begins; raises `Stopped` when somebody has asked to."""
        if together().agreed(self.stop):
            raise Stopped("stopped on request")
        self.arm, self.round, self.since = arm, round_, time.monotonic()
        self.tell(StageBegun, stage=stage)

    def tell(self, event: type[Any], **facts: Any) -> None:
        """Tell an event of the stage that runs."""
        if self.listener is not None:
            self.listener(event(time=time.time(), arm=self.arm, round=self.round, **facts))

    def progress(self, stage: Stage, at: Progress) -> None:
        """Tell how far the stage is."""
        seconds = round(time.monotonic() - self.since, 3)
        self.tell(StageProgress, stage=stage, done=int(at.done), total=int(at.total), tokens=at.tokens, seconds=seconds)

"""Trains the arms that an evaluation names, in runs of their own; what is trained already is only found."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from spd_core.distill.pipeline import carry_out
from spd_core.distill.trained import begun_by, trained_by
from spd_core.errors import Stopped
from spd_core.evaluation.marks import marks_where_allowed
from spd_core.models.packing import forget_packed
from spd_core.progress import Stop
from spd_core.recipes.distill import ArmName, Recipe
from spd_core.recipes.evaluation import EvaluationRecipe, Subject
from spd_core.runs import queue
from spd_core.runs.events import AnyEvent, StageBegun, StageProgress
from spd_core.runs.folder import Run, open_run
from spd_core.runs.job import Outcome, run_job
from spd_core.runs.parallel import together


@dataclass(frozen=True)
class ArmsOf:
    """The arms of an evaluation.

    Attributes:
        title: of runs that are begun for them.
        listener: told what such a run does, and how far it is.
        stop: asked between tokens and steps.
    """

    recipe: EvaluationRecipe
    title: str
    listener: Callable[[AnyEvent], None] | None = None
    stop: Stop | None = None

    def trained(self, missing: Sequence[tuple[Subject, int]]) -> dict[tuple[ArmName, int], str]:
        """By arm and seed, the run that has trained it, of those that are to answer: where none has, one does now.

        Raises:
            Stopped: somebody has asked to stop.
            SpdError: of any stage of a training.
        """
        runs: dict[tuple[ArmName, int], str] = {}
        for seed in self.recipe.seeds:
            arms = tuple(subject.arm for subject, own in missing if own == seed and subject.arm is not None)
            recipe = self.recipe.distillation(seed)
            if recipe is not None and arms:
                by_arm = self._distilled(recipe.model_copy(update={"arms": arms}))
                runs |= {(arm, seed): run.id for arm, run in by_arm.items()}
        return runs

    def _distilled(self, recipe: Recipe) -> dict[ArmName, Run]:
        """The run of each arm: those that are there, and one for all other arms."""
        runs = together().from_first(lambda: trained_by(recipe))  # another job may train one just now
        left = tuple(arm for arm in recipe.arms if arm not in runs)
        if left:
            runs |= dict.fromkeys(left, self._distil(recipe.model_copy(update={"arms": left})))
        return runs

    def _distil(self, recipe: Recipe) -> Run:
        """Carry out a distillation: in the run that has begun it, or in a new one."""
        run = open_run(together().from_first(lambda: (begun_by(recipe) or queue.create_here(recipe, self.title)).id))

        def work(*args: Any, stop: Stop, **options: Any) -> Outcome:
            def asked() -> bool:
                return stop() or (self.stop is not None and self.stop())

            return carry_out(*args, stop=asked, marks=marks_where_allowed, **options)

        outcome = run_job(run, work, self._overhear)
        forget_packed()
        gc.collect()  # the model that it loaded
        if outcome != "done":
            raise Stopped("stopped on request")
        return run

    def _overhear(self, event: AnyEvent) -> None:
        if self.listener is not None and isinstance(event, StageBegun | StageProgress):
            self.listener(event)

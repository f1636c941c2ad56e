"""Which subject is a control of which: roles, and what makes two subjects alike but for their role.

Knows neither scores nor what is shown. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from spd_core.distill.trained import noted_sources, sources_of, what_decides
from spd_core.errors import InputError
from spd_core.recipes.distill import ARMS, ArmName, Recipe
from spd_core.recipes.evaluation import EvaluationRecipe, Subject
from spd_core.runs.folder import open_run


def role(subject: Subject) -> str:
    """The name under which `CONTROLS` and the paper know a subject, whatever it is called here; empty for none."""
    if subject.kind == "base":
        return "base"
    if subject.kind == "distilled":
        return subject.arm or subject.adapter.partition("/")[2]
    if subject.kind == "projected" and not subject.complement and not subject.gains:
        return {
            "capability": "projected",
            "random": "projected-random",
            "full loss": "projected-full",
            "shuffled answers": "projected-shuffled",
            "contrast": "projected-contrast",
        }[subject.of]
    return ""


def alike(recipe: EvaluationRecipe, first: Subject, second: Subject) -> bool:
    """Whether two subjects of an evaluation differ by nothing but their role, so that one can be the other's control.

    Projected ones in rank, strength, kinds, layers, gains and capture. Arms of one evaluation, or of one run, are made
    alike. Arms of different runs are when each run would have trained the other's arm in the same way on the same
    examples, and nobody has rejected rows by hand: what those were differs from run to run.
    """
    if _projection(first) != _projection(second) or first.kind != second.kind:
        return False
    if first.kind != "distilled" or (first.arm and second.arm):
        return True
    if first.adapter and first.adapter.partition("/")[0] == second.adapter.partition("/")[0]:
        return True
    return _trained_alike(_trained(recipe, first), _trained(recipe, second))


def _projection(subject: Subject) -> tuple[object, ...]:
    return subject.rank, subject.strength, subject.kinds, subject.layers, subject.gains, subject.capture


# --- arms of several runs ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainedArm:
    """How an arm came about.

    Attributes:
        sources: what the recipe's names mean (see `trained.sources_of`).
    """

    arm: ArmName
    recipe: Recipe
    sources: Mapping[str, str]


def trained_in(adapter: str) -> TrainedArm | None:
    """How the adapter RUN/ARM came about; None where nobody knows any more, or somebody rejected rows of its run."""
    run_id, _, name = adapter.partition("/")
    arm = next((known for known in ARMS if known == name), None)
    try:
        run = open_run(run_id)
        recipe, sources = run.record.distillation, noted_sources(run)
        whole = not any(run.rejected().values())
    except InputError:
        return None
    return TrainedArm(arm, recipe, sources) if arm is not None and sources and whole else None


def _trained(recipe: EvaluationRecipe, subject: Subject) -> TrainedArm | None:
    if subject.adapter:
        return trained_in(subject.adapter)
    own = recipe.distillation(recipe.seeds[0]) if len(recipe.seeds) == 1 else None  # one adapter has one seed
    if own is None or subject.arm is None:
        return None
    try:
        return TrainedArm(subject.arm, own, sources_of(own))
    except InputError:  # nothing of that name any more
        return None


def _trained_alike(first: TrainedArm | None, second: TrainedArm | None) -> bool:
    if first is None or second is None:
        return False
    return all(
        what_decides(first.recipe, arm, first.sources) == what_decides(second.recipe, arm, second.sources)
        for arm in (first.arm, second.arm)
    )

"""Records the run and the table that the pages Fine-tune and Evaluation open on before anything is trained.

They are carried out like any other on this machine, and what can be looked at is copied: no weights, no captures.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from spd_core.evaluation.recorded import carried_out, copy_shown
from spd_core.recipes.distill import ArmName, Recipe, recipe_from
from spd_core.recipes.evaluation import EvaluationRecipe, evaluation_from
from spd_core.runs.events import AnyEvent
from spd_core.runs.job import Work
from spd_core.runs.record import AnyRecipe
from spd_core.storage import new_folder

ARMS: tuple[ArmName, ...] = ("psr", "ssd", "spd", "random", "full", "shuffled")
"""SPD, and every control that a claim about it needs."""
ITEMS = 100
"""Of each set; the first ones, not the nicest ones."""
_ROWS_AT_ONCE = {"batch_size": 16}
"""As it was when they were recorded; another number rounds otherwise."""
DISTILLATION = recipe_from({"preset": "quick", "capability": "arithmetic", "arms": ARMS, "corpus": _ROWS_AT_ONCE})
EVALUATION = evaluation_from(
    {
        "preset": "quick",
        "capability": "arithmetic",
        "corpus": _ROWS_AT_ONCE,
        "subjects": ["base", "projected", "projected-random", *ARMS],
        "sets": [{"capability": name, "limit": ITEMS} for name in ("arithmetic", "multiple-choice")],
    }
)
TITLES = ("Arithmetic, with every control", "Arithmetic: did training change it?")
COMMAND = "python -m spd_core demo --out my-demo --only runs"
"""What they say they were made by, wherever that was."""


def record_runs(
    out: Path,
    works: Mapping[str, Work],
    show: Callable[[AnyEvent], None],
    distillation: Recipe = DISTILLATION,
    evaluation: EvaluationRecipe = EVALUATION,
) -> dict[str, str]:
    """Carry out a distillation and its evaluation, unless finished ones are here, and copy what shows of them.

    Args:
        out: where each gets a folder of its own; what is there is replaced when both are finished.
        works: what carries out a run of each kind.

    Returns:
        the folder of each by its kind.

    Raises:
        Stopped: somebody stopped it; asked again, it goes on.
        SpdError: of any stage.
    """
    titled: tuple[tuple[AnyRecipe, str], ...] = ((distillation, TITLES[0]), (evaluation, TITLES[1]))
    runs = [carried_out(recipe, title, works[recipe.kind], show) for recipe, title in titled]
    with new_folder(out, overwrite=True) as folder:
        for run in runs:
            copy_shown(run, folder / run.id, COMMAND)
    return {run.record.recipe.kind: str(out / run.id) for run in runs}

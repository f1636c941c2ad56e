"""What is wrong with a recipe, told before anything starts: one answer for the pages, the shell, the queue and the job.

Imports no torch where it is told not to ask: a page calls it on every change.
"""

from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.processes import LOCAL


def check(recipe: Recipe | EvaluationRecipe, launcher: str = LOCAL, *, ask: bool = True) -> None:
    """Refuse what can be known to fail, before any file is written.

    Args:
        launcher: what is to start it, as in a run's record.
        ask: also ask what takes seconds: transformers, for what the configuration leaves out, and the hub, whether it
            knows the model. Pages ask when the button is pressed; what is not known then is not refused.

    Raises:
        SpdError: mostly `InputError`; the message names the setting, its value and the remedy.
    """

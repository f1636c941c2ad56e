"""What an arm's adapter says of where it comes from: its data, the recipe that trains it again, what it has seen.

Knows neither models nor files; imports no torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spd_core.data.capability import Capability
from spd_core.data.seen import SEEN, Seen
from spd_core.distill.corpus import CorpusRow
from spd_core.intervention.cards import RECIPE, TrainingData
from spd_core.recipes.distill import ARMS, ArmName, Recipe
from spd_core.recipes.presets import differing
from spd_core.storage import to_json

if TYPE_CHECKING:
    from spd_core.distill.write import PlannedRow


def facts_of(recipe: Recipe, arm: ArmName, seen: Seen, prompts: Capability, calibration: Capability) -> dict[str, Any]:
    """What the card of an arm's adapter says of its origin.

    Args:
        prompts, calibration: the examples that its corpus is written on, and those that its subspace is captured from.
    """
    captures = ARMS[arm].subspace != "none"
    data = TrainingData(
        name=prompts.name,
        split=recipe.corpus.split,
        prompts=len(prompts.examples),
        held_out=recipe.corpus.held_out,
        fingerprint=prompts.fingerprint,
        examples=len(calibration.examples) if captures else 0,
        calibration=calibration.fingerprint if captures else "",
    )
    return {
        "arm": arm,
        "capability": recipe.capability,
        "data": data,
        "calibrated": len(seen.calibrated),
        "trained": len(seen.trained),
        "command": f"python -m spd_core distill {RECIPE}",
    }


def files_of(recipe: Recipe, arm: ArmName, seen: Seen) -> dict[str, str]:
    """What lies beside that card: what the adapter has seen, and the recipe that trains it again."""
    return {SEEN: to_json(seen.model_dump(mode="json")), RECIPE: to_json(differing(_elsewhere(recipe, arm)))}


def _elsewhere(recipe: Recipe, arm: ArmName) -> Recipe:
    """For one arm, and with files and folders by their names, not by where they lie on this machine."""
    local = Path(recipe.model).expanduser().is_dir()
    model = Path(recipe.model).name if local else recipe.model
    capture = recipe.capture.model_copy(update={"without": tuple(Path(one).name for one in recipe.capture.without)})
    asked = recipe.omniopd.teacher
    teacher = Path(asked).name if asked and Path(asked).expanduser().is_dir() else asked
    chunks = recipe.omniopd.model_copy(update={"teacher": teacher})
    update = {
        "arms": (arm,),
        "model": model,
        "capability": Path(recipe.capability).name,
        "capture": capture,
        "omniopd": chunks,
    }
    return recipe.model_copy(update=update)


def seen_by_arm(
    recipe: Recipe,
    arm: ArmName,
    kept: "Sequence[CorpusRow | PlannedRow]",
    held_out: Sequence[CorpusRow],
    prompts: Capability,
    calibration: Sequence[Capability],
) -> Seen:
    """The prompts that an arm is calibrated and trained on in a round; held-out ones if they choose the epoch.

    Args:
        kept: what it is trained on: rows of a corpus, or the prompts that it writes on in training.
        calibration: what its subspace is captured from; of a contrast what it leaves out, too.
    """
    bare = {example.id: example.prompt for example in prompts.examples}
    projects = ARMS[arm].subspace not in ("none", "random")  # a random subspace knows no example
    captured = [example.prompt for one in calibration for example in one.examples] if projects else []
    chosen = [bare[row.id] for row in held_out] if recipe.train.patience else []
    return Seen.of([*captured, *chosen], [bare[row.id] for row in kept])

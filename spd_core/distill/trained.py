"""Which run has trained some arms already: one answer for the cost panel, the form, the table and its items.

Imports no torch: pages ask, too.
"""

from pathlib import Path
from typing import Any

from spd_core.data.catalog import find_capability
from spd_core.data.public import PUBLIC_SETS
from spd_core.errors import InputError
from spd_core.models.identity import content_of
from spd_core.recipes.distill import Recipe
from spd_core.runs.folder import Run, all_runs
from spd_core.runs.queue import state_of
from spd_core.runs.record import anchored
from spd_core.storage import read_bytes, to_json, write_text

SOURCES = "sources.json"
"""In a run: what the names in its recipe meant when it began."""
_NOT_OF_AN_ARM = ("arms", "drift", "review")
"""Settings of a recipe that change nothing about what an arm learns."""


def sources_of(recipe: Recipe) -> dict[str, str]:
    """sha256 of what a recipe's names mean now: a file that was edited makes another model.

    A public data set is what its name says: it is not read for this.

    Raises:
        InputError: nothing of that name.
    """
    if recipe.capability in PUBLIC_SETS:
        return {"calibration": "public", "prompts": "public", "model": content_of(recipe.model)}
    calibration = find_capability(recipe.capability).limited(recipe.capture.examples)
    prompts = find_capability(recipe.capability, split=recipe.corpus.split).limited(recipe.corpus.prompts)
    return {
        "calibration": calibration.fingerprint,
        "prompts": prompts.fingerprint,
        "model": content_of(recipe.model),
    }


def note_sources(recipe: Recipe, folder: Path) -> None:
    """Write into a run's folder what its names mean, when it begins; left alone when it goes on."""
    if not (folder / SOURCES).exists():
        write_text(folder / SOURCES, to_json(sources_of(recipe)))


def trained_by(recipe: Recipe) -> Run | None:
    """The newest finished run that has trained all arms of a recipe, with its settings, on what its names mean now.

    It may have trained other arms, too. Runs from whose corpora somebody has rejected rows do not count.
    """
    return _find(recipe, ("done",), whole=False)


def begun_by(recipe: Recipe) -> Run | None:
    """The newest run of this very recipe that has not finished and can be gone on with."""
    return _find(recipe, ("stopped", "failed", "lost"), whole=True)


def _find(recipe: Recipe, states: tuple[str, ...], *, whole: bool) -> Run | None:
    wanted = Recipe.model_validate(anchored(recipe).model_dump())
    candidates = [run for run in all_runs() if isinstance(run, Run) and _asks_for(run, wanted, whole)]
    if not candidates:
        return None
    try:
        sources = to_json(sources_of(recipe)).encode()
    except InputError:  # nothing of that name any more
        return None
    for run in candidates:
        known = read_bytes(run.folder / SOURCES, missing_ok=True)
        if known == sources and state_of(run) in states and not run.rejected():
            return run
    return None


def _asks_for(run: Run, wanted: Recipe, whole: bool) -> bool:
    recipe = run.record.recipe
    if not isinstance(recipe, Recipe) or whole:
        return recipe == wanted
    return _settings(recipe) == _settings(wanted) and set(wanted.arms) <= set(recipe.arms)


def _settings(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(exclude=set(_NOT_OF_AN_ARM))

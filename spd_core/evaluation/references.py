"""What refers to a run that somebody wants to delete: evaluations that used its adapters or captures, and texts.

Imports no torch.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spd_core.generation.comparison import texts_folder
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.folder import Run, all_runs


@dataclass(frozen=True)
class References:
    """What would point at nothing.

    Attributes:
        runs: evaluations that answered with an adapter or a capture of it, or are about to.
        texts: saved texts of Side by side that such an adapter wrote.
    """

    runs: tuple[Run, ...] = ()
    texts: int = 0

    def __bool__(self) -> bool:
        return bool(self.runs or self.texts)


def references_to(ids: Collection[str]) -> References:
    """What refers to any run of these names; those runs themselves do not count.

    Raises:
        InputError: the folder of runs cannot be read.
    """
    others = [run for run in all_runs() if isinstance(run, Run) and run.id not in ids]
    found = tuple(run for run in others if set(ids) & set(_named_by(run)))
    return References(found, sum(_mentions(path, ids) for path in texts_folder().glob("*.json")))


def _named_by(run: Run) -> Iterator[str]:
    """Names of the runs whose adapters and captures an evaluation uses."""
    recipe = run.record.recipe
    if not isinstance(recipe, EvaluationRecipe):
        return
    for subject in recipe.subjects:
        yield from (where.partition("/")[0] for where in (subject.adapter, subject.capture) if "/" in where)
    for path in (run.folder / "cells").glob("*.json"):
        with suppress(OSError, ValueError, AttributeError):  # a damaged cell names nothing
            cell = json.loads(path.read_text("utf-8"))
            yield from (str(cell.get(name, "")).partition("/")[0] for name in ("adapter", "capture"))


def _mentions(path: Path, ids: Collection[str]) -> bool:
    with suppress(OSError):
        text = path.read_bytes()
        return any(f'"{id}/'.encode() in text for id in ids)
    return False

"""Checkpoints of a training that shall go on, and which of them a rejection makes wrong. Imports no torch."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from spd_core.distill.corpus import CorpusRow, corpus_path, read_corpus
from spd_core.distill.review import divided_by
from spd_core.recipes.distill import ArmName, Recipe
from spd_core.runs.folder import Run

CHECKPOINTS = "checkpoints"
_STATE = "trainer_state.json"


def trained_on_rejected(run: Run, rejected: Mapping[str, Collection[int]]) -> dict[ArmName, tuple[int, int]]:
    """Arms whose checkpoints were made with other rows than are left if these are rejected: steps done and planned.

    Raises:
        InputError: a corpus is damaged, or the capability is gone.
    """
    recipe, before = run.record.distillation, run.rejected()
    found: dict[ArmName, tuple[int, int]] = {}
    for arm in recipe.arms:
        steps, name = _steps(run.folder / "arms" / arm / "round-1" / CHECKPOINTS), recipe.corpus_name(arm)
        old, new = before.get(name, frozenset()), rejected.get(name, frozenset())
        if steps is None or set(old) == set(new):
            continue
        rows = read_corpus(corpus_path(run.folder, name, 1))
        if _trained(recipe, rows, old) != _trained(recipe, rows, new):
            found[arm] = steps
    return found


def _trained(recipe: Recipe, rows: Sequence[CorpusRow], rejected: Collection[int]) -> set[int]:
    """Numbers of the rows that are trained on."""
    return {row.number for row in divided_by(recipe, rows, rejected).trained}


def _steps(folder: Path) -> tuple[int, int] | None:
    """Steps done and planned of the newest whole checkpoint; None without one."""
    found = []
    for path in folder.glob(f"checkpoint-*[0-9]/{_STATE}"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # cut off by a kill
            state = json.loads(path.read_text("utf-8"))
            found.append((int(state["global_step"]), int(state["max_steps"])))
    return max(found, default=None)

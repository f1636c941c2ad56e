"""What a recipe amounts to, piece by piece, before it runs. Imports no torch: pages and costs count from it."""

from typing import TypeAlias

from spd_core.recipes.distill import ARMS, Recipe
from spd_core.runs.events import Stage

Unit: TypeAlias = tuple[Stage, str, int]
"""A piece of work: stage, arm (empty where arms share it), round."""


def plan(recipe: Recipe) -> list[Unit]:
    """All pieces of work in the order in which `pipeline.carry_out` does them."""
    kinds = {arm: "capability" if ARMS[arm].subspace == "random" else ARMS[arm].subspace for arm in recipe.arms}
    units: list[Unit] = []
    captured = {"none"}
    for arm in recipe.arms:
        corpus: Unit = ("corpus", recipe.corpus_name(arm), 1)
        if corpus not in units:
            units += [*_capture(kinds[arm], captured), corpus]
    for arm in recipe.arms:
        if recipe.drift:  # it is measured from the untouched model
            units += _capture("capability", captured)
        for round_ in range(1, recipe.rounds + 1):
            if round_ > 1:
                known = ("none", "capability") if recipe.drift else ("none",)  # the drift before has captured it
                units += [("capture", arm, round_)] if kinds[arm] not in known else []
                units.append(("corpus", arm, round_))
            units.append(("train", arm, round_))
            units += [("drift", arm, round_)] if recipe.drift else []
    return units


def _capture(kind: str, captured: set[str]) -> list[Unit]:
    """The capture that a first round needs, unless an arm before has it already."""
    new = kind not in captured
    captured.add(kind)
    return [("capture", "", 1)] if new else []

"""How long a whole evaluation has still to go: the arms that it trains, and the cells that are not filled.

Imports no torch: pages ask every two seconds.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from spd_core.distill.checks import sizes_of
from spd_core.errors import InputError
from spd_core.evaluation.cells import cell_path
from spd_core.evaluation.costs import measured_answers, seconds_of_an_item
from spd_core.evaluation.progress import EvaluationView, left, training_of
from spd_core.evaluation.set_facts import set_facts
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.costs import Rates, measured_rates
from spd_core.runs.remaining import Expected, expected_seconds, left_of, of_now, sum_of


def expected_of(recipe: Recipe | EvaluationRecipe) -> Expected | None:
    """Seconds of one of each piece of a run, from what was measured before; None where nothing was."""
    rates = measured_rates(recipe.model, recipe.corpus.writer)
    with suppress(InputError):  # a capability that was deleted meanwhile
        if isinstance(recipe, EvaluationRecipe):
            return _expected(recipe, rates)
        sizes = sizes_of(recipe)
        if sizes is not None and rates is not None:
            return expected_seconds(recipe, sizes, rates)
    return None


def _expected(recipe: EvaluationRecipe, rates: Rates | None) -> Expected | None:
    arms = recipe.distillation(recipe.seeds[0])
    training = expected_of(arms) if arms is not None else {}
    answers = measured_answers(recipe.model, recipe.writer)
    if training is None:
        return None
    found = dict(training)
    for wanted in recipe.sets:
        known = set_facts(wanted)
        each = seconds_of_an_item(wanted, known.scorer, answers, rates)
        if known.items is None or each is None:
            return None
        found[wanted.name] = known.items * each
    return {**found, "load": answers.start} if answers is not None and answers.start else found


def evaluation_left(
    view: EvaluationView, recipe: EvaluationRecipe, folder: Path, expected: Expected | None
) -> float | None:
    """Seconds of work to the end, about; None where that is not known yet."""
    if expected is None:
        return None
    cells = [key for key in recipe.cells if not cell_path(folder, *key).exists()]
    missing, starts = Counter(key[2] for key in cells), _starting(view, recipe, cells, expected)
    if not view.answering and missing.total() == len(recipe.cells):
        before = left_of(view, training_of(recipe), expected) or 0.0
        return before + starts + sum_of(missing.elements(), view.passed, expected)
    if view.stage != "evaluate" or view.ended:
        return starts + sum_of(missing.elements(), view.passed, expected)
    missing[view.set] -= min(1, missing[view.set])
    now = of_now(view, view.set, expected, left(view, recipe.batch_size))
    return now + starts + sum_of(missing.elements(), view.passed, expected)


def _starting(
    view: EvaluationView, recipe: EvaluationRecipe, cells: Sequence[tuple[str, int, str]], expected: Expected
) -> float:
    """Seconds until an engine was ready for each subject that has cells left; it is for the one that answers now."""
    subjects = {key[:2] for key in cells}
    if view.stage == "evaluate" and not view.ended:
        subjects.discard((view.arm, recipe.seeds[view.round - 1]))
    return len(subjects) * expected.get("load", 0.0)

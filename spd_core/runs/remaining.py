"""How long a whole run has still to go, from what it has measured itself and, for what has not begun, from rates.

Imports no torch: pages ask every two seconds.
"""

from collections.abc import Iterable, Mapping, Sequence

from spd_core.recipes.distill import Recipe, Unit, plan
from spd_core.runs.costs import Rates, Sizes, train_tokens_of_a_round
from spd_core.runs.view import Passed, RunView, eta, reached

Expected = Mapping[str, float]
"""Seconds of one piece of work by its stage (of an evaluation's cells, by the set), as rates have it."""


def expected_seconds(recipe: Recipe, sizes: Sizes, rates: Rates) -> dict[str, float]:
    """Seconds of one capture, corpus, training and drift; completions are often shorter than allowed, so it is less."""
    rows = min(sizes.prompts, recipe.corpus.prompts or sizes.prompts) * recipe.corpus.samples
    capture = min(sizes.examples, recipe.capture.examples or sizes.examples) / rates.capture
    return {
        "capture": capture,
        "corpus": rows * recipe.corpus.max_new_tokens / rates.corpus,
        "train": train_tokens_of_a_round(recipe, sizes.prompts, sizes.prompt_tokens) / rates.train,
        "drift": capture,
    }


def time_left(view: RunView, recipe: Recipe, expected: Expected | None) -> float | None:
    """Seconds of work to the end of a distillation, about; None where that is not known yet."""
    return left_of(view, plan(recipe), expected)


def left_of(view: RunView, planned: Sequence[Unit], expected: Expected | None) -> float | None:
    """The same for any list of pieces: what is at work now, and those that have not begun."""
    if expected is None:
        return None
    at = reached(view, planned)
    now = planned[at] if at < len(planned) and view.stage == planned[at][0] and not view.ended else None
    rest = [unit[0] for unit in planned[at + (now is not None) :]]
    return of_now(view, view.stage, expected) * (now is not None) + sum_of(rest, view.passed, expected)


def of_now(view: RunView, stage: str | None, expected: Expected, seconds: float | None = None) -> float:
    """Seconds to the end of what is at work: at its own rate (or `seconds`), or before one is known, as expected."""
    own = eta(view) if seconds is None else seconds
    if own is not None:
        return own
    return max(0.0, sum_of([stage] if stage else [], view.passed, expected) - view.since)


def sum_of(stages: Iterable[str], passed: Sequence[Passed], expected: Expected) -> float:
    """Seconds of pieces that have not begun: as expected, times how much longer those took that are over."""
    return sum(expected.get(stage, 0.0) * _slower(stage, passed, expected) for stage in stages)


def _slower(stage: str, passed: Sequence[Passed], expected: Expected) -> float:
    """How much longer pieces took than expected: those of this stage, else all."""
    whole = [(key_of(one), one) for one in passed if _is_whole(one) and expected.get(key_of(one))]
    alike = [(key, one) for key, one in whole if key == stage] or whole
    wanted = sum(expected[key] for key, _ in alike)
    return sum(one.seconds for _, one in alike) / wanted if wanted else 1.0


def key_of(one: Passed) -> str:
    """Under which name `Expected` has a piece."""
    return one.last.set if one.last is not None and one.stage == "evaluate" else one.stage


def _is_whole(one: Passed) -> bool:
    """Whether it was done from its beginning to its end in one go, so that its time says something."""
    if one.origin is None or one.last is None or one.last.done < one.last.total or one.seconds <= 0:
        return False
    return one.origin.done <= one.last.total / 2 or one.origin == one.last


def share_of(worked: float, left: float | None, done: int, planned: int) -> float:
    """How much of a run is done, 0 to 1: of its time where that is known, else of its pieces."""
    if left is None or worked <= 0:
        return done / max(planned, 1)
    return worked / (worked + left)

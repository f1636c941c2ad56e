"""What an evaluation will cost, before it starts, from rates that earlier ones have measured on this machine.

Imports no torch: the page asks on every change. Answers that are there already cost nothing; which ones, only the run
finds out.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise

from spd_core.data.capability import Scorer
from spd_core.errors import InputError
from spd_core.evaluation.set_facts import SetFacts
from spd_core.models.families import BUILTIN
from spd_core.recipes.evaluation import EvaluationRecipe, Subject
from spd_core.recipes.lanes import source_of
from spd_core.recipes.sets import EvalSet, answer_length
from spd_core.recipes.writer import LOCAL_WRITER, Writer
from spd_core.records import Record
from spd_core.runs.costs import START, Cost, Rates
from spd_core.runs.events import AnyEvent, CellDone, StageBegun
from spd_core.runs.folder import Run, all_runs

_LOOKED_AT = 5
"""Runs whose cells are read."""


class AnswerRates(Record):
    """How fast a model answers.

    Attributes:
        tokens: new tokens a second.
        item: seconds of the quickest item: reading a prompt, and hardly writing.
        sets: seconds an item, of the slowest subject, by `asked`.
        start: seconds until an engine is ready for a subject, of the slowest; 0 of SPD Lab itself.
        source: where and when it was measured.
    """

    tokens: float
    item: float
    sets: dict[str, float]
    start: float = 0.0
    source: str


BUILTIN_ANSWERS = AnswerRates(
    tokens=25.0,
    item=0.22,
    sets={"arithmetic": 0.83, "multiple-choice": 0.27, "python-functions": 7.4},
    source="the built-in model on another machine, with one of its two cores while both were busy",
)
"""The slowest of base, projected and a random subspace, on 16 to 48 items in batches of 16 and more; November 2026."""


class EvaluationCost(Record):
    """An upper bound: answers are often shorter than allowed.

    Attributes:
        cells: subjects × sets, each seed counted.
        items: answers; None where the size of a set is not known yet.
        captures: subspaces that are captured for it, those of its arms' runs left out.
        seconds: None where something was not measured yet.
    """

    cells: int
    items: int | None
    captures: int
    seconds: float | None


def cost_of_evaluation(
    recipe: EvaluationRecipe,
    facts: Mapping[str, SetFacts],
    examples: int | None,
    answers: AnswerRates | None,
    stages: Rates | None,
    arms: Sequence[Cost | None] = (),
) -> EvaluationCost:
    """What all stages cost together.

    Args:
        facts: of each set, by its name.
        examples: how many calibration examples there are; None where that is not known either.
        answers, stages: rates of the model that answers; a checkpoint counts as quick as that.
        arms: of each run that is still to train arms; None where that is not known.
    """
    lanes = sum(len(recipe.seeds_of(subject)) for subject in recipe.subjects)
    counts = [facts[wanted.name].items for wanted in recipe.sets]
    known = [count for count in counts if count is not None]
    captures = sum(_passes(recipe, kind) for kind, _ in _captures(recipe))
    parts: list[float | None] = [START * (1 + sum(subject.kind == "checkpoint" for subject in recipe.subjects))]
    parts += [None if one is None else one.seconds for one in arms]
    parts.append(captures and _capturing(recipe, captures, examples, stages))
    parts.append(answering(recipe, facts, answers, stages))
    whole = [part for part in parts if part is not None]
    return EvaluationCost(
        cells=lanes * len(recipe.sets),
        items=lanes * sum(known) if len(known) == len(counts) else None,
        captures=captures,
        seconds=sum(whole) if len(whole) == len(parts) else None,
    )


def answering(
    recipe: EvaluationRecipe,
    facts: Mapping[str, SetFacts],
    answers: AnswerRates | None,
    stages: Rates | None,
) -> float | None:
    """Seconds that all answers take, nothing made before them; arguments as of `cost_of_evaluation`."""
    lanes = sum(len(recipe.seeds_of(subject)) for subject in recipe.subjects)
    seconds = lanes * answers.start if answers is not None else 0.0
    for wanted in recipe.sets:
        known = facts[wanted.name]
        each = seconds_of_an_item(wanted, known.scorer, answers, stages)
        if each is None or known.items is None:
            return None
        seconds += lanes * known.items * each
    return seconds


def _capturing(recipe: EvaluationRecipe, captures: int, examples: int | None, stages: Rates | None) -> float | None:
    if stages is None or examples is None:
        return None
    return captures * min(examples, recipe.capture.examples or examples) / stages.capture


def _captures(recipe: EvaluationRecipe) -> set[tuple[str, int | None]]:
    """What is captured: whose gradients, with which seed where it shuffles; all ranks are cut from one."""
    new = (subject for subject in recipe.subjects if subject.kind == "projected" and not subject.capture)
    return {
        (source_of(subject), seed if _shuffles(subject) else None)
        for subject in new
        for seed in recipe.seeds_of(subject)
    }


def _passes(recipe: EvaluationRecipe, kind: str) -> int:
    """How many capabilities are captured for a subspace."""
    return 1 + (len(recipe.capture.without) if kind == "contrast" else 0)


def _shuffles(subject: Subject) -> bool:
    return subject.of == "shuffled answers"


def seconds_of_an_item(
    wanted: EvalSet, scorer: Scorer, answers: AnswerRates | None, stages: Rates | None
) -> float | None:
    """Seconds of an item of a set: as measured, else as if every answer were as long as allowed."""
    if answers is not None and asked(wanted) in answers.sets:
        return answers.sets[asked(wanted)]
    if wanted.task is not None:  # it says itself how it is asked
        return None
    if scorer == "nll":  # one forward pass over prompt and reference: less than a capture's forward and backward
        return 1 / stages.capture if stages is not None else None
    return answers.item + answer_length(wanted, scorer) / answers.tokens if answers is not None else None


def asked(wanted: EvalSet) -> str:
    """What sets have in common that take equally long: the capability, and the longest answer where it is set."""
    return wanted.capability + (f" up to {wanted.max_new_tokens}" if wanted.max_new_tokens else "")


# --- rates -------------------------------------------------------------------------------------------------------


def measured_answers(model: str, writer: Writer = LOCAL_WRITER) -> AnswerRates | None:
    """What the newest evaluations of a model on this machine, by this writer, have measured; for the built-in one, when
    it answers here, else our own."""
    found: list[AnswerRates] = []
    for run in all_runs():
        if len(found) == _LOOKED_AT:
            break
        if (
            isinstance(run, Run)
            and isinstance(run.record.recipe, EvaluationRecipe)
            and (run.record.recipe.model, run.record.recipe.writer.pace) == (model, writer.pace)
        ):
            with suppress(InputError):  # a damaged run has measured nothing
                found += [one] if (one := answers_of(run)) is not None else []
    if not found:
        return BUILTIN_ANSWERS if model == BUILTIN and writer.here else None
    sets = {name: seconds for one in reversed(found) for name, seconds in one.sets.items()}
    if model == BUILTIN and writer.here:
        sets = {**BUILTIN_ANSWERS.sets, **sets}
    return found[0].model_copy(update={"sets": sets})


def answers_of(run: Run) -> AnswerRates | None:
    """What an evaluation's finished cells have measured; None when none was answered anew from end to end.

    A cell that was partly known says nothing: whole batches are answered again for the items that are missing.

    Raises:
        InputError: its events cannot be read.
    """
    recipe = run.record.evaluation
    by_name = {wanted.name: asked(wanted) for wanted in recipe.sets}
    events = run.events().events
    cells = [event for event in events if isinstance(event, CellDone) and event.set in by_name]
    fresh = [cell for cell in cells if not cell.reused and cell.tokens and cell.seconds]
    if not fresh:
        return None
    each = [(by_name[cell.set], cell.seconds / cell.n) for cell in fresh]
    sets: dict[str, float] = {}
    for name, seconds in each:
        sets[name] = max(seconds, sets.get(name, 0.0))
    return AnswerRates(
        tokens=sum(cell.tokens for cell in fresh) / sum(cell.seconds for cell in fresh),
        item=min(seconds for _, seconds in each),
        sets=sets,
        start=0.0 if recipe.writer.here else _longest_start(events),
        source=f"this machine, in the evaluation of {run.record.created.replace('T', ' ')}",
    )


def _longest_start(events: Sequence[AnyEvent]) -> float:
    """Seconds from when an engine was begun for a subject to its first set."""
    begun = [event for event in events if isinstance(event, StageBegun)]
    starts = (
        after.time - one.time
        for one, after in pairwise(begun)
        if (one.stage, after.stage) == ("load", "evaluate") and one.arm == after.arm
    )
    return max(starts, default=0.0)

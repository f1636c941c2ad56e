"""What an evaluation's events add up to: what it does now, how far it is. Pure: no Streamlit, plotly or torch."""

from dataclasses import dataclass
from pathlib import Path

from spd_core.evaluation.cells import cell_path
from spd_core.recipes.distill import Unit, plan
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.events import AnyEvent, CellDone, StageBegun, StageProgress
from spd_core.runs.view import RunView, describe_stage, eta, reached, tokens_per_second

_CAPTURED = ("capability", "full loss", "shuffled answers", "contrast")
"""Under what an evaluation tells its own captures; a distillation tells them under no name, or an arm's."""


@dataclass
class EvaluationView(RunView):
    """What an evaluation has told so far; of the arms it trains, where they are.

    Attributes:
        set: name of the set it is at; empty outside of answering.
        answering: it has come to its own captures and cells, and trains no more.
    """

    set: str = ""
    answering: bool = False

    def _take(self, event: AnyEvent) -> None:
        if isinstance(event, StageBegun | StageProgress):
            self.set = event.set
            self.answering = self.answering or _is_own(event)
        if isinstance(event, CellDone):
            self._end(("evaluate", event.arm, event.round))
        super()._take(event)


def _is_own(event: StageBegun | StageProgress) -> bool:
    return event.stage == "evaluate" or (event.stage == "capture" and event.arm in _CAPTURED)


def finished_cells(recipe: EvaluationRecipe, folder: Path) -> int:
    """Cells that are filled, each seed counted; only looks whether they are there."""
    return sum(cell_path(folder, *key).exists() for key in recipe.cells)


def training_of(recipe: EvaluationRecipe) -> list[Unit]:
    """The pieces of work of training its arms, seed by seed."""
    return [unit for seed in recipe.seeds if (one := recipe.distillation(seed)) for unit in plan(one)]


def steps(view: EvaluationView, recipe: EvaluationRecipe, cells: int) -> tuple[int, int]:
    """Finished and planned pieces of work: those of training the arms, then `cells` finished ones."""
    training = training_of(recipe)
    trained = len(training) if view.answering or cells else reached(view, training)
    return trained + cells, len(training) + len(recipe.cells)


# --- speed -------------------------------------------------------------------------------------------------------


def left(view: EvaluationView, batch_size: int) -> float | None:
    """Seconds to the end of the step, at the rate so far; None until something is known.

    The first batch of a set tells of one batch at most: items that were answered before are in its count, too.
    """
    at, first = view.progress, view.origin
    if at is None or at.stage != "evaluate" or first is None or at.done > first.done:
        return eta(view)
    new = min(at.done, batch_size)
    return (at.total - at.done) * at.seconds / new if new and at.seconds else None


def speed(view: EvaluationView) -> float | None:
    """Tokens a second of this step; None until something is known."""
    at = view.progress
    if at is None or at.stage != "evaluate":
        return tokens_per_second(view)
    return at.tokens / at.seconds if at.tokens and at.seconds else None


# --- in words ----------------------------------------------------------------------------------------------------


_BEGUN = {"vllm": "Starting vLLM for", "openai": "Looking over the server of"}


def describe(view: EvaluationView, recipe: EvaluationRecipe) -> str:
    """What it does now: `Base answers arithmetic: 40 of 150 items`. Plain text: names come from a file."""
    titles = {subject.name: subject.title for subject in recipe.subjects}
    if view.stage == "load" and view.arm in titles and not recipe.writer.here:
        return f"{_BEGUN[recipe.writer.kind]} {titles[view.arm]}"
    if view.stage != "evaluate":
        return describe_stage(view)
    seeds = recipe.seeds
    who = titles.get(view.arm, view.arm)
    who += f", seed {seeds[view.round - 1]}" if 1 < len(seeds) >= view.round else ""
    what = f"{who}{',' * (',' in who)} answers {view.set}"
    if view.ended:
        return f"{what}: finished"
    return f"{what}: {view.progress.done} of {view.progress.total} items" if view.progress is not None else what


def in_short(recipe: EvaluationRecipe) -> str:
    """`4 subjects × 3 sets, 2 seeds`."""
    counts = [(len(recipe.subjects), "subject"), (len(recipe.sets), "set")]
    said = " × ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in counts)
    return said + (f", {len(recipe.seeds)} seeds" if len(recipe.seeds) > 1 else "")

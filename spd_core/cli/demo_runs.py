"""Records the run and the table that the pages Fine-tune and Evaluation open on before anything is trained.

They are carried out like any other on this machine, and what can be looked at is copied: no weights, no captures.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from spd_core.errors import Stopped
from spd_core.evaluation.cells import cell_path, read_cell
from spd_core.intervention.cards import CARD
from spd_core.recipes.distill import ArmName, Recipe, recipe_from
from spd_core.recipes.evaluation import EvaluationRecipe, evaluation_from
from spd_core.records import to_lines
from spd_core.runs import queue, states
from spd_core.runs.events import AnyEvent
from spd_core.runs.folder import Run, all_runs, write_record, write_status
from spd_core.runs.job import Outcome, Work, run_job
from spd_core.runs.record import AnyRecipe, Status
from spd_core.storage import new_folder, to_json, write_text

ARMS: tuple[ArmName, ...] = ("psr", "ssd", "spd", "random", "full", "shuffled")
"""SPD, and every control that a claim about it needs."""
ITEMS = 100
"""Of each set; the first ones, not the nicest ones."""
_ROWS_AT_ONCE = {"batch_size": 16}
"""As it was when they were recorded; another number rounds otherwise."""
DISTILLATION = recipe_from({"preset": "quick", "capability": "arithmetic", "arms": ARMS, "corpus": _ROWS_AT_ONCE})
EVALUATION = evaluation_from(
    {
        "preset": "quick",
        "capability": "arithmetic",
        "corpus": _ROWS_AT_ONCE,
        "subjects": ["base", "projected", "projected-random", *ARMS],
        "sets": [{"capability": name, "limit": ITEMS} for name in ("arithmetic", "multiple-choice")],
    }
)
TITLES = ("Arithmetic, with every control", "Arithmetic: did training change it?")
COMMAND = "python -m spd_core demo --out my-demo --only runs"
"""What they say they were made by, wherever that was."""
_SHOWN = ("events.jsonl", "log.txt", "sources.json")
"""Files of a run that are taken as they are."""


def record_runs(
    out: Path,
    works: Mapping[str, Work],
    show: Callable[[AnyEvent], None],
    distillation: Recipe = DISTILLATION,
    evaluation: EvaluationRecipe = EVALUATION,
) -> dict[str, str]:
    """Carry out a distillation and its evaluation, unless finished ones are here, and copy what shows of them.

    Args:
        out: where each gets a folder of its own; what is there is replaced when both are finished.
        works: what carries out a run of each kind.

    Returns:
        the folder of each by its kind.

    Raises:
        Stopped: somebody stopped it; asked again, it goes on.
        SpdError: of any stage.
    """
    titled: tuple[tuple[AnyRecipe, str], ...] = ((distillation, TITLES[0]), (evaluation, TITLES[1]))
    runs = [_carried_out(recipe, title, works[recipe.kind], show) for recipe, title in titled]
    with new_folder(out, overwrite=True) as folder:
        for run in runs:
            copy_shown(run, folder / run.id)
    return {run.record.recipe.kind: str(out / run.id) for run in runs}


def _carried_out(recipe: AnyRecipe, title: str, work: Work, show: Callable[[AnyEvent], None]) -> Run:
    """The newest run of this recipe on this machine, finished."""
    same = [run for run in all_runs() if isinstance(run, Run) and run.record.recipe == recipe]
    run = same[0] if same else queue.create_here(recipe, title)
    if not same or states.state_of(run) != "done":
        outcome: Outcome = run_job(run, work, show)
        if outcome != "done":
            raise Stopped(f"{run.id} was stopped; the same command goes on with it")
    return run


def copy_shown(run: Run, to: Path) -> Path:
    """What can be looked at of a finished run: asked, told, written and answered. Nothing of this machine is in it."""
    to.mkdir(parents=True)
    write_record(to, run.record.model_copy(update={"command": COMMAND}))
    write_status(to, Status(state="done", since=run.status().since))
    for name in _SHOWN:
        if (run.folder / name).is_file():
            shutil.copy(run.folder / name, to / name)
    if (run.folder / "corpora").is_dir():
        shutil.copytree(run.folder / "corpora", to / "corpora")
    for card in sorted((run.folder / "adapters").glob(f"*/{CARD}")):
        (to / "adapters" / card.parent.name).mkdir(parents=True)
        shutil.copy(card, to / "adapters" / card.parent.name / CARD)
    if isinstance(run.record.recipe, EvaluationRecipe):
        _copy_cells(run.record.recipe, run.folder, to)
    return to


def _copy_cells(recipe: EvaluationRecipe, folder: Path, to: Path) -> None:
    """Cells with their items beside them, as the first versions kept them: the store of items is this machine's."""
    for key in recipe.cells:
        found = read_cell(folder, *key)
        if found is None:
            continue
        cell, items = found
        path = cell_path(to, *key)
        path.parent.mkdir(exist_ok=True)
        write_text(path, to_json(cell.model_copy(update={"items": ()}).model_dump(mode="json")))
        write_text(path.with_suffix(".jsonl"), to_lines(items))

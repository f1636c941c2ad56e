"""Runs that come with SPD Lab: carried out like any other on this machine, then what can be looked at is copied.

No weights, no captures, nothing of this machine.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from spd_core.distill.audits import AUDITS
from spd_core.errors import Stopped
from spd_core.evaluation.cells import cell_path, read_cell, write_beside
from spd_core.intervention.cards import CARD
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs import queue, states
from spd_core.runs.events import AnyEvent
from spd_core.runs.folder import Damaged, Run, all_runs, write_record, write_status
from spd_core.runs.job import Outcome, Work, run_job
from spd_core.runs.record import AnyRecipe, Status, anchored

_SHOWN = ("events.jsonl", "log.txt", "sources.json")
"""Files of a run that are taken as they are."""


def run_of(recipe: AnyRecipe, among: Sequence[Run | Damaged] | None = None) -> Run | None:
    """The newest run of this recipe on this machine, or of `all_runs` as they were read before; None where there is
    none."""
    wanted, runs = anchored(recipe), all_runs() if among is None else among
    return next((run for run in runs if isinstance(run, Run) and run.record.recipe == wanted), None)


def carried_out(recipe: AnyRecipe, title: str, work: Work, show: Callable[[AnyEvent], None] | None) -> Run:
    """The run of this recipe, finished: gone on with where there is one, else a new one.

    Raises:
        Stopped: somebody stopped it; asked again, it goes on.
        SpdError: of any stage.
    """
    run = run_of(recipe)
    if run is None or states.state_of(run) != "done":
        run = run or queue.create_here(recipe, title)
        outcome: Outcome = run_job(run, work, show)
        if outcome != "done":
            raise Stopped(f"{run.id} was stopped; the same command goes on with it")
    return run


def copy_shown(run: Run, to: Path, command: str) -> Path:
    """What can be looked at of a finished run: asked, told, written and answered.

    Args:
        command: what it says that it was made by, wherever that was.
    """
    to.mkdir(parents=True, exist_ok=True)
    write_record(to, run.record.model_copy(update={"command": command}))
    write_status(to, Status(state="done", since=run.status().since))
    for name in _SHOWN:
        if (run.folder / name).is_file():
            shutil.copy(run.folder / name, to / name)
    if (run.folder / "corpora").is_dir():
        shutil.copytree(run.folder / "corpora", to / "corpora")
    for audits in sorted(run.folder.glob(f"arms/*/round-*/{AUDITS}")):
        place = to / audits.relative_to(run.folder)
        place.parent.mkdir(parents=True)
        shutil.copy(audits, place)
    for card in sorted((run.folder / "adapters").glob(f"*/{CARD}")):
        (to / "adapters" / card.parent.name).mkdir(parents=True)
        shutil.copy(card, to / "adapters" / card.parent.name / CARD)
    if isinstance(run.record.recipe, EvaluationRecipe):
        for key in run.record.recipe.cells:
            found = read_cell(run.folder, *key)
            if found is not None:
                write_beside(cell_path(to, *key), *found)
    return to

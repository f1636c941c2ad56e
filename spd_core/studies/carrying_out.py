"""Carries a study out: a run for each of its evaluations, gone on with where it was stopped, recorded in the end."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spd_core.evaluation.damaged import read_cells
from spd_core.evaluation.preflight import check
from spd_core.evaluation.recorded import carried_out, copy_shown
from spd_core.runs.events import AnyEvent
from spd_core.runs.folder import Run, open_run, runs_in
from spd_core.runs.job import Work
from spd_core.storage import new_folder, remove_folder
from spd_core.studies.plan import PlannedTable, StudyPlan

_RUNS = "runs"


def carry_out_study(
    study: StudyPlan,
    work: Work,
    *,
    only: Sequence[str] = (),
    begun: Callable[[PlannedTable], None] = lambda _part: None,
    show: Callable[[AnyEvent], None] | None = None,
) -> dict[str, Run]:
    """The finished run of each evaluation, in the study's order; those that are finished here already are only found.

    Args:
        only: names of evaluations; none takes all.
        begun: told which evaluation is next.

    Raises:
        InputError: an evaluation that there is not, or what any of them names: told before the first one begins.
        Stopped: somebody stopped it; asked again, it goes on.
        SpdError: of any stage.
    """
    parts = [study.part(name) for name in only] or list(study.parts)
    for part in parts:
        check(part.recipe)
    runs = {}
    for part in parts:
        begun(part)
        runs[part.name] = carried_out(part.recipe, f"{study.title}: {part.name}", work, show)
    return runs


def record_study(study: StudyPlan, runs: Mapping[str, Run], folder: Path) -> None:
    """Copy what can be looked at of these runs, and of those that trained their arms, a folder each.

    What was recorded of other evaluations of the study stays; what is of none any more goes.

    Args:
        folder: `<name>/` beside the plan.

    Raises:
        StorageError: the disk refuses.
    """
    for name, run in runs.items():
        command = f"python -m spd_core study assets/studies/{study.name}.json --only {name}"
        for one in (run, *map(open_run, sorted(_trained(run)))):
            with new_folder(folder / _RUNS / one.id, overwrite=True) as place:
                copy_shown(one, place, command)
    kept = recorded_parts(study, folder).values()
    names = {run.id for run in kept}.union(*map(_trained, kept))
    for path in (folder / _RUNS).iterdir():
        if path.name not in names:
            remove_folder(path)


def _trained(run: Run) -> set[str]:
    """The runs that have trained what answered in an evaluation."""
    cells = read_cells(run.record.evaluation, run.folder)[0].values()
    return {cell.adapter.partition("/")[0] for cell, _ in cells if cell.adapter}


def recorded_parts(study: StudyPlan, folder: Path) -> dict[str, Run]:
    """The newest recorded run of each evaluation of a study that has one; damaged ones are left out."""
    found: dict[str, Run] = {}
    by_recipe = {part.recipe.model_dump_json(): part.name for part in study.parts}
    for run in runs_in(folder / _RUNS):
        name = by_recipe.get(run.record.recipe.model_dump_json())
        if name is not None:
            found.setdefault(name, run)
    return {name: found[name] for name in study.part_names if name in found}

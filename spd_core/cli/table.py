"""The command `table`: subjects × sets, gone on with, made for the arms of a run, compared. Imports no torch."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spd_core.cli.console import INTERRUPTED, Json, bars, print_result
from spd_core.cli.runs import new_here, on_bar, run_row
from spd_core.errors import InputError
from spd_core.evaluation.damaged import read_cells
from spd_core.evaluation.preflight import check
from spd_core.recipes.evaluation import EvaluationRecipe, read_evaluation
from spd_core.runs import queue
from spd_core.runs.folder import Run, open_run
from spd_core.runs.processes import JOB, LOCAL

if TYPE_CHECKING:
    from spd_core.runs.job import Outcome


def table(
    config: Annotated[
        Path | None, typer.Argument(help='JSON file: {"preset": "quick", "subjects": ["base", "spd"], "sets": […]}')
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="carry out, or go on with, a run that is there")] = None,
    arms_of: Annotated[
        str | None, typer.Option(metavar="ID", help="evaluate a finished distillation, with all controls of its claims")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="ID", help="with --run: say how it differs from another one; answers nothing")
    ] = None,
    title: Annotated[str, typer.Option(help="what to call the run")] = "",
    detach: Annotated[bool, typer.Option("--detach", help="put it into the queue and return")] = False,
    launcher: Annotated[str, typer.Option(help="with --detach: local, or e.g. 'accelerate launch'")] = LOCAL,
    as_json: Json = False,
) -> None:
    """Evaluate subjects on sets, and print the table. Ctrl+C, or `runs --stop`, ends after a step; `--run ID` goes on,
    of a finished one too: damaged cells are set aside and answered again."""
    if sum(one is not None for one in (config, run, arms_of)) != 1:
        raise InputError(
            "name one of a CONFIG.json, --run ID of a run that is there, and --arms-of ID of a distillation"
        )
    if run is not None:
        if detach or title or launcher != LOCAL:
            raise InputError(
                "--detach, --title and --launcher are of a new run; write --run ID alone, or runs --resume ID"
            )
        found = open_run(run)
        found.record.evaluation  # noqa: B018 - refuses a distillation
        if against is None:
            _fill(found, as_json)
        else:
            _print_against(found, open_run(against), as_json)
        return
    if against is not None:
        raise InputError("--against compares two runs that are there; write --run ID --against ID")
    recipe = read_evaluation(config) if config is not None else _of_arms(open_run(arms_of or ""))
    check(recipe, launcher)
    if detach:
        print_result(run_row(queue.create(recipe, title, launcher)), as_json)
    elif launcher != LOCAL:
        raise InputError("--launcher needs --detach; or write it in front: LAUNCHER -m spd_core table CONFIG.json")
    else:
        _fill(new_here(recipe, title), as_json)


def _of_arms(run: Run) -> EvaluationRecipe:
    from spd_core.evaluation.proposals import evaluation_of, why_by_name

    recipe = evaluation_of(run)
    if reason := why_by_name(run):
        print(f"without further controls: {reason}", file=sys.stderr)
    return recipe


def _print_against(run: Run, other: Run, as_json: bool) -> None:
    """How cells of the first differ from the same of the other."""
    from spd_core.evaluation.compared import shared_cells
    from spd_core.evaluation.table import read_table

    second, first = (read_table(one.record.evaluation, one.folder) for one in (run, other))
    pairs = shared_cells(first, second)
    if not pairs and not as_json:
        print(f"{run.id} and {other.id} share no subject on a set that both have answered")
    for pair in pairs if not as_json else ():
        print(pair.sentence)
    if as_json:
        print_result({"run": run.id, "against": other.id, "cells": [pair.sentence for pair in pairs]}, as_json)


def _fill(run: Run, as_json: bool) -> None:
    from spd_core.runs.job import is_main, run_job

    if is_main():
        _say_what_is_damaged(run)
    try:
        with bars() as bar:
            outcome = run_job(run, carry_out_evaluation, on_bar(bar) if is_main() else None)
    except KeyboardInterrupt:
        outcome = "stopped"
    if is_main():
        _print_table(run, outcome, as_json)
    if outcome == "stopped" and os.environ.get(JOB) != run.id:
        sys.exit(INTERRUPTED)


def _say_what_is_damaged(run: Run) -> None:
    damaged = read_cells(run.record.evaluation, run.folder)[1]
    for cell in damaged:
        print(f"damaged: {cell.subject}, seed {cell.seed}, on {cell.set}: {cell.reason}", file=sys.stderr)
    if any(not cell.newer for cell in damaged):
        print(f"set aside in {run.folder / 'cells' / 'set-aside'}, and answered again", file=sys.stderr)


def carry_out_evaluation(*args: Any, **options: Any) -> "Outcome":
    """Loads torch only inside the job, where a failure to load it becomes the run's reason."""
    from spd_core.evaluation.fill import carry_out_table

    return carry_out_table(*args, **options)


def _print_table(run: Run, outcome: "Outcome", as_json: bool) -> None:
    from spd_core.evaluation.report import long_rows, to_markdown
    from spd_core.evaluation.table import read_table

    found = read_table(run.record.evaluation, run.folder)
    if outcome == "stopped":
        again = shlex.join(["python", "-m", "spd_core", "table", "--run", run.id])
        print(f"stopped; what was finished is kept. To go on: {again}", file=sys.stderr)
    if as_json:
        result: dict[str, Any] = {"run": run.id, "folder": str(run.folder), "state": outcome, "cells": long_rows(found)}
        print_result(result, as_json)
    else:
        print(to_markdown(found))
        print(f"run: {run.id}\nfolder: {run.folder}")

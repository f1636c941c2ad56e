"""The command `table`: subjects × sets from one configuration. Imports no torch."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spd_core.cli.console import INTERRUPTED, Json, bars, print_result
from spd_core.cli.runs import on_bar, run_row
from spd_core.errors import InputError
from spd_core.recipes.evaluation import read_evaluation
from spd_core.runs import queue
from spd_core.runs.folder import Run, open_run
from spd_core.runs.processes import JOB

if TYPE_CHECKING:
    from spd_core.distill.pipeline import Outcome


def table(
    config: Annotated[
        Path | None, typer.Argument(help='JSON file: {"preset": "quick", "subjects": ["base", "spd"], "sets": […]}')
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="carry out, or go on with, a run that is there")] = None,
    title: Annotated[str, typer.Option(help="what to call the run")] = "",
    detach: Annotated[bool, typer.Option("--detach", help="put it into the queue and return")] = False,
    as_json: Json = False,
) -> None:
    """Evaluate subjects on sets, and print the table. Ctrl+C, or `runs --stop`, ends after a step; it goes on when
    the same is asked again."""
    if (config is None) == (run is None):
        raise InputError("name either a CONFIG.json, or --run ID of a run that is there")
    if run is not None:
        if detach or title:
            raise InputError("--detach and --title are of a new run; write --run ID alone, or runs --resume ID")
        found = open_run(run)
        found.record.evaluation  # noqa: B018 - refuses a distillation
        _carry_out(found, as_json)
    elif config is not None:
        recipe = read_evaluation(config)
        if detach:
            print_result(run_row(queue.create(recipe, title)), as_json)
        else:
            _carry_out(queue.create_here(recipe, title), as_json)


def _carry_out(run: Run, as_json: bool) -> None:
    from spd_core.runs.job import run_job

    try:
        with bars() as bar:
            outcome = run_job(run, on_bar(bar), _work)
    except KeyboardInterrupt:
        outcome = "stopped"
    _say(run, outcome, as_json)
    if outcome == "stopped" and os.environ.get(JOB) != run.id:
        sys.exit(INTERRUPTED)


def _work(*args: Any, **options: Any) -> "Outcome":
    """Loads torch only inside the job, where a failure to load it becomes the run's reason."""
    from spd_core.evaluation.fill import carry_out_table

    return carry_out_table(*args, **options)


def _say(run: Run, outcome: "Outcome", as_json: bool) -> None:
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

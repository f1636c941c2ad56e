"""The commands `distill` and `runs`: what a shell, a cluster and the app's jobs ask of runs. Imports no torch."""

import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spd_core.cli.console import INTERRUPTED, Json, bars, print_result
from spd_core.errors import InputError
from spd_core.evaluation.marks import marks_where_allowed
from spd_core.evaluation.preflight import check
from spd_core.evaluation.progress import EvaluationView, describe
from spd_core.intervention.cards import CARD, read_card
from spd_core.progress import Progress, Tell
from spd_core.recipes.distill import Recipe, read_recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs import queue, states
from spd_core.runs.events import AnyEvent
from spd_core.runs.folder import Damaged, Run, all_runs, open_run
from spd_core.runs.processes import JOB, LOCAL
from spd_core.runs.view import RunView, describe_stage

if TYPE_CHECKING:
    from spd_core.runs.job import Outcome


_NAMES = {
    "load": "Loading",
    "capture": "Capturing",
    "corpus": "Writing",
    "train": "Training",
    "drift": "Drift",
    "evaluate": "Answering",
}


def distill(
    config: Annotated[
        Path | None, typer.Argument(help='JSON file: {"preset": "quick", "capability": "arithmetic"}')
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="carry out, or go on with, a run that is there")] = None,
    title: Annotated[str, typer.Option(help="what to call the run")] = "",
    detach: Annotated[bool, typer.Option("--detach", help="put it into the queue and return")] = False,
    launcher: Annotated[str, typer.Option(help="with --detach: local, or e.g. 'accelerate launch'")] = LOCAL,
    as_json: Json = False,
) -> None:
    """Write corpora and train on them. Ctrl+C, or `runs --stop`, ends after a step; `--run ID` goes on."""
    if (config is None) == (run is None):
        raise InputError("name either a CONFIG.json, or --run ID of a run that is there")
    if run is not None:
        if detach or title or launcher != LOCAL:
            raise InputError(
                "--detach, --title and --launcher are of a new run; write --run ID alone, or runs --resume ID"
            )
        found = open_run(run)
        found.record.distillation  # noqa: B018 - refuses an evaluation
        _carry_out(found, as_json)
    elif config is not None:
        recipe = read_recipe(config)
        if detach:
            check(recipe, launcher)
            print_result(run_row(queue.create(recipe, title, launcher)), as_json)
        elif launcher != LOCAL:
            raise InputError(
                f"--launcher needs --detach; or write it in front: {launcher} -m spd_core distill {config}"
            )
        else:
            check(recipe)
            _carry_out(new_here(recipe, title), as_json)


def new_here(recipe: Recipe | EvaluationRecipe, title: str) -> Run:
    """A new run of this process, or of all that were launched together."""
    from spd_core.runs.parallel import together

    return open_run(together().from_first(lambda: queue.create_here(recipe, title).id))


def _carry_out(run: Run, as_json: bool) -> None:
    from spd_core.runs.job import is_main, run_job

    try:
        with bars() as bar:
            outcome = run_job(run, carry_out_recipe, on_bar(bar) if is_main() else None)
    except KeyboardInterrupt:
        outcome = "stopped"
    if is_main():
        _say(run, outcome, as_json)
    if outcome == "stopped" and os.environ.get(JOB) != run.id:
        sys.exit(INTERRUPTED)


def carry_out_recipe(recipe: Recipe, *args: Any, **options: Any) -> "Outcome":
    """Loads torch only inside the job, where a failure to load it becomes the run's reason."""
    from spd_core.distill.pipeline import carry_out

    check(recipe)
    return carry_out(recipe, *args, marks=marks_where_allowed, **options)


def _say(run: Run, outcome: "Outcome", as_json: bool) -> None:
    again = shlex.join(["python", "-m", "spd_core", "distill", "--run", run.id])
    if outcome == "stopped":
        print(f"stopped; what was finished is kept. To go on: {again}", file=sys.stderr)
    elif outcome == "review":
        print("the corpora wait for a look at them: open the app, or `runs --approve ID`", file=sys.stderr)
    print_result(_result(run, outcome), as_json)


def _result(run: Run, outcome: "Outcome") -> dict[str, Any]:
    """What a run has made: for each arm its rows, steps, held-out loss and adapter."""
    arms: dict[str, dict[str, Any]] = {}
    for arm in run.record.distillation.arms:
        folder = run.folder / "adapters" / arm
        if (folder / CARD).is_file():
            card = read_card(folder)
            arms[arm] = {
                "rows": card.rows,
                "steps": card.steps,
                "held_out_loss": card.held_out_loss,
                "finished": card.finished,
                "adapter": str(folder),
            }
    return {"run": run.id, "folder": str(run.folder), "state": outcome, "arms": arms}


def on_bar(bar: Tell) -> Callable[[AnyEvent], None]:
    """Draw events as one bar for each stage."""

    def show(event: AnyEvent) -> None:
        if event.kind == "stage" or event.kind == "progress":
            share = event.done / max(1, event.total) if event.kind == "progress" else 0.0
            round_ = f"{'seed' if event.set else 'round'} {event.round}" if event.round > 1 else ""
            bar(Progress(share, 1, " ".join(filter(None, (_NAMES[event.stage], event.arm, event.set, round_)))))

    return show


def runs(
    stop: Annotated[str | None, typer.Option(metavar="ID", help="end a run after its step, or take it out")] = None,
    resume: Annotated[str | None, typer.Option(metavar="ID", help="put a stopped, failed or lost run back")] = None,
    approve: Annotated[str | None, typer.Option(metavar="ID", help="its corpora were looked at: train")] = None,
    delete: Annotated[str | None, typer.Option(metavar="ID", help="delete a run and all it made")] = None,
    as_json: Json = False,
) -> None:
    """List the runs on this machine, or do something with one."""
    changes: dict[Callable[[Run], object], str | None] = {
        queue.stop: stop,
        queue.resume: resume,
        queue.approve: approve,
    }
    wanted = [(change, id) for change, id in changes.items() if id is not None]
    if len(wanted) + (delete is not None) > 1:
        raise InputError("one of --stop, --resume, --approve and --delete at a time")
    if delete is not None:
        print_result(_delete(delete), as_json)
    for change, id in wanted:
        run = open_run(id)
        change(run)
        print_result(run_row(run), as_json)
    if not wanted and delete is None:
        _print_all([run_row(run) for run in all_runs()], as_json)


def _delete(id: str) -> dict[str, Any]:
    found = {run.id: run for run in all_runs()}
    return {"run": id, "state": "deleted", "bytes": queue.delete(found.get(id) or open_run(id))}


def run_row(run: Run | Damaged) -> dict[str, Any]:
    """A run in a few words."""
    if isinstance(run, Damaged):
        return {
            "run": run.id,
            "state": "damaged",
            "reason": run.reason,
            "title": "",
            "doing": "",
            "asked_to_stop": False,
        }
    status = states.status_of(run)
    return {
        "run": run.id,
        "state": status.state,
        "reason": status.reason,
        "title": run.record.title,
        "doing": _doing(run) if status.state == "running" else "",
        "asked_to_stop": run.asked_to_stop(),
    }


def _doing(run: Run) -> str:
    """What a run does now, as the pages say it; empty where its events cannot be read."""
    recipe = run.record.recipe
    with suppress(InputError):
        told = run.events().events
        if isinstance(recipe, Recipe):
            now = RunView()
            now.take(told)
            return describe_stage(now)
        answers = EvaluationView()
        answers.take(told)
        return describe(answers, recipe)
    return ""


def _print_all(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_result({"runs": rows}, as_json)
    for row in rows if not as_json else []:
        print("  ".join(filter(None, (f"{row['state']:8}", row["run"], row["title"], row["doing"], row["reason"]))))
    if not rows and not as_json:
        print("no run on this machine yet: python -m spd_core distill CONFIG.json")

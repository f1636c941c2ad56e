"""The section of a report on a training: losses, right answers, and how far the subspace has turned. Pure."""

import json
import shlex
from collections.abc import Iterator

from app.fine_tune import charts, drift_chart, schedule_charts
from app.reports.blocks import Block, Replay, ReportFigure, ReportSection, text_table
from app.runs.form import settings_file
from app.ui.widgets import duration
from spd_core.evaluation.training_verdict import training_verdict
from spd_core.recipes.distill import short_name
from spd_core.runs.folder import Run
from spd_core.runs.view import RunView

_QUESTION = "Does it help to train on text that the model wrote itself?"


def view_of(run: Run) -> RunView:
    """What a run has told of itself, from its first event on."""
    view, news = RunView(), run.events()
    view.take(news.events, news.damaged)
    return view


def training_section(view: RunView) -> ReportSection:
    """Curves of all arms from step 0 on, right answers after each epoch, drift, and the last numbers as a table."""
    first, rest = training_verdict(view, works=False)
    return ReportSection("Fine-tune", _QUESTION, f"{first} {rest}".strip(), [*_curves(view), *_drift(view)])


def _curves(view: RunView) -> Iterator[Block]:
    if not any(one.steps or one.held_out or one.scored for one in view.curves.values()):
        return
    shown = {"": view.curves}
    yield ReportFigure(
        lambda dark: charts.losses(shown, dark),
        "Losses by step. Thick lines are held-out rows, hollow marks the mean of an epoch's steps, faint lines "
        "the steps themselves. Each arm is scored on its own text: a lower line does not make it the better model.",
        charts.losses_alt(shown),
        "losses",
    )
    if any(one.scored for one in view.curves.values()):
        yield ReportFigure(
            lambda dark: schedule_charts.answers(view.curves, dark, "step"),
            "Held-out prompts answered rightly, greedily, before the training and after each epoch. Where the bars "
            "(95% intervals) overlap, luck could be all there is.",
            schedule_charts.answers_alt(view.curves),
            "right-answers",
        )
    finals = [{name: text for name, text in row.items() if name != "Run"} for row in charts.finals_table({"": view})]
    yield text_table("The last losses of every arm, in nats per token.", finals)
    yield text_table("Losses of every step, in nats per token.", charts.losses_table(shown), folded=True)


def _drift(view: RunView) -> Iterator[Block]:
    if not view.drifts:
        return
    yield ReportFigure(
        lambda dark: drift_chart.drift(view.drifts, dark),
        "How much of the untouched model's capability subspace that of the trained one shares, the mean cos² of their "
        "principal angles. 1: nothing has turned; the mark of chance: as far apart as two random ones.",
        drift_chart.drift_alt(view.drifts),
        "drift",
    )
    yield text_table("Overlap with the untouched model's subspace.", drift_chart.drift_table(view.drifts), folded=True)


# --- what made it --------------------------------------------------------------------------------------------


def training_facts(run: Run, view: RunView) -> Iterator[tuple[str, str]]:
    """Run, model, capability, arms, versions and seconds."""
    record, recipe = run.record, run.record.distillation
    yield "Run", f"{record.id}, {record.created.replace('T', ' ')}"
    yield "Model", f"{recipe.model}{f'@{recipe.revision}' if recipe.revision else ''}, {recipe.dtype}"
    yield "Capability", recipe.capability
    yield "Arms", ", ".join(short_name(arm) for arm in recipe.arms)
    yield "Seed", str(recipe.seed)
    yield "Time", duration(view.worked)
    yield "Versions", ", ".join(f"{name} {made}" for name, made in sorted(record.versions.items()))
    yield "Command", record.command


def training_replays(run: Run) -> Iterator[Replay]:
    """The recipe as a file, and the command that carries it out."""
    recipe = json.loads(settings_file(run.record.distillation))
    yield Replay("Train again: recipe.json", json.dumps(recipe, indent=2, ensure_ascii=False))
    title = ["--title", run.record.title] if run.record.title else []
    yield Replay(
        "Train again, from a shell", shlex.join(["python", "-m", "spd_core", "distill", "recipe.json", *title])
    )

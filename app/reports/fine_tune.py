"""The sections of a report on a training: losses, right answers, how far the subspace has turned; its audits. Pure."""

import json
import shlex
from collections.abc import Iterator

from app.fine_tune import audit_charts, audit_text, charts, drift_chart, measure_charts, schedule_charts
from app.fine_tune.audit_files import AuditedTraining, Looked, trainings_of
from app.reports.blocks import Block, Replay, ReportFigure, ReportNote, ReportSection, text_table
from app.reports.strips import strip_block
from app.runs.form import settings_file
from app.ui.widgets import duration
from spd_core.evaluation.training_verdict import training_verdict
from spd_core.recipes.distill import Recipe, short_name
from spd_core.runs.folder import Run
from spd_core.runs.view import RunView
from spd_core.text import opening, shown

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
    yield from _losses(view)
    if alt := measure_charts.measures_alt(view.curves):
        yield ReportFigure(
            lambda dark: measure_charts.measured_lines(view.curves, dark),
            "What students measure at each step: how strongly OmniOPD learns its own chunks, how open the student's "
            "choices are, and how far it is from the untouched model.",
            alt,
            "measures",
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
    yield text_table("Losses of every step, in nats per token.", charts.losses_table({"": view.curves}), folded=True)


def _losses(view: RunView) -> Iterator[Block]:
    """Of arms on corpora, and of those that learn on what they write, which are of another kind."""
    curves = {key: one for key, one in view.curves.items() if one.steps or one.held_out}
    on_corpora = {"": {key: one for key, one in curves.items() if Recipe.writes(key[0])}}
    in_training = {"": {key: one for key, one in curves.items() if not Recipe.writes(key[0])}}
    if on_corpora[""]:
        yield ReportFigure(
            lambda dark: charts.losses(on_corpora, dark),
            "Losses by step. Thick lines are held-out rows, hollow marks the mean of an epoch's steps, faint lines "
            "the steps themselves. Each arm is scored on its own text: a lower line does not make it the better model.",
            charts.losses_alt(on_corpora),
            "losses",
        )
    if in_training[""]:
        yield ReportFigure(
            lambda dark: charts.losses(in_training, dark, unit="of its method, per token"),
            "Losses of arms that learn on what they write: on-policy SPD's is the distance from the projected self's "
            "probabilities, OmniOPD's is −log p of its chunks, each by its weight, and the pull back to the untouched "
            "model. The student writes anew at every step.",
            charts.losses_alt(in_training),
            "own-losses",
        )


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


# --- audits --------------------------------------------------------------------------------------------------


def audits_section(run: Run) -> ReportSection | None:
    """What OmniOPD has looked at: of each arm what its audits come to, and one rollout with its chunks; None where
    nothing was audited.

    Raises:
        InputError: a file of audits is damaged.
    """
    found = [(training, training.looked()) for training in trainings_of(run)]
    found = [(training, looked) for training, looked in found if looked.audits]
    if not found:
        return None
    blocks: list[Block] = []
    for at, (training, looked) in enumerate(found):
        blocks += [ReportNote(f"{training.title}. {looked.verdict}")] if at else []  # the first one's stands above
        blocks += _audited(training, looked)
    return ReportSection("Audits", "What does the teacher write in place of the student's chunks?",
                         f"{found[0][0].title}: {found[0][1].verdict}", blocks)  # fmt: skip


def _audited(training: AuditedTraining, looked: Looked) -> Iterator[Block]:
    """The steps of a training, and the first rollout of its last step that has a chunk."""
    last = looked.at(looked.steps[-1].step)
    audit = next((one for one in last if one.chunks), last[0])
    yield ReportFigure(
        lambda dark: audit_charts.over_steps(looked.steps, audit.step, dark),
        f"{training.title}: means of the audits of each step; the dotted line is the step whose rollout is below.",
        audit_charts.steps_alt(looked.steps),
        f"audits-{training.key}",
    )
    tokens = training.chunks.chunk_tokens
    yield strip_block(
        audit_text.rollout_strip(audit, tokens, looked.most, None),
        f"{training.title}, step {audit.step}: what the student wrote on “{opening(shown(audit.prompt), 90)}”",
        "The deeper the colour, the more open the choice was for the student. In each frame the teacher wrote on from "
        "the same place, without seeing the chunk.",
    )
    if audit.chunks:
        yield text_table("Its chunks: how much the teacher agrees, and their weight.", audit_text.chunk_rows(audit))
        yield text_table("What the teacher wrote in their place.", audit_text.continuation_rows(audit), folded=True)
    steps = audit_text.step_rows(looked.steps)
    yield text_table(f"{training.title}: means of the audits of each step.", steps, folded=True)


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

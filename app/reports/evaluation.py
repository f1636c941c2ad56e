"""The section of a report on an evaluation: did it help, and was it the subspace? Pure: knows no session."""

import json
import shlex
from collections.abc import Iterator

from app.evaluation import answer_charts, claim_cards, heat_map, score_charts
from app.evaluation.verdict_panel import warning_lines
from app.reports.blocks import Block, Replay, ReportClaims, ReportFigure, ReportNote, ReportSection, text_table
from app.runs.form import settings_file
from app.ui import difference_charts
from app.ui.set_panels import answered_sets, compared_sets, set_title
from app.ui.widgets import counted, duration
from spd_core.evaluation import report
from spd_core.evaluation.claims import strongest
from spd_core.evaluation.drawn import drawn_sets
from spd_core.evaluation.report import MARKS
from spd_core.evaluation.table import Column, Table
from spd_core.evaluation.verdict import verdict
from spd_core.runs.record import RunRecord

_QUESTION = "Did it help, and was it the subspace?"


def evaluation_section(table: Table) -> ReportSection:
    """Differences with intervals, scores, the map, a card for each comparison, answers, and all numbers as tables."""
    if not table.answered:
        return ReportSection("Evaluation", _QUESTION, "No cell of this evaluation is filled yet.", [])
    kind = strongest(table.claims.values())
    return ReportSection(
        "Evaluation",
        _QUESTION,
        verdict(table.claims.values(), table.comparisons - len(table.claims)),
        [*_claims(table), *_scores(table), *_answers(table)],
        mood=kind.replace(" ", "-"),
        mark=MARKS[kind],
        warnings=list(warning_lines(table)),
    )


def _claims(table: Table) -> Iterator[Block]:
    if not table.claims:
        return
    yield ReportFigure(
        lambda dark: difference_charts.differences(table, dark),
        "Subject − base on the same items, with 95% intervals; right of zero is better. A bar that crosses zero shows "
        "nothing; one that does not can still be luck among so many: it is hollow where p after Holm is 0.05 or more.",
        difference_charts.differences_alt(table),
        "differences",
    )
    yield ReportFigure(
        lambda dark: heat_map.difference_map(table, None, dark),
        "The same as a map. Blue helps, orange hurts; without a colour it is not shown, however large it looks.",
        heat_map.difference_map_alt(table),
        "difference-map",
    )
    for column in compared_sets(table):
        yield ReportClaims(set_title(column), list(claim_cards.claims_of(table, column)))
    rows = difference_charts.differences_table(table)
    yield text_table("All differences to the base.", rows, folded=True)


def _scores(table: Table) -> Iterator[Block]:
    yield ReportFigure(
        lambda dark: score_charts.scores(table, dark),
        "A dot is a score, its bar the 95% interval; better is on the right. The dashed line is the untouched model. "
        "Overlapping bars prove nothing either way: items are paired.",
        score_charts.scores_alt(table),
        "scores",
    )
    yield text_table("All subjects on all sets.", report.grid(table))
    for column in drawn_sets(table):
        said = f"Several answers to each item of {column.title}: pass@k is the chance that one of k is right."
        yield text_table(said, report.drawn_rows(table, column))
    yield from (ReportNote(line) for line in report.notes(table))


def _answers(table: Table) -> Iterator[Block]:
    for column in answered_sets(table):
        if not column.likelihood:
            yield _answer_bars(table, column)
    if rows := report.diagnostics(table):
        yield text_table("Length, stopping and format of all answers.", rows, folded=True)


def _answer_bars(table: Table, column: Column) -> ReportFigure:
    return ReportFigure(
        lambda dark: answer_charts.answer_bars(table, column, dark),
        f"How the answers on {set_title(column)} look: a gain that is no more than answers that end sooner, or that "
        "can be read more often, is a gain in form.",
        answer_charts.answer_bars_alt(table, column),
        f"answers-{column.name}",
    )


# --- what made it --------------------------------------------------------------------------------------------


def evaluation_facts(table: Table, record: RunRecord) -> Iterator[tuple[str, str]]:
    """Run, model, sets with their sizes and hashes, settings, versions and seconds."""
    recipe = table.recipe
    revisions = dict.fromkeys(cell.revision for one in table.answered.values() for cell in one.cells)
    yield "Evaluation", f"{record.id}, {record.created.replace('T', ' ')}"
    yield "Evaluated model", f"{recipe.model}, {', '.join(revisions) or 'no cell filled yet'}, {recipe.dtype}"
    yield "Subjects", ", ".join(subject.title for subject in recipe.subjects)
    items = {name: one for (_, name), one in table.answered.items()}
    for column in answered_sets(table):
        one = items[column.name]
        yield f"Set {column.title}", f"{counted(one.estimate.n, 'item')}, sha256 {one.cells[0].fingerprint}"
    seconds = sum(one.seconds for one in table.answered.values())
    yield "Seeds", ", ".join(map(str, recipe.seeds))
    yield "Time of the answers", f"{duration(seconds)}; {table.done} of {counted(table.planned, 'cell')} filled"
    yield "Versions of the evaluation", ", ".join(f"{name} {made}" for name, made in sorted(record.versions.items()))
    yield "Command of the evaluation", record.command


def evaluation_replays(record: RunRecord) -> Iterator[Replay]:
    """The recipe as a file, and the command that carries it out."""
    recipe = json.loads(settings_file(record.evaluation))
    yield Replay("Evaluate again: evaluation.json", json.dumps(recipe, indent=2, ensure_ascii=False))
    title = ["--title", record.title] if record.title else []
    yield Replay(
        "Evaluate again, from a shell", shlex.join(["python", "-m", "spd_core", "table", "evaluation.json", *title])
    )

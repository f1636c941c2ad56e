"""A study as one file: what was announced, what came out, what was written, and every evaluation. Pure."""

from collections.abc import Iterator, Mapping

from app.evaluation import study_charts
from app.reports.blocks import Block, Replay, Report, ReportFigure, ReportNote, ReportSection, ReportTable, text_table
from app.reports.evaluation import evaluation_facts, evaluation_section
from spd_core.evaluation.paper import FIGURES, ITEMS, MODEL
from spd_core.evaluation.report import MARKS
from spd_core.evaluation.table import Table
from spd_core.recipes.evaluation import NAMED
from spd_core.studies.findings import findings
from spd_core.studies.report import mood, shown_rows, study_verdict
from spd_core.studies.shelf import KnownStudy
from spd_core.studies.written import shown_written


def replication_report(one: KnownStudy, tables: Mapping[str, Table]) -> Report:
    """All of a study that has been carried out.

    Args:
        tables: of its evaluations, by their names.
    """
    study = one.study
    facts = [("Announced", f"{study.date}, before the first answer: {study.design}")]
    for name, table in tables.items():
        facts += [(f"{name}: {what}", said) for what, said in evaluation_facts(table, one.runs[name].record)]
    return Report(
        study.title,
        f"{len(tables)} of {len(study.parts)} evaluations carried out",
        [_announced(one, tables), *_parts(one, tables), _paper(), _limits(one)],
        facts,
        list(_replays(one)),
    )


def _announced(one: KnownStudy, tables: Mapping[str, Table]) -> ReportSection:
    found = findings(one.study, tables)
    blocks: list[Block] = [text_table("All announced comparisons.", shown_rows(found))]
    if any(outcome.claim is not None for outcome in found):
        figure = ReportFigure(
            lambda dark: study_charts.forest(found, dark),
            study_charts.HOW,
            study_charts.forest_alt(found),
            "announced",
        )
        blocks.insert(0, figure)
    kind = mood(found)
    question = "What was announced, and what does it show?"
    return ReportSection(
        "Announced", question, study_verdict(found), blocks, mood=kind.replace(" ", "-"), mark=MARKS[kind]
    )


def _parts(one: KnownStudy, tables: Mapping[str, Table]) -> Iterator[ReportSection]:
    for name, table in tables.items():
        section = evaluation_section(table)
        blocks = [*_doses(name, tables), *section.blocks, *_written(table)]
        yield ReportSection(
            one.study.part(name).called,
            one.study.part(name).question,
            section.verdict,
            blocks,
            mood=section.mood,
            mark=section.mark,
            warnings=section.warnings,
        )


def _doses(name: str, tables: Mapping[str, Table]) -> Iterator[Block]:
    for _, table, dose in study_charts.all_doses({name: tables[name]}):
        yield ReportFigure(
            lambda dark, table=table, dose=dose: study_charts.dose_chart(table, dose, dark),  # type: ignore[misc]
            f"Right answers in domain over {dose.what}, with 95% intervals; the dashed line is the untouched model.",
            study_charts.dose_alt(dose),
            f"{name}-{dose.what.partition(' ')[0]}",
        )


def _written(table: Table) -> Iterator[Block]:
    rows = shown_written(table)
    if rows:
        yield text_table("What the arms were trained on: their corpora before any training, means over seeds.", rows)


def _paper() -> ReportSection:
    sets = ("mbpp", "codealpaca", "gsm8k", "svamp", "mmlu", "bbh")
    rows = [
        [NAMED[arm].title, *(f"{figures[name]} nats" if name == "codealpaca" else f"{figures[name]}%" for name in sets)]
        for arm, figures in FIGURES.items()
    ]
    said = f"The paper's own figures are of {MODEL}, {ITEMS} items a set: a standard error of 3 to 5 points."
    table = ReportTable("As the paper reports it (arXiv 2605.22675).", ["Arm", *map(str.upper, sets)], rows)
    return ReportSection("The paper", "What does the paper report?", said, [table])


def _limits(one: KnownStudy) -> ReportSection:
    notes: list[Block] = [ReportNote(said) for said in one.study.limits]
    said = "No sentence of this report claims more than its interval."
    return ReportSection("Limits", "What can this study not answer?", said, notes)


def _replays(one: KnownStudy) -> Iterator[Replay]:
    yield Replay("The whole study, from a shell", one.command)
    if one.slice_command:
        yield Replay("About an hour of it, compared with what is recorded", one.slice_command)

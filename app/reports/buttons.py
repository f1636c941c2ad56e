"""The buttons that make a report of what a page shows, when they are pressed: opening a page makes none."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

import streamlit as st

from app.attributions.asking import latest_result
from app.jobs.requests import CheckRequest, same_capture
from app.reports.chosen import InHand
from app.ui import session
from app.ui.direction_names import names_of
from app.ui.widgets import download, model_name
from spd_core.errors import InputError
from spd_core.runs.folder import open_run

if TYPE_CHECKING:
    from app.jobs.probing import Probed
    from app.jobs.requests import LensRequest
    from app.reports.blocks import Report, ReportSection
    from spd_core.attribution.results import CausalCheck, Lens
    from spd_core.evaluation.repeats import Repeat
    from spd_core.evaluation.table import Table
    from spd_core.generation.comparison import Comparison
    from spd_core.runs.folder import Run
    from spd_core.studies.shelf import KnownStudy
    from spd_core.subspace.analysis import Analysis

LABEL, STUDY = "Report (HTML)", "Whole study (HTML)"
_HELP = (
    "One file that anybody can open, offline and without SPD Lab: sentences, interactive figures, tables, what made "
    "them, and the commands that make them again."
)
_HELP_STUDY = "Capture, spectrum, tokens of the selected direction, texts side by side and the evaluation, in one file."


def spectrum_report(analysis: "Analysis") -> None:
    """Two buttons: for the spectrum in hand, and for the whole study of its capture."""
    held, overlays = _in_hand(analysis), tuple(st.session_state.get(session.OVERLAYS) or ())
    written = str(st.session_state.get(session.WRITTEN) or "")

    def make() -> bytes:
        from app.reports.page import report_html
        from app.reports.spectrum import spectrum_section

        return report_html(of_capture(held, "Spectrum", [spectrum_section(held, overlays)]))

    def make_study() -> bytes:
        from app.reports.gathering import study_of
        from app.reports.page import report_html
        from app.reports.study import study_report

        return report_html(study_report(study_of(held, overlays, written)))

    download(LABEL, make, f"spectrum-{analysis.name}.html", help=_HELP)
    download(STUDY, make_study, f"study-{analysis.name}.html", help=_HELP_STUDY)


def attributions_report(analysis: "Analysis") -> None:
    """A button for the selected direction."""
    held = _in_hand(analysis)

    def make() -> bytes:
        from app.reports.attributions import attributions_section
        from app.reports.page import report_html

        return report_html(of_capture(held, "Token attributions", [attributions_section(held)]))

    at = held.at
    download(LABEL, make, f"direction-{at.layer}-{at.kind}-{at.direction + 1}-{analysis.name}.html", help=_HELP)


def side_by_side_report(result: "Comparison", right: Sequence[bool | None], repeat: "Repeat | None") -> None:
    """A button for the result that is shown."""
    cell = int(st.session_state.get(session.CELL) or 0) if result.grid is not None else 0

    def make() -> bytes:
        from app.reports.blocks import Report
        from app.reports.page import report_html
        from app.reports.side_by_side import Written, side_by_side_section, writing_facts, writing_replays

        section = side_by_side_section(Written(result, right, repeat, cell))
        subtitle = f"{result.capability} on {result.revision}, written {result.created.replace('T', ' ')}"
        facts, replays = list(writing_facts(result)), list(writing_replays(result))
        return report_html(Report(f"Side by side: {result.capability}", subtitle, [section], facts, replays))

    download(LABEL, make, f"side-by-side-{result.id}-report.html", help=_HELP)


def evaluation_report(name: str) -> None:
    """A button for the evaluation of this name, as soon as one of its cells is filled."""
    from app.ui.open_tables import table_of  # here, as results are: it imports scipy

    with suppress(InputError):  # the page says why it cannot be opened
        run = open_run(name)
        table = table_of(run)
        if table.answered:
            download(LABEL, partial(_evaluation, run, table), f"evaluation-{name}.html", help=_HELP)


def _evaluation(run: "Run", table: "Table") -> bytes:
    from app.reports.blocks import Report
    from app.reports.evaluation import evaluation_facts, evaluation_replays, evaluation_section
    from app.reports.page import report_html

    record = run.record
    title = record.title or f"Evaluation: {record.evaluation.capability}"
    facts, replays = list(evaluation_facts(table, record)), list(evaluation_replays(record))
    subtitle = f"{run.id}, {table.done} of {table.planned} cells"
    return report_html(Report(title, subtitle, [evaluation_section(table)], facts, replays))


def study_report_button(one: "KnownStudy", tables: "Mapping[str, Table]") -> None:
    """A button for a study, as far as it is carried out."""

    def make() -> bytes:
        from app.reports.page import report_html
        from app.reports.replication import replication_report

        return report_html(replication_report(one, tables))

    download(LABEL, make, f"{one.study.name}.html", help=_HELP)


def training_report(name: str) -> None:
    """A button for the training of this name, once it is finished."""
    with suppress(InputError):  # the page says why it cannot be opened
        run = open_run(name)
        if run.status().state == "done":
            download(LABEL, partial(_training, run), f"fine-tune-{name}.html", help=_HELP)


def _training(run: "Run") -> bytes:
    from app.reports.blocks import Report
    from app.reports.fine_tune import audits_section, training_facts, training_replays, training_section, view_of
    from app.reports.page import report_html

    record, view = run.record, view_of(run)
    title = record.title or f"Fine-tune: {record.distillation.capability}"
    facts, replays = list(training_facts(run, view)), list(training_replays(run))
    sections = [one for one in (training_section(view), audits_section(run)) if one is not None]
    return report_html(Report(title, run.id, sections, facts, replays))


# --- what is in hand -----------------------------------------------------------------------------------------


def _in_hand(analysis: "Analysis") -> InHand:
    at, hide = session.selection(analysis), bool(st.session_state.get(session.ASIDE, True))
    rank = session.chosen_rank(analysis.d_kv)
    found = InHand(analysis, at, rank, names_of(analysis), hide)
    lens = cast("Probed[LensRequest, dict[int, Lens]] | None", latest_result(session.LENS_JOB))
    check = cast("Probed[CheckRequest, CausalCheck] | None", latest_result(session.CHECK_JOB))
    own_lens = own_check = None
    split = "calibration"
    if lens is not None and same_capture(lens.request.analysis, analysis) and lens.request.site == found.site:
        own_lens = lens.found.get(at.direction)
    if check is not None:
        made = check.request
        if made.asks_same_as(CheckRequest(analysis, found.site, at.direction, made.split)):
            own_check, split = check.found, made.split
    return InHand(
        analysis,
        at,
        rank,
        found.names,
        hide,
        lens=own_lens,
        check=own_check,
        checked_on=split.replace("heldout", "held-out"),
    )


def of_capture(held: InHand, what: str, sections: "list[ReportSection]") -> "Report":
    """A report on the capture in hand, with what made it and how to make it again."""
    from app.reports.blocks import Report
    from app.reports.origins import capture_facts, capture_replays

    record = held.analysis.provenance
    model = model_name(record).rpartition("/")[2].partition("@")[0]
    return Report(
        f"{what}: {record.capability}",
        f"{record.capability} on {model}, {record.examples_used} examples, {held.direction}",
        sections,
        list(capture_facts(held)),
        list(capture_replays(held)),
    )

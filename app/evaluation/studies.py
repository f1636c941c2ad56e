"""The part of Evaluation with studies: what was announced, what it shows, and the way down to every item."""

from collections.abc import Callable, Mapping

import streamlit as st

from app.evaluation import study_charts
from app.jobs.models import no_import_meanwhile
from app.ui import session
from app.ui.open_tables import table_of
from app.ui.tables import table_html
from app.ui.verdict import draw_verdict
from app.ui.widgets import caption, chart, escaped, is_dark
from spd_core.evaluation.report import MARKS
from spd_core.evaluation.table import Table
from spd_core.studies.findings import Finding, findings
from spd_core.studies.plan import StudyPlan
from spd_core.studies.report import mood, shown_rows, study_verdict
from spd_core.studies.shelf import KnownStudy, known_studies
from spd_core.text import shown


def panel(open_run: Callable[[str], None], report: Callable[[KnownStudy, Mapping[str, Table]], None]) -> None:
    """Every study, one after the other.

    Args:
        open_run: turns to an evaluation; used as a callback.
        report: draws the button that makes a file of a study.
    """
    studies = known_studies()
    if not studies:
        st.info("No study comes with this installation.", icon=":material/science:")
    for one in studies:
        tables = {name: table_of(run) for name, run in one.runs.items()}
        _study(one, tables, open_run)
        if tables:
            report(one, tables)
        _from_a_shell(one)


def _study(one: KnownStudy, tables: Mapping[str, Table], open_run: Callable[[str], None]) -> None:
    study = one.study
    with no_import_meanwhile():
        found = findings(study, tables)
    st.markdown(f"#### {escaped(shown(study.title))}")
    caption(f"Announced on {study.date}, before the first answer, in {escaped(study.design)}.")
    kind = mood(found)
    draw_verdict(study_verdict(found), kind=kind.replace(" ", "-"), mark=MARKS[kind])
    if any(outcome.claim is not None for outcome in found):
        _forest(study.name, found)
    for name, table, dose in study_charts.all_doses(tables):
        _dose(study, name, table, dose)
    _parts(one, tables, open_run)


def _forest(name: str, found: tuple[Finding, ...]) -> None:
    chart(study_charts.forest(found, is_dark()), key=f"study_{name}", alt=study_charts.forest_alt(found))
    caption(f"**How to read this:** {study_charts.HOW}")
    with st.expander("All announced comparisons as a table", icon=":material/table:"):
        st.html(table_html(shown_rows(found), "Announced comparisons"))


def _dose(study: StudyPlan, part: str, table: Table, dose: study_charts.Dose) -> None:
    with st.expander(f"{study.part(part).called}: right answers over {dose.what}", icon=":material/show_chart:"):
        chart(
            study_charts.dose_chart(table, dose, is_dark()),
            key=f"study_{study.name}_{part}_{dose.what}",
            alt=study_charts.dose_alt(dose),
        )


def _parts(one: KnownStudy, tables: Mapping[str, Table], open_run: Callable[[str], None]) -> None:
    st.markdown("##### Its evaluations, down to every item")
    for part in one.study.parts:
        run, table = one.runs.get(part.name), tables.get(part.name)
        left, right = st.columns((5, 1), vertical_alignment="center")
        state = f"{table.done} of {table.planned} cells" if table is not None else "not carried out yet"
        left.markdown(f"**{escaped(part.called)}** · {escaped(part.question)} :gray[({state})]")
        right.button(
            "Open",
            key=f"{session.STUDY_OPEN}_{one.study.name}_{part.name}",
            disabled=run is None,
            on_click=open_run,
            args=(run.id if run is not None else "",),
            width="stretch",
        )


def _from_a_shell(one: KnownStudy) -> None:
    with st.expander("Repeat it from a shell", icon=":material/terminal:"):
        st.code(one.command, language=None)
        if one.slice_command:
            caption("About an hour of it, compared with what is recorded, answer by answer:")
            st.code(one.slice_command, language=None, wrap_lines=True)

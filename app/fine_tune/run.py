"""One distillation on the page: how it stands, its adapters, curves, corpora, completions and drift."""

from collections.abc import Callable

import streamlit as st

from app.fine_tune import audits, completions, corpora, curves, drift_chart, form, rejecting
from app.fine_tune.adapters import adapter_actions, adapters_table
from app.fine_tune.corpus import corpora_of, nothing_left, train_label
from app.runs.actions import GoOn, run_actions
from app.runs.form import arm_names
from app.runs.kept import command_and_notes, run_log
from app.runs.panel import (
    open_shown,
    redraw_while_live,
    run_header,
    run_progress,
)
from app.ui import session
from app.ui.at_work import how_far
from app.ui.tables import table_html, to_csv
from app.ui.verdict import draw_verdict
from app.ui.widgets import caption, chart, download, is_dark
from spd_core.errors import InputError
from spd_core.evaluation.training_verdict import training_verdict
from spd_core.runs.folder import Run
from spd_core.runs.record import Status
from spd_core.runs.states import LIVE
from spd_core.runs.view import RunView, describe_stage, eta, overall, tokens_per_second

CURVES, AUDITS, CORPORA, SAMPLES = "Curves", "Audits", "Corpora", "Completions"
DRIFT, LOG, ABOUT = "Drift", "Log", "About"


def panel(name: str, to_form: Callable[[], None]) -> None:
    """Everything of one run; while it works, drawn again every second and a half."""
    opened = open_shown(name, "run", lambda record: record.distillation)
    if opened is None:
        return
    run, recipe = opened.run, opened.recipe

    _turn_to_part(run, opened.status)

    def clone() -> None:
        form.load_recipe(recipe)
        to_form()

    def draw(status: Status, view: RunView) -> None:
        if (status.state == "review") != (opened.status.state == "review"):
            st.rerun()
        run_header(run, status, arm_names(recipe.arms))
        _progress(run, status, view)
        _verdict(status, view)
        run_actions(run, status, clone, go_on=_go_on(run, status), more=lambda row: adapter_actions(run, status, row))
        adapters_table(run, view)
        _parts(run, status, view)

    redraw_while_live(opened, "run", RunView, draw)


def _turn_to_part(run: Run, status: Status) -> None:
    """Show the corpora of a run that has come to wait for review while somebody looked on, and then its curves."""
    id, before = st.session_state.get(session.RUN_SEEN, ("", ""))
    st.session_state[session.RUN_SEEN] = (run.id, status.state)
    if id != run.id:
        return
    if status.state == "review" and before in LIVE:
        st.session_state[session.RUN_PART] = CORPORA
    elif before == "review" and status.state in LIVE:
        st.session_state[session.RUN_PART] = CURVES


def _go_on(run: Run, status: Status) -> GoOn | None:
    """The button that begins the training once somebody has looked at the corpora."""
    if status.state != "review":
        return None
    try:
        written = corpora_of(run)
    except InputError as error:  # the part below says it, too
        return GoOn("Train on these corpora", lambda: None, str(error))
    return GoOn(train_label(written), lambda: rejecting.approve(run), nothing_left(written))


def _verdict(status: Status, view: RunView) -> None:
    """What the training shows so far, and no more."""
    first, rest = training_verdict(view, works=status.state in LIVE, tabled=status.state == "done")
    draw_verdict(f"{first} {rest}".strip(), kind="not-shown")


def _progress(run: Run, status: Status, view: RunView) -> None:
    done, planned = overall(view, run.record.distillation)
    what = f"Stage {min(done + 1, planned)} of {planned} · {describe_stage(view)}"
    _, share, whole = how_far(run, view)
    run_progress(status, what, share, tokens_per_second(view), eta(view), whole)


def _parts(run: Run, status: Status, view: RunView) -> None:
    audited = audits.has_audits(run) or st.session_state.get(session.RUN_PART) == AUDITS
    parts = [CURVES, *([AUDITS] if audited else []), CORPORA, SAMPLES, DRIFT, LOG, ABOUT]
    first = CORPORA if status.state == "review" else CURVES
    part = st.segmented_control(
        "Shown",
        parts,
        default=first,
        required=True,
        key=session.RUN_PART,
        bind="query-params",
        label_visibility="collapsed",
    )
    if part == CORPORA:
        corpora.panel(run, status, view)
    elif part == AUDITS:
        audits.panel(run)
    elif part == SAMPLES:
        completions.panel(run, view)
    elif part == DRIFT:
        _drift(run, view)
    elif part == LOG:
        run_log(run)
    elif part == ABOUT:
        command_and_notes(run)
    else:
        curves.panel(run, view)


def _drift(run: Run, view: RunView) -> None:
    if not view.drifts:
        asked = run.record.distillation.drift
        caption("Measured when an arm is trained." if asked else "This run does not measure it; see its settings.")
        return
    chart(drift_chart.drift(view.drifts, is_dark()), key="chart_drift", alt=drift_chart.drift_alt(view.drifts))
    caption(
        "How to read this: the mean cos² of the principal angles between the capability subspace of the trained model "
        "and that of the untouched one. 1: nothing has turned; the mark of chance: as far apart as two random ones."
    )
    table = drift_chart.drift_table(view.drifts)
    with st.expander("As a table"):
        st.html(table_html(table, "Overlap with the untouched model's subspace"))
    download("Drift as CSV", lambda: to_csv(table), f"{run.id}-drift.csv")

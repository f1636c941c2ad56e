"""One distillation on the page: how it stands, its adapters, curves, corpora, completions and drift."""

from collections.abc import Callable
from typing import get_args

import streamlit as st

from app.fine_tune import charts, corpora, form, rejecting
from app.fine_tune.adapters import adapters_panel
from app.fine_tune.corpus import corpora_of, nothing_left, train_label
from app.runs.form import arm_names
from app.runs.panel import (
    GoOn,
    command_and_notes,
    open_shown,
    redraw_while_live,
    run_actions,
    run_header,
    run_log,
    run_progress,
)
from app.ui import session
from app.ui.tables import table_html, to_csv
from app.ui.widgets import caption, chart, download, is_dark
from spd_core.errors import InputError
from spd_core.recipes.distill import short_name
from spd_core.runs.folder import Run
from spd_core.runs.record import Status
from spd_core.runs.view import RunView, describe_stage, eta, overall, tokens_per_second
from spd_core.text import shown

CURVES, CORPORA, SAMPLES, DRIFT, LOG, ABOUT = "Curves", "Corpora", "Completions", "Drift", "Log", "Command and notes"


def panel(name: str, to_form: Callable[[], None]) -> None:
    """Everything of one run; while it works, drawn again every second and a half."""
    opened = open_shown(name, "run", lambda record: record.distillation)
    if opened is None:
        return
    run, recipe = opened.run, opened.recipe

    def clone() -> None:
        form.load_recipe(recipe)
        to_form()

    def draw(status: Status, view: RunView) -> None:
        if (status.state == "review") != (opened.status.state == "review"):
            st.rerun()
        run_header(run, status, arm_names(recipe.arms))
        _progress(run, status, view)
        run_actions(run, status, clone, go_on=_go_on(run, status))
        _parts(run, status, view)

    redraw_while_live(opened, "run", RunView, draw)


def _go_on(run: Run, status: Status) -> GoOn | None:
    """The button that begins the training once somebody has looked at the corpora."""
    if status.state != "review":
        return None
    try:
        written = corpora_of(run)
    except InputError as error:  # the part below says it, too
        return GoOn("Train on these corpora", lambda: None, str(error))
    return GoOn(train_label(written), lambda: rejecting.approve(run), nothing_left(written))


def _progress(run: Run, status: Status, view: RunView) -> None:
    done, planned = overall(view, run.record.distillation)
    what = f"Step {min(done + 1, planned)} of {planned}: {describe_stage(view)}"
    run_progress(status, what, done / max(planned, 1), tokens_per_second(view), eta(view))


def _parts(run: Run, status: Status, view: RunView) -> None:
    adapters_panel(run, status, view)
    parts = [CURVES, CORPORA, SAMPLES, DRIFT, LOG, ABOUT]
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
    elif part == SAMPLES:
        _samples(view)
    elif part == DRIFT:
        _drift(run, view)
    elif part == LOG:
        run_log(run)
    elif part == ABOUT:
        command_and_notes(run)
    else:
        _curves(run, view)


def _curves(run: Run, view: RunView) -> None:
    if not view.curves:
        caption("The losses of all arms appear here with the first training step.")
        return
    curves = {"": view.curves}
    axis = st.segmented_control(
        "Along x", get_args(charts.Axis), default="step", required=True, key=session.LOSS_AXIS, bind="query-params"
    )
    by: charts.Axis = "epoch" if axis == "epoch" else "step"
    chart(charts.losses(curves, is_dark(), by), key="chart_losses", alt=charts.losses_alt(curves))
    caption(
        "How to read this: thin lines are the loss of each step's rows, thick ones with marks that of the held-out "
        "rows. Each arm is scored on its own text, so a lower line does not make an arm the better model."
    )
    with st.expander("As a table", key=session.LOSSES_TABLE_OPEN, on_change="rerun") as twin:
        if twin.open:  # it can have thousands of rows
            st.html(table_html(charts.losses_table(curves), "Losses, in nats per token"))
    download("Losses as CSV", lambda: to_csv(charts.losses_table(curves)), f"{run.id}-losses.csv")
    if view.damaged:
        caption(f"{view.damaged} lines of its events are damaged, and left out here.")


def _samples(view: RunView) -> None:
    if not view.samples:
        caption("After each epoch, the model in training continues a few prompts; they appear here.")
        return
    rows = [
        {
            "Arm": short_name(sample.arm),
            "Round": str(sample.round),
            "Epoch": f"{sample.epoch:g}",
            "Prompt": shown(sample.prompt),
            "Completion": shown(sample.completion),
        }
        for sample in reversed(view.samples)
    ]
    st.html(table_html(rows, "Completions after each epoch, greedy, the newest first"))


def _drift(run: Run, view: RunView) -> None:
    if not view.drifts:
        asked = run.record.distillation.drift
        caption("Measured when an arm is trained." if asked else "This run does not measure it; see its settings.")
        return
    chart(charts.drift(view.drifts, is_dark()), key="chart_drift", alt=charts.drift_alt(view.drifts))
    caption(
        "How to read this: the mean cos² of the principal angles between the capability subspace of the trained model "
        "and that of the untouched one. 1: nothing has turned; the mark of chance: as far apart as two random ones."
    )
    table = charts.drift_table(view.drifts)
    with st.expander("As a table"):
        st.html(table_html(table, "Overlap with the untouched model's subspace"))
    download("Drift as CSV", lambda: to_csv(table), f"{run.id}-drift.csv")

"""How the training of a run went: losses, right answers on held-out prompts, learning rate and gradient norm."""

from typing import TYPE_CHECKING, get_args

import streamlit as st

from app.fine_tune import charts, measure_charts, schedule_charts
from app.ui import session
from app.ui.tables import table_html, to_csv
from app.ui.widgets import caption, chart, download, is_dark
from spd_core.recipes.distill import Recipe
from spd_core.runs.view import RunView

if TYPE_CHECKING:
    from spd_core.runs.folder import Run


def panel(run: "Run", view: RunView) -> None:
    """The charts; what is looked at less often is folded away."""
    if not any(one.steps or one.held_out or one.scored for one in view.curves.values()):
        caption("The curves of all arms appear here with the first training step; **Corpora** fill before that.")
        return
    drawn = st.container()
    by = _pick_axis(run, view)
    with drawn:
        if any(one.scored for one in view.curves.values()):
            left, right = st.columns((3, 2), gap="medium")
            with left:
                _losses(view, by)
            with right:
                _answers(view, by)
        else:
            _losses(view, by)
        _measures(view, by)
    _schedule(run, view)
    _as_a_table(view)


def _pick_axis(run: "Run", view: RunView) -> charts.Axis:
    """What is drawn along x, and the numbers to take away: below the charts, which are what one came for."""
    with st.container(horizontal=True, vertical_alignment="center"):
        chosen = st.segmented_control(
            "Along x",
            get_args(charts.Axis),
            default="step",
            required=True,
            key=session.LOSS_AXIS,
            bind="query-params",
            format_func=lambda axis: f"by {axis}",
            label_visibility="collapsed",
        )
        download("Curves as CSV", lambda: to_csv(charts.losses_table({"": view.curves})), f"{run.id}-losses.csv")
    return "epoch" if chosen == "epoch" else "step"


def _losses(view: RunView, by: charts.Axis) -> None:
    """Losses on corpora, and those of arms that learn on what they write, which are of another kind."""
    on_corpora = {key: curve for key, curve in view.curves.items() if Recipe.writes(key[0])}
    in_training = {key: curve for key, curve in view.curves.items() if key not in on_corpora}
    on_corpora = {key: curve for key, curve in on_corpora.items() if curve.steps or curve.held_out}
    if on_corpora:
        st.markdown("**Loss**")
        shown = {"": on_corpora}
        chart(charts.losses(shown, is_dark(), by), key="chart_losses", alt=charts.losses_alt(shown))
        caption(
            "How to read this: thick lines are held-out rows, hollow marks the mean of an epoch's steps, and faint "
            "lines the steps themselves. Each arm is scored on its own text: a lower line does not make it the better "
            "model."
        )
    begun = {key: curve for key, curve in in_training.items() if curve.steps}
    if in_training and not begun:
        caption("The first step is being written and learned from: the loss appears here with it.")
    if begun:
        st.markdown("**Loss of arms that learn on what they write**")
        shown = {"": begun}
        figure = charts.losses(shown, is_dark(), by, unit="of its method, per token")
        chart(figure, key="chart_own_losses", alt=charts.losses_alt(shown))
        caption(
            "How to read this: on-policy SPD's is the distance from the projected self's probabilities, OmniOPD's is "
            "−log p of its chunks, each by its weight, and the pull back to the untouched model. The student writes "
            "anew at every step, so a lower line can be other text."
        )


def _measures(view: RunView, by: charts.Axis) -> None:
    """What becomes of students beside the loss."""
    alt = measure_charts.measures_alt(view.curves)
    if not alt:
        return
    st.markdown("**Weight, entropy and distance**" if measure_charts.has_weights(view.curves) else "**Entropy**")
    chart(measure_charts.measured_lines(view.curves, is_dark(), by), key="chart_measures", alt=alt)
    caption(
        "How to read this: the weight is how strongly OmniOPD learns its own chunks, in the mean of a step. Entropy "
        "that falls means that the student grows sure of what it writes; a KL that rises, that it leaves the untouched "
        "model."
        if measure_charts.has_weights(view.curves)
        else "How to read this: entropy that falls means that the student grows sure of what it writes."
    )


def _answers(view: RunView, by: charts.Axis) -> None:
    st.markdown("**Right answers**")
    figure = schedule_charts.answers(view.curves, is_dark(), by)
    chart(figure, key="chart_answers", alt=schedule_charts.answers_alt(view.curves))
    caption(
        "How to read this: held-out prompts answered rightly, greedily, before the training and after each epoch. "
        "Where the bars (95% intervals) overlap, luck could be all there is: an evaluation asks properly."
    )


def _schedule(run: "Run", view: RunView) -> None:
    """Learning rate and gradient norm, small, when they are asked for; the schedule in words in any case."""
    rate = run.record.distillation.train.learning_rate
    steps = max(one.planned for one in view.curves.values())
    caption(schedule_charts.schedule_in_words(rate, steps))
    with st.expander("Learning rate and gradient norm", key=session.SCHEDULE_OPEN, on_change="rerun") as folded:
        if not folded.open:
            return
        left, right = st.columns(2, gap="medium")
        with left:
            figure = schedule_charts.learning_rates(view.curves, rate, is_dark())
            chart(figure, key="chart_rates", alt=schedule_charts.schedule_in_words(rate, steps))
        with right:
            if any(one is not None for curve in view.curves.values() for one in curve.grad_norms):
                figure = schedule_charts.grad_norms(view.curves, is_dark())
                chart(figure, key="chart_norms", alt="The norm of the gradient at each step, before it is clipped")
            else:
                caption("This run has no gradient norms: an earlier version wrote it.")


def _as_a_table(view: RunView) -> None:
    shown = {"": view.curves}
    with st.expander("As a table", key=session.LOSSES_TABLE_OPEN, on_change="rerun") as twin:
        if twin.open:  # it can have thousands of rows
            st.html(table_html(charts.losses_table(shown), "Losses, in nats per token"))
    if view.damaged:
        caption(f"{view.damaged} lines of its events are damaged, and left out here.")

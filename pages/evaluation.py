"""Evaluation: did it help, and was it the subspace? Subjects on sets, with controls, intervals and paired tests."""

import streamlit as st

from app.classroom import not_here
from app.evaluation import all_evaluations, cost, form, run
from app.reports.buttons import evaluation_report, study_report_button
from app.runs.all_runs import all_runs_panel
from app.runs.page import RunPage, say_trouble
from app.ui import session
from app.ui.header import header
from app.ui.widgets import caption, escaped
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs import queue

PAGE = RunPage(
    new="New evaluation",
    one=session.THIS_EVALUATION,
    every="All evaluations",
    part_key=session.EVALUATIONS_VIEW,
    run_key=session.EVALUATION_RUN,
    start_label="Start evaluation",
    settings="configuration",
    file_name="evaluation.json",
    file_key=session.EVALUATION_FILE,
    command="table",
    recipe_type=EvaluationRecipe,
    more=("Studies",),
)


def new_evaluation() -> None:
    """A new evaluation: presets, what it costs and the button; below them who answers what, and all settings."""
    above, price = st.container(), st.container()
    st.markdown("##### What it is made of")
    chosen = form.pick_evaluation(above, cost.in_short)
    recipe = chosen.recipe if chosen is not None else None
    without = st.session_state.get(session.WITHOUT_CONTROLS)
    with price:
        if without:
            st.info(f"**Without further controls.** {escaped(without)}", icon=":material/info:")
        if chosen is not None:
            cost.panel(chosen)
        power = st.container()
        say_trouble()
        left, right = st.columns((1, 3), gap="medium")
        title = left.text_input(
            "Title",
            key=session.EVALUATION_TITLE,
            persist_state="session",
            placeholder="Title: its capability",
            label_visibility="collapsed",
        )
        with right:
            PAGE.start_row(recipe, form.fill_evaluation, title or "")
    if chosen is not None:
        PAGE.from_a_shell(chosen.recipe, title or "")
        with power:  # the last, since it imports scipy: the page is drawn by then
            cost.say_power(chosen)


header("Evaluation", "Did it help, and was it the subspace?", shown_run=PAGE.shown_run, page=session.EVALUATION)
if form.take_proposed():
    PAGE.turn_to(PAGE.new)
part, name = PAGE.pick_part()
if part == PAGE.every:
    all_runs_panel(PAGE.open_run, all_evaluations.EVALUATIONS)
elif part == PAGE.one and name:
    run.panel(name, lambda: PAGE.turn_to(PAGE.new))
    evaluation_report(name)
elif part in PAGE.more:
    from app.evaluation import studies  # here, as results are: it imports scipy

    studies.panel(PAGE.open_run, study_report_button)
elif refused := not_here("no evaluations are started; recorded ones are under All evaluations"):
    st.info(refused)
else:
    new_evaluation()
if part != PAGE.one:
    caption(f"Evaluations are kept on this machine, in {escaped(str(queue.runs_folder()))}")

"""Evaluation: did it help, and was it the subspace? Subjects on sets, with controls, intervals and paired tests."""

import shlex

import streamlit as st

from app.evaluation import cost, run
from app.evaluation import form as evaluation_form
from app.runs import all_runs, panel
from app.runs import form as run_form
from app.ui import session
from app.ui.header import header
from app.ui.widgets import download, failure, plain, small
from spd_core.errors import SpdError
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs import queue

NEW, ONE, ALL = "New evaluation", "This evaluation", "All evaluations"


def show(view: str) -> None:
    """Turn to another part of the page; for callbacks."""
    st.session_state[session.EVALUATIONS_VIEW] = view


def open_run(name: str) -> None:
    """Turn to an evaluation."""
    panel.choose(name, session.EVALUATION_RUN)
    show(ONE)


def start(recipe: EvaluationRecipe, title: str) -> None:
    """Put an evaluation into the queue, and turn to it."""
    try:
        open_run(queue.create(recipe, title).id)
    except SpdError as error:
        st.session_state[session.RUN_TROUBLE] = str(error)


def form() -> None:
    """A new evaluation: who answers what, what it costs, and the button."""
    chosen = evaluation_form.pick_evaluation()
    recipe = chosen.recipe if chosen is not None else None
    if chosen is not None:
        cost.panel(chosen)
    power = st.container()
    trouble = st.session_state.pop(session.RUN_TROUBLE, "")
    if trouble:
        failure("It was not started:", trouble)
    title = st.text_input("Title", key=session.EVALUATION_TITLE, persist_state="session", width=300,
                          placeholder="its capability")  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Start evaluation", type="primary", shortcut="Ctrl+Enter", disabled=chosen is None or bool(chosen.refusal),
            on_click=start, args=(recipe, title or ""),
        )  # fmt: skip
        if recipe is not None:
            download("Configuration as JSON", lambda: run_form.to_file(recipe), "evaluation.json")
        with st.popover("Import a configuration", icon=":material/upload:"):
            run_form.pick_file("configuration", session.EVALUATION_FILE, evaluation_form.fill)
        small("It goes on when you close this page.")
    if chosen is not None and recipe is not None:
        evaluation_form.say_refusal(chosen)
        with st.expander("The same from a shell", icon=":material/terminal:"):
            words = ["python", "-m", "spd_core", "table", "evaluation.json", *(["--title", title] if title else [])]
            st.code(shlex.join(words), language=None, wrap_lines=True)
            st.code(run_form.to_file(recipe).decode(), language="json")
        with power:  # the last, since it imports scipy: the page is drawn by then
            cost.say_power(chosen)


header("Evaluation", "Did it help, and was it the subspace?", shows=())
name = panel.chosen(session.EVALUATION_RUN)
views = (NEW, *((ONE,) if name else ()), ALL)
if st.session_state.get(session.EVALUATIONS_VIEW) not in (None, *views):
    show(NEW)
view = st.segmented_control(
    "Part of the page", views, default=ONE if name else NEW, required=True, key=session.EVALUATIONS_VIEW,
    bind="query-params", label_visibility="collapsed",
)  # fmt: skip
if view == ALL:
    all_runs.all_runs_panel(open_run, run.SHELF)
elif view == ONE and name:
    run.panel(name, lambda: show(NEW))
else:
    form()
if view != ONE:
    small(f"Evaluations are kept on this machine, in {plain(str(queue.runs_folder()))}")

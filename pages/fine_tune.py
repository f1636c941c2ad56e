"""Fine-tune: does training on its own text help? Recipes, runs that go on without the page, and all past ones."""

import shlex

import streamlit as st

from app.fine_tune import cost, run
from app.fine_tune import form as recipe_form
from app.fine_tune.all_runs import SHELF
from app.runs import all_runs, panel
from app.runs import form as run_form
from app.ui import session
from app.ui.header import header
from app.ui.widgets import download, failure, plain, small
from spd_core.errors import SpdError
from spd_core.recipes.distill import Recipe
from spd_core.runs import queue

NEW, ONE, ALL = "New run", "This run", "All runs"


def show(view: str) -> None:
    """Turn to another part of the page; for callbacks."""
    st.session_state[session.RUNS_VIEW] = view


def open_run(name: str) -> None:
    """Turn to a run."""
    panel.choose(name)
    show(ONE)


def start(recipe: Recipe, title: str, launcher: str) -> None:
    """Put a run into the queue, and turn to it."""
    try:
        open_run(queue.create(recipe, title, launcher or "local").id)
    except SpdError as error:
        st.session_state[session.RUN_TROUBLE] = str(error)


def form() -> None:
    """A new run: its recipe, what it costs, and the button."""
    recipe = recipe_form.pick_recipe()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        title = st.text_input("Title", key=session.RUN_TITLE, persist_state="session", placeholder="its capability",
                              width=300)  # fmt: skip
        launcher = st.text_input(
            "Launcher", "local", key=session.LAUNCHER, persist_state="session", width=300,
            help="local, or a command that starts it and stays until it ends: accelerate launch --num_processes 2, "
            "srun --gres=gpu:1.",
        )  # fmt: skip
    if recipe is not None:
        cost.panel(recipe)
    trouble = st.session_state.pop(session.RUN_TROUBLE, "")
    if trouble:
        failure("It was not started:", trouble)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Start fine-tuning", type="primary", shortcut="Ctrl+Enter", disabled=recipe is None, on_click=start,
            args=(recipe, title or "", (launcher or "").strip()),
        )  # fmt: skip
        if recipe is not None:
            download("Recipe as JSON", lambda: run_form.to_file(recipe), "recipe.json")
        with st.popover("Import a recipe", icon=":material/upload:"):
            run_form.pick_file("recipe", session.RECIPE_FILE, recipe_form.fill)
        small("It goes on when you close this page.")
    if recipe is not None:
        with st.expander("The same from a shell", icon=":material/terminal:"):
            words = ["python", "-m", "spd_core", "distill", "recipe.json", *(["--title", title] if title else [])]
            st.code(shlex.join(words), language=None, wrap_lines=True)
            st.code(run_form.to_file(recipe).decode(), language="json")


header(
    "Fine-tune",
    "Does it help to train a model on text that it wrote itself, inside its capability subspace?",
    shows=(session.EXPORT_JOB,),
)
name = panel.chosen()
views = (NEW, *((ONE,) if name else ()), ALL)
if st.session_state.get(session.RUNS_VIEW) not in (None, *views):
    show(NEW)
view = st.segmented_control(
    "Part of the page", views, default=ONE if name else NEW, required=True, key=session.RUNS_VIEW, bind="query-params",
    label_visibility="collapsed",
)  # fmt: skip
if view == ALL:
    all_runs.all_runs_panel(open_run, SHELF)
elif view == ONE and name:
    run.panel(name, lambda: show(NEW))
else:
    form()
if view != ONE:
    small(f"Runs are kept on this machine, in {plain(str(queue.runs_folder()))}")

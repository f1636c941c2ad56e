"""Fine-tune: does training on its own text help? Recipes, runs that go on without the page, and all past ones."""

import streamlit as st

from app.fine_tune import all_runs, cost, form, run
from app.runs.all_runs import all_runs_panel
from app.runs.page import RunPage, say_trouble
from app.ui import session
from app.ui.header import header
from app.ui.widgets import caption, escaped
from spd_core.runs import queue

PAGE = RunPage(
    new="New run",
    one=session.THIS_RUN,
    every="All runs",
    part_key=session.RUNS_VIEW,
    run_key=session.RUN,
    start_label="Start fine-tuning",
    settings="recipe",
    file_name="recipe.json",
    file_key=session.RECIPE_FILE,
    command="distill",
)


def new_run() -> None:
    """A new run: its recipe, what it costs, and the button."""
    recipe = form.pick_recipe()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        title = st.text_input(
            "Title", key=session.RUN_TITLE, persist_state="session", placeholder="its capability", width=300
        )
        launcher = st.text_input(
            "Launcher",
            "local",
            key=session.LAUNCHER,
            persist_state="session",
            width=300,
            help="local, or a command that starts it and stays until it ends: accelerate launch --num_processes 2, "
            "srun --gres=gpu:1.",
        )
    if recipe is not None:
        cost.panel(recipe)
    say_trouble()
    PAGE.start_row(recipe, form.fill_recipe, title or "", (launcher or "").strip())
    if recipe is not None:
        PAGE.from_a_shell(recipe, title or "")


header(
    "Fine-tune",
    "Does it help to train a model on text that it wrote itself, inside its capability subspace?",
    shows=(session.EXPORT_JOB,),
    shown_run=PAGE.shown_run,
)
part, name = PAGE.pick_part()
if part == PAGE.every:
    all_runs_panel(PAGE.open_run, all_runs.DISTILLATIONS)
elif part == PAGE.one and name:
    run.panel(name, lambda: PAGE.turn_to(PAGE.new))
else:
    new_run()
if part != PAGE.one:
    caption(f"Runs are kept on this machine, in {escaped(str(queue.runs_folder()))}")

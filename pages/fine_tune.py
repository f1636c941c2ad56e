"""Fine-tune: does training on its own text help? Recipes, runs that go on without the page, and all past ones."""

import streamlit as st

from app.classroom import no_run
from app.fine_tune import all_runs, audits, cost, form, run
from app.reports.buttons import training_report
from app.runs.all_runs import all_runs_panel
from app.runs.page import RunPage, say_trouble
from app.ui import session
from app.ui.header import header
from app.ui.widgets import caption, escaped
from spd_core.recipes.distill import Recipe
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
    recipe_type=Recipe,
)


def new_run() -> None:
    """A new run: its recipe, what it costs, and the button."""
    asked = form.pick_recipe()
    with asked.start:
        if asked.recipe is not None and not no_run(asked.recipe):
            cost.panel(asked.recipe)
        say_trouble()
        PAGE.start_row(asked.recipe, form.fill_recipe, asked.title, asked.launcher)
    if asked.recipe is not None:
        PAGE.from_a_shell(asked.recipe, asked.title)


header(
    "Fine-tune",
    "Does it help to train a model on text that it wrote itself, inside its capability subspace?",
    shows=(session.EXPORT_JOB, session.MARKS_JOB),
    shown_run=PAGE.shown_run,
    page=session.FINE_TUNE,
)
recorded_audit = audits.recorded_shown()
part, name = ("", "") if recorded_audit else PAGE.pick_part()
if recorded_audit:
    audits.recorded_panel(recorded_audit)
elif part == PAGE.every:
    all_runs_panel(PAGE.open_run, all_runs.DISTILLATIONS)
    audits.offer()
elif part == PAGE.one and name:
    run.panel(name, lambda: PAGE.turn_to(PAGE.new))
    training_report(name)
elif refused := no_run(None):
    st.info(f"{refused}; recorded ones are under All runs")
else:
    new_run()
    audits.offer()
if part in (PAGE.new, PAGE.every):
    caption(f"Runs are kept on this machine, in {escaped(str(queue.runs_folder()))}")

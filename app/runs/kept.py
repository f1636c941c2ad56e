"""What is kept of a run beside its results: its log, the command, its recipe as a file, notes and versions."""

import shlex

import streamlit as st

from app.runs.actions import try_it
from app.runs.form import settings_file
from app.ui import session
from app.ui.widgets import caption, download, escaped
from spd_core.recipes.distill import Recipe
from spd_core.runs import queue
from spd_core.runs.folder import Run
from spd_core.text import shown


def run_log(run: Run) -> None:
    """The end of what its job printed."""
    lines = run.log().splitlines()[-30:]
    if not lines:
        caption("Its job has printed nothing.")
        return
    st.code("\n".join(map(shown, lines)), language=None, wrap_lines=True)
    download("Whole log", lambda: run.log(2**24).encode(), f"{run.id}.txt")


def command_and_notes(run: Run) -> None:
    """Its command, its recipe as a file, notes, versions."""
    caption("The command that recorded it:" if run.recorded else "The command that carries it out:")
    st.code(shown(run.record.command), language=None, wrap_lines=True)
    recipe = run.record.recipe
    if isinstance(recipe, Recipe) and recipe.train.log_to:  # an evaluation's arms are runs of their own
        caption("Its curves in TensorBoard:")
        st.code(shlex.join(["tensorboard", "--logdir", str(run.folder / "arms")]), language=None, wrap_lines=True)
    download(
        "Recipe as JSON",
        lambda: settings_file(recipe),
        f"{run.id}-recipe.json",
        help=f"python -m spd_core {queue.COMMANDS[recipe.kind]} reads it, and so does this page.",
    )
    notes = st.text_area(
        "Notes",
        run.notes(),
        key=f"{session.RUN_NOTES}_{run.id}",
        height=100,
        placeholder="A recorded run keeps none" if run.recorded else "What you want to remember of this run",
        disabled=run.recorded,
    )
    st.button(
        "Save the notes", disabled=notes == run.notes(), on_click=try_it, args=(lambda: run.set_notes(notes or ""),)
    )
    versions = ", ".join(f"{name} {version}" for name, version in run.record.versions.items())
    caption(f"Versions: {escaped(versions)}. Everything lies in {escaped(str(run.folder))}")

"""What the pages Fine-tune and Evaluation are made of: a form for a new run, the run that is shown, all of them."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.classroom import link_models, no_run
from app.jobs.job import COMPUTING
from app.jobs.models import import_engine
from app.runs.form import pick_settings_file, settings_file
from app.runs.panel import choose_run, chosen_run, recorded_while_alone
from app.ui import session
from app.ui.widgets import caption, download, failure
from spd_core.errors import InputError, SpdError
from spd_core.evaluation.preflight import check, refusal
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs import queue
from spd_core.text import shown


@dataclass(frozen=True)
class RunPage:
    """In what the two pages differ.

    Attributes:
        new: what the part with the form is called; `one`, that with the run that is shown; `every`, that with all.
        part_key: session key of the part that is shown.
        run_key: session key of the run that is shown.
        start_label: what the button says.
        settings: what settings in a file are called, `file_name` is that file, and `file_key` the uploader's key.
        command: of the shell, that starts the same.
        recipe_type: of its runs.
        more: parts of one page alone, after the others.
    """

    new: str
    one: str
    every: str
    part_key: str
    run_key: str
    start_label: str
    settings: str
    file_name: str
    file_key: str
    command: str
    recipe_type: type[Recipe] | type[EvaluationRecipe]
    more: tuple[str, ...] = ()

    def turn_to(self, part: str) -> None:
        """Show another part of the page; for callbacks."""
        session.turn_to(self.part_key, part)

    def open_run(self, name: str) -> None:
        """Show a run; for callbacks."""
        choose_run(name, self.run_key)
        self.turn_to(self.one)

    @property
    def shown_run(self) -> str:
        """The run that the page is about to show; empty where it shows another part."""
        session.take_turn(self.part_key)
        name, state = self._name(), st.session_state
        part = state.get(self.part_key, st.query_params.get(self.part_key, self.one))
        return name if part == self.one else ""

    def start(self, recipe: Recipe | EvaluationRecipe, title: str, launcher: str = "local") -> None:
        """Put a run into the queue, and show it; for callbacks."""
        try:
            if refused := no_run(recipe, launcher or "local"):
                raise InputError(refused)
            link_models()
            check_with_engine(recipe, launcher or "local")
            self.open_run(queue.create(recipe, title, launcher or "local").id)
        except SpdError as error:
            st.session_state[session.RUN_TROUBLE] = str(error)

    def _name(self) -> str:
        """The run that was chosen; else a recorded one, as long as there is none of this machine."""
        return chosen_run(self.run_key) or recorded_while_alone(self.recipe_type)

    def pick_part(self) -> tuple[str, str]:
        """The part that is to be drawn, and the name of the run that is shown; empty for none."""
        session.take_turn(self.part_key)
        name = self._name()
        parts = (self.new, *((self.one,) if name else ()), self.every, *self.more)
        if st.session_state.get(self.part_key) not in (None, *parts):
            st.session_state[self.part_key] = self.new
        part = st.segmented_control(
            "Part of the page",
            parts,
            default=self.one if name else self.new,
            required=True,
            key=self.part_key,
            bind="query-params",
            label_visibility="collapsed",
        )
        return part or self.new, name

    def start_row(
        self,
        recipe: Recipe | EvaluationRecipe | None,
        fill: Callable[[Any], None],
        title: str,
        launcher: str = "local",
    ) -> None:
        """The button that starts a run, its settings as a file, and a file instead, which `fill` puts into the form.

        What is known to fail is said before it, and cannot be started.
        """
        refused = no_run(recipe, launcher or "local")
        reason = refused or (refusal(recipe, launcher or "local", ask=False) if recipe is not None else "")
        if reason:
            failure("This cannot start:", shown(reason))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                self.start_label,
                type="primary",
                shortcut="Ctrl+Enter",
                disabled=recipe is None or bool(reason),
                on_click=self.start,
                args=(recipe, title, launcher),
            )
            if recipe is not None:
                download(f"{self.settings.capitalize()} as JSON", lambda: settings_file(recipe), self.file_name)
            with st.popover(f"Import a {self.settings}", icon=":material/upload:"):
                pick_settings_file(self.settings, self.file_key, fill)
            caption("It continues when you close this page.")

    def from_a_shell(self, recipe: Recipe | EvaluationRecipe, title: str) -> None:
        """The command that starts the same, and its file."""
        with st.expander("Do the same from a shell", icon=":material/terminal:"):
            words = ["python", "-m", "spd_core", self.command, self.file_name, *(["--title", title] if title else [])]
            st.code(shlex.join(words), language=None, wrap_lines=True)
            st.code(settings_file(recipe).decode(), language="json")


def check_with_engine(recipe: Recipe | EvaluationRecipe, launcher: str) -> None:
    """Refuse what can be known to fail; by then the engine is there, and the hub may be asked."""
    import_engine()
    with COMPUTING:
        check(recipe, launcher)


def say_trouble() -> None:
    """Why the last run was not started, once."""
    trouble = st.session_state.pop(session.RUN_TROUBLE, "")
    if trouble:
        failure("It was not started:", trouble)

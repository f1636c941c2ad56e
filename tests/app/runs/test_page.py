"""Both pages refuse what the shell refuses, beside the button and before any file is written; what is fine starts."""

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.ui import session
from spd_core.errors import InputError
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.recipes.evaluation import EvaluationRecipe, evaluation_from
from spd_core.runs import queue
from spd_core.runs.folder import all_runs
from tests.app.test_pages import press, text_of
from tests.bad_recipes import BAD, BAD_EVALUATIONS
from tests.waiting import LONG

QUICK = {"preset": "quick", "capability": "arithmetic"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, in which nothing starts and the engine is not imported."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SPD_ALLOW_CODE", raising=False)
    monkeypatch.setattr(queue, "start_next", list)
    return tmp_path / "home"


def page(recipe: Recipe | EvaluationRecipe, launcher: str = "local") -> AppTest:
    """The row with the button alone, for a recipe that some form has made."""
    kind = "Recipe" if isinstance(recipe, Recipe) else "EvaluationRecipe"
    module = "distill" if isinstance(recipe, Recipe) else "evaluation"
    at = AppTest.from_string(
        "import streamlit as st\nfrom app.runs.page import RunPage, say_trouble\nfrom app.ui import session\n"
        f"from spd_core.recipes.{module} import {kind}\n"
        "page = RunPage('New', 'One', 'All', session.RUNS_VIEW, session.RUN, 'Start', 'recipe', 'r.json', 'f', 'x',"
        f" {kind})\n"
        "say_trouble()\n"
        f"recipe = {kind}.model_validate(st.session_state['recipe'])\n"
        "page.start_row(recipe, lambda _: None, 'Mine', st.session_state['launcher'])",
        default_timeout=LONG,
    )
    at.session_state["recipe"] = recipe.model_dump(mode="json")
    at.session_state["launcher"] = launcher
    at.run()
    assert not at.exception
    return at


def start(at: AppTest) -> Any:
    return next(one for one in at.button if one.label == "Start")


@pytest.mark.parametrize(
    ("recipe", "said"),
    [*((recipe_from({**QUICK, **settings}), said) for settings, said in BAD.values()),
     *((evaluation_from({**QUICK, **settings}), said) for settings, said in BAD_EVALUATIONS.values())],
    ids=[*BAD, *(f"evaluation, {name}" for name in BAD_EVALUATIONS)],
)  # fmt: skip
def test_what_cannot_be_is_said_beside_the_button(recipe: Recipe | EvaluationRecipe, said: str, home: Path) -> None:
    at = page(recipe)
    assert start(at).disabled
    with pytest.raises(InputError, match=rf"This cannot start:\*\* .*{said}"):
        raise InputError(text_of(at))
    assert not list(home.rglob("*.json"))


def test_a_launcher_that_is_not_there_is_said_beside_the_button() -> None:
    at = page(recipe_from(QUICK), "no-such-launcher -n 2")
    assert start(at).disabled
    assert "no such command here; write local" in text_of(at)


@pytest.mark.parametrize("recipe", [recipe_from(QUICK), evaluation_from(QUICK)], ids=["distillation", "evaluation"])
def test_what_is_fine_starts(recipe: Recipe | EvaluationRecipe) -> None:
    at = page(recipe)
    assert "Not to be started" not in text_of(at)
    press(at, "Start")
    (run,) = all_runs()
    assert at.session_state[session.RUN] == run.id


def test_what_is_known_only_when_asked_is_told_after_the_press(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt is counted with the model's tokenizer, and the hub asked, when the button is pressed."""
    from spd_core.evaluation import preflight

    def too_long(*_of: object) -> None:
        raise InputError("corpus.max_new_tokens 24: the longest prompt has 9000 tokens")

    monkeypatch.setattr(preflight, "check_lengths", too_long)
    at = page(recipe_from(QUICK))
    press(at, "Start")
    assert "It was not started: corpus.max_new_tokens 24: the longest prompt has 9000 tokens" in text_of(at).replace(
        "**", ""
    )
    assert all_runs() == []

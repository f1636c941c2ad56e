"""Fine-tune and Evaluation open on what comes with SPD Lab, until something was made on this machine."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.ui import session
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.recipes.evaluation import EvaluationRecipe, evaluation_from
from spd_core.runs import queue
from spd_core.runs.folder import all_runs, recorded_runs
from tests import ROOT
from tests.app.test_pages import go_to, prepared, press, text_of
from tests.waiting import LONG

FINE_TUNE, EVALUATION = session.FINE_TUNE, session.EVALUATION
NEW = {FINE_TUNE: "New run", EVALUATION: "New evaluation"}
START = {FINE_TUNE: "Start fine-tuning", EVALUATION: "Start evaluation"}
VIEW = {FINE_TUNE: session.RUNS_VIEW, EVALUATION: session.EVALUATIONS_VIEW}
BOTH = pytest.mark.parametrize("page", [FINE_TUNE, EVALUATION], ids=["fine-tune", "evaluation"])


@pytest.fixture(autouse=True)
def home(spd_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing was made."""
    (tmp_path / "models").symlink_to(spd_home / "models")
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setattr(queue, "start_next", list)


def opened(page: Path, **link: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    at.query_params.update(link)
    at.run()
    return prepared(go_to(at, page))


def labels(at: AppTest) -> set[str]:
    return {one.label for one in at.button}


@BOTH
def test_a_page_opens_on_what_was_recorded(page: Path) -> None:
    at = opened(page)
    shown = text_of(at)
    assert [error.value for error in at.error] == []
    assert "recorded]" in shown.partition("#### ")[2], "of the run"
    assert "Real results that come with SPD Lab" in shown
    assert not labels(at) & {"Delete this run", "Resume", "Stop this run", "Evaluate these arms", START[page]}


@BOTH
def test_one_click_leads_to_a_new_run_and_another_to_the_same_settings(page: Path) -> None:
    at = opened(page)
    (parts,) = (one for one in at.segmented_control if one.label == "Part of the page")
    parts.set_value(NEW[page]).run()
    assert START[page] in labels(at)
    at = press(opened(page), "Clone with changes")
    assert START[page] in labels(at)
    press(at, START[page])
    recorded = next(run for run in recorded_runs() if isinstance(run.record.recipe, Recipe) == (page == FINE_TUNE))
    (run,) = all_runs()
    assert run.record.recipe == recorded.record.recipe  # type: ignore[union-attr]


@BOTH
def test_a_run_of_this_machine_goes_before_it(page: Path) -> None:
    asked = {"preset": "quick", "capability": "arithmetic"}
    queue.create(recipe_from(asked) if page == FINE_TUNE else evaluation_from(asked))
    at = opened(page)
    assert "recorded]" not in text_of(at).partition("#### ")[2]
    assert START[page] in labels(at)


def test_the_recorded_run_shows_its_arms_and_says_why_none_of_them_answers() -> None:
    at = opened(FINE_TUNE)
    tables = "\n".join(one.proto.body for one in at.get("html"))
    assert all(arm in tables for arm in ("PSR", "SSD", "SPD", "Random subspace", "Full-loss subspace"))
    assert "Real results that come with SPD Lab, without the weights" in text_of(at)
    assert not labels(at) & {"Compare side by side", "Write the merged checkpoint"}
    answered = prepared(go_to(press(opened(FINE_TUNE), "See how they answered"), EVALUATION))
    assert "Arithmetic: did training change it?" in text_of(answered)
    for part in ("Corpora", "Completions", "Drift", "Log", "About"):
        at = opened(FINE_TUNE, **{session.RUN_PART: part})
        assert [error.value for error in at.error] == [], part
        assert not at.exception, part


def test_the_recorded_table_shows_its_results() -> None:
    """Base: 30 of 100 on arithmetic; a count of the recorded answers by hand."""
    for part in ("Claims", "Scores", "Map", "Items"):
        at = opened(EVALUATION, **{session.RESULTS_PART: part})
        shown = text_of(at) + "\n".join(one.proto.body for one in at.get("html"))
        assert [error.value for error in at.error] == [], part
        if part == "Scores":
            assert "30.0" in shown
        if part == "Items":
            assert "What answered is not part of what was recorded" in shown
            assert "gone, or damaged" not in shown


@BOTH
def test_the_list_has_it_without_deleting(page: Path) -> None:
    at = opened(page, **{VIEW[page]: "All runs" if page == FINE_TUNE else "All evaluations"})
    (table,) = at.dataframe
    kind = Recipe if page == FINE_TUNE else EvaluationRecipe
    recorded = [run for run in recorded_runs() if isinstance(run.record.recipe, kind)]
    assert table.value["State"].tolist() == ["◆ recorded"] * len(recorded)

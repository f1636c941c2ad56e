"""What works now is on every page: one look for runs and jobs, and a way there; else nothing is drawn."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.jobs.job import Job
from app.ui import session
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe, evaluation_from
from spd_core.recipes.presets import PRESETS
from spd_core.runs import processes, queue
from spd_core.runs.events import StageBegun, StageProgress
from spd_core.runs.folder import Run
from spd_core.runs.record import State, Status
from tests import ROOT
from tests.app.side_by_side.test_page import html_of
from tests.app.test_pages import go_to
from tests.waiting import LONG

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def home(spd_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models").symlink_to(spd_home / "models")
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setattr(queue, "start_next", list)
    return tmp_path


def made(state: State, title: str = "Mine", recipe: Recipe | EvaluationRecipe | None = None) -> Run:
    quick = Recipe.model_validate({**PRESETS["quick"], "capability": "arithmetic", "arms": ["psr"], "drift": False})
    run = queue.create(recipe or quick, title)
    me = processes.owner_of(os.getpid()) if state == "running" else None
    run.write_status(Status(state=state, since=10.0, launcher=me, job=me))
    return run


def opened(page: Path | None = None, **link: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    at.query_params.update(link)
    at.run()
    at = at if page is None else go_to(at, page)
    assert not at.exception
    return at


def ways(at: AppTest) -> list[Any]:
    return [one for one in at.button if str(one.key).startswith(session.AT_WORK)]


PAGES = (None, session.SPECTRUM, session.ATTRIBUTIONS, session.SIDE_BY_SIDE, session.FINE_TUNE, session.EVALUATION)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem if page else "home")
def test_every_page_says_what_works_and_leads_there(page: Path | None) -> None:
    run = made("running", HOSTILE)
    run.tell(StageBegun(time=100.0, stage="corpus", arm="psr"))
    run.tell(StageProgress(time=110.0, stage="corpus", arm="psr", done=12, total=48, seconds=10.0, tokens=240))
    at = opened(page)
    shown = html_of(at)
    assert "Writing the corpus of PSR: 12 of 48 rows" in shown
    assert "left</span>" in shown
    assert "%" in shown
    assert '<p class="spd-announced" role="status">' in shown
    assert "Writing the corpus of PSR</p>" in shown, "without numbers that change all the time"
    assert "<script" not in shown
    (way,) = ways(at)
    way.click().run()
    assert not at.exception
    assert (at.session_state[session.RUN], at.session_state[session.RUNS_VIEW]) == (run.id, session.THIS_RUN)
    assert ways(at) == [], "the page shows it by itself"


def test_where_nothing_works_nothing_is_drawn() -> None:
    for state in ("done", "failed", "stopped", "review"):
        made(state)
    at = opened()
    assert "spd-work" not in html_of(at).replace(".spd-work", "")
    assert ways(at) == []


def test_what_waits_says_its_place_and_an_evaluation_leads_to_its_page() -> None:
    first = made("queued", "First")
    second = made("queued", "Second", evaluation_from({"preset": "quick", "capability": "arithmetic"}))
    second.write_status(Status(state="queued", since=20.0))
    for number in range(4):
        made("queued").write_status(Status(state="queued", since=30.0 + number))
    at = opened()
    shown = html_of(at)
    assert "<b>Fine-tuning</b> First" in shown
    assert "<b>Evaluating</b> Second" in shown
    assert "place 1 in the queue" in shown
    assert "place 2 in the queue" in shown
    assert "and 2 more</span>" in shown
    ways(at)[1].click().run()
    assert at.session_state[session.EVALUATION_RUN] == second.id
    assert at.session_state[session.EVALUATIONS_VIEW] == session.THIS_EVALUATION
    assert first.id in str([one.key for one in ways(at)])


@pytest.mark.parametrize("key", session.JOBS)
def test_every_job_of_this_session_stands_in_the_same_strip(key: str) -> None:
    hold = threading.Event()
    job: Job[Any, Any] = Job(lambda job: hold.wait(LONG), computes=False).start()
    job.progress(0.25, "Reading examples")
    try:
        at = opened(session.EVALUATION)  # it shows no job by itself
        at.session_state[key] = job
        at.run()
        assert not at.exception
        assert "Reading examples" in html_of(at)
        assert "25%" in html_of(at)
        assert len(ways(at)) == 1
    finally:
        hold.set()
        job.join(LONG)


def test_events_that_cannot_be_read_hide_nothing_else() -> None:
    run, other = made("running", "Broken"), made("queued", "Other")
    (run.folder / "events.jsonl").mkdir()
    shown = html_of(opened())
    assert "its events cannot be read" in shown
    assert "Other" in shown
    assert other.status().state == "queued"


def test_a_run_that_is_stopping_says_so() -> None:
    made("running").ask_to_stop()
    assert "stopping after this step" in html_of(opened())


def test_nothing_heavy_is_imported() -> None:
    check = "import sys, app.ui.at_work; sys.exit(any(n in sys.modules for n in ('torch', 'transformers', 'pandas')))"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0


def test_only_what_is_new_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    offsets: list[int] = []
    read: Callable[..., Any] = Run.events
    monkeypatch.setattr(Run, "events", lambda run, offset=0: offsets.append(offset) or read(run, offset))
    run = made("running")
    run.tell(StageBegun(time=1.0, stage="load"))
    at = opened()
    size = (run.folder / "events.jsonl").stat().st_size
    offsets.clear()
    at.run()
    assert set(offsets) == {size}

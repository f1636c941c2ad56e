"""A server for a class: a shelf for each browser, and what one press may cost."""

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app import classroom
from app.classroom import Shelves
from app.jobs.job import Job
from app.ui import launch, session
from spd_core.errors import InputError
from spd_core.recipes.distill import recipe_from
from spd_core.recipes.evaluation import evaluation_from
from spd_core.storage import give_homes, home_at, shared_home, spd_home
from tests.waiting import LONG


@pytest.fixture
def in_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_MODE", "classroom")


@pytest.mark.parametrize("mode", ["class", "Classroom", " classroom"])
def test_a_mode_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """A class must not be let into a server for one person because of a slip."""
    monkeypatch.setenv("SPD_MODE", mode)
    with pytest.raises(InputError, match="set it to classroom"):
        classroom.check_mode()


def browser(app: Shelves) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1:8501")


def test_every_browser_has_a_cookie_of_its_own_that_no_script_reads() -> None:
    app = Shelves(Starlette(routes=[Route("/", lambda _: PlainTextResponse("page"))]), 8501)
    names = []
    for one in (browser(app), browser(app)):
        given = one.get("/").headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(given.split("; "))
        assert "set-cookie" not in one.get("/").headers, "it keeps the one it has"
        names.append(one.cookies["spd_shelf_8501"])
    assert len(set(names)) == 2
    assert min(map(len, names)) == 32


def test_a_cookie_that_was_made_up_is_replaced() -> None:
    app = Shelves(Starlette(routes=[Route("/", lambda _: PlainTextResponse("page"))]), 8501)
    assert "set-cookie" in browser(app).get("/", headers={"Cookie": "spd_shelf_8501=a"}).headers


def test_results_go_to_the_folder_of_who_asked_on_every_thread(tmp_path: Path) -> None:
    """A job is made on a page's thread, and works on its own; pages of others ask meanwhile."""
    asks = threading.local()
    try:
        give_homes(lambda: getattr(asks, "home", None))
        assert spd_home() == shared_home()
        asks.home = tmp_path / "mine"
        found = []
        job = Job[None, None](lambda _: found.append(spd_home()))
        asks.home = tmp_path / "another"
        job.start().join(LONG)
        assert found == [tmp_path / "mine"]
        assert spd_home() == tmp_path / "another"
        with home_at(tmp_path / "fixed"):
            assert spd_home() == tmp_path / "fixed"
        assert spd_home() == tmp_path / "another"
    finally:
        give_homes(lambda: None)


def test_what_one_press_may_cost(in_class: None) -> None:
    assert classroom.too_many_tokens(1024) == ""
    assert "1,025" in classroom.too_many_tokens(1025)
    assert classroom.too_large_a_capture(50, 2) == ""
    assert "51 × 2" in classroom.too_large_a_capture(51, 2)
    assert classroom.too_long_a_text("a" * 2000) == ""
    assert "2,001" in classroom.too_long_a_text("a" * 2001)
    assert classroom.not_here("no runs are started") == "this server is for a class: no runs are started"


@pytest.mark.parametrize(
    ("given", "launcher", "is_trained"),
    [
        ({"preset": "quick", "capability": "arithmetic"}, "local", True),
        ({"preset": "quick", "capability": "arithmetic", "arms": ["psr", "spd", "random"]}, "local", True),
        ({"preset": "visible", "capability": "arithmetic"}, "local", False),
        ({"preset": "quick", "capability": "/etc/passwd"}, "local", False),
        ({"preset": "quick", "capability": "arithmetic", "model": "org/huge"}, "local", False),
        ({"preset": "quick", "capability": "arithmetic", "train": {"epochs": 100}}, "local", False),
        ({"preset": "quick", "capability": "arithmetic"}, "sh -c id", False),
    ],
)
def test_a_class_trains_what_it_may(
    in_class: None, monkeypatch: pytest.MonkeyPatch, given: dict[str, object], launcher: str, is_trained: bool
) -> None:
    """The other settings of a recipe can name files, programs and servers."""
    recipe = recipe_from(given)
    assert classroom.no_run(recipe, launcher)
    monkeypatch.setenv("SPD_CLASSROOM_TRAINING", "1")
    assert (classroom.no_run(recipe, launcher) == "") == is_trained


def test_no_evaluation_is_started(in_class: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_CLASSROOM_TRAINING", "1")
    assert classroom.no_run(evaluation_from({"preset": "quick", "capability": "arithmetic"}))


def test_nothing_is_refused_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPD_MODE", raising=False)
    refused = [classroom.too_many_tokens(10**6), classroom.too_long_a_text("a" * 10**6), classroom.not_here("no")]
    assert refused == ["", "", ""]
    assert classroom.too_large_a_capture(1000, 30) == ""


def test_a_job_left_alone_is_taken_over_by_the_same_browser_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As after a reload: the session is another one, and what it had begun goes on."""
    begun = {}
    for name in ("mine", "another"):
        with home_at(tmp_path / name):
            begun[name] = Job[None, None](lambda job: job._stop.wait(LONG) and None)
        begun[name].owner, begun[name].key = f"closed session of {name}", session.WRITE_JOB
        begun[name].start()
    state: dict[str, object] = {}
    monkeypatch.setattr(launch.st, "session_state", state)
    monkeypatch.setattr(launch.runtime, "exists", lambda: True)
    monkeypatch.setattr(launch.runtime, "get_instance", lambda: SimpleNamespace(is_active_session=lambda _: False))
    try:
        with home_at(tmp_path / "mine"):
            launch.take_over()
    finally:
        for job in begun.values():
            job.stop()
            job.join(LONG)
    assert state[session.WRITE_JOB] is begun["mine"]
    assert begun["another"].owner == "closed session of another"

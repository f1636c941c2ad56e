"""All runs on the page: what is searched and compared, what is deleted, and that no name or note can act."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.fine_tune import all_runs as distillations
from app.fine_tune import compare
from app.runs import all_runs
from app.ui import session
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.recipes.presets import PRESETS
from spd_core.runs import queue
from spd_core.runs.events import StageBegun, TrainingLoss
from spd_core.runs.folder import Run
from spd_core.runs.record import State, Status
from tests.app.side_by_side.test_page import html_of
from tests.app.test_pages import press, text_of
from tests.waiting import LONG

HOSTILE = "<script>alert(1)</script> [x](http://a) ![y](http://b)"
Make = Callable[..., Run]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes runs that nobody starts, the newest last."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setattr(queue, "start_next", list)

    def new(title: str = "", state: State = "done", losses: tuple[float, ...] = (), **settings: Any) -> Run:
        run = queue.create(recipe_from({"preset": "quick", "capability": "arithmetic", **settings}), title)
        run.write_status(Status(state=state, since=1000.0))
        run.tell(StageBegun(time=100.0, stage="load"))
        for step, loss in enumerate(losses, 1):
            run.tell(TrainingLoss(time=100.0 + step, arm="spd", step=step, steps=9, epoch=step / 9, loss=loss))
        return run

    return new


def page() -> AppTest:
    at = AppTest.from_string(
        "import streamlit as st\nfrom app.fine_tune.all_runs import DISTILLATIONS\n"
        "from app.runs.all_runs import all_runs_panel\n"
        "all_runs_panel(lambda name: st.session_state.__setitem__('opened', name), DISTILLATIONS)",
        default_timeout=LONG,
    ).run()
    assert not at.exception
    return at


# --- without a page ----------------------------------------------------------------------------------------------


def test_a_search_looks_at_everything_a_run_is_known_by(make: Make) -> None:
    run = make("My Title", arms=["spd", "random"])
    run.set_notes("promising")
    for query in ("", "my title", "ARITH", "builtin", "random subspace", "finished", "done", "promising spd", run.id):
        assert all_runs.matches(run, run.status(), query), query
    for query in ("psr", "promising psr", "gsm8k", "failed"):
        assert not all_runs.matches(run, run.status(), query), query


def test_settings_in_a_few_words() -> None:
    assert distillations.settings_in_words(Recipe(capability="a")) == "all prompts, 256 new tokens, 5 epochs, lr 1e-05"
    quick = recipe_from({"preset": "quick", "capability": "a", "arms": ["full"]})
    assert distillations.settings_in_words(quick) == "quick: 48 prompts, 24 new tokens, 2 epochs, lr 0.0002"
    more = recipe_from({"preset": "paper", "capability": "a", "rounds": 3})
    assert distillations.settings_in_words(more) == "paper: all prompts, 256 new tokens, 5 epochs, lr 1e-05, 3 rounds"
    other = recipe_from({"preset": "quick", "capability": "a", "train": {"epochs": 1}})
    assert distillations.settings_in_words(other).startswith("48 prompts, 24 new tokens, 1 epoch,")
    assert set(PRESETS) == {"quick", "paper"}


def test_only_what_differs_is_told(make: Make) -> None:
    first, second = make(train={"epochs": 3}), make(arms=["spd"], corpus={"prompts": None, "held_out": 0})
    rows = compare.differing_settings([first.record, second.record], ["a", "b"])
    assert {row["Setting"]: (row["a"], row["b"]) for row in rows} == {
        "arms": ("psr, ssd, spd", "spd"), "train.epochs": ("3", "2"), "corpus.prompts": ("48", "–"),
        "corpus.held_out": ("8", "0"),
    }  # fmt: skip
    older = second.record.model_copy(update={"versions": {**second.record.versions, "torch": "1.0"}})
    rows = compare.differing_settings([second.record, older], ["a", "b"])
    assert [(row["Setting"], row["b"]) for row in rows] == [("version.torch", "1.0")]


# --- on the page -------------------------------------------------------------------------------------------------


def test_an_empty_machine_says_what_to_do(make: Make) -> None:
    assert "There is no run yet" in text_of(page())


def test_runs_are_listed_the_newest_first_and_found(make: Make) -> None:
    make("Older", losses=(3.0, 2.0))
    run = make("Newer", state="review")
    at = page()
    table = html_of(at)
    assert table.index("Newer") < table.index("Older")
    assert "waits for review" in table
    assert "<td>2 s</td>" in table, "worked from its first to its last event"
    assert "MiB" in table
    at.text_input(key=f"{session.RUNS_LIST}_search").set_value("newer").run()
    assert "Older" not in html_of(at)
    assert at.selectbox(key=f"{session.RUNS_LIST}_chosen").options == [all_runs.run_label(run.record)]
    press(at, "Open run")
    assert at.session_state["opened"] == run.id
    at.text_input(key=f"{session.RUNS_LIST}_search").set_value("<b>nothing").run()
    assert not at.exception
    assert "None of 2 runs matches '<b>nothing'" in text_of(at)


def test_names_and_notes_are_shown_as_they_are(make: Make) -> None:
    run = make(HOSTILE)
    at = page()
    assert "<script>" not in html_of(at)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; [x](http://a)" in html_of(at)
    press(at, "Delete run")
    told = "\n".join(element.value for element in at.markdown)
    assert "[x](http" not in told
    assert r"\[x\]" in told
    press(at, "Keep it")
    assert run.folder.is_dir()


def test_a_run_is_deleted_once_that_is_confirmed(make: Make) -> None:
    kept, gone = make("Kept"), make("Gone")
    (gone.folder / "weights").write_bytes(bytes(3 * 2**20))
    at = page()
    press(at, "Delete run")
    assert gone.folder.is_dir()
    assert "3.0 MiB with its adapters" in text_of(at)
    press(at, "Remove it")
    assert not gone.folder.exists()
    assert kept.folder.is_dir()
    assert [toast.value for toast in at.toast] == ["Deleted; 3.0 MiB are free again."]
    assert "Gone" not in html_of(at)


def test_a_run_at_work_is_not_deleted(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("Mine")
    monkeypatch.setattr(queue, "status_of", lambda run: Status(state="running", since=1.0))
    at = page()
    assert next(button for button in at.button if button.label == "Delete run").disabled
    assert "<td>running</td>" in html_of(at)


def test_damaged_directories_are_listed_with_the_reason_and_deleted(make: Make, tmp_path: Path) -> None:
    make("Whole")
    broken = make("Broken")
    (broken.folder / "run.json").write_text("{")
    empty = tmp_path / "runs" / "<script>x"
    empty.mkdir()
    at = page()
    assert "2 damaged runs cannot be read" in text_of(at)
    table = html_of(at)
    assert broken.id in table
    assert "is damaged" in table
    assert "<script>" not in table
    at.selectbox(key=f"{session.RUNS_LIST}_damaged").set_value(broken.id).run()
    press(press(at, "Delete damaged run"), "Remove it")
    assert not broken.folder.exists()
    assert empty.is_dir()
    press(press(at, "Delete damaged run"), "Remove it")
    assert not empty.exists()
    assert "damaged" not in text_of(at)


def test_two_runs_beside_each_other(make: Make) -> None:
    first, second = make("Same", losses=(3.0, 2.5)), make("Same", losses=(2.0,), train={"epochs": 7})
    third = make("No training yet")
    at = page()
    assert "Choose at least two" in text_of(at)
    at.multiselect(key=session.RUNS_COMPARED).set_value([first.id, second.id]).run()
    assert not at.exception
    table = html_of(at)
    assert "train.epochs" in table
    assert "train.seed" not in table
    assert "2.5000" in table
    assert len(at.get("plotly_chart")) == 1
    at.segmented_control(key=session.RUNS_AXIS).set_value("epoch").run()
    assert not at.exception
    queue.delete(first)
    at.run()
    assert not at.exception, "one of those chosen was deleted elsewhere"
    at.multiselect(key=session.RUNS_COMPARED).set_value([second.id, third.id]).run()
    assert not at.exception
    assert len(at.get("plotly_chart")) == 1


def test_runs_that_have_not_trained_are_compared_by_their_settings(make: Make) -> None:
    ids = [make().id, make().id]
    at = page()
    at.multiselect(key=session.RUNS_COMPARED).set_value(ids).run()
    assert not at.exception
    assert "same settings, on the same versions" in text_of(at)
    assert "None of them has trained yet" in text_of(at)


def test_unreadable_events_cost_the_curves_alone(make: Make) -> None:
    run = make("Mine", losses=(3.0,))
    (run.folder / "events.jsonl").unlink()
    (run.folder / "events.jsonl").mkdir()
    assert "Mine" in html_of(page())

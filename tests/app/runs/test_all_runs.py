"""All runs on the page: what is searched and compared, what is deleted, and that no name or note can act."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.fine_tune import all_runs as distillations
from app.fine_tune import compare
from app.runs import listed as all_runs
from app.runs.all_runs import list_key
from app.runs.listed import RunKind
from app.ui import session
from spd_core.errors import StorageError
from spd_core.generation.comparison import texts_folder
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.recipes.evaluation import evaluation_from
from spd_core.recipes.presets import PRESETS
from spd_core.runs import queue, remarks, states
from spd_core.runs.events import AnswersScored, StageBegun, TrainingLoss
from spd_core.runs.folder import Run
from spd_core.runs.record import State, Status
from tests.app.side_by_side.test_page import html_of
from tests.app.test_pages import press, text_of
from tests.cells import put, records
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
        "from app.runs.all_runs import all_runs_panel\nfrom app.ui.widgets import news\nnews()\n"
        "all_runs_panel(lambda name: st.session_state.__setitem__('opened', name), DISTILLATIONS)",
        default_timeout=LONG,
    ).run()
    assert not at.exception
    return at


def ids() -> list[str]:
    """In the order of the list."""
    return [run.id for run in queue.all_runs() if isinstance(run, Run)]


def select(
    at: AppTest, *runs: Run, shown: list[str] | None = None, kind: RunKind = distillations.DISTILLATIONS
) -> AppTest:
    """Tick rows, as the browser tells it: by their places in the list that was drawn."""
    order = ids() if shown is None else shown
    chosen = {"selection": {"rows": [order.index(run.id) for run in runs], "columns": [], "cells": []}}
    at.session_state[list_key(order, kind)] = chosen
    at.run()
    assert not at.exception
    return at


def rows(at: AppTest) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = at.dataframe[0].value.to_dict("records")
    return table


def button(at: AppTest, label: str) -> Any:
    return next(one for one in at.button if one.label == label)


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
    assert set(PRESETS) == {"quick", "visible", "paper"}


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
    older, newer = make("Older", losses=(3.0, 2.0)), make("Newer", state="review")
    at = page()
    first, second = rows(at)
    assert (first["Run"], first["State"], first["Arms"]) == ("Newer", "◐ waits for review", "PSR, SSD, SPD")
    assert (second["Run"], second["State"]) == ("Older", "✓ finished")
    assert second["Worked"] == pytest.approx(2 / 60), "from its first to its last event, in minutes"
    assert second["Size"] == pytest.approx(sum(f.stat().st_size for f in older.folder.rglob("*")) / 2**20, abs=0.01)
    assert str(second["Created"])[:10] == older.record.created[:10]
    assert all(button(at, label).disabled for label in ("Open run", "Compare", "Delete run"))
    at.text_input(key=f"{session.RUNS_LIST}_search").set_value("newer").run()
    assert [row["Run"] for row in rows(at)] == ["Newer"]
    press(select(at, newer, shown=[newer.id]), "Open run")
    assert at.session_state["opened"] == newer.id
    at.text_input(key=f"{session.RUNS_LIST}_search").set_value("<b>nothing").run()
    assert not at.exception
    assert "None of 2 runs matches '<b>nothing'" in text_of(at)


def test_results_stand_in_the_row(make: Make) -> None:
    """Held-out loss from step 0 to the end, and right answers, of SPD; the best change is a number to sort by."""
    run = make("Mine")
    for arm, losses, right in (("psr", (2.5, 2.375), (1, 1)), ("spd", (2.5, 2.25), (1, 3))):
        for step, (loss, score) in enumerate(zip(losses, right, strict=True)):
            where: dict[str, Any] = {"time": 101.0, "arm": arm, "step": 9 * step, "epoch": float(step)}
            run.tell(TrainingLoss(**where, steps=9, held_out_loss=loss))
            run.tell(AnswersScored(**where, right=score, n=8))
    make("Not trained")
    known = {row["Run"]: row for row in rows(page())}
    assert known["Mine"]["Best change"] == -0.25
    assert known["Mine"]["Held-out loss"] == "SPD 2.50 → 2.25"
    assert known["Mine"]["Held-out right"] == "SPD 1 → 3 of 8"
    assert known["Not trained"]["Held-out loss"] != known["Not trained"]["Held-out loss"], "not a number: a dash"


def test_names_and_notes_are_shown_as_they_are(make: Make) -> None:
    run = make(HOSTILE)
    at = select(page(), run)
    assert "<script>" not in html_of(at)
    assert rows(at)[0]["Run"] == HOSTILE, "cells of the grid are drawn as text"
    press(at, "Delete run")
    told = "\n".join(element.value for element in at.markdown)
    assert "[x](http" not in told
    assert r"\[x\]" in told
    press(at, "Keep it")
    assert run.folder.is_dir()


def test_a_run_is_deleted_once_that_is_confirmed(make: Make) -> None:
    kept, gone = make("Kept"), make("Gone")
    (gone.folder / "weights").write_bytes(bytes(3 * 2**20))
    at = press(select(page(), gone), "Delete run")
    assert gone.folder.is_dir()
    assert "1 run, 3.0 MiB with all adapters" in text_of(at)
    press(at, "Delete permanently")
    assert not gone.folder.exists()
    assert kept.folder.is_dir()
    assert [toast.value for toast in at.toast] == ["Deleted; 3.0 MiB are free again."]
    assert [row["Run"] for row in rows(at)] == ["Kept"]
    assert button(at, "Open run").disabled, "the next row is not selected instead"


def test_several_are_deleted_at_once_and_what_refuses_stays(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [make(f"Run {number}") for number in range(5)]
    at = press(select(page(), *runs[:4]), "Delete runs")
    assert "4 runs, 0.0 MiB with all adapters" in text_of(at)
    assert "and 1 more" in text_of(at)
    delete = queue.delete

    def refuses(run: Run) -> int:
        if run.id == runs[1].id:
            raise StorageError("the disk refuses")
        return delete(run)

    monkeypatch.setattr(queue, "delete", refuses)
    press(at, "Delete permanently")
    assert [run.folder.exists() for run in runs] == [False, True, False, False, True]
    assert [toast.value for toast in at.toast] == ["3 of 4 deleted; 0.0 MiB are free again."]
    assert "the disk refuses" in at.error[0].value


def test_deleting_says_what_refers_to_it(make: Make) -> None:
    """An evaluation that names an adapter, one whose cells were answered by a capture, and a text of Side by side."""
    run, other = make("Trained"), make("Other")
    quick = {"preset": "quick", "capability": "arithmetic"}
    named = queue.create(evaluation_from({**quick, "subjects": ["base", f"{run.id}/spd"]}), "Named")
    answered = queue.create(evaluation_from(quick), "Answered")
    put(answered.folder, "projected", records([1]), capture=f"{run.id}/capability")
    for one in (named, answered):
        one.write_status(Status(state="done", since=1.0))
    (texts_folder()).mkdir()
    (texts_folder() / "x.json").write_text(json.dumps({"specs": [{"adapter": f"{run.id}/spd"}]}))
    order = [one for one in ids() if one in (run.id, other.id)]
    at = press(select(page(), run, shown=order), "Delete run")
    said = at.warning[0].value
    assert "2 evaluations" in said
    assert "Named" in said
    assert "Answered" in said
    assert "1 saved text of Side by side" in said
    press(at, "Keep it")
    assert not press(select(at, other, shown=order), "Delete run").warning


def test_a_run_at_work_is_not_deleted(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make("Mine")
    monkeypatch.setattr(states, "status_of", lambda run: Status(state="running", since=1.0))
    at = select(page(), run)
    assert button(at, "Delete run").disabled
    assert not button(at, "Open run").disabled
    assert rows(at)[0]["State"] == "▶ running"


def test_runs_are_tagged_and_found_by_their_tags(make: Make) -> None:
    first, second, third = make("First"), make("Second"), make("Third")
    first.set_tags(["keep", "old"])
    at = select(page(), first, second)
    at.multiselect(key=f"{session.RUNS_LIST}_tagging_{first.id}-{second.id}").set_value(["paper"]).run()
    assert not at.exception
    assert (first.tags(), second.tags(), third.tags()) == (("keep", "old", "paper"), ("paper",), ())
    known = {row["Run"]: list(row["Tags"]) for row in rows(at)}
    assert known == {"First": ["keep", "old", "paper"], "Second": ["paper"], "Third": []}
    at = page()
    at.multiselect(key=f"{session.RUNS_LIST}_tags").set_value(["paper", "old"]).run()
    assert [row["Run"] for row in rows(at)] == ["First"]
    at.text_input(key=f"{session.RUNS_LIST}_search").set_value("third").run()
    assert "None of 3 runs matches 'third' and is tagged paper, old" in text_of(at)
    assert all_runs.matches(first, first.status(), "first OLD")


def test_a_recorded_run_is_opened_and_compared_but_neither_deleted_nor_tagged(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, recorded = make("Own"), make("Came along")
    monkeypatch.setattr(remarks, "RECORDED", tmp_path / "recorded")
    (tmp_path / "recorded").mkdir()
    recorded.folder.rename(tmp_path / "recorded" / recorded.id)
    at = page()
    assert [(row["Run"], row["State"]) for row in rows(at)] == [("Own", "✓ finished"), ("Came along", "◆ recorded")]
    shown = [own.id, recorded.id]
    select(at, own, recorded, shown=shown)
    assert button(at, "Delete runs").disabled
    assert not button(at, "Compare").disabled
    press(select(at, recorded, shown=shown), "Open run")
    assert at.session_state["opened"] == recorded.id


def test_a_senseless_tag_is_refused_once(make: Make) -> None:
    run = make("Mine")
    at = select(page(), run)
    at.multiselect(key=f"{session.RUNS_LIST}_tagging_{run.id}").set_value(["x" * 41]).run()
    assert "is not 1 to 40 characters long" in at.error[0].value
    assert run.tags() == ()


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
    press(press(at, "Delete damaged run"), "Delete permanently")
    assert not broken.folder.exists()
    assert empty.is_dir()
    press(press(at, "Delete damaged run"), "Delete permanently")
    assert not empty.exists()
    assert "damaged" not in text_of(at)


def test_two_runs_beside_each_other(make: Make) -> None:
    first, second = make("Same", losses=(3.0, 2.5)), make("Same", losses=(2.0,), train={"epochs": 7})
    third = make("No training yet")
    at = page()
    assert "beside each other" not in text_of(at)
    assert button(select(at, first), "Compare").disabled
    press(select(at, first, second), "Compare")
    assert not at.exception
    assert "2 runs beside each other" in text_of(at)
    table = html_of(at)
    assert "train.epochs" in table
    assert "train.seed" not in table
    assert "2.7500" in table, "the mean of its last epoch"
    assert f"Same · {first.record.created.replace('T', ' ')}" in table, "both are called the same"
    assert len(at.get("plotly_chart")) == 1
    at.segmented_control(key=session.RUNS_AXIS).set_value("epoch").run()
    assert not at.exception
    queue.delete(first)
    at.run()
    assert not at.exception, "one of those chosen was deleted elsewhere"
    assert "beside each other" not in text_of(at)
    press(select(at, second, third), "Compare")
    assert not at.exception
    assert ">No training yet<" in html_of(at), "a title of its own is enough"
    assert len(at.get("plotly_chart")) == 1
    assert not press(at, "Close").get("plotly_chart")


def test_runs_that_have_not_trained_are_compared_by_their_settings(make: Make) -> None:
    first, second = make(), make()
    at = press(select(page(), first, second), "Compare")
    assert not at.exception
    assert "same settings, on the same versions" in text_of(at)
    assert "None of them has trained yet" in text_of(at)


def test_unreadable_events_cost_the_curves_alone(make: Make) -> None:
    run = make("Mine", losses=(3.0,))
    (run.folder / "events.jsonl").unlink()
    (run.folder / "events.jsonl").mkdir()
    assert rows(page())[0]["Run"] == "Mine"

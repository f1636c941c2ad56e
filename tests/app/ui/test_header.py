"""The strip on every page: what is in hand, links, switching, deleting, the device; without any model."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.jobs import captures, models
from app.jobs.captures import load_saved
from app.jobs.job import Job
from app.jobs.models import shared
from app.ui import header, session
from spd_core.errors import InputError, ModelError
from spd_core.storage import remove_folder
from spd_core.subspace import store
from spd_core.subspace.store import load_capture, save_capture
from tests import ROOT
from tests.waiting import LONG

DEMO = ROOT / "assets" / "demo" / "captures"
SELECTION = (session.CAPTURE, session.LAYER, session.KIND, session.DIRECTION, session.EXAMPLE, session.TOKEN)
PAGES = (session.SPECTRUM, session.ATTRIBUTIONS, session.SIDE_BY_SIDE)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty `SPD_HOME`; nothing is prepared or loaded in the background."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path))

    def refuse(*_: object) -> None:
        raise ModelError("no model in these tests")

    monkeypatch.setattr(models, "_prepare", refuse)
    shared().prepared.clear()
    shared().models.unload()
    yield tmp_path
    shared().prepared.clear()


def opened(page: Path = session.SPECTRUM, **link: str) -> AppTest:
    """The app at a page, with a query string."""
    at = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    at.run()
    for key in ("link_read", *SELECTION):  # a link belongs to the first run of a session
        if key in at.session_state:
            del at.session_state[key]
    for key, value in link.items():
        at.query_params[key] = value
    at.switch_page(f"../pages/{page.name}").run()
    assert not at.exception
    return at


def strip(at: AppTest) -> str:
    """The sentence about what is in hand."""
    return next(element.value for element in at.markdown if "badge[" in element.value).replace("\\", "")


def button(at: AppTest, label: str) -> object:
    return next(button for button in at.button if button.label == label)


def link(at: AppTest) -> dict[str, str]:
    return {key: value if isinstance(value, str) else value[0] for key, value in at.query_params.items()}


def test_what_is_in_hand_is_written_into_the_address_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.runtime.state.query_params import QueryParams

    sent: list[dict[str, str]] = []
    monkeypatch.setattr(QueryParams, "_send_query_param_msg", lambda self: sent.append(self.to_dict()))
    at = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG).run()
    assert not at.exception
    (only,) = sent
    assert set(only) >= {"capture", "layer", "kind", "direction", "text", "token", "rank"}


@pytest.mark.parametrize("where", PAGES)
def test_every_page_opens_on_a_recorded_capture_without_a_model(home: Path, where: Path) -> None:
    at = opened(where)
    assert "recorded" in strip(at)
    assert "**arithmetic** on SmolLM2" in strip(at)
    assert "rank 96 of 192 · selected: **layer 29 value, direction 1**" in strip(at)
    assert shared().models.resident is None
    assert any("No model is in memory" in element.value for element in at.markdown)


@pytest.mark.parametrize("where", PAGES)
def test_a_link_restores_what_is_in_hand_and_the_selection(home: Path, where: Path) -> None:
    wanted = {"capture": "multiple-choice", "layer": "15", "kind": "key", "direction": "7", "text": "3", "token": "5"}
    at = opened(where, **wanted)
    assert "**multiple-choice** on" in strip(at)
    assert "selected: **layer 15 key, direction 7**" in strip(at)
    assert link(at).items() >= wanted.items()


def test_senseless_values_in_a_link_are_brought_into_range(home: Path) -> None:
    at = opened(layer="99", kind="query", direction="4000", text="-1", token="x")
    assert "selected: **layer 29 value, direction 192**" in strip(at)
    assert link(at)["text"] == "1"


@pytest.mark.parametrize("name", ["no-such", "../../etc/passwd", "a b", "." * 90])
def test_an_unknown_capture_in_a_link_is_a_sentence_and_a_recorded_one_is_shown(home: Path, name: str) -> None:
    at = opened(capture=name)
    (error,) = at.error
    said = error.value.replace("\\", "")
    assert name in said
    assert "A recorded capture is shown until it is here" in said
    assert "arithmetic" in strip(at)
    assert link(at)["capture"] == name, "the address still says what is needed"
    button(at, "Use the recorded capture").click().run()  # type: ignore[attr-defined]
    assert not at.error
    assert link(at)["capture"] == "arithmetic"


def test_a_capture_that_a_link_needs_is_opened_as_soon_as_it_is_here(home: Path) -> None:
    name = "20261124-071800-mine-ab12"
    at = opened(capture=name, layer="15", kind="key", direction="7", text="3", token="5", rank="20")
    assert at.error
    assert "rank 96 of 192 · selected: **layer 29 value, direction 1**" in strip(at), "it was meant of another capture"
    own(home, name)
    at.run()
    assert not at.error
    assert "yours" in strip(at)
    assert "rank 20 of 192 · selected: **layer 15 key, direction 7**" in strip(at)


def test_a_capture_of_a_run_can_be_in_hand(home: Path) -> None:
    """As an item of an evaluation opens it: exactly that capture, which is on no shelf."""
    kept = load_capture(DEMO / "arithmetic")
    save_capture(kept, home / "runs" / "20261201-table" / "captures" / "capability-ab12")
    at = opened(capture="20261201-table/capability-ab12")
    assert not at.error
    assert at.session_state[session.CAPTURE] == "20261201-table/capability-ab12"
    assert link(at)["capture"] == "20261201-table/capability-ab12"
    switch = next(box for box in at.selectbox if box.label == "Choose a capture")
    assert switch.value == "20261201-table/capability-ab12"
    assert "capability · of the run 20261201-table · active" in switch.options
    assert next(button for button in at.button if button.label == "Delete").disabled, "it goes with its run"
    assert load_saved("20261201-table/capability-ab12").identity == kept.identity


def own(home: Path, name: str = "20261124-071800-mine-ab12") -> str:
    """A capture of the user's own: the recorded one under another name."""
    save_capture(dataclasses.replace(load_capture(DEMO / "arithmetic"), name=name), home / "captures" / name)
    return name


def test_switching_and_deleting(home: Path) -> None:
    name = own(home)
    at = opened()
    choice = next(box for box in at.selectbox if box.label == "Choose a capture")
    assert choice.options == ["mine · 24 Nov 2026, 07:18:00", "arithmetic (recorded) · active",
                              "multiple-choice (recorded)", "python-functions (recorded)"]  # fmt: skip
    choice.set_value(name).run()
    button(at, "Use this capture").click().run()  # type: ignore[attr-defined]
    assert "yours" in strip(at)
    assert link(at)["capture"] == name
    button(at, "Delete").click().run()  # type: ignore[attr-defined]
    button(at, "Delete permanently").click().run()  # type: ignore[attr-defined]
    assert not at.exception
    assert "recorded" in strip(at)
    assert not list((home / "captures").iterdir()), "nothing is left behind"


def test_deleting_asks_first(home: Path) -> None:
    name = own(home)
    at = opened(capture=name)
    button(at, "Delete").click().run()  # type: ignore[attr-defined]
    assert any("deleted permanently" in part.value for part in at.markdown)
    button(at, "Keep it").click().run()  # type: ignore[attr-defined]
    assert not any("deleted permanently" in part.value for part in at.markdown)
    assert (home / "captures" / name).is_dir()


def test_damaged_recorded_captures_are_a_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(name: str) -> None:
        raise InputError(f"{name} is damaged")

    monkeypatch.setattr(session, "load_saved", damaged)
    at = opened(capture="arithmetic")
    assert not at.exception
    assert [error.value.split("**")[1] for error in at.error] == [
        "What the link names cannot be opened:", "The recorded capture cannot be opened:",
    ]  # fmt: skip


def test_recorded_captures_cannot_be_deleted(home: Path) -> None:
    at = opened()
    assert button(at, "Delete").disabled  # type: ignore[attr-defined]


def test_an_unsaved_capture_can_be_deleted(home: Path) -> None:
    at = opened()
    at.session_state["unsaved"] = {"lost": dataclasses.replace(load_capture(DEMO / "arithmetic"), name="lost")}
    at.session_state[session.CAPTURE] = "lost"
    at.run()
    button(at, "Delete").click().run()  # type: ignore[attr-defined]
    button(at, "Delete permanently").click().run()  # type: ignore[attr-defined]
    assert not at.exception
    assert "recorded" in strip(at)
    assert not at.session_state["unsaved"]


def test_what_another_tab_has_deleted_is_a_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = own(home)
    at = opened(capture=name)
    monkeypatch.setattr(session, "saved_captures", lambda: [name])  # as this tab still lists it
    kept = load_saved(name)
    monkeypatch.setattr(session, "load_saved", lambda _: kept)
    remove_folder(home / "captures" / name)
    button(at, "Delete").click().run()  # type: ignore[attr-defined]
    button(at, "Delete permanently").click().run()  # type: ignore[attr-defined]
    assert not at.exception
    assert "not deleted" in at.error[0].value


def test_what_the_disk_takes_after_all_is_no_longer_held_back(home: Path) -> None:
    name, at = own(home), opened()
    later = load_capture(home / "captures" / name)
    job: Job[Any, Any] = Job(lambda _: later, computes=False).start()
    job.join(LONG)
    at.session_state["unsaved"] = {name: dataclasses.replace(later, sites={})}
    at.session_state[session.NULLS_JOB] = job
    at.session_state[session.CAPTURE] = name
    at.run()
    assert not at.exception
    assert not at.session_state["unsaved"]


def test_what_is_kept_of_models_is_bounded(home: Path) -> None:
    for number in range(models.MOST_PREPARED + 3):
        models.preparation(f"org/model-{number}", None)
        models.preparation("builtin", None)
    known = list(shared().prepared)
    assert len(known) == models.MOST_PREPARED
    assert known[-1] == ("builtin", None), "what is used stays"


def test_a_damaged_capture_is_a_sentence(home: Path) -> None:
    name = own(home)
    (home / "captures" / name / "analysis.safetensors").write_bytes(b"cut off")
    at = opened(capture=name)
    assert "holds no valid capture" in at.error[0].value.replace("\\", "")
    assert "arithmetic" in strip(at)


def test_the_selection_can_be_changed_in_the_strip(home: Path) -> None:
    at = opened()
    next(box for box in at.selectbox if box.label == "Layer").set_value(15).run()
    next(box for box in at.number_input if box.label == "Direction").set_value(5).run()
    assert "selected: **layer 15 value, direction 5**" in strip(at)
    assert (link(at)["layer"], link(at)["direction"]) == ("15", "5")


def test_without_anything_recorded_pages_say_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RECORDED", home / "none")
    at = opened()
    assert "press **Capture gradients**" in at.info[0].value


def test_a_capture_deleted_between_two_looks_is_a_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> int:
        raise FileNotFoundError(home / name)

    monkeypatch.setattr(captures, "changed_at", gone)
    with pytest.raises(InputError, match="'gone' was deleted"):
        load_saved("gone")


def test_pages_know_the_model_of_a_capture_without_torch() -> None:
    check = (
        "import sys; from app.ui import session; from spd_core.subspace.store import open_capture, recorded_captures; "
        "session.model_key(open_capture(recorded_captures()[0])); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0


def test_labels_of_saved_captures() -> None:
    assert header.capture_label("20261124-071800-my-sums-ab12") == "my-sums · 24 Nov 2026, 07:18:00"
    assert header.capture_label("99999999-999999-x-ab12") == "99999999-999999-x-ab12"
    assert header.capture_label("something") == "something"


@pytest.mark.parametrize("where", [session.FINE_TUNE, session.EVALUATION])
def test_pages_of_runs_do_not_speak_of_a_capture_that_is_no_part_of_them(home: Path, where: Path) -> None:
    at = opened(where, capture="multiple-choice")
    assert not any("selected: " in element.value for element in at.markdown)
    assert any("No model is in memory" in element.value for element in at.markdown), "the device is there"
    assert link(at)["capture"] == "multiple-choice", "and the other pages find what was in hand"

"""Notes on directions: written on Token attributions, and shown, found and exported wherever a direction is named."""

import csv
import io
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.spectrum import charts, numbers
from app.ui import session
from app.ui.direction_names import names_of
from app.ui.tables import to_csv
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.store import RECORDED, open_capture, place_of
from tests import ROOT
from tests.app.test_pages import go_to, press, text_of
from tests.waiting import LONG

NAME = "<b>carries</b> *now*"


@pytest.fixture(autouse=True)
def home(spd_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").symlink_to(spd_home / "models")
    monkeypatch.setenv("SPD_HOME", str(tmp_path))


@pytest.fixture
def own() -> Analysis:
    """A capture of this machine."""
    shutil.copytree(RECORDED / "arithmetic", place_of("mine"))
    return open_capture("mine")


def opened(**link: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    at.query_params.update(link)
    at.session_state[session.NOTES_OPEN] = True
    return go_to(at.run(), session.ATTRIBUTIONS)


def note(at: AppTest, name: str, remark: str = "") -> AppTest:
    next(one for one in at.text_input if one.label.startswith("Name of layer")).set_value(name)
    next(one for one in at.text_area if one.label == "Remark").set_value(remark)
    return press(at, "Save the note")


def find(at: AppTest, words: str) -> None:
    next(one for one in at.text_input if one.label == "Find a direction by its note").set_value(words).run()
    assert not at.exception


def hits(at: AppTest) -> list[str]:
    return [one.label.replace("\\", "") for one in at.button if str(one.key).startswith(session.NOTE_HIT)]


def test_a_name_is_shown_escaped_wherever_the_direction_is_named(own: Analysis) -> None:
    at = opened(capture="mine", direction="2")
    note(at, NAME, "Fires on <i>9 + 3</i>.")
    assert "Saved." in text_of(at)
    assert "Your remark: Fires on <i>9 + 3</i>." in text_of(at)
    raw = [one.value for one in at.markdown]
    assert not [text for text in raw if "*now*" in text.replace("\\*", "")], "every character of it is escaped"
    assert at.number_input(key=session.PICK_DIRECTION).label.replace("\\", "") == f"Direction of 192: {NAME}"
    title = f"layer 29 value, direction 2 “{NAME}”"
    shown = text_of(at)
    assert f"selected: **{title}**" in shown
    assert f"**Direction 2**, “{NAME}”, of 192 holds" in shown
    help_of = {button.label: button.help for button in at.button}
    assert f"a lane from which {title} is removed" in help_of["Mix this direction"].replace("\\", "")
    press(at, "Next")
    assert NAME not in at.number_input(key=session.PICK_DIRECTION).label.replace("\\", "")
    assert "Saved." not in text_of(at)
    at.session_state[session.SETTINGS_OPEN] = at.session_state[session.DESK_OPEN] = True
    assert f"of the energy · {NAME}" in text_of(go_to(at, session.SIDE_BY_SIDE)), "beside its fader"
    go_to(at, session.SPECTRUM)
    assert "Names" in at.dataframe[0].value.columns
    assert f"2 {NAME}" in at.dataframe[0].value.Names.tolist()


def test_a_note_is_found_again_in_this_capture_and_in_others(own: Analysis) -> None:
    at = opened(capture="mine", layer="15", kind="key", direction="3")
    assert "No direction has a note yet." in text_of(at)
    note(at, "tens digit")
    at.session_state[session.CAPTURE] = "multiple-choice"  # a recorded one
    at.run()
    note(at, "", "the letter of the answer")
    assert not (RECORDED / "multiple-choice" / "notes.json").exists()
    assert len(hits(at)) == 2, "all, where nothing is asked for"
    find(at, "letter")
    assert hits(at) == ["the letter of the answer · layer 15 key, direction 3"]
    find(at, "TENS")
    assert hits(at) == ["tens digit · layer 15 key, direction 3 · mine"]
    at.session_state[session.DIRECTION] = 7
    at.run()
    next(one for one in at.button if str(one.key).startswith(session.NOTE_HIT)).click().run()
    assert not at.exception
    assert at.session_state[session.CAPTURE] == "mine"
    assert at.number_input(key=session.PICK_DIRECTION).value == 3
    find(at, "nothing")
    assert "No note holds these words." in text_of(at)


def test_notes_that_cannot_be_read_or_kept_are_said(own: Analysis) -> None:
    at = opened(capture="mine")
    place_of("mine").joinpath("notes.json").write_text("{")
    at.run()
    assert "The notes on directions cannot be read" in text_of(at)
    note(at, "x")
    assert "The note was not saved" in text_of(at)


def test_spectrum_names_directions_in_hovers_and_in_its_csv(own: Analysis) -> None:
    note(opened(capture="mine", direction="2"), NAME)
    panels = numbers.panels_of(own, names=names_of(own))
    rows = list(csv.DictReader(io.StringIO(to_csv(numbers.csv_rows(panels)).decode())))
    assert [(row["layer"], row["kind"], row["direction"], row["spectrum"]) for row in rows if row["name"] == NAME] == [
        ("29", "value", "2", "capability")
    ]
    figure = charts.cumulative_energy(panels, 96, charts.Look(selected=(29, "value", 1)))
    (curve,) = [trace for trace in figure.data if trace.hovertext is not None]
    said = "“&lt;b&gt;carries&lt;/b&gt; *now*”"
    assert curve.hovertext[1] == f"<br>direction 2: {said}"
    assert set(curve.hovertext[2:]) == {""}
    texts = [text for trace in figure.data for text in trace.text or () if "direction 2" in text]
    assert texts == [f"direction 2 {said}"]

"""Home without a browser: recent models, presets, browsing, importing, editing and saving."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.home import examples, pickers, recent
from app.home.capture import _batches_in_words, _spectra_in_words, expected_seconds
from app.jobs.capturing import CaptureNews
from app.jobs.models import ModelKey, shared
from app.jobs.requests import CaptureRequest
from app.ui import session
from spd_core.data.capability import read_capability
from spd_core.data.catalog import read_named, save_capability, saved_capabilities
from spd_core.data.importing import CUSTOM
from spd_core.data.spans import char_spans, render_prompt
from spd_core.models.families import BUILTIN
from tests import ROOT
from tests.app.test_pages import prepared, press, text_of
from tests.waiting import LONG


@pytest.fixture
def home(tmp_path: Path, spd_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `SPD_HOME` of its own, with the converted model of the others."""
    from spd_core.models.builtin import builtin_model

    builtin_model()
    (tmp_path / "models").symlink_to(spd_home / "models")
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    return tmp_path


def open_home(**link: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    for key, value in link.items():
        app.query_params[key] = value
    app.run()
    return prepared(app)


@pytest.fixture
def at(home: Path) -> AppTest:
    return open_home()


def pick_file(at: AppTest, path: Path) -> AppTest:
    at.selectbox(key=session.CAPABILITY).set_value(pickers.OWN_FILE).run()
    at.text_input(key=session.CAPABILITY_PATH).set_value(str(path)).run()
    assert not at.exception
    return at


def labelled(elements: Any, label: str) -> Any:
    return next(element for element in elements if element.label.replace("\\", "").startswith(label))


def capture_button(at: AppTest) -> Any:
    return labelled(at.button, "Capture gradients")


# --- recent models -------------------------------------------------------------------------------------------


@pytest.mark.builtin
def test_a_model_that_was_read_can_be_chosen_again(at: AppTest, family_folder: Any) -> None:
    folder = str(family_folder("qwen3"))
    assert pickers.RECENT not in at.segmented_control(key=session.MODEL_SOURCE).options
    at.segmented_control(key=session.MODEL_SOURCE).set_value(pickers.ELSEWHERE).run()
    at.text_input(key=session.MODEL_NAME).set_value("/no/such/model").run()
    prepared(at)
    assert recent.recent_models() == [], "only what could be read"
    at.text_input(key=session.MODEL_NAME).set_value(folder).run()
    shown = text_of(prepared(at))
    assert "Family: **qwen3**" in shown
    assert "RoPE, base" in shown
    assert "Norm: **RMSNorm" in shown
    assert "before the k-norm and RoPE" in shown

    again = open_home()
    again.segmented_control(key=session.MODEL_SOURCE).set_value(pickers.RECENT).run()
    assert again.selectbox(key=session.MODEL_RECENT).value == folder
    assert "Family: **qwen3**" in text_of(prepared(again))
    shared().prepared.clear()


@pytest.mark.builtin
def test_learned_positions_and_layer_norm_are_named(at: AppTest, family_folder: Any) -> None:
    at.segmented_control(key=session.MODEL_SOURCE).set_value(pickers.ELSEWHERE).run()
    at.text_input(key=session.MODEL_NAME).set_value(str(family_folder("gpt2"))).run()
    shown = text_of(prepared(at))
    assert "Positions: **learned, added to the input**" in shown
    assert "Norm: **LayerNorm" in shown
    shared().prepared.clear()


# --- presets -------------------------------------------------------------------------------------------------


@pytest.mark.builtin
def test_presets_fill_the_settings_in_and_a_link_wins(at: AppTest) -> None:
    preset = at.segmented_control(key=session.CAPTURE_PRESET)
    assert preset.value == "Paper"
    preset.set_value("All layers").run()
    assert at.text_input(key=session.LAYERS).value == "all"
    assert "50 examples, layers all" in text_of(at)
    at.segmented_control(key=session.CAPTURE_PRESET).set_value("Quick").run()
    assert at.number_input(key=session.EXAMPLES).value == 12
    assert "12 examples, layers middle, last" in text_of(at)
    at.number_input(key=session.EXAMPLES).set_value(13).run()
    assert at.segmented_control(key=session.CAPTURE_PRESET).value is None

    linked = open_home(examples="7", layers="3,7")
    assert linked.segmented_control(key=session.CAPTURE_PRESET).value is None
    assert "7 examples, layers 3, 7, batch size 8" in text_of(linked)


# --- browse --------------------------------------------------------------------------------------------------


@pytest.mark.builtin
def test_the_examples_can_be_browsed_by_split(at: AppTest) -> None:
    at.segmented_control(key=session.EXAMPLES_VIEW).set_value(examples.BROWSE).run()
    assert len(at.dataframe[0].value) == 60
    assert list(at.dataframe[0].value.columns) == ["id", "split", "prompt", "answer"]
    at.segmented_control(key=session.EXAMPLES_SPLIT).set_value("heldout").run()
    assert set(at.dataframe[0].value["split"]) == {"heldout"}
    at.selectbox(key=session.CAPABILITY).set_value("multiple-choice").run()
    assert not at.exception
    assert "taekwondo" not in at.dataframe[0].value["prompt"][0], "the split stays chosen"


# --- import --------------------------------------------------------------------------------------------------


@pytest.mark.builtin
def test_a_column_of_ones_own_says_where_the_loss_is(at: AppTest, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    rows = [
        {"Frage": "2 + 2?", "Antwort": "4, I think", "Stelle": [[0, 1]]},
        {"Frage": "3 + 3?", "Antwort": "It is 6", "Stelle": None},
        {"Frage": "4 + 4?", "Antwort": "It is 8", "Stelle": [[0, 99]]},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    pick_file(at, file)
    for label, column in (("Prompt", "Frage"), ("Answer", "Antwort"), ("Spans", "Stelle")):
        labelled(at.selectbox, f"{label} column").set_value(column).run()
    assert "line 3: Stelle: range [0, 99] leaves the answer" in text_of(at).replace("**", "").replace("\\", "")
    labelled(at.checkbox, "Leave these out and continue with 2 good rows").check().run()
    labelled(at.selectbox, "The loss is on").set_value("the last number").run()
    press(at, "Save 2 examples")
    saved = read_named("own")
    first, second = (char_spans(e, saved.settings, render_prompt(e, saved.settings, "raw", None), "aligned")
                     for e in saved.examples)  # fmt: skip
    texts = [render_prompt(example, saved.settings, "raw", None).text for example in saved.examples]
    assert [texts[0][start:end] for start, end in first] == ["4"], "the row's own"
    assert [texts[1][start:end] for start, end in second] == ["6"], "the rule of the file"


@pytest.mark.builtin
def test_a_table_of_ones_own_is_mapped_mended_and_saved(at: AppTest, tmp_path: Path) -> None:
    file = tmp_path / "Fragen 1.csv"
    file.write_text("Frage;Antwort;Teil\n2 + 2?;4;calibration\n3 + 3?;;train\n;9;train\n5 + 5?;10;test\n", "utf-8")
    pick_file(at, file)
    assert "Choose the columns that hold the prompt and the answer" in text_of(at)
    assert capture_button(at).disabled
    for label, column in (("Prompt", "Frage"), ("Answer", "Frage")):
        labelled(at.selectbox, f"{label} column").set_value(column).run()
    assert "prompt and answer are both the column 'Frage'" in text_of(at)
    labelled(at.selectbox, "Answer column").set_value("Antwort").run()
    labelled(at.selectbox, "Split column").set_value("Teil").run()
    assert "2 rows of 4 cannot be read: Fragen 1.csv, line 3: Antwort: empty" in text_of(at).replace("**", "")
    rows = at.dataframe[0].value.to_dict("records")
    assert [(row["Line"], row["Column"]) for row in rows] == [(3, "Antwort"), (4, "Frage")]
    assert capture_button(at).disabled

    labelled(at.checkbox, "Leave these out and continue with 2 good rows").check().run()
    assert not capture_button(at).disabled
    labelled(at.text_input, "Title").set_value("Sums").run()
    labelled(at.selectbox, "The loss is on").set_value("the last number").run()
    assert labelled(at.text_input, "Save as").value == "Fragen-1"
    press(at, "Save 2 examples")
    assert saved_capabilities() == ["Fragen-1"]
    assert at.selectbox(key=session.CAPABILITY).value == "Fragen-1"
    assert at.success[0].value.startswith("Saved: 2 examples in ")
    saved = read_named("Fragen-1")
    assert (saved.settings.title, saved.settings.spans) == ("Sums", "number")
    assert [(example.answer, example.split) for example in saved.examples] == [("4", "calibration"), ("10", "heldout")]

    linked = open_home(capability="Fragen-1")
    assert linked.selectbox(key=session.CAPABILITY).value == "Fragen-1"
    assert "**Sums**" in text_of(linked)


@pytest.mark.builtin
def test_a_public_set_is_recognised(at: AppTest, datasets_folder: Path) -> None:
    pick_file(at, datasets_folder / "gsm8k.train.jsonl")
    assert labelled(at.selectbox, "Columns are those of").value == "gsm8k"
    assert labelled(at.text_input, "After the last").value == "#### "
    assert not capture_button(at).disabled
    labelled(at.selectbox, "Columns are those of").set_value(CUSTOM).run()
    assert labelled(at.selectbox, "Prompt column").value == "question"
    labelled(at.selectbox, "The loss is on").set_value("a regular expression").run()
    labelled(at.text_input, "Regular expression").set_value("(").run()
    assert "spans: not a regular expression" in text_of(at)
    assert capture_button(at).disabled
    labelled(at.text_input, "Regular expression").set_value(r"#### (.*)").run()
    assert not capture_button(at).disabled


@pytest.mark.builtin
def test_replacing_is_offered_and_never_silent(at: AppTest, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "new", "answer": "b"}')
    old = read_capability(file)
    save_capability(old, "mine")
    file.write_text('{"prompt": "newer", "answer": "b"}')
    pick_file(at, file)
    press(at, "Save 1 example")
    assert "mine is saved already; choose another name, or replace it" in text_of(at)
    assert read_named("mine").examples == old.examples
    labelled(at.checkbox, "Replace the saved mine").check().run()
    press(at, "Save 1 example")
    assert read_named("mine").examples[0].prompt == "newer"


@pytest.mark.builtin
@pytest.mark.parametrize("name", ["../up", "arithmetic", "gsm8k", "a b", ""])
def test_a_name_that_cannot_be_is_an_error_on_the_page(at: AppTest, tmp_path: Path, name: str) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "a", "answer": "b"}')
    pick_file(at, file)
    labelled(at.text_input, "Save as").set_value(name).run()
    press(at, "Save 1 example")
    assert "Not saved:" in text_of(at)
    assert saved_capabilities() == []


@pytest.mark.builtin
def test_a_damaged_saved_capability_does_not_break_the_page(home: Path) -> None:
    (home / "capabilities").mkdir()
    (home / "capabilities" / "damaged.jsonl").write_text("not JSON")
    at = open_home(capability="damaged")
    assert "damaged.jsonl, line 1: not JSON" in text_of(at)
    at.selectbox(key=session.CAPABILITY).set_value("arithmetic").run()
    assert "One-step" in text_of(at)


# --- edit ----------------------------------------------------------------------------------------------------


class Editor:
    """Stands for the table editor, which AppTest cannot type into: changes what the page has put in."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def __call__(self, rows: Any, **options: Any) -> Any:
        return self.change(rows.copy())


@pytest.fixture
def editor(monkeypatch: pytest.MonkeyPatch) -> Editor:
    stand_in = Editor(lambda rows: rows)
    monkeypatch.setattr(examples.st, "data_editor", stand_in)
    return stand_in


@pytest.mark.builtin
def test_edited_examples_are_checked_and_saved_as_a_copy(at: AppTest, editor: Editor) -> None:
    def change(rows: Any) -> Any:
        rows = rows.iloc[:3]
        rows.loc[0, "answer"] = ""
        rows.loc[1, "prompt"] = "<b>What</b> is 1 + 1?"
        rows.loc[3] = [None, "heldout", "What is 2 + 3?", "5"]
        return rows

    editor.change = change
    at.segmented_control(key=session.EXAMPLES_VIEW).set_value(examples.EDIT).run()
    assert "arithmetic stays as it is" in text_of(at)
    assert "The table, line 1: answer: empty" in text_of(at)
    labelled(at.checkbox, "Leave these out and continue with 3 good rows").check().run()
    assert labelled(at.text_input, "Save as").value == "arithmetic-copy"
    press(at, "Save 3 examples")
    saved = read_named("arithmetic-copy")
    assert [example.prompt for example in saved.examples][0::2] == ["<b>What</b> is 1 + 1?", "What is 2 + 3?"]
    assert saved.examples[0].id == "arithmetic-0002"
    assert saved.examples[2].split == "heldout"
    assert saved.settings.spans == "number"
    assert len(read_named("arithmetic").examples) == 480
    assert at.selectbox(key=session.CAPABILITY).value == "arithmetic-copy"


@pytest.mark.builtin
def test_bad_rows_of_an_import_can_be_mended_on_the_page(at: AppTest, tmp_path: Path, editor: Editor) -> None:
    file = tmp_path / "own.jsonl"
    rows = [{"prompt": "a", "answer": 1}, {"prompt": "b", "split": "late"}, {"prompt": None, "answer": 2.5}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "not JSON\n")
    pick_file(at, file)
    assert "3 rows of 4 cannot be read" in text_of(at)

    def change(rows: Any) -> Any:
        assert rows.index.tolist() == [2, 3], "not the row that is no JSON"
        rows.loc[2, ["answer", "split"]] = ["two", "train"]
        rows.loc[3, "prompt"] = "c"
        return rows

    editor.change = change
    at.run()
    assert "1 row of 4 cannot be read: own.jsonl, line 4: not JSON" in text_of(at).replace("**", "")
    labelled(at.checkbox, "Leave these out and continue with 3 good rows").check().run()
    press(at, "Save 3 examples")
    found = [(example.prompt, example.answer, example.split) for example in read_named("own").examples]
    assert found == [("a", "1", "calibration"), ("b", "two", "train"), ("c", "2.5", "calibration")]


@pytest.mark.builtin
def test_what_the_table_does_not_show_is_kept(at: AppTest, editor: Editor) -> None:
    at.selectbox(key=session.CAPABILITY).set_value("python-functions").run()
    at.segmented_control(key=session.EXAMPLES_VIEW).set_value(examples.EDIT).run()
    press(at, "Save 480 examples")
    assert read_named("python-functions-copy").examples == read_named("python-functions").examples
    assert at.selectbox(key=session.CAPABILITY).value == "python-functions-copy"
    at.segmented_control(key=session.EXAMPLES_VIEW).set_value(examples.EDIT).run()
    assert labelled(at.text_input, "Save as").value == "python-functions-copy", "one's own is edited in place"


def test_a_running_capture_says_what_is_left_of_both_parts() -> None:
    batches = CaptureNews(10, 50, 1.25, 5.0, sites=60)
    assert _batches_in_words(batches) == (
        "**10 of 50** examples · 2.0 examples/s · at most 20 s to go, then the spectra of 60 sites · "
        "loss of the last batch **1.25 nats**"
    )
    begun = dataclasses.replace(batches, done=50, sites_done=0)
    assert "**0 of 60** sites. Stop" in _spectra_in_words(begun), "nothing is known yet"
    later = dataclasses.replace(begun, sites_done=12, spectra_seconds=9.0)
    assert "**12 of 60** sites · about 36 s to go" in _spectra_in_words(later)


@pytest.mark.parametrize(
    ("wanted", "layers", "times"), [(50, "15,29", 1), (10, "29", 1), (None, "15,29", 60 / 50), (50, "3,7,15,29", 2)]
)
def test_a_capture_is_expected_to_take_as_long_as_the_active_one_did(
    wanted: int | None, layers: str, times: float
) -> None:
    from spd_core.recipes.capture import CaptureSettings
    from spd_core.subspace.store import open_capture

    recorded = open_capture("arithmetic")  # 50 of its 60 examples, two layers
    took = recorded.provenance.seconds
    assert took is not None
    settings = CaptureSettings(layers=layers, examples=wanted)
    request = CaptureRequest(ModelKey(BUILTIN), read_named("arithmetic"), settings, "raw")
    assert expected_seconds(request, recorded) == pytest.approx(took * times)
    other = dataclasses.replace(request, model=ModelKey("another/model"))
    assert expected_seconds(other, recorded) is None

"""Side by side without a browser: the recorded and the own results, stop, errors, history, links, the sweep."""

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.jobs.captures import load_saved
from app.side_by_side import lanes
from app.ui import session
from app.ui.widgets import escaped
from spd_core.generation import comparison as texts
from spd_core.generation import report
from spd_core.generation.comparison import Comparison
from spd_core.recipes.lanes import LaneSpec, Sampling
from spd_core.subspace.store import recorded_captures
from spd_core.text import shown as shown_text
from tests import ROOT
from tests.app.test_pages import go_to, prepared, press, text_of
from tests.generation.test_comparison import HOSTILE, PROJECTED, comparison, lane
from tests.waiting import LONG, until

pytestmark = pytest.mark.builtin


@pytest.fixture
def at(empty_history: Path) -> AppTest:
    return opened()


def opened(**link: str) -> AppTest:
    """The page in a new session, from a link."""
    app = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    app.query_params.update(link)
    app.run()
    return prepared(go_to(app, session.SIDE_BY_SIDE))


def finished(at: AppTest) -> AppTest:
    """Wait for the job, and run again."""
    at.session_state[session.WRITE_JOB].join(LONG)
    at.run()
    assert not at.exception
    return at


def html_of(at: AppTest) -> str:
    return "\n".join(element.proto.body for element in at.get("html"))


def write(at: AppTest, tokens: int = 6) -> Comparison:
    at.number_input(key=session.NEW_TOKENS).set_value(tokens).run()
    finished(press(at, "Generate"))
    found = at.session_state[session.WRITE_JOB].result
    assert isinstance(found, Comparison)
    return found


def test_two_lanes_are_written_read_saved_and_linked(at: AppTest) -> None:
    assert "Press Generate" in text_of(at).replace("*", "")
    found = write(at)
    assert [one.label for one in found.lanes] == ["Raw", "Projected"]
    assert found.is_read
    assert all(report.lane_html(one, found) in html_of(at) for one in found.lanes)
    shown = text_of(at)
    assert "into 96 of 192 directions of arithmetic, with strength 1, at all 15 prompt tokens" in shown
    assert "Settings have changed" not in shown
    assert at.query_params[session.WRITTEN] in (found.id, [found.id])
    assert found.prompt not in str(at.query_params), "a link never holds a prompt"
    assert texts.load_comparison(found.id) == found
    at.slider(key=session.STRENGTH).set_value(0.0).run()
    assert "Settings have changed since this was written" in text_of(at)
    again = write(at)
    assert again.lanes[0].ids == again.lanes[1].ids, "strength 0 is the untouched model, and the noise is shared"


def test_calibration_prompts_are_part_of_the_selection(at: AppTest) -> None:
    analysis = load_saved(recorded_captures()[0])
    prompts = {example.id: example.prompt for example in analysis.capability.examples}
    held_out = at.text_area(key=session.PROMPT).value
    at.segmented_control(key=session.PROMPT_FROM).set_value("calibration").run()
    first, third = (prompts[analysis.examples[at].id] for at in (0, 2))
    assert at.text_area(key=session.PROMPT).value == first != held_out
    at.selectbox(key=session.PRESET).set_value(analysis.examples[2].id).run()
    assert at.text_area(key=session.PROMPT).value == third
    go_to(at, session.ATTRIBUTIONS)
    assert at.number_input(key=session.PICK_EXAMPLE).value == 3
    at.number_input(key=session.PICK_EXAMPLE).set_value(1).run()
    go_to(at, session.SIDE_BY_SIDE)
    assert at.text_area(key=session.PROMPT).value == first
    at.text_area(key=session.PROMPT).set_value("mine").run()
    assert at.text_area(key=session.PROMPT).value == "mine", "what was typed stays"
    at.segmented_control(key=session.PROMPT_FROM).set_value("your own").run()
    at.segmented_control(key=session.PROMPT_FROM).set_value("held-out").run()
    assert at.text_area(key=session.PROMPT).value == held_out


def test_six_lanes_and_no_seventh(at: AppTest) -> None:
    at.pills(key=session.MORE_LANES).set_value([lanes.COMPLEMENT, lanes.RANDOM]).run()
    at.text_input(key=session.MORE_RANKS).set_value("24").run()
    at.text_input(key=session.MORE_STRENGTHS).set_value("0.5").run()
    found = write(at, 4)
    assert [one.label for one in found.lanes] == [
        "Raw", "Projected, rank 96, α 1", "Complement", "Random subspace", "Projected, rank 24, α 1",
        "Projected, rank 96, α 0.5",
    ]  # fmt: skip
    at.text_input(key=session.MORE_RANKS).set_value("24, 48").run()
    assert "7 lanes are chosen and 6 fit; remove 1" in text_of(at)
    assert next(button for button in at.button if button.label == "Generate").disabled
    at.text_input(key=session.MORE_RANKS).set_value("many").run()
    assert "'many' is not a rank here; write numbers from 1 to 192" in text_of(at)
    assert "Complement" in html_of(at) + text_of(at) + str([s.value for s in at.subheader]), "the result stays"


def test_ribbons_tables_and_another_capability(at: AppTest) -> None:
    other = next(name for name in at.multiselect(key=session.OTHER_CAPTURES).options if "multiple" in name)
    at.multiselect(key=session.OTHER_CAPTURES).set_value([other.removesuffix(" (recorded)")]).run()
    found = write(at)
    assert [one.capability for one in found.lanes] == ["", "arithmetic", "multiple-choice"]
    for metric in ("KL", "entropy", "log-probability"):
        at.segmented_control(key=session.SHOW).set_value(metric).run()
        assert not at.exception
    assert html_of(at).count("<tr>") == 1 + 3
    at.number_input(key=session.PLACE_SHOWN).set_value(3).run()
    assert at.session_state[session.PLACE] == 2
    assert not at.get("plotly_chart"), "curves are drawn when they are opened"
    assert [one.label for one in at.get("download_button")] == ["JSON", "Python", "Report (HTML)"]
    at.session_state[session.CURVES] = True
    at.run()
    assert len(at.get("plotly_chart")) == 1
    labels = [one.label for one in at.get("download_button")]
    assert labels == ["Table as CSV", "JSON", "Python", "Report (HTML)"]
    assert {row["Lane"] for row in at.dataframe[0].value.to_dict("records")} == {one.label for one in found.lanes}


def test_a_sweep_shows_its_map_and_each_cell(at: AppTest) -> None:
    at.segmented_control(key=session.MODE).set_value(lanes.SWEEP).run()
    at.text_input(key=session.SWEEP_RANKS).set_value("24, 96").run()
    at.text_input(key=session.SWEEP_STRENGTHS).set_value("0.5, 1").run()
    found = write(at, 4)
    assert found.grid is not None
    assert len(found.lanes) == 5
    assert at.selectbox(key=session.CELL_SHOWN).value == 4
    at.selectbox(key=session.CELL_SHOWN).set_value(1).run()
    assert "into 24 of 192 directions of arithmetic, with strength 0.5" in text_of(at)
    assert at.query_params[session.CELL] in ("1", ["1"])
    again = opened(written=found.id, cell="1")
    assert again.selectbox(key=session.CELL_SHOWN).value == 1, "the link says which cell is read"
    assert again.session_state[session.MODE] == lanes.SWEEP
    assert again.text_input(key=session.SWEEP_RANKS).value == "24, 96"
    press(at, "Use its rank and strength for lanes")
    assert at.session_state[session.MODE] == lanes.LANES
    assert "rank 24, α 0.5, keys and values" in text_of(at)
    at.segmented_control(key=session.MODE).set_value(lanes.SWEEP).run()
    at.text_input(key=session.SWEEP_RANKS).set_value("").run()
    assert "0 ranks × 2 strengths are 0 cells" in text_of(at)


def test_errors_are_sentences_and_the_page_stays_usable(at: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    at.text_area(key=session.PROMPT).set_value("word " * 9000).run()
    finished(press(at, "Generate"))
    assert "tokens long, and the model's context of 8192 leaves" in text_of(at)
    at.text_area(key=session.PROMPT).set_value(" ").run()
    finished(press(at, "Generate"))
    assert "the prompt is empty; write something, or choose an example" in text_of(at)
    at.text_area(key=session.PROMPT).set_value("Hi").run()
    with monkeypatch.context() as broken:
        broken.setattr("spd_core.generation.compare.generate", out_of_memory)
        finished(press(at, "Generate"))
    assert "memory ran out with 2 lanes of up to 128 new tokens; choose fewer lanes" in text_of(at)
    with monkeypatch.context() as full:
        full.setattr("spd_core.models.device.available_memory", lambda device: 2**20)
        finished(press(at, "Generate"))
    assert "MiB, and 1 MiB are free; choose fewer lanes, fewer new tokens, or a shorter prompt" in text_of(at)
    assert write(at).prompt == "Hi"


def out_of_memory(*args: Any, **options: Any) -> Any:
    raise MemoryError


def test_a_result_of_another_model_and_a_refusing_disk(at: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from spd_core.errors import StorageError

    def refuse(comparison: Comparison) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(texts, "save_comparison", refuse)
    found = write(at)
    assert "not saved, and gone when this page is reloaded: the disk is full" in text_of(at)
    assert report.lane_html(found.lanes[0], found) in html_of(at)
    assert texts.saved_ids() == []


def test_stopping_keeps_what_is_there_and_reading_can_follow(at: AppTest) -> None:
    at.number_input(key=session.NEW_TOKENS).set_value(400).run()
    at.text_area(key=session.PROMPT).set_value("Count from 1 to 500: 1, 2, 3,").run()
    press(at, "Generate")
    job = at.session_state[session.WRITE_JOB]
    until(lambda: not job.running or (job.news is not None and job.news.lanes[0].tokens >= 3))
    job.stop()
    job.join(LONG)
    assert not job.running
    finished(at)
    assert job.result.lanes[0].finish == "stopped"
    assert len(job.result.lanes[0].ids) < 400, "not at the end of the text"
    assert "KL and the likeliest tokens are missing" in text_of(at)
    finished(press(at, "Read the texts token by token"))
    assert at.session_state[session.WRITE_JOB].result.is_read
    assert "KL and the likeliest tokens are missing" not in text_of(at)


def test_history_opens_compares_and_deletes(at: AppTest) -> None:
    first = write(at, 4)
    at.number_input(key=session.SEED).set_value(7).run()
    second = write(at, 4)
    at.session_state[session.HISTORY_OPEN] = True
    at.run()
    assert at.selectbox(key=session.HISTORY).options[0].startswith(second.created.replace("T", " "))
    at.selectbox(key=session.HISTORY).set_value(first.id).run()
    press(at, "Open result")
    assert report.lane_html(first.lanes[1], first) in html_of(at)
    assert at.number_input(key=session.SEED).value == 0, "the form says what made it"
    assert "Settings have changed" not in text_of(at)
    at.session_state[session.BESIDE] = True
    at.run()
    assert "seed 7" in html_of(at), "the settings that differ from the other result's"
    at.number_input(key=session.SEED).set_value(3).run()
    press(at, "Back to its settings")
    assert at.number_input(key=session.SEED).value == 0
    press(at, "Delete result")
    press(at, "Delete permanently")
    assert texts.saved_ids() == [second.id]


def test_a_link_restores_a_result_and_a_bad_one_is_a_sentence(empty_history: Path) -> None:
    mine = comparison(lane("Raw", [HOSTILE, " end"]), PROJECTED, prompt=HOSTILE, read=HOSTILE, answer=HOSTILE)
    path = texts.save_comparison(mine)
    app = opened(written=mine.id)
    shown = html_of(app)
    assert report.lane_html(mine.lanes[0], mine) in shown
    prose = "".join(element.value for element in app.markdown)
    assert "<script" not in shown
    assert "<img" not in shown
    assert escaped(shown_text(HOSTILE)) in prose, "markdown leaves an escaped text alone"
    for forbidden in ("\x1b", "\u202e"):
        assert forbidden not in shown + text_of(app) + "".join(code.value for code in app.code)
    path.write_text(path.read_text()[:500])
    assert "holds no valid result" in text_of(opened(written=mine.id))
    for name in ("nothing", "../../etc/passwd"):
        found = opened(written=name)
        assert "This result cannot be opened" in text_of(found)
        assert session.WRITTEN not in found.query_params
        assert not next(button for button in found.button if button.label == "Generate").disabled


def recorded_result(number: int, at: int, words: list[str], **more: Any) -> Comparison:
    """A recorded result of a held-out example of the recorded capture, raw beside projected."""
    analysis = load_saved("arithmetic")
    example = analysis.capability.split("heldout").examples[at]
    projected = lane("Projected", words, spec=LaneSpec(), d_kv=192, ranks={"layer 29 value": 96})
    known = {"analysis": "arithmetic", "revision": analysis.provenance.revision, "prompt": example.prompt}
    lanes = lane("Raw", [" 44"]), projected
    made = comparison(*lanes, id=f"arithmetic-{number}", answer=example.answer, **{**known, **more})
    texts.save_comparison(made, texts.RECORDED)
    return made


def test_the_page_opens_on_a_recorded_result_whose_lanes_differ(empty_history: Path) -> None:
    recorded_result(1, 0, [" 44"])
    differs = recorded_result(2, 3, [" 45"], sampling=Sampling(temperature=0.5, seed=9, max_new_tokens=32))
    app = opened()
    assert report.lane_html(differs.lanes[1], differs) in html_of(app)
    assert session.WRITTEN not in app.query_params
    assert "Settings have changed" not in text_of(app), "the form says what made it"
    assert (
        app.selectbox(key=session.PRESET).value == load_saved("arithmetic").capability.split("heldout").examples[3].id
    )
    assert app.number_input(key=session.SEED).value == 9
    assert app.number_input(key=session.NEW_TOKENS).value == 32
    assert "from token 1 on" in html_of(app)


def test_an_example_with_a_recorded_result_shows_it_and_another_one_does_not(empty_history: Path) -> None:
    first, second = recorded_result(1, 0, [" 44"]), recorded_result(2, 3, [" 45"])
    examples = load_saved("arithmetic").capability.split("heldout").examples
    app = opened()
    app.selectbox(key=session.PRESET).set_value(examples[0].id).run()
    assert "writes the same text as" in html_of(app)
    assert app.query_params[session.WRITTEN] in (first.id, [first.id])
    app.selectbox(key=session.PRESET).set_value(examples[1].id).run()
    assert "Press Generate" in text_of(app).replace("*", "")
    app.selectbox(key=session.PRESET).set_value(examples[3].id).run()
    assert report.lane_html(second.lanes[1], second) in html_of(app)


def test_a_result_is_judged_by_its_own_answer_and_not_by_the_form(empty_history: Path) -> None:
    made = recorded_result(1, 0, [" 44"])
    assert made.answer == "44"
    app = opened()
    assert text_of(app).count("right]") == 2
    app.text_area(key=session.PROMPT).set_value("What is 1 + 1?").run()
    assert "Press Generate" in text_of(app).replace("*", ""), "no recorded result of that prompt"
    app = opened(written=made.id)
    app.text_area(key=session.PROMPT).set_value("What is 1 + 1?").run()
    shown = text_of(app)
    assert "**Correct answer:** 44" in shown
    assert shown.count("right]") == 2

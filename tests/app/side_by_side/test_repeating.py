"""Over prompts and seeds on Side by side, without a browser and without a model: the recorded table, cells, links."""

import dataclasses
import threading
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.jobs.job import Job
from app.jobs.repeating import in_words
from app.side_by_side import repeat_charts
from app.ui import session
from spd_core.evaluation import repeats
from spd_core.evaluation.repeats import Repeat, read_repeat
from spd_core.generation import comparison as texts
from spd_core.progress import Progress
from spd_core.recipes.lanes import Grid
from tests import ROOT
from tests.app.side_by_side.test_page import html_of
from tests.app.test_pages import go_to, press, text_of
from tests.evaluation.test_repeat_verdict import ALL, NONE, repeat_of
from tests.waiting import LONG


@pytest.fixture
def home(spd_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nothing was written."""
    (tmp_path / "models").symlink_to(spd_home / "models")
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    return tmp_path


def opened(**link: str) -> AppTest:
    """The page in a new session, on what is recorded."""
    app = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    app.query_params.update(link)
    app.run()
    at = go_to(app, session.SIDE_BY_SIDE)
    assert not at.exception
    return at


def recorded() -> Repeat:
    return read_repeat(repeats.RECORDED_REPEATS / "arithmetic.json")


def test_a_stranger_sees_the_table_and_opens_a_cell(home: Path) -> None:
    at = opened()
    shown = html_of(at)
    assert "Over 8 prompts × 3 seeds, Projected is right 3 of 24 times, Raw 4: no difference is shown" in shown
    assert all(row["Right"] in shown for row in repeat_charts.lane_rows(recorded()))
    assert "One sample is no proof" not in shown, "it was repeated"
    cell = repeats.cell_id("arithmetic", 6, 2)
    at.session_state[session.WRITTEN] = cell
    at.run()
    assert not at.exception
    asked = recorded().prompts[6]
    assert at.text_area(key=session.PROMPT).value == asked.prompt
    assert at.number_input(key=session.SEED).value == 2
    assert "Settings have changed" not in text_of(at), "the form says what wrote it"
    assert asked.texts[2][0].text.strip().split()[0] in html_of(at)
    assert "Over 8 prompts × 3 seeds" in html_of(at), "the table stays below it"


def test_a_chosen_text_is_read_in_place_and_the_form_keeps_its_mix(home: Path) -> None:
    at = opened()
    at.session_state[session.REPEAT_OPEN] = True
    at.session_state[session.MIX] = "29v_1x0"
    at.session_state[session.REPEAT_CELL] = cell = repeats.cell_id("arithmetic", 6, 2)
    at.run()
    assert not at.exception
    asked = recorded().prompts[6]
    assert at.selectbox(key=session.REPEAT_CELL_SHOWN).value == (6, 2)
    assert asked.texts[2][1].text.strip()[-20:] in html_of(at)
    assert at.text_area(key=session.PROMPT).value == recorded().prompts[4].prompt, "the form is as it was"
    press(at, "Open as the result above")
    assert at.session_state[session.WRITTEN] == cell
    assert at.text_area(key=session.PROMPT).value == asked.prompt
    assert at.number_input(key=session.SEED).value == 2
    assert at.session_state[session.MIX] == "29v_1x0"
    press(at, "Back to its settings")
    assert at.session_state[session.MIX] == ""


def test_a_link_restores_a_cell(home: Path) -> None:
    at = opened(written=repeats.cell_id("arithmetic", 4, 1))
    assert at.text_area(key=session.PROMPT).value == recorded().prompts[4].prompt
    assert at.number_input(key=session.SEED).value == 1
    lost = opened(written="arithmetic.p99.s1")
    assert "has no such prompt and seed" in text_of(lost)


def test_what_it_will_take_is_said_before_it_starts(home: Path) -> None:
    at = opened()
    assert (
        "8 prompts × 3 seeds × 3 lanes, with the settings of the texts above, at most 64 tokens each: up to 4,608"
        in text_of(at)
    )
    at.number_input(key=session.REPEAT_PROMPTS).set_value(2).run()
    assert "at most 64 tokens each: up to 1,152 tokens in all" in text_of(at)
    assert "up to 192 tokens in all: about 8 s or less" in text_of(at), "under Generate"


def test_a_running_repeat_is_shown_and_announced_elsewhere(home: Path) -> None:
    at = opened()
    stop = _Waiting()
    at.session_state[session.REPEAT_JOB] = stop.job
    at.run()
    assert "Stop repeating" in {one.label for one in at.button}
    assert "Repeat over prompts × seeds" not in {one.label for one in at.button}
    go_to(at, session.SPECTRUM)
    assert "Repeating over prompts and seeds" in html_of(at)
    stop.job.stop()
    stop.job.join(LONG)


class _Waiting:
    """A job that waits until it is stopped."""

    def __init__(self) -> None:
        gone = threading.Event()

        def work(job: Job[Repeat, None]) -> Repeat:
            while not job.stopping():
                gone.wait(0.01)
            return recorded()

        self.job: Job[Repeat, None] = Job(work).start()


def test_the_newest_own_repeat_replaces_the_recorded_one(home: Path) -> None:
    own = recorded().model_copy(update={"id": "20270101-000000-own", "prompts": recorded().prompts[2:5]})
    repeats.save_repeat(own)
    at = opened()
    assert "3 held-out prompts, seeds 0 to 2" in text_of(at)
    press(press(at, "Delete table"), "Delete permanently")
    assert "8 held-out prompts, seeds 0 to 2" in text_of(at)
    assert not list((home / "repeats").glob("*.json"))


def test_progress_has_numbers() -> None:
    assert in_words(Progress(0, 72, "Writing", tokens=12), 5.0) == "Writing: 0 of 72 texts, 12 tokens"
    assert in_words(Progress(18, 72, "Writing", tokens=1500), 10.0) == (
        "Writing: 18 of 72 texts, 1,500 tokens, about 30 s to go"
    )


def test_every_text_has_a_mark_that_opens_it() -> None:
    found = repeat_of([ALL, NONE, ALL], [NONE, ALL, NONE])
    figure = repeat_charts.matrix(found, (2, 1))
    marks = {trace.name: trace for trace in figure.data}
    assert {name: len(trace.x) for name, trace in marks.items()} == {"right": 48, "wrong": 24}
    cells = sorted(set(marks["wrong"].customdata))
    assert cells == sorted({repeats.cell_id("one", p, s) for p in range(8) for s in range(3)})
    assert len(figure.layout.shapes) == 3, "the shown one is framed in each lane"
    unknown = repeat_charts.matrix(repeat_of([[None] * 8] * 2, [NONE, ALL]), None)  # type: ignore[list-item]
    assert {trace.name for trace in unknown.data} == {"differs from raw", "the same text as raw"}


def test_shares_have_their_intervals() -> None:
    found = repeat_of([ALL, [1, 0] * 4], [NONE, ALL])
    figure = repeat_charts.shares_figure(found)
    share = found.table.rows[1].right
    assert share is not None
    dot = next(trace for trace in figure.data if "Projected: right" in trace.hovertemplate)
    assert (dot.x[0], dot.error_x.array[0], dot.error_x.arrayminus[0]) == pytest.approx(
        (0.5, share.high - 0.5, 0.5 - share.low)
    )
    assert len(figure.data) == 5, "raw never differs from itself"


def test_a_text_that_a_model_wrote_is_no_markup() -> None:
    found = repeat_of([[1], [0]], [[0], [1]], seeds=6)
    hostile = found.prompts[0].model_copy(update={"prompt": "<b>bold</b>"})
    figure = repeat_charts.matrix(found.model_copy(update={"prompts": (hostile,)}), None)
    assert "<b>bold" not in str(figure.to_dict()["layout"]["yaxis"]) + "".join(figure.data[0].text)


def test_where_nothing_can_be_repeated_that_is_said(home: Path) -> None:
    """Greedy, and a prompt of one's own."""
    own = texts.load_comparison("arithmetic-1")
    greedy = dataclasses.replace(own.sampling, temperature=0.0)
    texts.save_comparison(own.model_copy(update={"id": "mine", "prompt": "my own", "sampling": greedy}))
    at = opened(written="mine")
    assert "this prompt has no others beside it: nothing to repeat" in text_of(at)
    assert next(one for one in at.button if one.label == "Repeat over prompts × seeds").disabled
    texts.save_comparison(own.model_copy(update={"id": "warm", "prompt": "my own"}))
    warm = opened(written="warm")
    assert "1 prompt × 3 seeds × 3 lanes" in text_of(warm)
    assert "repeated over seeds alone" in text_of(warm)


def test_why_right_answers_are_not_counted_is_said(home: Path) -> None:
    assert "SPD_ALLOW_CODE=1" in text_of(opened(written="python-functions-1"))


def test_a_sweep_is_not_repeated(home: Path) -> None:
    one = texts.load_comparison("arithmetic-1")
    lanes = one.lanes[:2]
    grid = Grid(ranks=("96",), strengths=(1.0,))
    texts.save_comparison(one.model_copy(update={"id": "swept", "lanes": lanes, "grid": grid}))
    at = opened(written="swept")
    assert "A sweep is not repeated" in text_of(at)
    assert "Repeat over prompts × seeds" not in {button.label for button in at.button}


def test_prompts_that_begin_alike_are_told_apart() -> None:
    alike = ["Write a Python function that adds two numbers", "Write a Python function that adds three"]
    assert repeat_charts.openings(alike) == ["…two numbers", "…three"]
    assert repeat_charts.openings(["What is 2 + 2?", "What was it?"]) == ["What is 2 + 2?", "What was it?"]
    assert repeat_charts.openings(["one " * 10]) == ["one one one one one o…"]

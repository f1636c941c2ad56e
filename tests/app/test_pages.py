"""The real pages, without a browser: empty states, errors as text, and one whole way with the built-in model."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.home import pickers
from app.jobs.models import shared
from app.ui import session
from tests import ROOT
from tests.waiting import LONG


def prepared(at: AppTest) -> AppTest:
    """Wait for what runs in the background, and run again."""
    for job in (*shared().prepared.values(), *(at.session_state[key] for key in JOBS if key in at.session_state)):
        job.join(LONG)
    at.run()
    assert not at.exception
    return at


JOBS = ("capture_job", "nulls_job", "contrast_job")


@pytest.fixture
def at(spd_home: Path) -> AppTest:
    """The app, its Home page drawn and the built-in model's card read."""
    app = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    app.run()
    return prepared(app)


def go_to(at: AppTest, page: Path) -> AppTest:
    at.switch_page(f"../pages/{page.name}").run()
    assert not at.exception
    return at


def text_of(at: AppTest) -> str:
    """All prose of the page, unescaped."""
    parts = [
        element.value
        for kind in ("markdown", "caption", "text", "info", "warning", "error")
        for element in at.get(kind)
    ]
    return "\n".join(parts).replace("\\", "")


def verdict_of(at: AppTest) -> str:
    """What the page says on top: text alone, as what terms mean is in attributes; two sentences are two lines."""
    (found,) = [one.proto.body for one in at.get("html") if 'role="status"' in one.proto.body]
    return html.unescape(re.sub(r"<[^>]+>", "", found)).strip()


def drawn(at: AppTest) -> list[dict[str, Any]]:
    """The traces of the page's only chart."""
    (figure,) = at.get("plotly_chart")
    return json.loads(figure.proto.spec)["data"]


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click().run()
    assert not at.exception
    return at


def capture(at: AppTest, examples: int = 6) -> AppTest:
    at.number_input(key=session.EXAMPLES).set_value(examples).run()
    return prepared(press(at, "Capture gradients"))


@pytest.mark.builtin
def test_home_shows_the_card_the_memory_and_the_mask(at: AppTest) -> None:
    shown = text_of(at)
    for fact in (
        "Layers: **30**",
        "KV heads × head_dim: **3 × 64**",
        "d_kv: **192**",
        "before RoPE",
        "GiB",
        "One-step",
    ):
        assert fact in shown
    assert "2 of 31 tokens" in shown
    assert any('class="tk on"' in element.proto.body for element in at.get("html"))


@pytest.mark.builtin
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"prompt": "2 + 2?", "answer": "4"}', '{"prompt": "no answer"}'], "line 2: answer: Field required"),
        (["not JSON"], "line 1: not JSON"),
        ([], "holds no example"),
        (['{"split": "heldout", "prompt": "a", "answer": "b"}'], "no example is in the calibration split"),
    ],
)
def test_a_broken_capability_file_is_an_error_on_the_page(
    at: AppTest, tmp_path: Path, lines: list[str], message: str
) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text("\n".join(lines))
    at.selectbox(key=session.CAPABILITY).set_value(pickers.OWN_FILE).run()
    at.text_input(key=session.CAPABILITY_PATH).set_value(str(file)).run()
    assert not at.exception
    assert message in text_of(at)
    assert next(button for button in at.button if button.label == "Capture gradients").disabled


@pytest.mark.builtin
def test_wrong_settings_are_errors_on_the_page(at: AppTest) -> None:
    at.text_input(key=session.LAYERS).set_value("3,99").run()
    assert "unknown layer '99'; use middle, last, all, or indices from 0 to 29" in text_of(at)
    at.segmented_control(key=session.MODEL_SOURCE).set_value(pickers.ELSEWHERE).run()
    at.text_input(key=session.MODEL_NAME).set_value("/no/such/model").run()
    assert "no model folder at /no/such/model" in text_of(prepared(at))


@pytest.mark.builtin
def test_an_example_that_will_be_skipped_says_so(at: AppTest, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    rows = [{"capability": "n", "spans": "number"}, {"id": "none", "prompt": "a", "answer": "no number"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    at.selectbox(key=session.CAPABILITY).set_value(pickers.OWN_FILE).run()
    at.text_input(key=session.CAPABILITY_PATH).set_value(str(file)).run()
    assert "none will be skipped: the span rule finds nothing" in text_of(at)
    prepared(press(at, "Capture gradients"))
    assert "no example of n survives (1 skipped" in text_of(at)


@pytest.mark.builtin
def test_the_whole_way(at: AppTest) -> None:
    shown = text_of(capture(at))
    assert "Examples used: **6 of 6**" in shown
    assert "Settings have changed" not in shown
    at.segmented_control(key=session.LOSS).set_value("full").run()
    assert "Settings have changed since this capture" in text_of(at)

    go_to(at, session.SPECTRUM)
    assert "yours" in text_of(at)
    assert len(at.get("plotly_chart")) == 1
    assert "rises as steeply" in text_of(at)
    at.session_state[session.SPECTRUM_VIEW] = "Singular values"
    at.run()
    assert len(at.get("plotly_chart")) == 1
    assert "drops as steeply" in text_of(at)
    assert at.slider(key=session.RANK_SLIDER).value == 96
    at.slider(key=session.RANK_SLIDER).set_value(150).run()
    rows = at.dataframe[0].value.to_dict("records")
    assert [row["Site"] for row in rows] == ["layer 15 key", "layer 15 value", "layer 29 key", "layer 29 value"]
    last = rows[3]  # six examples cannot span all directions of the last layer's values
    assert last["Rank kept"] == last["Non-zero σ"] < 150
    short = [row["Site"] for row in rows if row["Non-zero σ"] < 150]  # in bfloat16 other sites are among them
    assert f"Rank 150 exceeds the non-zero singular values of {', '.join(short)}: all of those" in text_of(at)
    pills = next(pills for pills in at.button_group if pills.label == "Compare with")
    assert "shuffled answers" not in pills.options
    assert "whether the capability makes it so steep is open" in verdict_of(at)
    prepared(press(at, "Capture the nulls"))
    pills = next(pills for pills in at.button_group if pills.label == "Compare with")
    nulls = ["shuffled answers", "full-sequence loss"]
    assert pills.options[:2] == nulls
    assert pills.value[:2] == nulls, "what was just computed is drawn"
    assert set(nulls) <= {trace["name"] for trace in drawn(at)}
    assert "; with shuffled answers in " in verdict_of(at)
    pills.set_value(nulls[1:]).run()
    assert nulls[0] not in {trace["name"] for trace in drawn(at)}, "who takes one away again does not want it"
    assert "Capture the nulls" not in [button.label for button in at.button]

    name = at.session_state[session.CAPTURE]
    fresh = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    fresh.query_params[session.CAPTURE] = name
    assert "Examples used: **6 of 6**" in text_of(prepared(fresh.run())), "a link opens it after a restart"

    go_to(at, session.ATTRIBUTIONS)
    assert "100.0000%" in text_of(at), "the shares sum to one"
    go_to(at, session.SIDE_BY_SIDE)
    assert "rank 150 of 192" in text_of(at)

    go_to(at, session.HOME)
    assert at.number_input(key=session.EXAMPLES).value == 6
    assert at.segmented_control(key=session.LOSS).value == "full"

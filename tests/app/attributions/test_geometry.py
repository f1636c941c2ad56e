"""Geometry without a browser: what the component is given, the page on a recorded capture, and its link."""

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.attributions import charts, geometry, grouping
from app.attributions.geometry_charts import cloud_figure
from app.attributions.grouping import OTHERS, UNKNOWN
from app.jobs.captures import load_saved
from app.ui import session
from app.ui.point_cloud import Axis, cloud_data
from spd_core.attribution.geometry import GRADIENTS, OUTSIDE, points_of
from spd_core.attribution.tables import LOSS, OTHER, direction_table, tokens_of
from spd_core.data.spans import Encoded
from spd_core.subspace.store import recorded_captures
from tests.app.test_pages import ROOT, go_to, press, text_of, verdict_of
from tests.waiting import LONG

EVIL = "<img src=x>"


@pytest.fixture(scope="module")
def analysis() -> Any:
    return load_saved(recorded_captures()[0])


@pytest.fixture
def at(spd_home: Path) -> AppTest:
    """Geometry, on the first recorded analysis."""
    app = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG).run()
    app.session_state[session.ATTRIBUTION_VIEW] = "Geometry"
    return go_to(app, session.ATTRIBUTIONS)


def said(at: AppTest) -> str:
    """All that the page says, its sentences of numbers too."""
    assert not at.exception
    return "\n".join([text_of(at), verdict_of(at)])


def unpacked(text: str, kind: Any) -> Any:
    return np.frombuffer(base64.b64decode(text), kind)


def test_the_browser_gets_every_drawn_token_with_its_coordinates(analysis: Any) -> None:
    site = analysis.site(29, "value")
    tokens = tokens_of(analysis.examples)
    points = points_of(analysis.sites[site], GRADIENTS, (0, OUTSIDE), 16)
    rows = np.array([3, 30, 700])
    groups = grouping.grouped(grouping.ROLE, tokens, analysis, np.ones(len(tokens)), 0)
    axes = [Axis("first", "u1"), Axis("the rest", "rest")]
    data = cloud_data(
        points, axes, rows, groups, analysis.examples, unit="nats", selected=30, strength=0.5, label="all"
    )
    assert unpacked(data["rows"], np.uint32).tolist() == rows.tolist()
    kept = analysis.sites[site].coordinates
    np.testing.assert_allclose(unpacked(data["axes"][0]["values"], np.float32), kept.gradient[rows, 0])
    rest = np.sqrt(kept.lengths[0, rows].astype(float) ** 2 - (kept.gradient[rows].astype(float) ** 2).sum(1))
    np.testing.assert_allclose(unpacked(data["axes"][1]["values"], np.float32), rest, rtol=1e-4)
    assert [axis["shrinks"] for axis in data["axes"]] == [False, True]
    low, high = data["axes"][0]["ends"]
    assert low < min(0, kept.gradient[rows, 0].min())
    assert high > max(0, kept.gradient[rows, 0].max())
    assert [groups.names[group] for group in unpacked(data["groups"], np.uint8)] == tokens.role[rows].tolist()
    assert sum(len(text["tokens"]) for text in data["texts"]) == len(tokens)
    example = analysis.examples[0]
    words = [example.text[start:end] for start, end in example.offsets]
    assert data["texts"][0]["tokens"][:4] == [word.replace(" ", "·").replace("\n", "↵") for word in words[:4]]


def test_tokens_have_colours_by_what_they_are(analysis: Any) -> None:
    tokens, lengths = tokens_of(analysis.examples), np.ones(sum(len(e.ids) for e in analysis.examples))
    first = tokens.iloc[:30]

    def names(by: str, **more: Any) -> list[str]:
        found = grouping.grouped(by, tokens, analysis, lengths, 3, **more)
        assert len(found.of) == len(tokens)
        assert len(found.colours(False)) == len(found.colours(True)) == len(found.shapes) == len(found.names)
        return [found.names[group] for group in found.of]

    classes = dict(zip(first.text, names(grouping.CLASS), strict=False))
    assert {classes[text] for text in first.text if text.strip().isdigit()} <= {"number"}
    texts = names(grouping.TEXT)
    assert {texts[at] for at in np.flatnonzero(tokens.example == 3)} == {"text 4"}, "the selected one has its own"
    assert len(set(texts)) == 6
    assert OTHERS in texts
    positions = names(grouping.POSITION)
    assert positions[0] == "tenth 1"
    assert positions[int(tokens.position.argmax())] == "tenth 10"
    assert set(names(grouping.RIGHT)) == {UNKNOWN}
    ids = [example.id for example in analysis.examples]
    known = names(grouping.RIGHT, right={ids[0]: 1, ids[1]: 0, ids[3]: 0.5})
    by_text = {int(e): known[row] for row, e in enumerate(tokens.example)}
    assert [by_text[text] for text in range(4)] == ["right", "wrong", UNKNOWN, "partly right"]


@pytest.mark.parametrize("axes", [(0, OUTSIDE), (0, 1, OUTSIDE)])
def test_the_figure_of_a_file_is_at_the_strength_and_escapes_tokens(analysis: Any, axes: tuple[int, ...]) -> None:
    site, tokens = analysis.site(29, "value"), tokens_of(analysis.examples)
    points = points_of(analysis.sites[site], GRADIENTS, axes, 16)
    rows = np.arange(1, 40)
    groups = grouping.grouped(grouping.ROLE, tokens, analysis, np.ones(len(tokens)), 0)
    named = [Axis(f"axis {at}", f"{at}") for at in axes]
    figure = cloud_figure(points, named, rows, groups, [EVIL] * len(tokens), unit="nats", strength=1.0)
    last = "yz"[len(axes) - 2]
    assert {trace.type for trace in figure.data} == {"scatter3d" if len(axes) > 2 else "scattergl"}
    assert sum(len(trace.x) for trace in figure.data) == len(rows)
    assert not any(np.any(trace[last]) for trace in figure.data), "what lies outside has been projected away"
    assert figure.data[0].text[0] == "&lt;img src=x&gt;"


def test_the_page_shows_where_tokens_lie_without_a_model(at: AppTest) -> None:
    shown = said(at)
    assert "Direction 1 holds 2.6% of the squared length of the gradients drawn here, and 14% of that of all" in shown
    assert "tokens; a random one would hold 0.5%." in shown
    assert "lies outside rank 16, which projecting removes" in shown
    assert "1,160 tokens" in shown
    assert "Rank 16 here, 96 elsewhere: this capture keeps single tokens for its first 16 directions only." in shown
    at.segmented_control(key=session.POINTS).set_value("activations").run()
    assert "of the squared length of the activations" in said(at)
    at.number_input(key=session.PICK_RANK).set_value(2).run()
    assert at.session_state[session.RANK] == 2
    assert "outside rank 2, which" in said(at)
    assert "elsewhere" not in said(at)
    at.selectbox(key=session.UP).set_value("direction 2").run()
    assert "it moves nothing here" in said(at)
    at.selectbox(key=session.THIRD).set_value("direction 3").run()
    assert "Directions 1, 2 and 3 hold" in said(at)
    assert "shrinks to nothing" in said(at)


def test_no_direction_has_two_axes(at: AppTest) -> None:
    at.selectbox(key=session.UP).set_value("direction 3").run()
    at.selectbox(key=session.THIRD).set_value("direction 2").run()
    press(at, "Next")
    assert at.selectbox(key=session.UP).value == "direction 3"
    assert at.selectbox(key=session.THIRD).value == "none"
    press(at, "Next")
    assert at.selectbox(key=session.UP).value == "outside the subspace"
    assert "Direction 3 holds" in said(at)


def test_a_strength_in_a_link_is_taken_over_and_a_senseless_one_is_not(at: AppTest) -> None:
    for linked, kept in (("0.4", "0.4"), ("7", "1"), ("-1", None), ("nan", None), ("soon", None)):
        at.session_state[session.MOVED] = linked
        at.run()
        assert not at.exception
        assert at.query_params.get(session.MOVED) == kept


def test_more_tokens_than_can_be_drawn_are_said(at: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "MOST_POINTS", 100)
    assert "100 of 1,160 tokens are drawn, chosen at random" in said(at.run())


def test_a_text_that_nobody_trusts_is_data_and_no_markup(analysis: Any, tmp_path: Path) -> None:
    example = Encoded("e", EVIL + "\u202e", (1, 2), ((0, len(EVIL)), (len(EVIL), len(EVIL) + 1)), (1,))
    points = points_of(analysis.sites[analysis.site(29, "value")], GRADIENTS, (0,), 16)
    groups = grouping.grouped(grouping.ROLE, tokens_of([example]), analysis, np.ones(2), 0)
    data = cloud_data(
        points, [Axis("a", "a")], np.arange(2), groups, [example], unit="", selected=0, strength=0, label=""
    )
    assert data["texts"][0]["tokens"] == ["<img·src=x>", "⟨U+202E⟩"]


def test_right_and_wrong_texts_of_the_demo_are_known_without_a_model(at: AppTest) -> None:
    at.selectbox(key=session.POINT_COLOUR).set_value(grouping.RIGHT).run()
    found = said(at)
    assert "Of 50 texts 0 are right, 15 partly, and 35 wrong" in found, "as the built-in model's logits say"
    assert re.search("Right and wrong texts (differ|are not shown to differ) here", found)
    assert not any(button.label == "Read the texts" for button in at.button)


@pytest.mark.builtin
def test_right_and_wrong_texts_are_told_once_the_model_has_read_them(
    at: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometry, "recorded_probes", lambda analysis: None)
    at.selectbox(key=session.POINT_COLOUR).set_value(grouping.RIGHT).run()
    found = said(at)
    assert "That needs the model, which reads 50 texts once." in found
    assert "differ here" not in found, "nothing is known of them yet"
    press(at, "Read the texts")
    at.session_state[session.RIGHT_JOB].join(LONG)
    found = said(at.run())
    assert "Of 50 texts 0 are right, 15 partly, and 35 wrong" in found, "as recorded"
    assert re.search("Right and wrong texts (differ|are not shown to differ) here", found)
    assert not any(button.label == "Read the texts" for button in at.button)


def test_an_axis_has_the_name_that_a_direction_was_given(at: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "names_of", lambda analysis: {(29, "value", 0): "<b>carries\u202e"})
    given: list[Any] = []
    monkeypatch.setattr(geometry, "point_cloud", lambda data, **_: given.append(data))
    at.run()
    assert not at.exception
    assert given[-1]["axes"][0]["title"] == "along direction 1 “<b>carries⟨U+202E⟩” (g·u1, nats per unit)"
    assert given[-1]["axes"][1]["title"] == "length outside the first 16 directions (nats per unit)"


def test_an_axis_is_picked_by_the_name_of_its_direction_and_linked_without_it(
    at: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometry, "names_of", lambda analysis: {(29, "value", 2): "*carries*"})
    at.run()
    up = at.selectbox(key=session.UP)
    assert "direction 3 “\\*carries\\*”" in up.options
    assert session.UP not in at.query_params, "the first one needs no link"
    up.set_value("direction 3").run()
    assert at.query_params[session.UP] == "direction 3"
    assert "Directions 1 and 3 hold" in said(at)


def test_a_look_has_one_meaning_whatever_else_is_drawn(analysis: Any) -> None:
    tokens, lengths = tokens_of(analysis.examples), np.ones(sum(len(e.ids) for e in analysis.examples))
    ids = [example.id for example in analysis.examples]

    def looks(by: str, right: dict[str, float] | None = None) -> dict[str, tuple[str, str]]:
        found = grouping.grouped(by, tokens, analysis, lengths, 0, right)
        return dict(zip(found.names, zip(found.colours(False), found.shapes, strict=True), strict=True))

    both = looks(grouping.RIGHT, {name: at % 2 for at, name in enumerate(ids)})
    assert looks(grouping.RIGHT, dict.fromkeys(ids, 0.0))["wrong"] == both["wrong"] != both["right"]
    roles = looks(grouping.ROLE)
    figure = charts.agreement(direction_table(analysis, analysis.site(29, "value"), 0))
    drawn = {trace.name: trace.marker.color for trace in figure.data}
    assert len(drawn) == 3
    assert {name: colour for name, (colour, _) in roles.items()} == drawn, "as in the figures of energy shares"
    classes = {colour for colour, _ in looks(grouping.CLASS).values()}
    assert not classes & {roles[name][0] for name in (LOSS, OTHER)}, "other colours, for they mean something else"

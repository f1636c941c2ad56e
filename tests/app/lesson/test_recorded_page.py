"""The lesson on the recorded demo: every step is drawn, and what it says is what the arrays say."""

import re

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.jobs.captures import load_saved
from app.lesson.numbers import arrows, cloud, energy_along, inside_and_outside, token_held
from app.ui import session
from tests import ROOT
from tests.waiting import LONG


@pytest.mark.parametrize("step", range(1, 8))
def test_every_step_is_drawn_from_its_link(step: int) -> None:
    at = AppTest.from_file(str(ROOT / "pages" / "how_it_works.py"), default_timeout=LONG)
    at.query_params[session.LESSON_STEP] = str(step)
    at.run()
    assert not at.exception
    assert at.header[0].value.startswith(f"{step} of 7")
    assert any('role="status"' in one.proto.body for one in at.get("html"))


def test_numbers_are_those_of_the_arrays() -> None:
    analysis = load_saved("arithmetic")
    site = analysis.site(29, "value")
    found = analysis.sites[site]
    assert found.coordinates is not None
    assert found.coordinates.lengths is not None
    gradient = found.coordinates.gradient.astype(float)
    line = gradient[:, :2] @ np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    assert energy_along(found.values, 30) == pytest.approx((line**2).sum() / (found.values**2).sum(), rel=1e-3)
    row = found.coordinates.activation[7].astype(float)
    held = token_held(analysis, site, 0, 7)
    assert held.share == pytest.approx((row @ row) / float(found.coordinates.lengths[1, 7]) ** 2, rel=1e-6)
    first, all_of_it = token_held(analysis, site, 0, 0), np.flatnonzero(analysis.example_of == 0)
    assert first.reach == np.abs(found.coordinates.activation[all_of_it].astype(float)).max()
    assert np.abs(first.along).max() < 0.5 * first.reach, "the lesson's question: the first position has short bars"
    points = inside_and_outside(analysis, site, 16)
    assert points.at(1)[:, 1].max() == 0
    assert np.array_equal(points.at(1)[:, 0], points.at(0)[:, 0])


def test_arrows_are_the_gradients_of_one_text() -> None:
    analysis = load_saved("arithmetic")
    site = analysis.site(29, "value")
    kept = analysis.sites[site].coordinates
    assert kept is not None
    assert kept.lengths is not None
    mine = np.flatnonzero(analysis.example_of == 3)
    for without in (False, True):
        rows, found = mine[int(without) :], arrows(analysis, site, 3, without)
        assert np.array_equal(found.xy, kept.gradient[rows, :2].astype(float))
        assert found.tokens.tolist() == analysis.position_of[rows].tolist()
        energy = kept.lengths[0, rows].astype(float) ** 2
        assert found.share(5) == pytest.approx(energy[5 - int(without)] / energy.sum())
    assert found.share(0) == 0
    assert np.array_equal(cloud(analysis, site).values, kept.gradient[:, :3].astype(float))


def said_by(at: AppTest) -> str:
    """What the picture shows, as text."""
    said = next(one.proto.body for one in at.get("html") if 'role="status"' in one.proto.body)
    return re.sub(r"<[^>]+>", "", said)


def opened(step: int, **state: object) -> AppTest:
    at = AppTest.from_file(str(ROOT / "pages" / "how_it_works.py"), default_timeout=LONG)
    at.query_params[session.LESSON_STEP] = str(step)
    for key, value in state.items():
        at.session_state[key] = value
    return at.run()


def test_the_text_opens_on_a_prompt_that_projecting_changes() -> None:
    texts = {one.markdown[0].value: one.text[0].value for one in opened(6).columns if len(one.text) == 1}
    assert set(texts) == {"**Raw**", "**Projected**", "**Random subspace**"}
    assert texts["**Raw**"] != texts["**Projected**"]


def test_a_presented_step_has_a_way_out_and_no_list_of_steps() -> None:
    at = AppTest.from_file(str(ROOT / "pages" / "how_it_works.py"), default_timeout=LONG)
    at.query_params[session.PRESENTED] = "1"
    at.run()
    assert [one.label for one in at.button if one.label in ("Present", "Leave")] == ["Leave"]
    assert not at.get("button_group")
    next(one for one in at.button if one.label == "Leave").click().run()
    assert session.PRESENTED not in at.query_params
    assert at.get("button_group")


def test_nothing_is_said_to_shrink_before_the_strength_is_raised() -> None:
    at = opened(5)
    said = next(one.proto.body for one in at.get("html") if 'role="status"' in one.proto.body)
    assert "nothing moves" in said
    at.slider(session.LESSON_STRENGTH).set_value(1.0).run()
    said = next(one.proto.body for one in at.get("html") if 'role="status"' in one.proto.body)
    assert "to 0.00" in said


def test_a_token_that_is_left_out_is_said_to_be() -> None:
    at = opened(3, **{session.LESSON_TOKEN: 0})
    assert "“Question” is no loss token" in said_by(at)
    at.toggle(session.LESSON_ASIDE).set_value(True).run()
    assert "which is left out" in said_by(at)


def test_another_text_begins_at_its_first_loss_token() -> None:
    at = opened(1)
    at.slider(session.LESSON_TEXT).set_value(9).run()
    assert at.query_params[session.EXAMPLE] == "9"
    at.session_state[session.LESSON_STEP] = "2"
    at.run()
    assert at.slider(session.LESSON_TOKEN).value == load_saved("arithmetic").examples[8].supervised[0]


def test_a_token_of_a_longer_text_is_the_last_of_a_shorter_one() -> None:
    at = opened(2, **{session.LESSON_TOKEN: 9_999})
    assert not at.exception
    assert at.slider(session.LESSON_TOKEN).value == at.slider(session.LESSON_TOKEN).max

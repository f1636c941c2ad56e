"""The method in five pictures: its numbers are those of the capture, and no text of it can act."""

import dataclasses
import re

import numpy as np
import pytest

from app.home.picture import method_html
from app.jobs.captures import load_saved
from spd_core.recipes.lanes import LaneSpec
from tests.generation.test_comparison import HOSTILE, comparison, lane

pytestmark = pytest.mark.builtin


def test_the_numbers_are_those_of_the_capture() -> None:
    analysis = load_saved("arithmetic")
    site = analysis.site(29, "value")
    values = analysis.sites[site].values
    few = int(np.searchsorted(np.cumsum(values**2) / np.sum(values**2), 0.9)) + 1
    shuffled = analysis.sites[site].nulls["shuffled answers"]
    beside = int(np.searchsorted(np.cumsum(shuffled**2) / np.sum(shuffled**2), 0.9)) + 1
    text = comparison(lane("Raw", [" 6 x 12 = 64"]), lane("Projected", [" 62"], spec=LaneSpec()))
    text = text.model_copy(update={"answer": "72"})
    shown = method_html(analysis, site, 0, 96, text)
    assert f"{few} of 192 directions hold 90%" in shown
    assert f"With shuffled answers it is {beside}: no sign of the capability." in shown, (
        "no more is said of a steepness than Spectrum says"
    )
    assert "The correct answer is 72." in shown
    assert "layer 29 stores a key and a value: 192 numbers each" in shown
    assert f"{analysis.provenance.tokens:,} tokens" in shown
    assert f"{analysis.provenance.supervised_tokens} tokens carry the loss" in shown
    assert "<b>Raw</b> 6 x 12 = 64" in shown
    heights = [int(found) for found in re.findall(r"height: (\d+)%", shown)]
    expected = np.maximum(np.round(100 * values[:32] / values[0]), 2)
    assert heights[-32:] == pytest.approx(expected, abs=1)


def test_texts_are_only_text_and_a_capture_without_any_is_drawn() -> None:
    analysis = load_saved("arithmetic")
    site = analysis.site(29, "value")
    evil = comparison(lane("Raw", [HOSTILE]), lane("Projected", [HOSTILE], spec=LaneSpec()))
    assert "<script" not in method_html(analysis, site, 0, 96, evil)
    bare = dataclasses.replace(analysis, examples=())
    assert "Directions" in method_html(bare, site, 0, 96, None)

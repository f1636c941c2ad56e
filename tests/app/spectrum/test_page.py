"""The page Spectrum without a browser and without a model: its sentence, its map, what is drawn and when."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.jobs.probing import Probed
from app.jobs.requests import EffectsRequest
from app.spectrum import layer_map
from app.ui import session
from spd_core.attribution.site_effects import SiteEffects
from spd_core.storage import remove_folder
from spd_core.subspace.analysis import RANDOM, Analysis
from spd_core.subspace.store import RECORDED, load_capture, place_of, recorded_captures, save_capture
from spd_core.subspace.verdict import spectrum_verdict
from tests import ROOT
from tests.app.test_pages import drawn, go_to, text_of, verdict_of
from tests.waiting import LONG

LAYERS = (2, 5, 8, 11, 14, 17)


def recorded() -> Analysis:
    return load_capture(RECORDED / recorded_captures()[0])


@contextmanager
def saved(analysis: Analysis) -> Iterator[Analysis]:
    """Saved for the length of a test: other tests list what is there."""
    save_capture(analysis, place_of(analysis.name))
    yield analysis
    remove_folder(place_of(analysis.name))


@pytest.fixture
def many(spd_home: Path) -> Iterator[Analysis]:
    """A saved capture of six layers: those of the recorded one, three times."""
    own = recorded()
    first, last = own.layers
    sites = {}
    for at, layer in enumerate(LAYERS):
        for kind in ("key", "value"):
            site = own.site((first, last)[at % 2], kind)
            found = dataclasses.replace(own.sites[site], coordinates=None, halves=None)
            sites[dataclasses.replace(site, layer=layer, module=f"layers.{layer}.{kind}")] = found
    record = own.provenance.model_copy(update={"layers": list(LAYERS)})
    analysis = dataclasses.replace(own, name="six-layers", sites=sites, provenance=record, recorded=False)
    with saved(analysis):
        yield analysis


def opened(**link: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    for key, value in link.items():
        at.query_params[key] = value
    return go_to(at.run(), session.SPECTRUM)


def figures(at: AppTest) -> list[dict[str, Any]]:
    return [json.loads(one.proto.spec) for one in at.get("plotly_chart")]


def panel_titles(figure: dict[str, Any]) -> list[str]:
    notes = [note["text"] for note in figure["layout"]["annotations"]]
    return [text.partition("<br>")[0] for text in notes if "keeps" in text]


def test_the_sentence_is_of_the_selected_site_and_rank(spd_home: Path) -> None:
    at = opened(layer="15", kind="key", rank="12")
    wanted = spectrum_verdict(recorded(), 15, "key", 12)
    first, _, rest = wanted.partition(". ")
    assert f"{first}.\n{rest}" in verdict_of(at)
    marks = [trace["text"] for trace in drawn(at) if trace["name"] == "keys" and "text" in trace["mode"]]
    assert any("<b>8</b>" in texts for texts in marks), "the picture of it"


def test_few_layers_need_no_map(spd_home: Path) -> None:
    at = opened()
    assert len(figures(at)) == 1
    assert len(panel_titles(figures(at)[0])) == 4
    assert "Draw other layers, too" not in [one.label for one in at.multiselect]


def test_many_layers_are_a_map_and_the_selected_one_is_drawn(many: Analysis) -> None:
    at = opened(capture=many.name, layer="8", kind="key")
    site_map, curves = figures(at)
    assert site_map["data"][0]["x"] == [str(layer) for layer in LAYERS]
    assert panel_titles(curves) == ["<b>Layer 8 · key</b>", "<b>Layer 8 · value</b>"]
    at.multiselect(key=session.LAYERS_SHOWN).set_value([2]).run()
    assert panel_titles(figures(at)[1])[:2] == ["<b>Layer 2 · key</b>", "<b>Layer 2 · value</b>"]
    at.session_state[session.LAYER], at.session_state[session.KIND] = 2, "value"  # what a click on a cell does
    at.run()
    assert not at.exception
    assert panel_titles(figures(at)[1]) == ["<b>Layer 2 · key</b>", "<b>Layer 2 · value</b>"]
    assert "Layer 2 values: " in verdict_of(at)
    assert len(at.dataframe[0].value) == 12, "the table is of all sites"


def test_effects_are_measured_on_demand_and_drawn_on_the_map(many: Analysis) -> None:
    at = opened(capture=many.name, map=layer_map.EFFECT, rank="50")
    assert len(figures(at)) == 1, "there is nothing to map yet"
    assert "Measure at rank 50" in [one.label for one in at.button]
    effects = SiteEffects(50, 4, dict.fromkeys(many.sites, -0.25), dict.fromkeys(many.sites, 0.5))
    at.session_state[session.EFFECTS] = Probed(EffectsRequest(many, 50), effects, 1.0)
    at.run()
    site_map = figures(at)[0]
    assert site_map["data"][0]["text"][0] == ["−0.25"] * 6
    assert "a random subspace +0.500" in site_map["data"][1]["text"][0]
    assert "Measure at rank 50" not in [one.label for one in at.button]
    at.slider(key=session.RANK_SLIDER).set_value(60).run()
    assert "Measured at rank 50." in text_of(at)
    assert "Measure at rank 60" in [one.label for one in at.button]


def test_without_any_null_the_ratio_says_what_to_press(spd_home: Path) -> None:
    own = recorded()
    sites = {site: dataclasses.replace(found, nulls={}, band=None) for site, found in own.sites.items()}
    with saved(dataclasses.replace(own, name="bare", sites=sites, recorded=False)) as bare:
        at = opened(capture=bare.name, shown="Ratio to the null")
        assert "There is no null to divide by yet. Press **Capture the nulls** above." in text_of(at)
        assert "Capture the nulls" in [one.label for one in at.button]
        assert "Shuffled answers would decide: capture the nulls." in verdict_of(at)


def test_the_ratio_is_to_the_nulls_that_are_chosen(spd_home: Path) -> None:
    at = opened(shown="Ratio to the null")
    assert {trace["name"] for trace in drawn(at)} >= {"shuffled answers", "bootstrap band"}
    pills = next(pills for pills in at.button_group if pills.label == "Compare with")
    pills.set_value([RANDOM]).run()
    assert {trace["name"] for trace in drawn(at)} == {RANDOM}


def test_each_tab_says_what_it_shows(spd_home: Path) -> None:
    overlap = opened(shown="Overlap")
    assert verdict_of(overlap).startswith("Layer 29 values at rank 96: two halves of the examples share")
    assert "Yellow is the same subspace" in text_of(overlap)
    layers = opened(shown="Overlap", overlap="layers")
    assert verdict_of(layers).startswith("Values at rank 96: layer 15 and layer 29 share")
    assert "tokens hold half of the energy" in verdict_of(opened(shown="Gradient rows"))

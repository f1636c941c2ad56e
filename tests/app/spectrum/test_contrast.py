"""A contrast on Spectrum and the other pages, without a browser and without a model: made of recorded captures."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.jobs.models import ModelKey
from app.jobs.requests import CaptureRequest
from app.spectrum import layer_map
from app.ui import session
from spd_core.storage import remove_folder
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.contrast import contrast
from spd_core.subspace.store import RECORDED, captures_folder, load_capture, place_of, save_capture, saved_captures
from tests.app.spectrum.test_page import figures, opened, panel_titles
from tests.app.test_pages import drawn, go_to, prepared, press, text_of, verdict_of


def button(at: AppTest, label: str) -> bool:
    return label in [one.label for one in at.button]


@pytest.fixture
def made(spd_home: Path) -> Iterator[Analysis]:
    first, second = (load_capture(RECORDED / name) for name in ("arithmetic", "multiple-choice"))
    analysis = contrast(first, [second], name="sums-alone")
    save_capture(analysis, place_of(analysis.name))
    yield analysis
    remove_folder(place_of(analysis.name))


def test_one_is_made_of_two_recorded_captures_without_a_model(spd_home: Path) -> None:
    before = set(saved_captures())
    at = opened(capture="arithmetic", layer="15", kind="key", rank="25")
    at.multiselect(key=session.CONTRAST_WITH).set_value(["multiple-choice"]).run()
    prepared(press(at, "Make the contrast"))
    (name,) = set(saved_captures()) - before
    try:
        assert at.session_state[session.CAPTURE] == name
        assert load_capture(captures_folder() / name).provenance.capability == "arithmetic without multiple-choice"
        assert "25 directions hold 39% of the energy of arithmetic and" in verdict_of(at), "at the rank of before"
        assert "**arithmetic without multiple-choice**" in text_of(at), "the active capture is named so"
        press(at, "Back to arithmetic")
        assert at.session_state[session.CAPTURE] == "arithmetic"
        assert at.session_state[session.RANK] == 25
        assert not button(at, "Back to arithmetic"), "it is no contrast"
        assert name in saved_captures(), "the contrast stays"
    finally:
        remove_folder(place_of(name))


def test_what_cannot_be_made_is_said_and_nothing_else_changes(spd_home: Path) -> None:
    own = load_capture(RECORDED / "arithmetic")
    other = dataclasses.replace(
        own, name="elsewhere", provenance=own.provenance.model_copy(update={"revision": "content:2"})
    )
    save_capture(other, place_of(other.name))
    try:
        at = opened(capture="arithmetic", rank="25")
        at.multiselect(key=session.CONTRAST_WITH).set_value(["elsewhere"]).run()
        prepared(press(at, "Make the contrast"))
        assert "their directions are not of one space; capture both on one model" in text_of(at)
        assert "Layer 29 values: 90% of the energy lies in" in verdict_of(at)
    finally:
        remove_folder(place_of(other.name))


def test_without_the_capture_it_was_made_of_there_is_no_way_back(made: Analysis) -> None:
    assert button(opened(capture=made.name), "Back to arithmetic")
    record = made.provenance
    assert record.left_out is not None
    gone = record.model_copy(update={"left_out": record.left_out.model_copy(update={"capture": "deleted"})})
    save_capture(dataclasses.replace(made, provenance=gone), place_of(made.name), overwrite=True)
    assert not button(opened(capture=made.name), "Back to arithmetic")


def test_its_page_draws_both_energies_and_claims_no_spectrum(made: Analysis) -> None:
    at = opened(capture=made.name, layer="15", kind="key", rank="25")
    assert [tab.label for tab in at.tabs] == ["Energy of both", "Energy per direction", "Overlap", "Gradient rows"]
    assert not button(at, "Capture the nulls"), "a null has other directions"
    assert "Make the contrast" not in [one.label for one in at.button], "not of a contrast again"
    found = made.sites[made.site(15, "key")]
    curves = {
        trace["name"]: np.array(trace["y"])
        for trace in drawn(at)
        if trace.get("xaxis") == "x" and "lines" in trace["mode"]
    }
    assert curves.keys() >= {"arithmetic", "multiple-choice", "arithmetic, plain", "multiple-choice, plain"}
    own = (found.values**2).cumsum() / (found.values**2).sum()
    np.testing.assert_allclose(curves["arithmetic"], own, atol=1e-9)
    assert curves["multiple-choice"][24] < curves["multiple-choice, plain"][24], "left out, not shared"
    assert f"rank 25 keeps {np.floor(1000 * own[24]) / 10:.1f}%" in str(figures(at)[0]["layout"]["annotations"])
    assert len(panel_titles(figures(at)[0])) == 4
    row = at.dataframe[0].value.iloc[0]
    assert row["Of arithmetic"] == pytest.approx(100 * own[24], abs=0.1)
    assert "singular value" not in text_of(at).replace("as singular values do", "").lower()


def test_every_page_takes_it(made: Analysis) -> None:
    at = opened(capture=made.name, layer="15", kind="key", rank="25")
    at.session_state[session.CONTRAST_VIEW] = "Energy per direction"
    at.run()
    assert not at.exception
    assert {"arithmetic", "multiple-choice"} <= {trace["name"] for trace in drawn(at)}
    at.session_state[session.CONTRAST_VIEW] = "Gradient rows"
    at.run()
    assert "kept single tokens for its first directions only" in text_of(at)
    for page in (session.HOME, session.ATTRIBUTIONS, session.SIDE_BY_SIDE, session.EVALUATION):
        go_to(at, page)
    go_to(at, session.ATTRIBUTIONS)
    assert "measured against that on multiple-choice" in str([one.help for one in at.markdown]).replace("\\", "")


def test_of_many_layers_its_map_says_nothing_of_a_spectrum(spd_home: Path) -> None:
    layers = (2, 5, 8, 11, 14, 17)
    wide = []
    for name in ("arithmetic", "multiple-choice"):
        own, sites = load_capture(RECORDED / name), {}
        for at, layer in enumerate(layers):
            for kind in ("key", "value"):
                site = own.site(own.layers[at % 2], kind)
                sites[dataclasses.replace(site, layer=layer, module=f"layers.{layer}.{kind}")] = own.sites[site]
        record = own.provenance.model_copy(update={"layers": list(layers)})
        wide.append(dataclasses.replace(own, name=name, sites=sites, provenance=record))
    made = contrast(wide[0], wide[1:], name="six-layers-alone")
    save_capture(made, place_of(made.name))
    try:
        at = opened(capture=made.name, layer="8", kind="key", map="Effective rank")
        site_map, curves = figures(at)
        assert site_map["data"][0]["x"] == [str(layer) for layer in layers]
        assert panel_titles(curves) == ["<b>Layer 8 · key</b>", "<b>Layer 8 · value</b>"]
        (measures,) = (one for one in at.button_group if one.label == "Map of")
        assert measures.value == layer_map.KEPT
        assert layer_map.EFFECTIVE not in measures.options
        assert len(at.dataframe[0].value) == 12, "the table is of all sites"
    finally:
        remove_folder(place_of(made.name))


def test_capturing_the_capability_would_not_give_its_contrast(made: Analysis) -> None:
    own = load_capture(RECORDED / "arithmetic")
    key = ModelKey(own.provenance.model, None, "auto")
    request = CaptureRequest(key, own.capability, own.settings, "raw")
    assert request.matches(own)
    assert not request.matches(made)

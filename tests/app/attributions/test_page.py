"""Token attributions without a browser: the recorded analysis without a model, then every live part with the model."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.jobs import probing
from app.jobs.captures import load_saved
from app.jobs.models import shared
from app.jobs.requests import CheckRequest
from app.ui import session
from spd_core.attribution.recorded import probes_of
from spd_core.attribution.tables import direction_table, summed
from spd_core.attribution.verdict import causal_verdict, lens_verdict
from spd_core.errors import InputError
from spd_core.subspace.store import recorded_captures
from tests.app.test_pages import ROOT, go_to, press, text_of, verdict_of
from tests.waiting import LONG

JOBS = (session.READ_JOB, session.LENS_JOB, session.CHECK_JOB, session.RIGHT_JOB)


@pytest.fixture
def at(spd_home: Path) -> AppTest:
    """The page, on the first recorded analysis; what runs in the background has ended, or has not begun."""
    app = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG).run()
    return go_to(app, session.ATTRIBUTIONS)


def view(at: AppTest, name: str) -> AppTest:
    at.session_state[session.ATTRIBUTION_VIEW] = name
    at.run()
    assert not at.exception
    return at


def finished(at: AppTest) -> AppTest:
    for key in JOBS:
        if key in at.session_state:
            at.session_state[key].join(LONG)
            assert not at.session_state[key].running
    at.run()
    assert not at.exception
    return at


def numbers(at: AppTest) -> tuple[str, int, int]:
    """Kind, direction counted from 1, and text counted from 1."""
    return (
        at.session_state[session.PICK_KIND], at.number_input(key=session.PICK_DIRECTION).value,
        at.number_input(key=session.PICK_EXAMPLE).value,
    )  # fmt: skip


def test_a_capture_read_again_is_the_same_one() -> None:
    analysis = load_saved(recorded_captures()[0])
    again = dataclasses.replace(analysis, sites=dict(analysis.sites))
    site = analysis.site(analysis.layers[0], "key")
    asked = CheckRequest(analysis, site, 1, "calibration")
    assert asked.asks_same_as(dataclasses.replace(asked, analysis=again))
    assert not asked.asks_same_as(dataclasses.replace(asked, direction=2))
    assert not asked.asks_same_as(dataclasses.replace(asked, analysis=load_saved(recorded_captures()[1])))


def test_a_recorded_analysis_is_explained_without_a_model(at: AppTest) -> None:
    shown = text_of(at)
    analysis = load_saved(recorded_captures()[0])
    site = analysis.site(analysis.layers[-1], "value")
    table = direction_table(analysis, site, 0)
    assert f"shares of {len(table):,} tokens sum to **100.0000%**" in shown
    for role, share in summed(table, "role")[["role", "share"]].itertuples(index=False):
        assert f"{role} **{share:.2%}**" in shown
    assert "Spearman" in shown
    assert "Provenance" in shown
    assert len(at.get("plotly_chart")) == 1
    assert shared().models.resident is None or "Loads" not in shown


def test_the_sums_are_drawn_in_three_ways_and_as_a_table(at: AppTest) -> None:
    for view, said in (
        ("by token string", "long bars are the tokens"),
        ("by position", "high bars are the places"),
        ("against the baseline", "both attributions agree"),
    ):
        at.segmented_control(key=session.SUMS).set_value(view).run()
        assert len(at.get("plotly_chart")) == 1
        assert said in text_of(at)
    assert not at.dataframe, "the table is drawn when it is opened"
    at.session_state[session.TOKEN_TABLE_OPEN] = True
    at.run()
    shares = at.dataframe[0].value["share"]
    assert shares.sum() == pytest.approx(1)
    assert shares.is_monotonic_decreasing


def test_stepping_changes_the_selection_of_all_pages(at: AppTest) -> None:
    assert numbers(at) == ("value", 1, 1)
    assert next(button for button in at.button if button.label == "Previous").disabled
    press(press(at, "Next"), "Next")
    press(at, "Previous")
    assert numbers(at) == ("value", 2, 1)
    at.number_input(key=session.PICK_DIRECTION).set_value(5).run()
    at.segmented_control(key=session.PICK_KIND).set_value("key").run()
    at.number_input(key=session.PICK_EXAMPLE).set_value(3).run()
    assert numbers(at) == ("key", 5, 3)
    assert "Direction 5" in text_of(at)
    go_to(at, session.SPECTRUM)
    assert "key, direction 5" in text_of(at)
    assert numbers(go_to(at, session.ATTRIBUTIONS)) == ("key", 5, 3)


def test_a_direction_beyond_what_was_kept_says_so(at: AppTest) -> None:
    kept = load_saved(recorded_captures()[0]).kept_directions
    at.number_input(key=session.PICK_DIRECTION).set_value(kept + 1).run()
    assert f"single tokens for directions 1 to {kept} only" in text_of(at)
    press(at, f"Show direction {kept}")
    assert at.number_input(key=session.PICK_DIRECTION).value == kept
    assert "Spearman" in text_of(at)


def test_a_direction_without_energy_says_so(at: AppTest) -> None:
    whole = load_saved(recorded_captures()[0])
    flat = {
        site: dataclasses.replace(found, values=np.where(np.arange(site.d_kv) < 3, found.values, 0))
        for site, found in whole.sites.items()
    }
    at.session_state["unsaved"] = {"flat": dataclasses.replace(whole, name="flat", sites=flat)}
    at.session_state[session.CAPTURE], at.session_state[session.DIRECTION] = "flat", 3
    for name in ("Energy shares", "Coordinates"):
        assert "Direction 4 holds no energy" in text_of(view(at, name))
    with pytest.raises(InputError, match="choose 1 to 3"):
        next(iter(flat.values())).shares(3)
    press(at, "Show direction 3")
    assert "Direction 3** of 192 holds" in text_of(view(at, "Energy shares"))


def test_too_few_tokens_for_a_correlation_are_a_sentence(at: AppTest) -> None:
    whole = load_saved(recorded_captures()[0])
    none = {
        site: dataclasses.replace(
            found, coordinates=dataclasses.replace(found.coordinates, product=0 * found.coordinates.product)
        )
        for site, found in whole.sites.items()
    }
    at.session_state["unsaved"] = {"none": dataclasses.replace(whole, name="none", sites=none)}
    at.session_state[session.CAPTURE] = "none"
    assert "needs at least 3" in text_of(view(at, "Energy shares")).replace("\\", "")


def test_setting_aside_changes_the_lists_and_never_the_sum(at: AppTest) -> None:
    assert "of the energy that is hidden" in text_of(at)
    at.toggle(key=session.ASIDE).set_value(False).run()
    shown = text_of(at)
    assert "of the energy that is hidden" not in shown
    assert "sum to **100.0000%**" in shown


def test_coordinates_list_both_ends(at: AppTest) -> None:
    view(at, "Coordinates")
    above, below = (frame.value.coordinate for frame in at.dataframe)
    assert above.iloc[0] == above.max() > 0 > below.min() == below.iloc[0]
    assert "sign of u itself is arbitrary" in text_of(at)


def test_keys_have_no_lens_and_the_way_out_is_a_button(at: AppTest) -> None:
    at.segmented_control(key=session.PICK_KIND).set_value("key").run()
    assert "no logit lens of a key direction" in text_of(view(at, "Logit lens"))
    press(at, f"Show the values of layer {load_saved(recorded_captures()[0]).layers[-1]}")
    assert "Approximate" in text_of(at)


def headers(at: AppTest) -> list[str]:
    return [header.value.replace("\\", "") for header in at.subheader]


def test_the_recorded_lens_and_check_are_shown_without_a_model(at: AppTest) -> None:
    analysis = load_saved(recorded_captures()[0])
    probes = probes_of(analysis)
    assert probes is not None
    last = analysis.layers[-1]
    lens = probes.lens(analysis.site(last, "value"), 0)
    assert lens is not None
    shown = text_of(view(at, "Logit lens"))
    assert f"Logit lens of layer {last} value, direction 1" in headers(at)
    assert at.dataframe[0].value.id.tolist() == [token.id for token in (*lens.promoted, *lens.suppressed[::-1])]
    assert lens_verdict(lens, "direction 1").partition(". ")[0] in verdict_of(at)
    assert "Compute the lens of layer 29 anew" in [button.label for button in at.button], "it is there already"
    assert f"recorded on {probes.settings.recorded} with SmolLM2-135M-Instruct@" in shown
    at.number_input(key=session.PICK_DIRECTION).set_value(17).run()
    assert not at.dataframe
    assert "Compute the lens of layer 29" in [button.label for button in at.button]
    assert f"Recorded are the lenses of value directions 1 to 16 of layers 15, {last}. For any other," in text_of(at)

    at.number_input(key=session.PICK_DIRECTION).set_value(1).run()
    for kind in ("value", "key"):
        at.segmented_control(key=session.PICK_KIND).set_value(kind).run()
        shown = text_of(view(at, "Causal check"))
        check = probes.check(analysis, analysis.site(last, kind), 0)
        assert check is not None
        assert causal_verdict(check, "direction 1").partition(". ")[0] in verdict_of(at)
        assert "20 random directions from seed 0" in shown
        assert "recorded on" in shown
        row = at.dataframe[0].value.iloc[0]
        random = [float((logp - check.logp["unchanged"]).mean()) for logp in check.draws["random removed"]]
        middle = sum(random) / len(random)
        reach = max(abs(one - middle) for one in random)
        assert (row.least, row.most) == pytest.approx((middle - reach, middle + reach))
        assert "Run the causal check anew" in [button.label for button in at.button], "it is there already"
    at.segmented_control(key=session.SCORED).set_value("heldout").run()
    assert not at.dataframe
    assert f"Recorded are the checks of layer {last} key directions 1 to 4 and layer {last} value" in text_of(at)
    assert shared().models.resident is None or "Loads" not in text_of(at)


@pytest.mark.builtin
def test_the_live_parts(at: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    every = probing._examples
    monkeypatch.setattr(probing, "_examples", lambda lm, request: every(lm, request)[:4])
    view(at, "Coordinates")
    at.segmented_control(key=session.TEXT_SOURCE).set_value("Your own text").run()
    finished(press(at, "Read this text"))
    assert "the text is empty; type at least one character" in text_of(at)
    at.text_area(key=session.OWN_TEXT).set_value("<b>2 + 2</b> = 4").run()
    finished(press(at, "Read this text"))
    assert "Provenance" in text_of(at)
    assert "has changed" not in text_of(at)
    before = at.dataframe[0].value.coordinate.max()
    press(at, "Next")
    assert at.dataframe[0].value.coordinate.max() != before, "the next direction needs no second reading"
    at.text_area(key=session.OWN_TEXT).set_value("other").run()
    assert "Your text has changed since this was computed" in text_of(at)
    at.text_area(key=session.OWN_TEXT).set_value("").run()
    finished(press(at, "Read this text"))
    assert "the text is empty" in text_of(at)
    assert len(at.dataframe) == 2, "what was there stays"

    finished(press(view(at, "Logit lens"), "Compute the lens of layer 29 anew"))
    assert "Logit lens of layer 29 value, direction 2" in headers(at)
    press(at, "Next")
    assert "Logit lens of layer 29 value, direction 3" in headers(at)
    assert "recorded on" not in text_of(at), "what this session has computed goes before what is recorded"
    at.selectbox(key=session.PICK_LAYER).set_value(15).run()
    assert "recorded on" in text_of(at)
    at.number_input(key=session.PICK_DIRECTION).set_value(40).run()
    assert "Logit lens of layer 29 value, direction 2" in headers(at), "neither computed nor recorded: what was there"
    assert "The selection has changed since this was computed" in text_of(at)

    finished(press(view(at, "Causal check"), "Run the causal check"))
    rows = at.dataframe[0].value
    assert rows.name.tolist() == ["direction removed", "only the direction kept"]
    assert (rows.low <= rows["mean"]).all()
    assert (rows["mean"] <= rows.high).all()
    assert (rows.least < rows.most).all(), "random directions differ"
    assert "20 random directions from seed 0" in text_of(at)
    assert "95% bootstrap interval over texts" in text_of(at)
    at.segmented_control(key=session.SCORED).set_value("heldout").run()
    assert "has changed" in text_of(at)
    finished(press(at, "Run the causal check"))
    assert "on held-out texts" in text_of(at)
    assert len(at.get("plotly_chart")) == 1

"""The mixing desk on the page, without a browser: faders to lane to text, link and back, and what cannot be."""

import shlex
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.jobs.captures import load_saved
from app.side_by_side.filling import lane_widgets
from app.side_by_side.mixing_desk import fold_command, mixed_lanes
from app.ui import session
from spd_core.cli.lanes import open_lanes
from spd_core.generation import comparison as texts
from spd_core.generation.compare import lanes_of
from spd_core.intervention.lanes import subspace_for
from spd_core.intervention.projection import Lane
from spd_core.models.loading import LanguageModel
from spd_core.recipes.gains import parse_gains
from spd_core.recipes.lanes import RAW, LaneSpec
from spd_core.subspace.store import recorded_captures
from tests.app.side_by_side.test_page import opened, write
from tests.app.test_pages import go_to, press, text_of

pytestmark = pytest.mark.builtin
MUTED = LaneSpec(rank="96", strength=0.0, gains=parse_gains("29v_1x0"))


@pytest.fixture
def at(empty_history: Path) -> AppTest:
    return desk_of(opened())


def desk_of(app: AppTest) -> AppTest:
    """With the desk open."""
    app.session_state[session.DESK_OPEN] = True
    app.run()
    assert not app.exception
    return app


def mix(at: AppTest) -> str:
    """What the link says; it equals what the session holds."""
    found = at.query_params.get(session.MIX, [""])
    said = found[0] if isinstance(found, list) else found
    assert at.session_state[session.MIX] == said
    return str(said)


def fader(at: AppTest, channel: int, layer: int = 29, kind: str = "value") -> str:
    return f"{session.FADER}_{layer}_{kind}_{channel}"


def keys(at: AppTest, channel: int, *pressed: str) -> None:
    at.pills(key=f"{fader(at, channel)}_keys").set_value(list(pressed)).run()


def plainly(at: AppTest) -> str:
    return text_of(at).replace("\\", "").replace("*", "")


def test_faders_make_a_lane_that_is_written_and_linked(at: AppTest) -> None:
    assert "Every gain is 1: no lane yet" in plainly(at)
    assert mix(at) == ""
    at.slider(key=fader(at, 3)).set_value(2.0).run()
    keys(at, 1, "remove")
    assert mix(at) == "29v_1x0_3x2"
    assert (at.slider(key=fader(at, 1)).value, at.slider(key=fader(at, 1)).disabled) == (0.0, True), "as the form says"
    assert "3 lanes · rank 96, α 1, keys and values · mixed: layer 29 values, d1 × 0, d3 × 2" in plainly(at)
    found = write(at, 4)
    assert [one.label for one in found.lanes] == ["Raw", "Projected", "Mixed: layer 29 values, d1 × 0, d3 × 2"]
    assert found.lanes[2].mean_kl > 1e-6
    assert "directions of arithmetic multiplied: layer 29 values, d1 × 0, d3 × 2; everything else as it is" in text_of(
        at
    )
    assert "Settings have changed" not in text_of(at)
    assert texts.load_comparison(found.id) == found
    keys(at, 1)
    assert mix(at) == "29v_3x2", "its fader stood at 1"
    assert at.slider(key=fader(at, 1)).value == 1.0
    assert "Settings have changed since this was written" in text_of(at)


def test_solo_presets_and_sites(at: AppTest) -> None:
    keys(at, 2, "keep only")
    assert mix(at) == "29v_2x1_ox0"
    for preset, said in (
        ("Project", "29v_1-8x1_ox0"), ("Complement", "29v_1-8x0"), ("Remove direction 1", "29v_1x0"), ("Reset", ""),
        ("Remove direction 1", "29v_1x0"),
    ):  # fmt: skip
        press(at, preset)
        assert mix(at) == said
    at.segmented_control(key=session.DESK_KIND).set_value("key").run()
    assert mix(at) == "29v_1x0", "another site is looked at, and nothing changes"
    at.slider(key=fader(at, 2, kind="key")).set_value(-1.0).run()
    assert mix(at) == "29k_2x-1_29v_1x0"
    assert "Mixed: layer 29 keys, d2 × −1; layer 29 values, d1 × 0" in plainly(at)
    press(at, "Reset all sites")
    assert mix(at) == ""


def test_the_control_is_the_same_mix_of_random_directions(at: AppTest) -> None:
    keys(at, 1, "remove")
    at.toggle(key=session.MIX_CONTROL_SHOWN).set_value(True).run()
    found = write(at, 4)
    assert [one.label for one in found.lanes[2:]] == [
        "Mixed: layer 29 values, d1 × 0", "Mixed random subspace: layer 29 values, d1 × 0"
    ]  # fmt: skip
    again = opened(mix="29v_1x0", mix_control="random")
    assert again.session_state[session.MIX_CONTROL]
    assert "4 lanes" in plainly(again)


def test_a_link_restores_the_mix_and_a_bad_one_is_a_sentence(empty_history: Path) -> None:
    app = desk_of(opened(mix="29v_1x0_3x2.5_ox0.5"))
    assert mix(app) == "29v_1x0_3x2.5_ox0.5"
    assert app.slider(key=fader(app, 3)).value == 2.5
    assert app.pills(key=f"{fader(app, 1)}_keys").value == ["remove"]
    for bad, said in (
        ("loud", "'loud' is no gain; write them as 29v_1x0_3x2"),
        ("99v_1x0", "layer 99 values are not in this capture, which has layers 15, 29"),
        ("29v_193x0", "and no direction 193"),
        ("29v_1x99", "a gain of 99 is not from -10 to 10"),
        ("29v_1x0_29v_2x0", "a site is named twice"),
    ):
        found = opened(mix=bad)
        assert said in plainly(found), bad
        assert not any(drawer.error for drawer in found.expander), "a closed drawer would hide it"
        assert mix(found) == ""
        assert not next(button for button in found.button if button.label == "Generate").disabled
        desk_of(found)
        keys(found, 1, "remove")
        assert "This mix cannot be used" not in plainly(found)
        assert mix(found) == "29v_1x0"


def test_opening_a_result_sets_the_desk(at: AppTest) -> None:
    keys(at, 1, "remove")
    first = write(at, 4)
    press(at, "Reset")
    second = write(at, 4)
    assert len(second.lanes) == len(first.lanes) - 1
    at.session_state[session.HISTORY_OPEN] = True
    at.run()
    at.selectbox(key=session.HISTORY).set_value(first.id).run()
    press(at, "Open result")
    assert mix(at) == "29v_1x0"
    assert "Settings have changed" not in text_of(at)


def test_a_direction_of_token_attributions_opens_muted(empty_history: Path) -> None:
    app = go_to(opened(), session.ATTRIBUTIONS)
    app.number_input(key=session.PICK_DIRECTION).set_value(12).run()
    press(app, "Mix this direction")
    assert mix(app) == "29v_12x0"
    assert "mixed: layer 29 values, d12 × 0" in plainly(app)
    assert app.session_state[session.DESK_OPEN]
    assert app.pills(key=f"{fader(app, 12)}_keys").value == ["remove"]
    found = write(go_to(app, session.SIDE_BY_SIDE), 4)  # the next run of a test would be on the former page
    assert found.lanes[-1].label == "Mixed: layer 29 values, d12 × 0"


def test_what_the_widgets_say_of_mixed_lanes() -> None:
    drawn = MUTED.model_copy(update={"of": "random", "seed": 5})
    values = lane_widgets([RAW, LaneSpec(rank="96"), MUTED, drawn])
    assert (values[session.MIX], values[session.MIX_CONTROL], values[session.RANDOM_SEED]) == ("29v_1x0", True, 5)
    assert not values[session.MORE_LANES], "the control of a mix is no random lane"
    plain = lane_widgets([RAW, LaneSpec(rank="96"), LaneSpec(rank="96", of="random")])
    assert (plain[session.MIX], plain[session.MIX_CONTROL]) == ("", False)
    assert lane_widgets([MUTED])[session.MIX] == "29v_1x0"


def test_the_command_folds_the_mix_of_the_page(builtin_lm: LanguageModel) -> None:
    analysis = load_saved(recorded_captures()[0])
    mix = parse_gains("15k_2x-1_29v_1x0_120x3")
    words = shlex.split(fold_command(analysis, mix))
    options = dict(zip(words[4::2], words[5::2], strict=True))
    assert (words[:4], options.pop("--out")) == (["python", "-m", "spd_core", "export"], "mixed")
    (folded,) = open_lanes("mixed", options["--subspace"], 1.0, options["--rank"], options["--gains"])
    (lane,) = lanes_of(mixed_lanes(mix, 96, control=False), analysis, {})
    torch.testing.assert_close(folded.maps(builtin_lm), lane.maps(builtin_lm), rtol=0, atol=1e-14)
    assert options.keys() == {"--subspace", "--rank", "--gains"}


def test_the_preset_project_is_the_projection_at_rank_8(builtin_lm: LanguageModel) -> None:
    analysis = load_saved(recorded_captures()[0])
    lanes = (mixed_lanes(parse_gains("29v_1-8x1_ox0"), 4, control=False)[0],
             LaneSpec(rank="8", kinds=("value",), layers=(29,)))  # fmt: skip
    mixed, projected = (
        Lane(subspace_for(spec, analysis), spec.strength, spec.kinds, spec.layers, gains=spec.gains).maps(builtin_lm)
        for spec in lanes
    )
    assert list(mixed) == list(projected)
    torch.testing.assert_close(mixed, projected, rtol=0, atol=1e-14)

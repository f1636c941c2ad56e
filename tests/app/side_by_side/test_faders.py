"""A strip of the mixing desk as on a mixer: faders, mute, solo, presets, and the gains that they mean."""

import pytest

from app.side_by_side.faders import OTHERS, Strip, complement, mix_of, projected, strip_of, strips_of, without
from spd_core.recipes.gains import SiteGains, gains_text, parse_gains

PLACE = (29, "value")
EIGHT = tuple(range(1, 9))
UNTOUCHED = Strip(EIGHT)


def text(strip: Strip) -> str:
    return gains_text([strip.gains((29, "value"))])


def test_an_untouched_strip_changes_nothing() -> None:
    assert strip_of(None, 192) == UNTOUCHED
    assert not UNTOUCHED.gains((29, "value")).changes
    assert mix_of({(29, "value"): UNTOUCHED}) == ()
    assert strip_of(None, 3).directions == (1, 2, 3), "only what holds energy"


def test_faders_multiply() -> None:
    assert text(UNTOUCHED.moved(3, 2.0).moved(1, -0.5)) == "29v_1x-0.5_3x2"
    assert text(UNTOUCHED.moved(OTHERS, 0.5)) == "29v_1-8x1_ox0.5"


def test_mute_silences_and_its_fader_stays() -> None:
    muted = UNTOUCHED.moved(3, 2.0).pressed(3, muted=True, solo=False)
    assert text(muted) == "29v_3x0"
    assert muted.fader(3) == 2.0
    assert text(muted.pressed(3, muted=False, solo=False)) == "29v_3x2"


def test_solo_silences_all_others() -> None:
    alone = UNTOUCHED.moved(2, 1.5).pressed(2, muted=False, solo=True)
    assert text(alone) == "29v_2x1.5_ox0"
    assert text(alone.pressed(4, muted=False, solo=True)) == "29v_2x1.5_4x1_ox0", "two are heard"
    assert text(alone.pressed(2, muted=True, solo=True)) == "29v_ox0", "mute wins, as on a mixer"
    assert text(alone.pressed(2, muted=False, solo=False)) == "29v_2x1.5"


@pytest.mark.parametrize(
    ("strip", "said"),
    [
        (projected(UNTOUCHED.moved(1, 3.0)), "29v_1-8x1_ox0"),
        (complement(UNTOUCHED), "29v_1-8x0"),
        (without(UNTOUCHED.moved(1, 3.0), 2), "29v_2x0"),
        (without(UNTOUCHED, 37), "29v_37x0"),
    ],
)
def test_presets(strip: Strip, said: str) -> None:
    assert text(strip) == said


@pytest.mark.parametrize("said", ["29v_1x0_3x2", "29v_1-8x1_ox0", "29v_37x-1_ox0.5", "29v_1x-0.25_2-8x1_ox3"])
def test_a_link_gives_the_strip_that_means_it(said: str) -> None:
    (own,) = parse_gains(said)
    strip = strip_of(own, 192)
    assert text(strip) == said
    assert set(EIGHT) <= set(strip.directions)
    assert all(strip.fader(channel) != 0 for channel in strip.muted), "unmuted, it is heard"


def test_sites_stand_by_layer() -> None:
    mix = parse_gains("29v_1x0_14k_2x3")
    strips = strips_of(mix, {(29, "value"): 192, (14, "key"): 192})
    assert gains_text(mix_of(strips)) == "14k_2x3_29v_1x0"
    assert mix_of(strips) == (SiteGains(layer=14, kind="key", directions=((2, 3.0),)), mix[0])

"""Gains of directions in words: as a record, as the text of links, and what cannot be."""

import pytest
from pydantic import ValidationError

from spd_core.errors import InputError
from spd_core.recipes.evaluation import EvaluationRecipe, Subject, evaluation_from
from spd_core.recipes.gains import SiteGains, gains_in_words, gains_text, parse_gains
from spd_core.recipes.lanes import RAW, LaneSpec, labels

VALUES = SiteGains(layer=29, kind="value", directions=((3, 2.0), (1, 0.0)))
KEYS = SiteGains(layer=14, kind="key", directions=tuple((i, 1.0) for i in range(1, 9)), others=-0.5)


def test_the_text_of_links_comes_back_and_needs_no_escapes() -> None:
    text = gains_text((VALUES, KEYS))
    assert text == "29v_1x0_3x2_14k_1-8x1_ox-0.5"
    assert set(text) <= set("0123456789abcdefghijklmnopqrstuvwxyz._-"), "a link leaves these alone"
    assert parse_gains(text) == (VALUES, KEYS)
    assert parse_gains("") == ()
    odd = SiteGains(layer=0, kind="key", directions=((1, 1e-7), (2, 1 / 3)))
    assert parse_gains(gains_text([odd])) == (odd,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loud", "'loud' is no gain; write them as 29v_1x0_3x2"),
        ("1x0", "'1x0' is no gain"),  # of which site?
        ("29v_1x", "'1x' is no gain"),
        ("29v_1xnan", "'1xnan' is no gain"),
        ("29v_1x1e999", "finite"),
        ("29v_1x1.2.3", "valid number"),
        ("29v_1x11", "a gain of 11 is not from -10 to 10"),
        ("29v_ox-11", "a gain of -11 is not from -10 to 10"),
        ("29v_0x1", "there is no direction 0; they are counted from 1"),
        ("29v_1x0_1x2", "direction 1 has two gains; give it one"),
        ("29v_1-99999x0", "'1-99999x0' is no gain"),
        ("29w_1x0", "'29w' is no gain"),
        ("٢v_1x0", "is no gain"),
    ],
)
def test_what_is_no_gain_is_named(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_gains(text)
    assert said in str(caught.value)


def test_gains_are_said_plainly() -> None:
    assert gains_in_words([VALUES]) == "layer 29 values, d1 × 0, d3 × 2"
    assert gains_in_words([KEYS, VALUES]) == (
        "layer 14 keys, d1–8 × 1, all others × −0.5; layer 29 values, d1 × 0, d3 × 2"
    )
    assert gains_in_words([SiteGains(layer=1, kind="key")]) == "layer 1 keys, all others × 1"


def test_a_mixed_lane_has_a_plain_name() -> None:
    mixed = LaneSpec(strength=0, rank="8", gains=(VALUES,))
    drawn = mixed.model_copy(update={"of": "random"})
    beside = LaneSpec(rank="8", gains=(VALUES,))
    assert labels([RAW, LaneSpec(rank="8"), mixed, drawn, beside], {}) == [
        "Raw", "Projected", "Mixed: layer 29 values, d1 × 0, d3 × 2",
        "Mixed random subspace: layer 29 values, d1 × 0, d3 × 2",
        "Projected and mixed: layer 29 values, d1 × 0, d3 × 2",
    ]  # fmt: skip
    others = (VALUES, SiteGains(layer=29, kind="value", directions=((1, 2.0),)))
    assert len(set(labels([mixed.model_copy(update={"gains": (site,)}) for site in others], {}))) == 2


def test_lanes_without_gains_are_written_as_before() -> None:
    assert "gains" not in LaneSpec().model_dump_json()
    assert "gains" not in EvaluationRecipe().model_dump_json()
    mixed = LaneSpec(strength=0, gains=(KEYS, VALUES))
    assert LaneSpec.model_validate_json(mixed.model_dump_json()) == mixed
    assert mixed == LaneSpec(strength=0, gains=(VALUES, KEYS)), "in whatever order sites were named"
    assert hash(mixed) != hash(LaneSpec(strength=0))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"gains": (VALUES, VALUES)}, "layer 29 values have gains twice"),
        ({"gains": (VALUES,), "of": "none"}, "this lane has none; name whose it is"),
        ({"gains": (VALUES,), "rank": "2"}, "a gain for direction 3, beyond the rank 2; raise the rank"),
    ],
)
def test_gains_that_a_lane_cannot_have(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        LaneSpec.model_validate(settings)


def test_a_subject_can_be_mixed() -> None:
    mix = {"kind": "projected", "strength": 0, "gains": [VALUES.model_dump(mode="json")]}
    recipe = evaluation_from({"subjects": ["base", "projected", mix, {**mix, "of": "random", "label": "its control"}]})
    subject = recipe.subjects[2]
    assert (subject.name, subject.title) == ("mixed-capability", "Mixed: layer 29 values, d1 × 0, d3 × 2")
    spec = recipe.lane(subject, 42)
    assert (spec.mixed, spec.gains) == (True, (VALUES,))
    assert not recipe.lane(recipe.subjects[1], 42).gains
    with pytest.raises(ValidationError, match="a base subject has no gains"):
        Subject(gains=(VALUES,))

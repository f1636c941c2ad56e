"""Every branch of the rule that turns a comparison into words, from differences made by hand."""

import math
import re
from typing import Any

import pytest

from spd_core.errors import InputError
from spd_core.evaluation.claims import Claim, claim, headline, p_text
from spd_core.evaluation.statistics import Difference, Estimate, Interval, holm, paired

PROJECTION = "does any projection do it?"
LABELS = "does it matter whether the answers are right?"


def difference(
    effect: float, low: float, high: float, p: float = 0.01, n: int = 150, least: float = 0.09
) -> Difference:
    return Difference(effect, n, Interval(low, high), p, 20, 10, "Tango score", "exact McNemar", least)


GAIN = difference(0.11, 0.021, 0.198)
LOSS = difference(-0.11, -0.198, -0.021)
UNCLEAR = difference(0.033, -0.04, 0.105, p=0.42)


def made(found: Difference, p_adjusted: float | None = None, **given: Any) -> Claim:
    known: dict[str, Any] = {
        "subject": "SPD",
        "against": "base",
        "set_name": "GSM8K",
        "difference": found,
        "p_adjusted": min(1, 2 * found.p) if p_adjusted is None else p_adjusted,
        "comparisons": 3,
        "lower_is_better": False,
        "controls": {},
    }
    return claim(**(known | given))


# --- headline ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "p_adjusted", "more", "less"),
    [
        (0.01, 0.2, 0.04, "helps", "hurts"),  # `more` where more is better, `less` where less is
        (-0.2, -0.01, 0.04, "hurts", "helps"),
        (0.01, 0.2, 0.05, "not shown", "not shown"),  # the interval alone is not enough: 0.05 is not below 0.05
        (-0.2, -0.01, 0.3, "not shown", "not shown"),
        (-0.01, 0.2, 0.04, "not shown", "not shown"),  # nor is p alone
        (0.0, 0.2, 0.04, "not shown", "not shown"),  # an interval that touches zero does not exclude it
        (-0.2, 0.0, 0.04, "not shown", "not shown"),
        (-math.inf, math.inf, 0.04, "not shown", "not shown"),
    ],
)
def test_headline_needs_both_the_interval_and_the_adjusted_p(
    low: float, high: float, p_adjusted: float, more: str, less: str
) -> None:
    found = difference((low + high) / 2 if math.isfinite(low) else 0.1, low, high)
    assert headline(found, p_adjusted, lower_is_better=False) == more
    assert headline(found, p_adjusted, lower_is_better=True) == less


# --- controls ------------------------------------------------------------------------------------------------


def test_controls_pass_only_beyond_zero_in_the_good_direction() -> None:
    asked = {
        "random": (PROJECTION, GAIN),
        "shuffled": (LABELS, UNCLEAR),
        "full loss": ("which tokens count?", LOSS),
        "PSR": ("is it training on one's own text?", None),
    }
    touching = difference(0.1, 0.0, 0.2)
    assert made(GAIN, controls={"random": (PROJECTION, touching)}).controls[0].state == "not shown"
    more = made(GAIN, controls=asked).controls
    assert [control.state for control in more] == ["passed", "not shown", "failed", "not run"]
    assert [control.name for control in more] == list(asked)
    assert (more[0].question, more[0].difference, more[3].difference) == (PROJECTION, GAIN, None)
    less = made(LOSS, controls=asked, lower_is_better=True).controls
    assert [control.state for control in less] == ["failed", "not shown", "passed", "not run"]


def test_a_control_that_an_interval_passes_and_p_does_not_is_undecided() -> None:
    """24 items, 6 gained and 0 lost would be 0.031; 5 gained: 2 / 2⁵ = 0.0625, while Tango's interval excludes zero."""
    found = paired([0] * 20, [1] * 5 + [0] * 15, binary=True)
    assert (found.effect, found.p) == (0.25, 0.0625)
    assert found.interval.low > 0
    (control,) = made(GAIN, controls={"random": (PROJECTION, found)}).controls
    assert control.state == "not shown"
    (other,) = made(GAIN, controls={"random": (PROJECTION, found)}, lower_is_better=True).controls
    assert other.state == "not shown", "nor is it shown to be worse"


@pytest.mark.parametrize(
    ("found", "controls", "weakest"),
    [
        (GAIN, {"random": (PROJECTION, GAIN), "shuffled": (LABELS, GAIN)}, "passed"),
        (GAIN, {"random": (PROJECTION, GAIN), "shuffled": (LABELS, None)}, "not run"),
        (GAIN, {"random": (PROJECTION, None), "shuffled": (LABELS, UNCLEAR)}, "not shown"),
        (GAIN, {"random": (PROJECTION, UNCLEAR), "shuffled": (LABELS, LOSS)}, "failed"),
        (GAIN, {"random": (PROJECTION, None)}, "not run"),
        (GAIN, {}, None),
        (UNCLEAR, {"random": (PROJECTION, GAIN)}, None),  # nothing to be specific about
        (LOSS, {"random": (PROJECTION, GAIN)}, None),
    ],
)
def test_a_gain_is_as_specific_as_its_weakest_control(
    found: Difference, controls: dict[str, Any], weakest: str | None
) -> None:
    assert made(found, controls=controls).weakest == weakest


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0625, "= 0.0625"),
        (0.04, "= 0.04"),
        (0.0499996, "= 0.0499996"),
        (0.05, "= 0.05"),
        (1, "= 1"),
        (1e-5, "< 0.001"),
    ],
)
def test_p_is_never_rounded_over_the_rule(p: float, text: str) -> None:
    assert p_text(p) == text


# --- flags ---------------------------------------------------------------------------------------------------


def names(of: Claim) -> list[str]:
    return [flag.split(":")[0] for flag in of.flags]


@pytest.mark.parametrize(
    ("found", "early", "flagged"),
    [
        (GAIN, difference(-0.02, -0.1, 0.06), True),
        (GAIN, difference(0.0, -0.1, 0.1), True),
        (GAIN, difference(0.01, -0.1, 0.1), False),  # what is left is a gain, however small
        (UNCLEAR, difference(-0.02, -0.1, 0.06), True),  # a gain by its number, shown or not
        (LOSS, difference(-0.02, -0.1, 0.06), False),
        (difference(0, -0.1, 0.1, p=1), difference(-0.02, -0.1, 0.06), False),
        (GAIN, None, False),
    ],
)
def test_a_gain_that_comes_from_stopping_early(found: Difference, early: Difference | None, flagged: bool) -> None:
    assert names(made(found, early=early)) == ["stops early"] * flagged


def test_the_flag_gives_both_numbers() -> None:
    (flag,) = made(GAIN, early=difference(-0.02, -0.1, 0.06)).flags
    assert "+11.0 percentage points" in flag
    assert "−2.0 percentage points" in flag
    nll = difference(-0.05, -0.08, -0.02)
    (flag,) = made(nll, early=difference(0.01, -0.01, 0.03), lower_is_better=True).flags
    assert "−0.0500 nats" in flag
    assert "+0.0100 nats" in flag


@pytest.mark.parametrize(
    ("found", "rates", "flagged"),
    [
        (GAIN, (0.60, 0.75), True),
        (GAIN, (0.60, 0.71), True),  # exactly as much, though 0.71 − 0.60 < 0.11 in floats
        (GAIN, (0.60, 0.69), False),
        (LOSS, (0.60, 0.75), False),
        (GAIN, None, False),
    ],
)
def test_a_gain_of_format(found: Difference, rates: tuple[float, float] | None, flagged: bool) -> None:
    flags = made(found, format_rates=rates).flags
    assert len(flags) == flagged
    if flagged:
        assert flags[0].startswith("format: ")
        assert "accuracy +11.0" in flags[0]


def test_small_n() -> None:
    assert made(difference(0.3, 0.1, 0.5, n=29)).flags == ("small n: 29 items",)
    assert made(difference(0.3, 0.1, 0.5, n=30)).flags == ()


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(0.20, 0.31, "contains"), (0.25, 0.35, "contains"), (0.10, 0.20, "lies below"), (0.26, 0.40, None)],
)
def test_a_subject_not_above_chance(low: float, high: float, says: str | None) -> None:
    own = Estimate((low + high) / 2, 150, 1, Interval(low, high), "Wilson score")
    flags = made(UNCLEAR, estimate=own, chance=0.25).flags
    if says is None:
        assert flags == ()
    else:
        percent = f"{100 * low:.1f} to {100 * high:.1f}%"
        assert flags == (f"chance: the interval of SPD, {percent}, {says} chance, 25.0%",)
    assert made(UNCLEAR, estimate=own).flags == ()


def test_several_flags() -> None:
    own = Estimate(0.25, 20, 1, Interval(0.1, 0.4), "Wilson score")
    few = difference(0.11, 0.02, 0.2, n=20)
    early = difference(-0.01, -0.1, 0.1, n=20)
    found = made(few, early=early, format_rates=(0.5, 0.9), estimate=own, chance=0.25)
    assert names(found) == ["stops early", "format", "small n", "chance"]


# --- the sentence --------------------------------------------------------------------------------------------


def test_sentence_of_a_gain_without_controls() -> None:
    assert made(GAIN).sentence == (
        "On GSM8K, SPD helps compared with base: +11.0 percentage points (95% interval +2.1 to +19.8, n = 150), "
        "p = 0.01, and p = 0.02 after Holm over 3 comparisons; no control was run."
    )


def test_sentence_of_a_gain_names_the_controls_it_does_not_beat() -> None:
    asked = {"random": (PROJECTION, UNCLEAR), "shuffled": (LABELS, LOSS), "PSR": ("?", GAIN)}
    assert made(GAIN, controls=asked).sentence.endswith(
        "; it is worse than shuffled; it is not shown to be better than random."
    )
    assert made(GAIN, controls={"PSR": ("?", GAIN)}).sentence.endswith("after Holm over 3 comparisons.")


def test_sentence_of_a_loss() -> None:
    assert made(LOSS, p_adjusted=0.01, comparisons=1).sentence == (
        "On GSM8K, SPD hurts compared with base: −11.0 percentage points (95% interval −19.8 to −2.1, n = 150), "
        "p = 0.01, and p = 0.01 after Holm over 1 comparison."
    )


def test_sentence_of_what_is_not_shown_says_what_could_have_been() -> None:
    assert made(UNCLEAR).sentence == (
        "On GSM8K, a difference between SPD and base is not shown: +3.3 percentage points (95% interval −4.0 to "
        "+10.5, n = 150), p = 0.42, and p = 0.84 after Holm over 3 comparisons; an effect below about 9.0 percentage "
        "points could not have been seen reliably with n = 150."
    )
    assert made(UNCLEAR).minimum_detectable == 0.09


def test_sentence_in_nats() -> None:
    better = difference(-0.0041, -0.0072, -0.0011, p=0.0004)
    assert made(better, lower_is_better=True).sentence.startswith(
        "On GSM8K, SPD helps compared with base: −0.0041 nats (95% interval −0.0072 to −0.0011, n = 150, lower is "
        "better), p < 0.001, and p < 0.001 after"
    )
    unclear = difference(-0.0041, -0.0072, 0.0011, p=0.1, least=0.00512)
    assert "an effect below about 0.0051 nats could not" in made(unclear, lower_is_better=True).sentence


def test_sentence_of_too_few_items() -> None:
    found = made(difference(0.4, -math.inf, math.inf, p=0.5, n=4, least=math.inf), lower_is_better=True)
    assert "95% interval −∞ to +∞" in found.sentence
    assert found.sentence.endswith("; with n = 4 even the largest effect could not have been seen.")
    assert found.flags == ("small n: 4 items",)


def test_sentence_of_scores_that_are_the_same() -> None:
    found = made(difference(0, 0, 0, p=1, least=0), lower_is_better=True)
    assert ": 0.0000 nats (95% interval 0.0000 to 0.0000, n = 150" in found.sentence
    assert found.sentence.endswith("comparisons.")


def test_no_sentence_calls_two_arms_equal() -> None:
    found = [made(case, lower_is_better=lower) for case in (GAIN, LOSS, UNCLEAR) for lower in (False, True)]
    for case in found:
        assert case.headline in case.sentence
        assert case.sentence.count(".") - len(re.findall(r"\d\.\d", case.sentence)) == 1  # one sentence
        assert not re.search(r"no effect|no difference|equal|equivalent|only|trend|nearly|significant", case.sentence)


# --- with the statistics, and what is refused ----------------------------------------------------------------


def test_a_claim_from_scores() -> None:
    base = [0] * 40 + [1] * 20
    better, same = [1] * 15 + [0] * 25 + [1] * 20, [1] * 2 + [0] * 40 + [1] * 18
    found = [paired(base, arm, binary=True) for arm in (better, same)]
    adjusted = holm([each.p for each in found])
    first, second = (made(each, p_adjusted=p, comparisons=2) for each, p in zip(found, adjusted, strict=True))
    assert (first.headline, second.headline) == ("helps", "not shown")
    assert "+25.0 percentage points" in first.sentence


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"p_adjusted": 0.005}, "p 0.01 cannot become 0.005 among 3"),
        ({"p_adjusted": 0.04}, "p 0.01 cannot become 0.04 among 3"),
        ({"p_adjusted": math.nan}, "cannot become nan"),
        ({"comparisons": 0}, "among 0 comparisons"),
        ({"chance": 0.25}, "chance 0.25 has nothing"),
        ({"format_rates": (0.5, 0.6), "lower_is_better": True}, "GSM8K is scored by likelihood"),
    ],
)
def test_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(GAIN, **given)

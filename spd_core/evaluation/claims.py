"""What one comparison may be said to show, written by rule from its numbers.

Knows neither models nor files, and has no say in which comparisons are made. It never claims that two arms are
equal: what the data cannot tell apart is "not shown", together with what they could have told apart.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from spd_core.errors import InputError
from spd_core.evaluation.statistics import ALPHA, ROUNDING, Difference, Estimate, Interval

Headline: TypeAlias = Literal["helps", "hurts", "not shown"]
ControlState: TypeAlias = Literal["passed", "not shown", "failed", "not run"]
WEAKEST: tuple[ControlState, ...] = ("failed", "not shown", "not run", "passed")
"""States of controls, the one that speaks most against a gain first."""

SMALL_N = 30
"""Below this number of items the claim is flagged. A convention: intervals are then wider than most effects."""


@dataclass(frozen=True)
class Control:
    """An arm that isolates one explanation of a gain.

    Attributes:
        question: what it asks, e.g. "does any projection do it?".
        state: what `headline` says of subject − control with its own p, before any correction: passed when the subject
            is better, failed when the control is, else not shown: these items cannot decide.
        difference: subject − control, whose interval, p and n decided; None when it was not run.
    """

    name: str
    question: str
    state: ControlState
    difference: Difference | None


@dataclass(frozen=True)
class Claim:
    """A comparison and what may be said of it.

    Attributes:
        difference: subject − `against`, in shares, or in nats where lower is better.
        p_adjusted: after Holm over `comparisons`.
        flags: reasons to doubt, each a name, a colon and its numbers.
        sentence: the comparison in plain text.
    """

    subject: str
    against: str
    set_name: str
    lower_is_better: bool
    difference: Difference
    p_adjusted: float
    comparisons: int
    headline: Headline
    controls: tuple[Control, ...]
    flags: tuple[str, ...]
    sentence: str

    @property
    def minimum_detectable(self) -> float:
        """Smallest true difference that could have been seen, before Holm (see `Difference`)."""
        return self.difference.minimum_detectable

    @property
    def could_be_luck(self) -> bool:
        """Not shown, although the interval excludes zero: among so many comparisons chance finds such a one."""
        return self.headline == "not shown" and 0 not in self.difference.interval

    @property
    def weakest(self) -> ControlState | None:
        """The state of a gain's controls that speaks most against it; None without a gain or without controls."""
        states = {control.state for control in self.controls}
        return next((state for state in WEAKEST if state in states), None) if self.headline == "helps" else None


def strongest(claims: Iterable[Claim]) -> Headline:
    """What colours a verdict on several: a gain before a loss, and `not shown` where there is neither."""
    kinds = {one.headline for one in claims}
    return "helps" if "helps" in kinds else "hurts" if "hurts" in kinds else "not shown"


def headline(difference: Difference, p_adjusted: float, lower_is_better: bool) -> Headline:
    """Helps or hurts when the 95% interval excludes zero and the adjusted p is below 0.05, else not shown."""
    gain = _as_gain(difference, lower_is_better)
    if p_adjusted >= ALPHA or 0 in gain.interval:
        return "not shown"
    return "helps" if gain.effect > 0 else "hurts"


def claim(
    *,
    subject: str,
    against: str,
    set_name: str,
    difference: Difference,
    p_adjusted: float,
    comparisons: int,
    lower_is_better: bool,
    controls: Mapping[str, tuple[str, Difference | None]] | None,
    early: Difference | None = None,
    format_rates: tuple[float, float] | None = None,
    estimate: Estimate | None = None,
    chance: float | None = None,
    seen: Sequence[str] = (),
    unseen: Difference | None = None,
) -> Claim:
    """The claim of one comparison.

    Args:
        difference: subject − against.
        p_adjusted: its p after Holm over all `comparisons` that are shown together.
        lower_is_better: True for −log p in nats, False for shares of right answers.
        controls: by name, the question it answers and subject − control; None when it was not run. None for all where
            `against` is a control itself.
        early: subject − against when each answer is cut after the first line that holds an answer.
        format_rates: share of completions an answer could be read from, of `against` and of the subject.
        estimate: the subject's own score, for `chance`: the score of guessing, of a set with options.
        seen: flags of items that one of the two had seen (see `contamination.seen_flag`).
        unseen: subject − against on the other items alone; None where there are none, or nobody knows which they are.

    Raises:
        InputError: an adjusted p that cannot come from p and the number of comparisons; chance without an
            estimate; format rates or chance where lower is better.
    """
    _check(difference.p, p_adjusted, comparisons)
    if chance is not None and estimate is None:
        raise InputError(f"chance {chance:g} has nothing to be compared with; give the subject's estimate too")
    if lower_is_better and not (format_rates is None and chance is None):
        raise InputError(f"{set_name} is scored by likelihood, which has no format and no chance; leave them out")
    made = Claim(
        subject=subject,
        against=against,
        set_name=set_name,
        lower_is_better=lower_is_better,
        difference=difference,
        p_adjusted=p_adjusted,
        comparisons=comparisons,
        headline=headline(difference, p_adjusted, lower_is_better),
        controls=tuple(_control(name, *asked, lower_is_better) for name, asked in (controls or {}).items()),
        flags=(),
        sentence="",
    )
    others = [] if unseen is None else [_unseen_flag(unseen, lower_is_better)]
    flags = (*seen, *others, *_gain_flags(made, early, format_rates), *_size_flags(made, estimate, chance))
    return replace(made, flags=flags, sentence=_sentence(made, controls is not None))


def _check(p: float, adjusted: float, comparisons: int) -> None:
    if not p - ROUNDING <= adjusted <= min(1.0, comparisons * p) + ROUNDING:
        raise InputError(f"p {p:g} cannot become {adjusted:g} among {comparisons} comparisons; give Holm's adjusted p")


def _as_gain(difference: Difference, lower_is_better: bool) -> Difference:
    """The difference turned so that above zero is better."""
    if not lower_is_better:
        return difference
    mirrored = Interval(-difference.interval.high, -difference.interval.low)
    return replace(difference, effect=-difference.effect, interval=mirrored)


def _control(name: str, question: str, difference: Difference | None, lower_is_better: bool) -> Control:
    if difference is None:
        return Control(name, question, "not run", None)
    states: Mapping[Headline, ControlState] = {"helps": "passed", "hurts": "failed", "not shown": "not shown"}
    return Control(name, question, states[headline(difference, difference.p, lower_is_better)], difference)


def _unseen_flag(unseen: Difference, lower_is_better: bool) -> str:
    ends = f"{_number(unseen.interval.low, lower_is_better)} to {_number(unseen.interval.high, lower_is_better)}"
    effect = _effect(unseen.effect, lower_is_better)
    return f"unseen items: {effect} (95% interval {ends}) on the {unseen.n} others, p {p_text(unseen.p)}"


def _gain_flags(made: Claim, early: Difference | None, format_rates: tuple[float, float] | None) -> Iterator[str]:
    """Reasons why a gain may be of another kind than it seems."""
    gain = _as_gain(made.difference, made.lower_is_better).effect
    if gain <= 0:
        return
    if early is not None and _as_gain(early, made.lower_is_better).effect <= ROUNDING:
        cut = _effect(early.effect, made.lower_is_better)
        whole = _effect(made.difference.effect, made.lower_is_better)
        yield f"stops early: {whole}, but {cut} when each answer is cut after the first line that holds an answer"
    if format_rates is not None and (rise := format_rates[1] - format_rates[0]) >= gain - ROUNDING:
        yield f"format: answers that could be read {_effect(rise, False)}, accuracy {_effect(gain, False)}"


def _size_flags(made: Claim, estimate: Estimate | None, chance: float | None) -> Iterator[str]:
    if made.difference.n < SMALL_N:
        yield f"small n: {made.difference.n} items"
    if estimate is not None and chance is not None and estimate.interval.low <= chance:
        low, high = 100 * estimate.interval.low, 100 * estimate.interval.high
        place = "contains" if chance in estimate.interval else "lies below"
        yield f"chance: the interval of {made.subject}, {low:.1f} to {high:.1f}%, {place} chance, {100 * chance:.1f}%"


def _sentence(made: Claim, controlled: bool) -> str:
    found, lower = made.difference, made.lower_is_better
    says = {
        "helps": f"{made.subject} helps compared with {made.against}",
        "hurts": f"{made.subject} hurts compared with {made.against}",
        "not shown": f"a difference between {made.subject} and {made.against} is not shown",
    }
    ends = f"{_number(found.interval.low, lower)} to {_number(found.interval.high, lower)}"
    return (
        f"On {made.set_name}, {says[made.headline]}: {_effect(found.effect, lower)} (95% interval {ends}, "
        f"n = {found.n}{', lower is better' if lower else ''}), p {p_text(found.p)}, and p {p_text(made.p_adjusted)} "
        f"after Holm over {made.comparisons} comparison{'s' * (made.comparisons != 1)}{_limits(made, controlled)}."
    )


def _limits(made: Claim, controlled: bool) -> str:
    """What the sentence must not leave out: what could not be seen, or what else may have made the gain."""
    n, least = made.difference.n, made.minimum_detectable
    if made.headline == "helps":
        failed, undecided, absent = (
            [control.name for control in made.controls if control.state == state]
            for state in ("failed", "not shown", "not run")
        )
        doubts = [f"it is worse than {' and '.join(failed)}"] if failed else []
        doubts += [f"it is not shown to be better than {' or '.join(undecided)}"] if undecided else []
        doubts += [f"not compared with {' or '.join(absent)}"] if absent else []
        doubts += ["no control was run"] if controlled and not made.controls else []
        return "".join(f"; {doubt}" for doubt in doubts)
    if made.headline == "hurts" or least == 0:  # zero: every item differs by the same, which no spread can limit
        return ""
    if math.isinf(least):
        return f"; with n = {n} even the largest effect could not have been seen"
    size = f"{least:.2g} nats" if made.lower_is_better else f"{100 * least:.1f} percentage points"
    return f"; an effect below about {size} could not have been seen reliably with n = {n}"


def _effect(value: float, lower_is_better: bool) -> str:
    return f"{_number(value, lower_is_better)} {'nats' if lower_is_better else 'percentage points'}"


def _number(value: float, lower_is_better: bool) -> str:
    """A signed number in nats, or a share in percentage points, with a real minus and no signed zero."""
    text = f"{value:+.4f}" if lower_is_better else f"{100 * value:+.1f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−").replace("inf", "∞")


def p_text(value: float) -> str:
    """`< 0.001`, or `= 0.0625`: three digits, and more where fewer would not say whether it is below 0.05."""
    if value < 0.001:
        return "< 0.001"
    digits = next(n for n in range(3, 18) if (float(f"{value:.{n}g}") < ALPHA) == (value < ALPHA))
    return f"= {value:.{digits}g}"

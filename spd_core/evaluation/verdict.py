"""What a whole evaluation may be said to show, in a sentence or a few, by rule from its claims; never more than they.

Knows neither models nor files. What single comparisons say is in `evaluation/claims.py`.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator

from spd_core.evaluation.claims import Claim, p_text
from spd_core.evaluation.report import shown_change, shown_interval

MOST_NAMED = 3
"""Gains, and losses, that are named one by one; more are counted."""


_FELL_SHORT = {
    "not run": ("was not run", "were not run"),
    "failed": ("failed", "failed"),
    "not shown": ("could not decide", "could not decide"),
}


def verdict(claims: Collection[Claim], missing: int = 0) -> str:
    """The sentences; empty without a claim.

    Args:
        missing: comparisons that are still to come, or damaged.
    """
    if not claims:
        return ""
    helps, hurts = ([one for one in claims if one.headline == word] for word in ("helps", "hurts"))
    said = [*_named(helps, "helps", claims), *_named(hurts, "hurts", claims)]
    if not helps:
        said.append(f"Nothing is shown to help{'' if hurts else ' or to hurt'} on {_sets(claims)}.")
        said += _closest(claims)
        said += _unseen(claims)
    else:
        said += _rest(len(claims), len(helps) + len(hurts))
    if missing:
        said.insert(0, f"So far, with {_counted(missing, 'comparison')} missing:")
    return " ".join(said)


def _named(found: list[Claim], word: str, claims: Collection[Claim]) -> Iterator[str]:
    """A sentence for each gain or loss, the largest first within points and within nats; the others in one."""
    largest = sorted(found, key=lambda one: (one.lower_is_better, -abs(one.difference.effect)))
    for one in largest[:MOST_NAMED]:
        low, difference = one.lower_is_better, one.difference
        ends = shown_interval(difference.interval, low, signed=True)
        yield (
            f"{one.subject} {word} on {one.set_name} by {shown_change(difference.effect, low)} ({ends})"
            f"{_controls(one) if word == 'helps' else ''}."
        )
    if len(found) > MOST_NAMED:
        yield f"{len(found) - MOST_NAMED} more of {len(claims)} comparisons {word[:-1]}, too."


def _controls(one: Claim) -> str:
    """What became of a gain's controls."""
    states = Counter(control.state for control in one.controls)
    passed, every = states.pop("passed", 0), len(one.controls)
    if not every:
        return "; it has no control"
    if states.get("not run", 0) == every:
        return f"; none of its {_counted(every, 'control')} was run"
    if passed == every:
        return f" and passes all {every} controls" if every > 1 else " and passes its control"
    rest = ", ".join(f"{count} {_FELL_SHORT[state][count > 1]}" for state, count in states.items())
    return f" and passes {passed} of {_counted(every, 'control')}; {rest}"


def _closest(claims: Collection[Claim]) -> Iterator[str]:
    """What has an interval without zero, and yet shows nothing."""
    found = sorted((one for one in claims if one.could_be_luck), key=lambda one: one.p_adjusted)
    if not found:
        return
    one = found[0]
    low, difference = one.lower_is_better, one.difference
    yield (
        f"{one.subject} on {one.set_name} comes closest: {shown_change(difference.effect, low)} "
        f"({shown_interval(difference.interval, low, signed=True)}), but chance finds such an interval among "
        f"{_counted(one.comparisons, 'comparison')} (p {p_text(one.p_adjusted)} after Holm)."
    )


def _sets(claims: Collection[Claim]) -> str:
    names = list(dict.fromkeys(one.set_name for one in claims))
    return names[0] if len(names) == 1 else _counted(len(names), "set")


def _unseen(claims: Collection[Claim]) -> Iterator[str]:
    """The differences that each size of set may have hidden: from the finest comparison to the coarsest."""
    for low in (False, True):
        least: dict[int, list[float]] = {}
        for one in claims:
            if one.lower_is_better == low and one.headline == "not shown":
                least.setdefault(one.difference.n, []).append(one.minimum_detectable)
        for n, sizes in sorted(least.items()):
            if math.isinf(max(sizes)):
                yield f"With n = {n}, no difference could have been seen."
            elif max(sizes) > 0:
                about = " to ".join(dict.fromkeys(_rounded_up(size, low) for size in (min(sizes), max(sizes))))
                unit = "nats" if low else "points"
                yield f"With n = {n}, a difference below about {about} {unit} would most likely not have been seen."


def _rounded_up(size: float, likelihood: bool) -> str:
    return f"{size:.2g}" if likelihood else f"{math.ceil(100 * size - 1e-9)}"


def _rest(every: int, shown: int) -> Iterator[str]:
    left = every - shown
    if left:
        yield f"{_counted(left, 'other comparison')} of {every} {'is' if left == 1 else 'are'} not shown."


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"

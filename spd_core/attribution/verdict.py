"""The sentences on a direction: which tokens make it, lie along it, it points towards, and whether it matters. By rule;
imports no torch."""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from spd_core.attribution.results import ONLY, ONLY_RANDOM, RANDOM_REMOVED, REMOVED, CausalCheck, Lens
from spd_core.attribution.tables import ASIDE, LOSS, OTHER, extremes, summed
from spd_core.text import shown, signed

if TYPE_CHECKING:
    import pandas as pd

_FROM = {
    LOSS: "the loss tokens themselves",
    OTHER: "the context, not the loss tokens",
    ASIDE: "each text's first position and special tokens",
}


def energy_verdict(table: "pd.DataFrame", direction: int) -> str:
    """Where most of a direction's energy comes from, and the token that has most of the rest.

    Args:
        table: of `tables.direction_table`.
        direction: 0-based.
    """
    roles = summed(table, "role")
    role, share = str(roles.role[0]), float(roles.share[0])
    most = f"{share:.0%} of direction {direction + 1} comes from {_FROM[role]}."
    rest = table[~table.aside] if role == ASIDE else table
    tokens = summed(rest, "text")
    if tokens.empty or not tokens.share[0]:
        return most
    name = _named(str(tokens.text[0]))
    where = "of the rest" if role == ASIDE else "of all tokens"
    count = int(tokens.tokens[0])
    places = f"{count:,} place{'s' * (count != 1)}"
    return f"{most} “{name}” has most {where}: {tokens.share[0]:.1%}, in {places}."


def coordinate_verdict(table: "pd.DataFrame", direction: int, kind: str) -> str:
    """Which tokens lie farthest along a direction and against it, and how many of the farthest are such tokens.

    Args:
        table: of `tables.direction_table`, without what is hidden.
        direction: 0-based.
        kind: `key` or `value`.
    """
    above, below = (_most_frequent(list(rows.text)) for rows in extremes(table, "coordinate"))
    if above is None or below is None:
        return ""
    (along, many, of), (against, some, of_others) = above, below
    return (
        f"{_capital(kind)}s point farthest along direction {direction + 1} at {along}, and farthest against it at "
        f"{against}. These are {many} of the {of} largest coordinates and {some} of the {of_others} most negative "
        "ones; which way is along is arbitrary."
    )


def _most_frequent(texts: "list[str]") -> tuple[str, int, int] | None:
    """The most frequent token as a name, the first one of several, how often it is there, and of how many."""
    if not texts:
        return None
    text, count = Counter(texts).most_common(1)[0]
    return f"“{_named(text)}”", count, len(texts)


# --- causal check --------------------------------------------------------------------------------------------


ENOUGH = 19
"""Random directions from which on chance does as much at most one time in twenty."""


def causal_verdict(check: CausalCheck, title: str) -> str:
    """Whether a direction matters to the loss tokens, and what removing it and keeping only it do.

    One rule for both changes, which the figure draws: a change counts where its whole 95% interval lies outside the
    band of the random directions (`CausalCheck.band`).
    """
    if np.isnan(check.mean(REMOVED)[1]):
        return "One text tells nothing of the spread: score more texts."
    return f"{_matters(check, title)} {_removing(check)} {_keeping(check)}"


def _outside(check: CausalCheck, change: str) -> bool:
    (_, low, high), (least, most) = check.mean(change), check.band(change)
    return low > most or high < least


def _matters(check: CausalCheck, title: str) -> str:
    """The headline."""
    mean, low, high = check.mean(REMOVED)
    drawn = check.random_means(RANDOM_REMOVED)
    if not _outside(check, REMOVED):
        return f"{_capital(title)} is not shown to matter."
    if len(drawn) < ENOUGH:
        return f"Whether {title} matters is open: {len(drawn)} random directions are too few."
    if low <= 0 <= high or abs(mean) < np.abs(drawn).min():
        return f"Removing {title} does less than removing random directions."
    return f"{_capital(title)} matters: without it the loss tokens are {'less' if mean < 0 else 'more'} probable."


def _removing(check: CausalCheck) -> str:
    _, low, high = check.mean(REMOVED)
    interval = f"95%: {signed(low, '+.2g')} to {signed(high, '+.2g')}"
    does = f"Removing it {_moves(check, REMOVED)} a loss token ({interval})"
    drawn = check.random_means(RANDOM_REMOVED)
    many = len(drawn)
    if _outside(check, REMOVED):
        return f"{does}; {many} random directions reach from {_band(check, REMOVED)}."
    if not drawn.min() <= check.mean(REMOVED)[0] <= drawn.max():
        return (
            f"{does}: beyond all of {many} random directions, but the interval overlaps their band "
            f"({_band(check, REMOVED)})."
        )
    return f"{does}, which overlaps what {many} random directions do ({_band(check, REMOVED)})."


def _keeping(check: CausalCheck) -> str:
    """What keeping only the direction does, and whether that is its own doing."""
    least, most = check.band(ONLY)
    does = f"Keeping only it {_moves(check, ONLY)}"
    if _outside(check, ONLY):
        return f"{does}, outside of what keeping a random one does ({_band(check, ONLY)})."
    if least <= 0 <= most:
        return f"{does}, as keeping a random one may ({_band(check, ONLY)})."
    own, drawn = abs(check.mean(ONLY)[0]), np.abs(check.random_means(ONLY_RANDOM))
    each = ", each by more" if own < drawn.min() else ", each by less" if own > drawn.max() else ""
    return f"{does}, and so does keeping a random one ({_band(check, ONLY)}{each}): losing the rest does it."


def _moves(check: CausalCheck, change: str) -> str:
    mean = check.mean(change)[0]
    return f"{'lowers' if mean < 0 else 'raises'} log p by {abs(mean):.2g} nats"


def _band(check: CausalCheck, change: str) -> str:
    return " to ".join(signed(end, "+.2g") for end in check.band(change))


def _capital(title: str) -> str:
    return f"{title[:1].upper()}{title[1:]}"


# --- logit lens ----------------------------------------------------------------------------------------------


def lens_verdict(lens: Lens, title: str) -> str:
    """Which tokens a direction promotes most, and whether more strongly than random directions promote theirs."""
    tokens = ", ".join(f"“{_named(token.text)}”" for token in lens.promoted[:3])
    most = f"{_capital(title)} points towards {tokens}"
    if not lens.random:
        return f"{most}; whether more strongly than a random one is open."
    token = lens.strongest
    whose = f"{'towards' if token.score > 0 else 'away from'} “{_named(token.text)}”"
    largest = f"Its largest score is {lens.largest:.3g} logits, {whose}; those of {len(lens.random)} random ones are "
    scores = f"{largest}{min(lens.random):.3g} to {max(lens.random):.3g}"
    if lens.largest > max(lens.random) and len(lens.random) >= ENOUGH:
        return (
            f"{most}, more strongly than random directions towards theirs. {scores}. That says nothing of their sense."
        )
    return f"{most}, no more strongly than random directions towards theirs. {scores}: these tokens may be luck."


def _named(text: str) -> str:
    """A token in a sentence: white space visible, so that it ends no sentence either."""
    return shown(text).replace(" ", "·").replace("\t", "⇥").replace("\n", "↵") or "∅"

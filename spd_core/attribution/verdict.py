"""The sentences on a direction: which tokens it comes from, and whether it matters. By rule; imports no torch."""

from typing import TYPE_CHECKING

import numpy as np

from spd_core.attribution.results import RANDOM_REMOVED, REMOVED, CausalCheck
from spd_core.attribution.tables import ASIDE, LOSS, OTHER, summed
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
    name = shown(str(tokens.text[0])).replace(" ", "·").replace("\n", "↵") or "∅"
    where = "of the rest" if role == ASIDE else "of all tokens"
    count = int(tokens.tokens[0])
    places = f"{count:,} place{'s' * (count != 1)}"
    return f"{most} “{name}” has most {where}: {tokens.share[0]:.1%}, in {places}."


_CHANCE = 0.05


def causal_verdict(check: CausalCheck, title: str) -> str:
    """Whether removing a direction does more to the loss tokens than removing random ones does.

    The rank of its mean change among those of the random directions gives p = (as strong + 1) / (draws + 1), the
    p-value of a Monte Carlo test (Davison and Hinkley, 1997, section 4.2).
    """
    mean, low, high = check.mean(REMOVED)
    if np.isnan(low):
        return "One text tells nothing of the spread: score more texts."
    size = f"{abs(mean):.2g} nats a loss token (95 %: {signed(low, '+.2g')} to {signed(high, '+.2g')})"
    if low <= 0 <= high:
        return f"Not shown to matter: removing {title} changes log p by {size}, an interval that holds 0."
    drawn = check.random_means(RANDOM_REMOVED)
    as_strong = int((np.abs(drawn) >= abs(mean)).sum())
    chance = (as_strong + 1) / (len(drawn) + 1)
    did = f"Removing {title} {'lowers' if mean < 0 else 'raises'} log p by {size}"
    if chance <= _CHANCE:
        return f"{did}, more than any of {len(drawn)} random directions. It matters by itself here (p = {chance:.2g})."
    if not as_strong:
        return f"{did}, more than any of {len(drawn)} random directions, too few to rule out chance (p = {chance:.2g})."
    return f"{did}, and {as_strong} of {len(drawn)} random directions change it as much. So this is no sign of it."

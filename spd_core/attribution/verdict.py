"""The sentence on a direction: which tokens it comes from. By rule from its energy shares; imports no torch."""

from typing import TYPE_CHECKING

from spd_core.attribution.tables import ASIDE, LOSS, OTHER, summed
from spd_core.text import shown

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

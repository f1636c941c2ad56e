"""What the overlap of subspaces may be said to show, beside random ones; by rule, never more. Imports no torch."""

from collections.abc import Iterator, Sequence

from spd_core.subspace.spectrum import Overlap

ALL, HALVES = "all examples", ("half 1", "half 2")
"""Names of a capture's own subspaces in an overlap: of all its examples, and of either half alone."""


def captures_verdict(found: Overlap, where: str) -> str:
    """Whether two halves of the examples agree on a subspace, and which other captures share more of it than chance.

    Args:
        found: of `ALL`, then of `HALVES` where they are known, then of other captures.
        where: whose subspaces they are: `Layer 29 values at rank 96`.
    """
    if found.chance.max() >= 1:
        return f"{where}: every direction is kept, so all subspaces share everything. Choose a lower rank."
    at = {name: i for i, name in enumerate(found.names)}
    others = [at[name] for name in found.names if name not in (ALL, *HALVES)]
    said = list(_others(found, at[ALL], others))
    if set(HALVES) <= set(at):
        said.insert(0, _halves(found, at[HALVES[0]], at[HALVES[1]]))
    elif not others:
        return ""
    limit = max(_limit(found, i, j) for i in range(len(at)) for j in range(i))
    return f"{where}: {' '.join(said)} {_rule(limit)}"


def layers_verdict(found: Overlap, where: str) -> str:
    """At how many pairs of layers the subspaces share more than random ones would.

    Args:
        where: whose subspaces they are: `Values at rank 96`.
    """
    pairs = [(i, j) for j in range(len(found.names)) for i in range(j)]
    if found.chance.max() >= 1:
        return f"{where}: every direction is kept, so all subspaces share everything. Choose a lower rank."
    beyond = sum(found.beyond_chance(i, j) for i, j in pairs)
    i, j = max(pairs, key=lambda pair: found.shared(*pair))
    shared = f"{found.names[i]} and {found.names[j]} share {_percent(found.shared(i, j))}"
    random = f"random subspaces {_percent(found.chance[i, j])}"
    if len(pairs) == 1:
        return f"{where}: {shared}, {random}: {'' if beyond else 'no '}more than chance. {_rule(_limit(found, i, j))}"
    first = f"{where}: {beyond or 'none'} of {len(pairs)} pairs of layers share more than chance."
    return f"{first} The most, {shared}; {random}. {_rule(max(_limit(found, *pair) for pair in pairs))}"


def _halves(found: Overlap, i: int, j: int) -> str:
    said = f"two halves of the examples share {_percent(found.shared(i, j))}, random subspaces"
    if found.beyond_chance(i, j):
        return f"{said} {_percent(found.chance[i, j])}: more than chance."
    return f"{said} {_percent(found.chance[i, j])}: no more than chance, the examples are too few for this rank."


def _others(found: Overlap, own: int, others: Sequence[int]) -> Iterator[str]:
    """Other captures, those that share more than chance first."""
    for beyond, meaning in ((True, "more than chance"), (False, "no more than chance")):
        group = [i for i in others if found.beyond_chance(own, i) is beyond]
        if group:
            shared = ", ".join(f"{found.names[i]} {_percent(found.shared(own, i))}" for i in group)
            yield f"Shared with other captures, {meaning}: {shared}."


def _limit(found: Overlap, i: int, j: int) -> float:
    return float(found.limit[i, j])


def _rule(limit: float) -> str:
    return f"More than chance is above {_percent(limit)}: the mean of random subspaces and two standard deviations."


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"

"""Dose response: what a projected subject scores in domain over its rank, and over its strength. Imports no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spd_core.evaluation.table import Answered, Table
from spd_core.recipes.evaluation import Subject

_FEWEST = 3
"""Points that make a curve."""


@dataclass(frozen=True)
class Dose:
    """One curve.

    Attributes:
        what: what its x axis is.
        points: label and score, in ascending order.
        base: the untouched model.
    """

    what: str
    points: Sequence[tuple[str, Answered]]
    base: Answered


def doses(table: Table) -> Iterator[Dose]:
    """The curves that the subjects of a table make on its in-domain set: nothing but rank, or strength, differs."""
    name = next((column.name for column in table.columns if column.in_domain), None)
    base = None if name is None else table.answered.get((table.base.name, name))
    if name is None or base is None or base.likelihood:
        return
    subjects = [one for one in table.recipe.subjects if (one.name, name) in table.answered and _plain(one)]
    own = table.recipe.capture.strength
    ranks = {float(one.rank): one for one in subjects if one.rank and one.rank.isdecimal() and one.strength is None}
    strengths = {own if one.strength is None else one.strength: one for one in subjects if one.rank is None}
    for what, by_dose in (("rank", ranks), ("strength α", strengths)):
        if len(by_dose) >= _FEWEST:
            yield Dose(what, [(f"{at:g}", table.answered[by_dose[at].name, name]) for at in sorted(by_dose)], base)


def _plain(one: Subject) -> bool:
    """Whether it is projected into the capability's subspace and differs in rank and strength at most."""
    plain = one.model_copy(update={"rank": None, "strength": None, "label": ""})
    return plain == Subject(kind="projected")

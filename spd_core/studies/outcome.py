"""What a study has shown: its announced comparisons as one family, each with its interval. Imports no torch.

Comparisons with the base on every set, and the controls, are each table's own claims (`evaluation/table.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from spd_core.evaluation.claims import Headline, headline
from spd_core.evaluation.statistics import Difference, holm
from spd_core.evaluation.table import Answered, Table, paired_difference
from spd_core.studies.plan import Announced, Part, Study


@dataclass(frozen=True)
class Outcome:
    """An announced comparison, answered or not.

    Attributes:
        subject, against: what each scored; None while it is not answered.
        difference: subject − against, item by item.
        p_adjusted: after Holm over all that were announced; those that are not answered count as p = 1.
        headline: what it shows after that.
    """

    announced: Announced
    part: Part
    subject: Answered | None = None
    against: Answered | None = None
    difference: Difference | None = None
    p_adjusted: float = 1.0
    headline: Headline = "not shown"

    @property
    def titles(self) -> tuple[str, str]:
        """What people call the two."""
        by_name = {subject.name: subject.title for subject in self.part.recipe.subjects}
        return by_name[self.announced.subject], by_name[self.announced.against]


def outcomes(study: Study, tables: Mapping[str, Table]) -> tuple[Outcome, ...]:
    """All announced comparisons, in their order.

    Args:
        tables: of the evaluations that have been carried out, by their names.
    """
    found = [_outcome(one, study.part(one.part), tables.get(one.part)) for one in study.primary]
    p_values = [1.0 if one.difference is None else one.difference.p for one in found]
    return tuple(
        one if one.difference is None else _corrected(one, one.difference, p)
        for one, p in zip(found, holm(p_values), strict=True)
    )


def _outcome(announced: Announced, part: Part, table: Table | None) -> Outcome:
    name = announced.set or part.in_domain
    subject, against = (
        None if table is None else table.answered.get((one, name)) for one in (announced.subject, announced.against)
    )
    if subject is None or against is None:
        return Outcome(announced, part)
    return Outcome(announced, part, subject, against, paired_difference(against, subject))


def _corrected(one: Outcome, difference: Difference, p: float) -> Outcome:
    low = one.subject is not None and one.subject.likelihood
    return Outcome(one.announced, one.part, one.subject, one.against, difference, p, headline(difference, p, low))

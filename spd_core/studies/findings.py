"""What a study has shown: its announced comparisons as one family, each with its interval. Imports no torch.

Comparisons with the base on every set, and the controls, are each table's own claims (`evaluation/table.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from spd_core.evaluation.claims import Claim
from spd_core.evaluation.statistics import holm
from spd_core.evaluation.table import Answered, Column, Table, claim_of, paired_difference
from spd_core.studies.plan import Announced, PlannedTable, StudyPlan


@dataclass(frozen=True)
class Finding:
    """An announced comparison, answered or not.

    Attributes:
        column: the set; `subject` and `against` what each scored there; None while it is not answered.
        claim: what it shows, after Holm over all that were announced; None likewise.
    """

    announced: Announced
    part: PlannedTable
    column: Column | None = None
    subject: Answered | None = None
    against: Answered | None = None
    claim: Claim | None = None

    @property
    def titles(self) -> tuple[str, str]:
        """What people call the two."""
        by_name = {subject.name: subject.title for subject in self.part.recipe.subjects}
        return by_name[self.announced.subject], by_name[self.announced.against]


def findings(study: StudyPlan, tables: Mapping[str, Table]) -> tuple[Finding, ...]:
    """All announced comparisons, in their order; in the family those that are not answered count as p = 1.

    Args:
        tables: of the evaluations that have been carried out, by their names.
    """
    pairs = [_pair(one, study.part(one.part), tables.get(one.part)) for one in study.primary]
    found = [None if pair is None else paired_difference(pair[2], pair[1]) for pair in pairs]
    p_values = holm([1.0 if one is None else one.p for one in found])
    made = []
    for one, pair, difference, p in zip(study.primary, pairs, found, p_values, strict=True):
        part = study.part(one.part)
        if pair is None or difference is None:
            made.append(Finding(one, part))
            continue
        column, subject, against = pair
        made.append(
            Finding(one, part, column, subject, against, claim_of(against, subject, difference, p, len(study.primary)))
        )
    return tuple(made)


def _pair(announced: Announced, part: PlannedTable, table: Table | None) -> tuple[Column, Answered, Answered] | None:
    """The set, and what both scored on it."""
    if table is None:
        return None
    name = announced.set or part.in_domain
    subject, against = (table.answered.get((one, name)) for one in (announced.subject, announced.against))
    return None if subject is None or against is None else (table.column(name), subject, against)

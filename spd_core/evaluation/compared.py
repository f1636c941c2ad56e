"""Two evaluations beside each other: which of their cells are of the same subject and set, and how those differ.

The order counts: differences are second − first. Knows nothing of how they are drawn; imports no torch.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from spd_core.evaluation.cells import Cell
from spd_core.evaluation.claims import p_text
from spd_core.evaluation.controls import role
from spd_core.evaluation.report import shown_change, shown_interval, shown_value
from spd_core.evaluation.statistics import Difference, holm
from spd_core.evaluation.store import Asked
from spd_core.evaluation.table import Answered, Table, paired_difference


@dataclass(frozen=True)
class SharedCell:
    """A subject on a set, in both evaluations.

    Attributes:
        same_subject: the same model, projection and adapter answered in both, by their fingerprints.
        same_items: both answered the same items, put in the same way.
        difference: second − first, item by item on those that both answered; None where they cannot be paired.
        p_adjusted: after Holm over all pairs of different subjects; None for the same one, which is no comparison.
        why: why they cannot be paired, or on which items alone they are; what else differs. Empty where there is
            nothing to say.
    """

    first: Answered
    second: Answered
    same_subject: bool
    same_items: bool
    difference: Difference | None
    p_adjusted: float | None
    why: str

    @property
    def sentence(self) -> str:
        """The comparison in plain text."""
        low = self.first.likelihood
        names = " and ".join(dict.fromkeys((self.first.subject.title, self.second.subject.title)))
        if self.difference is None:
            scores = " and ".join(_score(one) for one in (self.first, self.second))
            return f"{names} on {self.first.cells[0].title}: {scores}; {self.why}."
        found = self.difference
        ends = shown_interval(found.interval, low, signed=True)
        holm_says = "" if self.p_adjusted is None else f", {p_text(self.p_adjusted)} after Holm"
        return (
            f"{names} on {self.first.cells[0].title}: {shown_change(found.effect, low)} ({ends}), n = {found.n}, "
            f"p {p_text(found.p)}{holm_says}{'; the same subject' if self.same_subject else ''}"
            f"{f'; {self.why}' if self.why else ''}."
        )


def _score(one: Answered) -> str:
    ends = shown_interval(one.estimate.interval, one.likelihood)
    return f"{shown_value(one.estimate.value, one.likelihood)} ({ends}, n = {one.estimate.n})"


def shared_cells(first: Table, second: Table) -> tuple[SharedCell, ...]:
    """The cells that two evaluations share, subjects and sets as in the first.

    Subjects are matched by their fingerprints, then by their names, then by their roles, as `spd` is trained otherwise
    in each; sets by what they hold, then by their names.
    """
    subjects = _matched(_subjects(first), _subjects(second), (_fingerprints, _name, _role))
    sets = _matched(_sets(first), _sets(second), (_items, _capability))
    found = [
        _shared(first.answered[subject, name], second.answered[subjects[subject], sets[name]])
        for subject, name in first.answered
        if subject in subjects and name in sets and (subjects[subject], sets[name]) in second.answered
    ]
    p_values = [one.difference.p for one in found if one.difference is not None and not one.same_subject]
    adjusted = iter(holm(p_values)) if p_values else iter(())
    return tuple(
        one if one.difference is None or one.same_subject else replace(one, p_adjusted=next(adjusted)) for one in found
    )


# --- matching ----------------------------------------------------------------------------------------------------


def _subjects(table: Table) -> dict[str, Answered]:
    """One of each subject's answered sets."""
    return {name: one for (name, _), one in table.answered.items()}


def _sets(table: Table) -> dict[str, Answered]:
    return {name: one for (_, name), one in table.answered.items()}


def _fingerprints(one: Answered) -> Hashable:
    return tuple((cell.about.subject, cell.about.writer) for cell in one.cells)


def _name(one: Answered) -> Hashable:
    return one.subject.name


def _role(one: Answered) -> Hashable:
    return role(one.subject) or None


def _items(one: Answered) -> Hashable:
    return one.cells[0].fingerprint


def _capability(one: Answered) -> Hashable:
    return one.cells[0].set


def _matched(
    first: Mapping[str, Answered],
    second: Mapping[str, Answered],
    alike: Sequence[Callable[[Answered], Hashable]],
) -> dict[str, str]:
    """One of the second for each of the first, each once: by the first of the keys that finds any."""
    found: dict[str, str] = {}
    for key in alike:
        for name, one in first.items():
            left = (other for other in second if other not in found.values())
            same = next((other for other in left if key(one) is not None and key(second[other]) == key(one)), None)
            if name not in found and same is not None:
                found[name] = same
    return found


# --- one pair ----------------------------------------------------------------------------------------------------


def _shared(first: Answered, second: Answered) -> SharedCell:
    asked = [[record.asked for record in one.items[0]] for one in (first, second)]
    common = [one for one in asked[0] if one in set(asked[1])]
    why = _why_not(first, second, common)
    difference = None if why else paired_difference(_only(first, common), _only(second, common))
    return SharedCell(
        first=first,
        second=second,
        same_subject=_fingerprints(first) == _fingerprints(second),
        same_items=asked[0] == common and len(asked[1]) == len(common),
        difference=difference,
        p_adjusted=None,
        why=why or _reservations(first, second, len(common)),
    )


def _why_not(first: Answered, second: Answered, common: Sequence[Asked]) -> str:
    """Why two cells cannot be paired; empty where they can."""
    scored = [f"{cell.about.scorer}, version {cell.about.scoring}" for cell in (first.cells[0], second.cells[0])]
    if scored[0] != scored[1]:
        return f"no pairs: they are scored in different ways ({scored[0]}; {scored[1]})"
    if common:
        return ""
    if {record.id for record in first.items[0]} & {record.id for record in second.items[0]}:
        return "no pairs: the items were put to the two in different ways, or were edited in between"
    return "no pairs: the two have answered different items"


def _only(one: Answered, asked: Sequence[Asked]) -> Answered:
    """The same with these items alone, in this order."""
    known = [{record.asked: record for record in records} for records in one.items]
    return replace(one, items=tuple(tuple(records[which] for which in asked) for records in known))


def _reservations(first: Answered, second: Answered, common: int) -> str:
    """What a reader of a paired difference must know."""
    counts = [len(one.items[0]) for one in (first, second)]
    said = (
        [f"on the {common} items that both have answered, of {counts[0]} and {counts[1]}"]
        if set(counts) != {common}
        else []
    )
    for what, value in (("answers of at most", _longest), ("seeds", _seeds), ("answers", _writer)):
        values = [value(one.cells) for one in (first, second)]
        said += [f"{what} {values[0]} and {values[1]}"] if values[0] != values[1] else []
    return "; ".join(said)


def _longest(cells: Sequence[Cell]) -> str:
    return f"{cells[0].about.max_new_tokens} tokens"


def _writer(cells: Sequence[Cell]) -> str:
    return f"written through {cells[0].about.writer}" if cells[0].about.writer else "written here"


def _seeds(cells: Sequence[Cell]) -> str:
    return ", ".join(str(cell.seed) for cell in cells)

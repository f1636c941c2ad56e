"""What is known of a set before it is asked: how it is scored, and how many items it has. Imports no torch."""

from collections.abc import Iterable
from dataclasses import dataclass

from spd_core.data.capability import Scorer
from spd_core.data.public import PUBLIC_SETS
from spd_core.distill.checks import examples_of
from spd_core.recipes.sets import EvalSet


@dataclass(frozen=True)
class SetFacts:
    """What is known of a set.

    Attributes:
        items: how many answers there will be; None where only the hub knows, or the task.
        whole: how many the split has; None likewise.
    """

    scorer: Scorer
    items: int | None
    whole: int | None = None


def set_facts(wanted: EvalSet) -> SetFacts:
    """What is known of a set without asking the hub.

    Raises:
        InputError: nothing of its name, no such file, or no item in its split.
    """
    if wanted.task is not None:  # as a task scores, nobody here knows
        return SetFacts("exact", wanted.limit)
    found = examples_of(wanted.capability, wanted.split, wanted.data)
    if found is None:
        known = None if wanted.limit is None else wanted.samples * wanted.limit
        return SetFacts(PUBLIC_SETS[wanted.capability].settings.scorer, known)
    answers = wanted.samples * len(found.limited(wanted.limit).examples)
    return SetFacts(found.settings.scorer, answers, len(found.examples))


def facts_by_name(sets: Iterable[EvalSet]) -> dict[str, SetFacts]:
    """The same of several, by their names; raises likewise."""
    return {wanted.name: set_facts(wanted) for wanted in sets}

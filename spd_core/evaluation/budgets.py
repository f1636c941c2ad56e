"""How many tokens were written to train each arm: what arms are fairly compared at. Reads adapters' cards.

Imports no torch: pages read it, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from spd_core.errors import InputError
from spd_core.evaluation.cells import Cell
from spd_core.intervention.cards import AdapterCard, read_card
from spd_core.recipes.evaluation import Subject
from spd_core.runs.folder import open_run
from spd_core.storage import child

_UNEQUAL = 3.0
"""From so many times the tokens on, two arms are said to be trained at unequal cost: fewer may be longer answers."""


@dataclass(frozen=True)
class Budget:
    """Tokens that were written to train an arm.

    Attributes:
        written: that it wrote itself: its corpus, or its rollouts in training.
        taught: that its teacher wrote beside them; None of arms whose teacher writes nothing.
    """

    written: int
    taught: int | None = None

    @property
    def total(self) -> int:
        """Of both."""
        return self.written + (self.taught or 0)

    @property
    def in_short(self) -> str:
        """`1,020 + 12,350 by its teacher`."""
        own = f"{self.written:,}"
        return own if self.taught is None else f"{own} + {self.taught:,} by its teacher"

    @property
    def in_words(self) -> str:
        """`1,020 that it wrote, and 12,350 that its teacher wrote`."""
        own = f"{self.written:,} that it wrote"
        return own if self.taught is None else f"{own}, and {self.taught:,} that its teacher wrote"


def budget_of(card: AdapterCard) -> Budget | None:
    """Of an adapter; None where its card does not say, as of versions before December 2026."""
    return None if card.written is None else Budget(card.written, card.taught)


def budgets_of(answered: Iterable[tuple[Subject, Sequence[Cell]]]) -> dict[str, Budget]:
    """Of each tuned subject by its name, the mean over the adapters by which it has answered, one for each seed; left
    out where one of them is gone, or does not say."""
    adapters: dict[str, dict[str, None]] = {}
    for subject, cells in answered:
        if subject.kind == "distilled":
            adapters.setdefault(subject.name, {}).update(dict.fromkeys(cell.adapter for cell in cells))
    found = {}
    for name, refs in adapters.items():
        each = [_of_ref(ref) for ref in refs]
        known = [one for one in each if one is not None]
        if known and len(known) == len(each):
            taught = [one.taught for one in known if one.taught is not None]
            mean = None if not taught else round(sum(taught) / len(known))
            found[name] = Budget(round(fmean(one.written for one in known)), mean)
    return found


def _of_ref(ref: str) -> Budget | None:
    run, _, arm = ref.partition("/")
    with suppress(InputError):  # no such run or adapter any more
        return budget_of(read_card(child(open_run(run).folder / "adapters", arm)))
    return None


def unequal(subjects: Sequence[Subject], budgets: Mapping[str, Budget]) -> str:
    """Which two arms were trained at the most unequal cost, in a sentence; empty where none differ by much.

    Args:
        budgets: by the subject's name; subjects without one are passed over.
    """
    titles = {one.name: one.title for one in subjects if one.name in budgets}
    pairs = [
        (titles[a], budgets[a], titles[b], budgets[b])
        for pair in combinations(titles, 2)
        for a, b in [sorted(pair, key=lambda name: -budgets[name].total)]
    ]
    if not pairs:
        return ""
    more, most, fewer, least = max(pairs, key=lambda pair: pair[1].total / max(1, pair[3].total))
    times = most.total / max(1, least.total)
    if times < _UNEQUAL:
        return ""
    by_teacher = "" if most.taught is None else f", {most.taught:,} of them by its teacher"
    return (
        f"Not at equal numbers of written tokens: {most.total:,} for {more}{by_teacher}, which is "
        f"{times:.{0 if times >= 10 else 1}f} times the {least.total:,} for {fewer}."
    )

"""Arms × sets as numbers: what each subject scored, how it differs from the base, and what that may be said to show.

Reads the cells of a run: finished ones, and which are damaged. Knows nothing of how they are drawn; imports no torch.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spd_core.evaluation.budgets import Budget, budgets_of
from spd_core.evaluation.cells import Cell
from spd_core.evaluation.claims import Claim, claim
from spd_core.evaluation.contamination import seen_flag, seen_items, unseen_numbers
from spd_core.evaluation.controls import alike, role
from spd_core.evaluation.damaged import DamagedCell, read_cells
from spd_core.evaluation.statistics import Difference, Estimate, estimate, holm, paired
from spd_core.evaluation.store import ItemRecord, drawn_from
from spd_core.recipes.evaluation import CONTROLS, NAMED, EvaluationRecipe, Subject

Scores: TypeAlias = tuple[tuple[float, ...], ...]
"""[seeds][n]"""
BUDGET = "Tokens written to train it"
"""What the column of `Table.budgets` is called, and a line of claim cards."""


@dataclass(frozen=True)
class Answered:
    """One subject on one set, all its seeds.

    Attributes:
        cells: one for each seed.
        items: `[seeds][n × samples]` records, in the same order for all seeds and subjects; answers that were drawn
            to one item beside each other.
    """

    subject: Subject
    cells: tuple[Cell, ...]
    items: tuple[tuple[ItemRecord, ...], ...]

    @cached_property
    def estimate(self) -> Estimate:
        """The mean score, a share right or nats, with its interval over items."""
        return _estimate(_hashable(self.scores), not self.likelihood)

    @property
    def likelihood(self) -> bool:
        """Whether it is scored in nats, where lower is better."""
        return self.cells[0].about.scorer == "nll"

    @property
    def scores(self) -> NDArray[np.float64]:
        """[seeds × samples, n] scores: 1 or 0, or nats; of answers that were drawn, each counts like a seed."""
        return self._folded([[record.value for record in records] for records in self.items])

    @property
    def early(self) -> NDArray[np.float64]:
        """[seeds × samples, n] scores if each answer had ended with the first line that holds one."""
        return self._folded([[float(bool(record.early)) for record in records] for records in self.items])

    @property
    def samples(self) -> int:
        """Answers that were drawn to each item; 1 where none was."""
        drawn = sum(drawn_from(record.id) == self.items[0][0].id for record in self.items[0])
        return drawn if self.cells[0].about.sampling else 1

    @property
    def ids(self) -> list[str]:
        """Of the items, in their order."""
        return [record.id for record in self.items[0][:: self.samples]]

    def _folded(self, values: list[list[float]]) -> NDArray[np.float64]:
        table = np.array(values)  # [seeds, n × samples]
        return table.reshape(len(table), -1, self.samples).transpose(0, 2, 1).reshape(len(table) * self.samples, -1)

    @property
    def by_seed(self) -> dict[int, float]:
        """The mean score of each seed: how far they spread."""
        means = self.scores.reshape(len(self.cells), -1).mean(axis=1)  # [seeds]
        return {cell.seed: float(mean) for cell, mean in zip(self.cells, means, strict=True)}

    def share(self, name: str) -> float:
        """Share of answers with a property: `ended` (by themselves), `read` (an answer could be read from them)."""
        every = [record for records in self.items for record in records]
        return float(np.mean([record.ended if name == "ended" else record.extracted is not None for record in every]))

    @property
    def length(self) -> float:
        """Mean number of tokens of an answer."""
        return float(np.mean([record.tokens for records in self.items for record in records]))

    @property
    def seen_flag(self) -> str:
        """The reason to doubt its score where it was tested on what it knows; empty without one."""
        return seen_flag(self.subject.title, seen_items(self.subject, self.cells), self.estimate.n)

    @property
    def seconds(self) -> float:
        """What its answers took, those that were read from earlier records left out."""
        return sum(cell.seconds for cell in self.cells)


@dataclass(frozen=True)
class Column:
    """A set of the table; `in_domain` when it is the one that the subspaces and corpora are of.

    Attributes:
        capability: what it is a set of; the paper's figures are known by it, however the set is called here.
    """

    name: str
    title: str
    capability: str
    in_domain: bool
    likelihood: bool


@dataclass(frozen=True)
class Table:
    """All finished cells, and what they say.

    Attributes:
        answered: by subject's and set's names.
        claims: of every subject but the base, on every set, by the same names.
        planned: cells that the recipe asks for, each seed counted.
        done: of those, finished ones.
        damaged: cells that are there and cannot be counted; what they would say is missing above.
        budgets: tokens that were written to train a subject, by its name; of those whose adapters say so.
    """

    recipe: EvaluationRecipe
    columns: tuple[Column, ...]
    answered: Mapping[tuple[str, str], Answered]
    claims: Mapping[tuple[str, str], Claim]
    planned: int
    done: int
    damaged: tuple[DamagedCell, ...] = ()
    budgets: Mapping[str, Budget] = field(default_factory=dict)

    def column(self, name: str) -> Column:
        """The set of a name."""
        return next(column for column in self.columns if column.name == name)

    @property
    def base(self) -> Subject:
        """What all others are compared with."""
        return next(subject for subject in self.recipe.subjects if subject.kind == "base")

    @property
    def comparisons(self) -> int:
        """How many there will be: each subject but the base, on each set."""
        return comparisons_of(self.recipe)


def read_table(recipe: EvaluationRecipe, folder: Path) -> Table:
    """The table of a run, as far as it is filled."""
    whole, damaged = read_cells(recipe, folder)
    answered: dict[tuple[str, str], Answered] = {}
    for subject in recipe.subjects:
        for wanted in recipe.sets:
            keys = [(subject.name, seed, wanted.name) for seed in recipe.seeds_of(subject)]
            if all(key in whole for key in keys):
                answered[subject.name, wanted.name] = _answered(subject, [whole[key] for key in keys])
    claims = _claims(recipe, answered)
    columns, budgets = _columns(recipe, answered), budgets_of((one.subject, one.cells) for one in answered.values())
    return Table(recipe, columns, answered, claims, len(recipe.cells), len(whole), damaged, budgets)


def _answered(subject: Subject, found: Sequence[tuple[Cell, list[ItemRecord]]]) -> Answered:
    return Answered(subject, tuple(cell for cell, _ in found), tuple(tuple(records) for _, records in found))


def _columns(recipe: EvaluationRecipe, answered: Mapping[tuple[str, str], Answered]) -> tuple[Column, ...]:
    firsts = {name: one for (_, name), one in answered.items()}
    titles = {name: one.cells[0].title for name, one in firsts.items()}
    repeated = {"Arm", BUDGET, *(title for title, count in Counter(titles.values()).items() if count > 1)}
    return tuple(
        Column(
            wanted.name,
            f"{titles[wanted.name]} ({wanted.name})"
            if titles.get(wanted.name) in repeated
            else titles.get(wanted.name, wanted.name),
            wanted.capability,
            wanted.capability == recipe.capability,
            wanted.name in firsts and firsts[wanted.name].likelihood,
        )
        for wanted in recipe.sets
    )


# --- claims ------------------------------------------------------------------------------------------------------


def comparisons_of(recipe: EvaluationRecipe) -> int:
    """How many comparisons with the base a recipe asks for."""
    return (len(recipe.subjects) - 1) * len(recipe.sets)


def paired_difference(base: Answered, other: Answered) -> Difference:
    """What `other` scored beyond `base`, item by item."""
    return _paired(_hashable(base.scores), _hashable(other.scores), not base.likelihood)


def _hashable(scores: NDArray[np.float64]) -> Scores:
    return tuple(map(tuple, scores.tolist()))


@lru_cache(maxsize=2000)
def _paired(base: Scores, other: Scores, binary: bool) -> Difference:
    """Kept: while a table fills, a page reads it again with every cell, and resampling takes a third of a second."""
    return paired(base, other, binary)


@lru_cache(maxsize=2000)
def _estimate(scores: Scores, binary: bool) -> Estimate:
    return estimate(scores, binary)


def _claims(recipe: EvaluationRecipe, answered: Mapping[tuple[str, str], Answered]) -> dict[tuple[str, str], Claim]:
    base = next(subject.name for subject in recipe.subjects if subject.kind == "base")
    found = {
        key: paired_difference(answered[base, key[1]], one)
        for key, one in answered.items()
        if key[0] != base and (base, key[1]) in answered
    }
    comparisons = comparisons_of(recipe)  # those still to come, too: they may come out anyhow
    p_values = [*(one.p for one in found.values()), *[1.0] * (comparisons - len(found))]
    adjusted = dict(zip(found, holm(p_values), strict=False)) if found else {}
    return {
        key: claim_of(
            answered[base, key[1]], answered[key], one, adjusted[key], comparisons, _controls(recipe, answered, key)
        )
        for key, one in found.items()
    }


def claim_of(
    base: Answered,
    mine: Answered,
    found: Difference,
    adjusted: float,
    comparisons: int,
    controls: Mapping[str, tuple[str, Difference | None]] | None = None,
) -> Claim:
    """The claim of one comparison on a set, with all flags that its items give reason for.

    Args:
        found: mine − base, as `paired_difference` gives it; `adjusted` its p among so many `comparisons`.
        controls: see `claims.claim`.
    """
    binary = not base.likelihood
    return claim(
        subject=mine.subject.title,
        against=base.subject.title,
        set_name=base.cells[0].title,
        difference=found,
        p_adjusted=adjusted,
        comparisons=comparisons,
        lower_is_better=not binary,
        controls=controls,
        early=_paired(_hashable(base.early), _hashable(mine.early), True) if binary else None,
        format_rates=(base.share("read"), mine.share("read")) if binary else None,
        estimate=mine.estimate,
        chance=base.cells[0].chance if binary else None,
        seen=[one.seen_flag for one in (mine, base) if one.seen_flag],
        unseen=_unseen(base, mine),
    )


def _controls(
    recipe: EvaluationRecipe, answered: Mapping[tuple[str, str], Answered], key: tuple[str, str]
) -> dict[str, tuple[str, Difference | None]]:
    """The controls of a subject on a set: question, and subject − control where it was run."""
    mine = answered[key]
    asked = CONTROLS.get(role(mine.subject), {})
    others = {
        role(one.subject): one
        for (_, name), one in answered.items()
        if name == key[1] and role(one.subject) in asked and _alike(recipe, mine, one)
    }
    return {
        others[control].subject.title if control in others else NAMED[control].title: (
            question,
            paired_difference(others[control], mine) if control in others else None,
        )
        for control, question in asked.items()
    }


def _alike(recipe: EvaluationRecipe, first: Answered, second: Answered) -> bool:
    """As `alike`; beside an adapter RUN/ARM, an arm of this evaluation is the adapter by which it has answered."""
    subjects = [first.subject, second.subject]
    if any(subject.adapter for subject in subjects):
        subjects = [_by_adapter(one) for one in (first, second)]
    return alike(recipe, *subjects)


def _by_adapter(one: Answered) -> Subject:
    adapters = {cell.adapter for cell in one.cells}
    if one.subject.arm is None or len(adapters) > 1 or "" in adapters:
        return one.subject
    return one.subject.model_copy(update={"arm": None, "adapter": adapters.pop()})


def _unseen(base: Answered, mine: Answered) -> Difference | None:
    """The difference on those items that neither of the two had seen; None where that is all, none, or not known."""
    left = unseen_numbers(base.ids, (*base.cells, *mine.cells))
    if not left:
        return None
    return _paired(_hashable(base.scores[:, left]), _hashable(mine.scores[:, left]), not base.likelihood)

"""Sets to whose items several answers are drawn: pass@k, different right answers, entropy. Imports no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from spd_core.errors import InputError
from spd_core.evaluation.statistics import Difference, Estimate, estimate, paired
from spd_core.evaluation.table import Answered, Column, Table

_POWERS = 4
"""k is 1, 4, 16, …, as far as answers were drawn, and all of them."""


@dataclass(frozen=True)
class Drawn:
    """What one subject's drawn answers are like.

    Attributes:
        passed: by k, the share of items of which at least one of k answers is right.
        beyond_base: of the largest k; None of the base.
        different: right answers in different words, mean over the items.
        entropy: mean over answers of the mean entropy of their tokens, in nats; None where it was not measured.
    """

    answered: Answered
    passed: dict[int, Estimate]
    beyond_base: Difference | None
    different: float
    entropy: float | None


def pass_at(right: Sequence[Sequence[float]] | NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """[n] chance that one of k answers is right, of an item to which s were drawn and c of them are right.

    1 − C(s − c, k) ÷ C(s, k), without bias (Chen et al., 2021, arXiv 2107.03374, eq. 1), as a product.

    Args:
        right: [s, n] 1 or 0.

    Raises:
        InputError: k is not from 1 to s.
    """
    table = np.asarray(right, dtype=float)
    drawn, correct = len(table), table.sum(axis=0)  # a number, [n]
    if not 1 <= k <= drawn:
        raise InputError(f"pass@{k} of {drawn} answers; choose k from 1 to {drawn}")
    steps = np.arange(k)[:, None]  # [k, 1]
    none = np.clip(drawn - correct - steps, 0, None) / (drawn - steps)  # [k, n] each further one is wrong, too
    return np.asarray(1 - none.prod(axis=0))


def drawn_sets(table: Table) -> list[Column]:
    """The sets to whose items several answers were drawn."""
    return [column for column in table.columns if any(one.samples > 1 for one in _on(table, column))]


def drawn_answers(table: Table, column: Column) -> list[Drawn]:
    """Of every subject on such a set, the base first."""
    every = sorted(_on(table, column), key=lambda one: one.subject != table.base)
    base = next((one for one in every if one.subject == table.base), None)
    return [_drawn(one, base) for one in every]


def _on(table: Table, column: Column) -> Iterator[Answered]:
    found = (table.answered.get((subject.name, column.name)) for subject in table.recipe.subjects)
    return (one for one in found if one is not None)


def _drawn(one: Answered, base: Answered | None) -> Drawn:
    ks = sorted({one.samples, *(k for k in (_POWERS**power for power in range(6)) if k <= one.samples)})
    beyond = None if base is None or base is one else _beyond(_passed(base, ks[-1]), _passed(one, ks[-1]))
    return Drawn(one, {k: _estimate(_passed(one, k)) for k in ks}, beyond, _different(one), _entropy(one))


def _passed(one: Answered, k: int) -> tuple[tuple[float, ...], ...]:
    """[seeds][n]"""
    by_seed = one.scores.reshape(len(one.cells), one.samples, -1)
    return tuple(tuple(pass_at(right, k).tolist()) for right in by_seed)


@lru_cache(maxsize=500)
def _estimate(passed: tuple[tuple[float, ...], ...]) -> Estimate:
    return estimate(passed, binary=False)


@lru_cache(maxsize=500)
def _beyond(base: tuple[tuple[float, ...], ...], other: tuple[tuple[float, ...], ...]) -> Difference:
    return paired(base, other, binary=False)


def _different(one: Answered) -> float:
    counts = []
    for records in one.items:
        for start in range(0, len(records), one.samples):
            mine = records[start : start + one.samples]
            counts.append(len({record.completion.strip() for record in mine if record.correct}))
    return fmean(counts)


def _entropy(one: Answered) -> float | None:
    known = [record.entropy for records in one.items for record in records if record.entropy is not None]
    return fmean(known) if known else None

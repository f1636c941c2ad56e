"""Whether a study came out the same here as where it was recorded: cell by cell, item by item. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spd_core.evaluation.cells import read_cell
from spd_core.evaluation.store import ItemRecord
from spd_core.runs.folder import Run
from spd_core.studies.plan import StudyPlan

_CLOSE = 1e-6
"""Nats per token, relative: likelihoods are sums whose order a library may change."""


@dataclass(frozen=True)
class EqualCells:
    """How many cells of two copies of a study say the same.

    Attributes:
        cells: that both have.
        equal: of those, cells all of whose items have the same answer and the same score.
        items, equal_items: likewise, items.
        scores: cells with the same number of right answers, whatever each says.
        first: `evaluation/subject/seed/set: item` of the first that differs; empty without one.
    """

    cells: int
    equal: int
    items: int
    equal_items: int
    scores: int
    first: str = ""

    @property
    def sentence(self) -> str:
        """In words."""
        if not self.cells:
            return "The recorded study has no cell that was answered here."
        said = (
            f"{self.equal} of {self.cells} cells are the same, item by item ({self.equal_items} of {self.items} "
            f"answers); {self.scores} of {self.cells} have the same score."
        )
        return said if not self.first else f"{said} The first that differs: {self.first}."

    @property
    def as_json(self) -> dict[str, Any]:
        """As numbers."""
        return {
            "cells": self.cells,
            "equal": self.equal,
            "items": self.items,
            "equal_items": self.equal_items,
            "equal_scores": self.scores,
            "first_difference": self.first,
        }


def equal_cells(study: StudyPlan, here: Mapping[str, Run], there: Mapping[str, Run]) -> EqualCells:
    """Compare what was answered here with what is recorded there."""
    cells = equal = items = equal_items = scores = 0
    first = ""
    for part in study.parts:
        if part.name not in here or part.name not in there:
            continue
        for key in part.recipe.cells:
            mine, theirs = (read_cell(run[part.name].folder, *key) for run in (here, there))
            if mine is None or theirs is None:
                continue
            known = {record.id: record for record in theirs[1]}
            same = [record.id in known and _same(record, known[record.id]) for record in mine[1]]
            cells, items, equal_items = cells + 1, items + len(same), equal_items + sum(same)
            equal += all(same) and len(same) == len(known)
            scores += abs(_total(mine[1]) - _total(theirs[1])) <= _CLOSE * max(1.0, len(same))
            if not all(same) and not first:
                first = "/".join(map(str, (part.name, *key))) + f": {mine[1][same.index(False)].id}"
    return EqualCells(cells, equal, items, equal_items, scores, first)


def _same(first: ItemRecord, second: ItemRecord) -> bool:
    if first.nll is not None and second.nll is not None:
        return abs(first.nll - second.nll) <= _CLOSE * max(1.0, abs(second.nll))
    return (first.prompt, first.gold, first.completion, first.correct) == (
        second.prompt,
        second.gold,
        second.completion,
        second.correct,
    )


def _total(records: list[ItemRecord]) -> float:
    return sum(record.value for record in records)

"""What was written in an evaluation's trainings: right answers, length, stopping and diversity of each arm's corpora.

Imports no torch.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean

from spd_core.data.capability import Capability
from spd_core.data.catalog import find_capability
from spd_core.distill.corpus import corpus_path, read_corpus
from spd_core.distill.review import Diversity, diversity
from spd_core.errors import InputError
from spd_core.evaluation.marks import marks_where_allowed
from spd_core.evaluation.table import Table
from spd_core.runs.folder import open_run


@dataclass(frozen=True)
class WrittenCorpora:
    """The corpora of one arm, a corpus a seed, as means over them.

    Attributes:
        right: share of right answers; None where the scorer knows none.
    """

    arm: str
    seeds: int
    rows: float
    right: float | None
    length: float
    ended: float
    distinct_2: float
    unique: float


def written_in(table: Table) -> list[WrittenCorpora]:
    """Of every arm of an evaluation whose trainings are there; corpora that are gone or damaged are left out."""
    capability = _answers(table.recipe.capability)
    found = []
    for subject in table.recipe.subjects:
        if subject.arm is None:
            continue
        adapters = {
            cell.adapter for (name, _), one in table.answered.items() if name == subject.name for cell in one.cells
        }
        corpora = [one for adapter in sorted(adapters) for one in _corpus(adapter, capability)]
        if corpora:
            found.append(_means(subject.title, corpora))
    return found


def _answers(name: str) -> Capability | None:
    try:
        return find_capability(name, split="train")
    except InputError:
        return None


def _corpus(adapter: str, capability: Capability | None) -> Iterator[tuple[Diversity, float | None]]:
    run_id, _, arm = adapter.partition("/")
    with suppress(InputError):
        run = open_run(run_id)
        recipe = run.record.distillation
        name = next(recipe.corpus_name(known) for known in recipe.arms if known == arm)
        rows = read_corpus(corpus_path(run.folder, name, 1))
        about = diversity(rows)
        if about is not None:
            marks = {} if capability is None else marks_where_allowed(rows, capability)
            yield about, fmean(marks.values()) if marks else None


def _means(arm: str, corpora: list[tuple[Diversity, float | None]]) -> WrittenCorpora:
    shares = [right for _, right in corpora if right is not None]
    every = [about for about, _ in corpora]
    return WrittenCorpora(
        arm=arm,
        seeds=len(corpora),
        rows=fmean(one.rows for one in every),
        right=fmean(shares) if shares else None,
        length=fmean(one.mean_length for one in every),
        ended=fmean(one.ended for one in every),
        distinct_2=fmean(one.distinct_2 or 0.0 for one in every),
        unique=fmean(one.unique / one.rows for one in every),
    )


def shown_written(table: Table) -> list[dict[str, str]]:
    """The same as people read it."""
    return [
        {
            "Corpora of": one.arm,
            "Seeds": str(one.seeds),
            "Rows": f"{one.rows:.0f}",
            "Right answers": "–" if one.right is None else f"{100 * one.right:.1f}%",
            "Tokens": f"{one.length:.1f}",
            "Ended by themselves": f"{100 * one.ended:.0f}%",
            "Different texts": f"{100 * one.unique:.0f}%",
            "Distinct pairs of tokens": f"{100 * one.distinct_2:.0f}%",
        }
        for one in written_in(table)
    ]

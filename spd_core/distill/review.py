"""What becomes of each row of a corpus, and what a corpus is like: what somebody looks at before it is trained on.

Imports no torch: pages look. Whether a row is right is found in `evaluation/marks.py`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal, TypeAlias

from spd_core.data.capability import Capability
from spd_core.data.catalog import find_capability, held_out_prompts
from spd_core.data.public import PUBLIC_SETS
from spd_core.distill.corpus import CorpusRow, Hygiene, clean
from spd_core.recipes.distill import CorpusSettings, Reason, Recipe

Fate: TypeAlias = Literal["trained", "held out", "rejected"] | Reason
"""Trained on; scored and never trained on; taken out by a person; or left out by hygiene, and why."""


@dataclass(frozen=True)
class Divided:
    """A corpus, divided into what is trained on and what is not; every row is in one part.

    Attributes:
        trained: rows to train on.
        held_out: rows that are scored, and never trained on.
        rejected: rows that somebody took out.
        hygiene: what was found in the others.
    """

    trained: tuple[CorpusRow, ...]
    held_out: tuple[CorpusRow, ...]
    rejected: tuple[CorpusRow, ...]
    hygiene: Hygiene

    @property
    def fates(self) -> dict[int, Fate]:
        """What becomes of each row, by its number."""
        parts: list[tuple[Fate, Iterable[CorpusRow]]] = [
            ("trained", self.trained),
            ("held out", self.held_out),
            ("rejected", self.rejected),
            *self.hygiene.dropped.items(),
        ]
        return {row.number: fate for fate, rows in parts for row in rows}


def held_apart(ids: Iterable[str], held_out: int) -> set[str]:
    """Of the examples that a corpus is written on, in their order, those that are never trained on: the last ones."""
    known = list(ids)
    return set(known[len(known) - held_out :])


def divide(
    rows: Sequence[CorpusRow],
    rejected: Collection[int],
    settings: CorpusSettings,
    prompts: Mapping[str, str],
    held_out: Sequence[str] = (),
) -> Divided:
    """Divide a corpus as a training does. What is rejected is gone before anything is looked for in the rest.

    Args:
        prompts: bare, by the ids of the examples, in their order: the last ones are held out.
        held_out: prompts that are kept for evaluation, bare.
    """
    apart = held_apart(prompts, settings.held_out)
    left = [row for row in rows if row.number not in rejected]
    found = clean(left, prompts, held_out, drop=settings.drop)
    return Divided(
        trained=tuple(row for row in found.kept if row.id not in apart),
        held_out=tuple(row for row in found.kept if row.id in apart),
        rejected=tuple(row for row in rows if row.number in rejected),
        hygiene=found,
    )


def divided_by(recipe: Recipe, rows: Sequence[CorpusRow], rejected: Collection[int]) -> Divided:
    """The same for a whole corpus of a run, without a download: of a public data set leakage only shows in training,
    since its held-out prompts are on the hub.

    Raises:
        InputError: the capability is gone.
    """
    if recipe.capability in PUBLIC_SETS:
        return divide(rows, rejected, recipe.corpus, {row.id: row.prompt for row in rows})
    prompts = {example.id: example.prompt for example in prompts_of(recipe).examples}
    known = [row for row in rows if row.id in prompts]
    return divide(known, rejected, recipe.corpus, prompts, held_out_prompts(recipe.capability))


def prompts_of(recipe: Recipe) -> Capability:
    """The examples that a recipe's corpus is written on, with their right answers.

    Raises:
        InputError: the capability is gone; a public data set asks the hub.
    """
    return find_capability(recipe.capability, split=recipe.corpus.split).limited(recipe.corpus.prompts)


# --- what a corpus is like ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Diversity:
    """How long the completions of a corpus are, and how little they repeat each other.

    Attributes:
        rows: how many completions.
        unique: of those, different texts.
        distinct_1, distinct_2: distinct tokens (pairs of neighbouring ones) ÷ all of them, over all completions (Li et
            al., 2016); None without any.
        mean_length, median_length: tokens, without the one that ends.
        ended: share of completions that stopped at end of text.
    """

    rows: int
    unique: int
    distinct_1: float | None
    distinct_2: float | None
    mean_length: float
    median_length: float
    ended: float


def diversity(rows: Sequence[CorpusRow]) -> Diversity | None:
    """Length and diversity of a corpus; None without rows."""
    if not rows:
        return None
    lengths = [len(row.tokens) for row in rows]
    return Diversity(
        rows=len(rows),
        unique=len({row.completion for row in rows}),
        distinct_1=_distinct(rows, 1),
        distinct_2=_distinct(rows, 2),
        mean_length=fmean(lengths),
        median_length=median(lengths),
        ended=sum(row.finish == "eos" for row in rows) / len(rows),
    )


def _distinct(rows: Sequence[CorpusRow], n: int) -> float | None:
    """Distinct n-grams ÷ n-grams; none reaches over the end of a completion."""
    grams = [row.tokens[at : at + n] for row in rows for at in range(len(row.tokens) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None

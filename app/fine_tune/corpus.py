"""One corpus of a run as the page needs it: its rows, what becomes of each, and which are right."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from app.ui import session
from spd_core.data.capability import Capability, Example
from spd_core.data.public import PUBLIC_SETS
from spd_core.distill.corpus import CorpusRow, read_corpus
from spd_core.distill.review import Fate, divided_by, prompts_of
from spd_core.evaluation.marks import marks
from spd_core.recipes.distill import Recipe, short_name
from spd_core.storage import modified

if TYPE_CHECKING:
    from spd_core.runs.folder import Run

FATES: Mapping[Fate, str] = {
    "trained": "trained on",
    "held out": "held out: only scored",
    "rejected": "rejected by you",
    "leakage": "left out: prompt overlaps a held-out one",
    "empty": "left out: empty",
    "degenerate": "left out: degenerate",
    "duplicate": "left out: duplicate",
}
"""What becomes of a row, in words."""


@dataclass(frozen=True)
class ShownCorpus:
    """A corpus of a run.

    Attributes:
        name: as `rejected.json` calls it: the first arm that writes so.
        title: what people call it.
        fates: by the row's number; a row whose example is gone has none.
        right: likewise; empty where nothing is marked.
        examples: with their right answers, by their ids; empty where they are not at hand.
    """

    name: str
    title: str
    round: int
    path: Path
    rows: tuple[CorpusRow, ...]
    fates: Mapping[int, Fate]
    right: Mapping[int, bool]
    examples: Mapping[str, Example]

    @property
    def trained(self) -> int:
        """How many rows are trained on."""
        return sum(fate == "trained" for fate in self.fates.values())

    @property
    def could_train(self) -> int:
        """How many rows are no held-out ones."""
        return sum(fate != "held out" for fate in self.fates.values())

    def prompt(self, row: CorpusRow) -> str:
        """A row's prompt, without what the capability's template puts around it."""
        return self.examples[row.id].prompt if row.id in self.examples else row.prompt

    def answer(self, row: CorpusRow) -> str:
        """The right answer to it; empty where it is not at hand."""
        return self.examples[row.id].answer if row.id in self.examples else ""

    def tickable(self, number: int) -> bool:
        """Whether it is a person's choice that this row is trained on."""
        return self.fates.get(number) in ("trained", "rejected")


def corpora_of(run: "Run") -> list[ShownCorpus]:
    """All corpora that a run has written, of the first round first, in the order of its arms.

    Raises:
        InputError: one is damaged, or the capability is gone.
    """
    recipe, rejected = run.record.distillation, run.rejected()
    known = _known(recipe)
    found = [_corpus(path, recipe, rejected, known) for path in (run.folder / "corpora").glob("[!.]*-round-*.jsonl")
             if ".part-" not in path.name]  # fmt: skip
    order = {str(arm): at for at, arm in enumerate(recipe.arms)}
    return sorted(found, key=lambda one: (one.round, order.get(one.name, len(order)), one.name))


def _known(recipe: Recipe) -> Capability | None:
    """The prompts with their answers; None for a public data set, which is on the hub."""
    return None if recipe.capability in PUBLIC_SETS else prompts_of(recipe)


def _corpus(
    path: Path, recipe: Recipe, rejected: Mapping[str, frozenset[int]], known: Capability | None
) -> ShownCorpus:
    name, _, said = path.stem.rpartition("-round-")
    round_ = int(said) if said.isdecimal() else 1
    rows = _rows(str(path), modified(path))
    mine = rejected.get(name, frozenset()) if round_ == 1 else frozenset()
    label = short_name(name)
    return ShownCorpus(
        name=name,
        title=label if round_ == 1 else f"{label}, round {round_}",
        round=round_,
        path=path,
        rows=rows,
        fates=divided_by(recipe, rows, mine).fates,
        right=marked(path, known) if known is not None else {},
        examples={example.id: example for example in known.examples} if known is not None else {},
    )


@st.cache_resource(max_entries=64, show_spinner=False)
def _rows(path: str, stamp: float) -> tuple[CorpusRow, ...]:
    return tuple(sorted(read_corpus(Path(path)), key=lambda row: row.number))


def marked(path: Path, known: Capability) -> Mapping[int, bool]:
    """Which rows are right: by their answers, or by the tests that this session has run."""
    tested = session.job(session.MARKS_JOB)
    if known.settings.scorer == "python":
        return (tested.result or {}).get((str(path), modified(path)), {}) if tested is not None else {}
    return _marks(str(path), modified(path), known.fingerprint, known)


@st.cache_resource(max_entries=64, show_spinner=False)
def _marks(path: str, stamp: float, fingerprint: str, _known: Capability) -> Mapping[int, bool]:
    return marks(_rows(path, stamp), _known)


def train_label(corpora: list[ShownCorpus]) -> str:
    """What the button says that lets a run go on: `Train on 33 of 37 rows`."""
    first = [one for one in corpora if one.round == 1]
    return f"Train on {sum(one.trained for one in first):,} of {sum(one.could_train for one in first):,} rows"


def nothing_left(corpora: list[ShownCorpus]) -> str:
    """Why a run that waits for review cannot go on; empty where it can."""
    empty = [one.title for one in corpora if one.round == 1 and not one.trained]
    return f"{', '.join(empty)} has no row left to train on: keep some." if empty else ""

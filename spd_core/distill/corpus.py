"""A corpus on disk: its rows, where a run keeps it, and what is looked for before somebody trains on it.

Imports no torch: pages show and clean it, too. How it is written is in `distill/write.py`.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from spd_core.errors import InputError
from spd_core.generation.differences import degeneration
from spd_core.recipes.distill import REASONS, Reason
from spd_core.records import Record, read_rows


class CorpusRow(Record):
    """A prompt as the model read it, and what the model wrote.

    Attributes:
        number: place in the corpus; the row's noise depends on it.
        id: of the example whose prompt it is.
        sample: which of the example's completions, from 0.
        special: whether the tokenizer added its default special tokens.
        tokens: ids of the completion, without the end-of-sequence token.
        finish: `eos` when the model ended by itself, `length` when it was cut.
        end: the id that ended it; None where it was cut.
    """

    number: int
    id: str
    sample: int
    prompt: str
    special: bool
    completion: str
    tokens: tuple[int, ...]
    finish: Literal["eos", "length"]
    end: int | None = None


def corpus_path(folder: Path, name: str, round_: int) -> Path:
    """Where a run keeps the corpus that is written in a round."""
    return folder / "corpora" / f"{name}-round-{round_}.jsonl"


def read_corpus(path: Path) -> list[CorpusRow]:
    """The rows of a corpus, in the file's order; a last line without its end (torn by a crash) is left out.

    Raises:
        InputError: the file cannot be read, or a line is no row; the message names the line.
    """
    return read_rows(CorpusRow, path, "corpus")


# --- hygiene -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hygiene:
    """What was looked for in a corpus before training, and found.

    Attributes:
        kept: rows to train on.
        dropped: the others, by the first reason that applies.
    """

    kept: tuple[CorpusRow, ...]
    dropped: dict[Reason, tuple[CorpusRow, ...]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[Reason, int]:
        """How many rows each reason has dropped."""
        return {reason: len(rows) for reason, rows in self.dropped.items()}


OVERLAP = 13
"""Words in a row that two prompts share when one leaks into the other (Brown et al., 2020, appendix C)."""


def clean(
    rows: Sequence[CorpusRow],
    prompts: Mapping[str, str],
    held_out: Sequence[str] = (),
    *,
    drop: Collection[Reason] = REASONS,
) -> Hygiene:
    """Look a corpus over.

    - `leakage`: the prompt is a held-out prompt, or shares `OVERLAP` words in a row with one.
    - `empty`, `degenerate`: see `differences.degeneration`.
    - `duplicate`: the same prompt and completion as an earlier row.

    Args:
        prompts: of each row's example by its id, bare: what stands around every prompt is no overlap.
        held_out: prompts that are kept for evaluation, bare.
        drop: which reasons count; rows that only others apply to are kept.

    Raises:
        InputError: a row is of no example that there is.
    """
    unknown = next((row for row in rows if row.id not in prompts), None)
    if unknown is not None:
        raise InputError(
            f"row {unknown.number} of the corpus is of the example {unknown.id!r:.80}, which the capability does not "
            "have; reject the row, or give the example back"
        )
    tests = {_normalised(prompt) for prompt in held_out}
    grams = {gram for prompt in tests for gram in _grams(prompt)}
    seen: set[tuple[str, str]] = set()
    kept: list[CorpusRow] = []
    dropped: dict[Reason, list[CorpusRow]] = {}
    for row in rows:
        prompt = _normalised(prompts[row.id])
        bad = degeneration(row.tokens, row.completion)
        found: dict[Reason, bool] = {
            "leakage": prompt in tests or any(gram in grams for gram in _grams(prompt)),
            "empty": bad == "empty",
            "degenerate": bad not in ("", "empty"),
            "duplicate": (row.prompt, row.completion) in seen,
        }
        seen.add((row.prompt, row.completion))
        reason = next((name for name in REASONS if name in drop and found[name]), None)
        (kept if reason is None else dropped.setdefault(reason, [])).append(row)
    return Hygiene(tuple(kept), {reason: tuple(rows) for reason, rows in dropped.items()})


def _normalised(text: str) -> str:
    """Lower case, words alone, one space between them."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _grams(text: str) -> Iterator[tuple[str, ...]]:
    words = text.split()
    return (tuple(words[at : at + OVERLAP]) for at in range(len(words) - OVERLAP + 1))

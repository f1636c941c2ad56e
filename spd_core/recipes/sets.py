"""Which items an evaluation asks, as settings. Imports no torch: pages write it, too."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from spd_core.data.capability import Scorer, Split
from spd_core.data.public import PUBLIC_SETS
from spd_core.records import Request


def short_name_for_files(text: str) -> str:
    """A short name for files; where it would say too little or too much, a part of its sha256 does."""
    found = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{found[:50]}-{digest}" if len(found) > 60 else found or digest


class EvalSet(Request):
    """One set of items with right answers.

    Attributes:
        capability: a built-in, saved or public set, or a capability file.
        data: a local JSONL file with a public set's columns, instead of the hub.
        limit: the first so many items; None takes all.
        max_new_tokens: None takes what the scorer needs (see `answer_length`).
    """

    capability: str = Field(min_length=1)
    data: str = ""
    split: Split = "heldout"
    limit: int | None = Field(default=None, ge=1)
    max_new_tokens: int | None = Field(default=None, ge=1)
    label: str = Field(default="", max_length=120)

    def in_short(self) -> Any:
        """The name of a set, where nothing else is said of it."""
        found = super().in_short()
        return self.capability if found == {"capability": self.capability} else found

    @property
    def name(self) -> str:
        """Short name, for files and tables."""
        return short_name_for_files(self.label or Path(self.capability).stem)


def split_of(capability: str, data: str, kept: Split = "heldout") -> Split:
    """The split that is asked: held out, but where a public data set has none."""
    return kept if data or capability not in PUBLIC_SETS or kept in PUBLIC_SETS[capability].splits else "train"


_LENGTH: Mapping[Scorer, int] = {"number": 32, "letter": 4, "python": 128, "exact": 16, "nll": 1}


def answer_length(wanted: EvalSet, scorer: Scorer) -> int:
    """Most new tokens of an answer: the public word and code problems need room to reason in (the paper allows 256)."""
    reasoned = wanted.capability in PUBLIC_SETS and scorer in ("number", "python")
    return wanted.max_new_tokens or (256 if reasoned else _LENGTH[scorer])

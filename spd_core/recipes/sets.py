"""Which items an evaluation asks, as settings. Imports no torch: pages write it, too."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from spd_core.data.capability import Scorer, Split
from spd_core.data.public import PUBLIC_SETS
from spd_core.recipes.lanes import Sampling
from spd_core.records import Request


def short_name_for_files(text: str) -> str:
    """A short name for files; where it would say too little or too much, a part of its sha256 does."""
    found = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{found[:50]}-{digest}" if len(found) > 60 else found or digest


_HARNESS = "harness:"


@dataclass(frozen=True)
class HarnessTask:
    """A task of lm-evaluation-harness, as sets name it: `harness:TASK`, or `harness:TASK:METRIC`.

    Attributes:
        name: of a task, a group or a tag.
        metric: as the harness calls it, e.g. `acc_norm` or `exact_match,flexible-extract`; empty takes its first.
    """

    name: str
    metric: str = ""


class EvalSet(Request):
    """One set of items with right answers.

    Attributes:
        capability: a built-in, saved or public set, a capability file, or a task (see `HarnessTask`).
        data: a local JSONL file with a public set's columns, instead of the hub; of a task, a folder of tasks as YAML.
        limit: the first so many items, of each task where it is several; None takes all.
        max_new_tokens: None takes what the scorer needs (see `answer_length`).
        samples: answers that are drawn to each item, for pass@k; 1 takes the likeliest token each time.
        temperature, top_p: of answers that are drawn.
    """

    capability: str = Field(min_length=1)
    data: str = ""
    split: Split = "heldout"
    limit: int | None = Field(default=None, ge=1)
    max_new_tokens: int | None = Field(default=None, ge=1)
    label: str = Field(default="", max_length=120)
    samples: int = Field(default=1, ge=1, le=1000, exclude_if=lambda count: count == 1)
    temperature: float = Field(default=0.7, gt=0, exclude_if=lambda degree: degree == 0.7)
    top_p: float = Field(default=0.9, gt=0, le=1, exclude_if=lambda share: share == 0.9)

    def in_short(self) -> Any:
        """The name of a set, where nothing else is said of it."""
        found = super().in_short()
        return self.capability if found == {"capability": self.capability} else found

    @model_validator(mode="after")
    def _fits(self) -> "EvalSet":
        if self.task is not None and not self.task.name:
            raise ValueError(f"the set {self.capability!r} names no task; write harness:TASK or harness:TASK:METRIC")
        if self.task is not None and self.max_new_tokens is not None:
            raise ValueError(f"{self.capability} says itself how long answers may be; leave max_new_tokens out")
        if self.task is not None and self.samples > 1:
            raise ValueError(f"{self.capability} is asked as its task says; leave samples out")
        return self

    @property
    def task(self) -> HarnessTask | None:
        """The task of lm-evaluation-harness that it is; None of all other sets."""
        name, _, metric = self.capability.removeprefix(_HARNESS).partition(":")
        return HarnessTask(name, metric) if self.capability.startswith(_HARNESS) else None

    @property
    def name(self) -> str:
        """Short name, for files and tables."""
        drawn = f"-x{self.samples}" if self.samples > 1 else ""
        return short_name_for_files(self.label or f"{Path(self.capability).stem}{drawn}")

    def drawn(self, max_new_tokens: int) -> Sampling:
        """How answers are written."""
        if self.samples == 1:
            return Sampling(temperature=0.0, top_p=1.0, max_new_tokens=max_new_tokens)
        return Sampling(self.temperature, self.top_p, max_new_tokens)


def split_of(capability: str, data: str, kept: Split = "heldout") -> Split:
    """The split that is asked: held out, but where a public data set has none."""
    return kept if data or capability not in PUBLIC_SETS or kept in PUBLIC_SETS[capability].splits else "train"


_LENGTH: Mapping[Scorer, int] = {"number": 32, "letter": 4, "python": 128, "exact": 16, "nll": 1}


def answer_length(wanted: EvalSet, scorer: Scorer) -> int:
    """Most new tokens of an answer: the public word and code problems need room to reason in (the paper allows 256)."""
    reasoned = wanted.capability in PUBLIC_SETS and scorer in ("number", "python")
    return wanted.max_new_tokens or (256 if reasoned else _LENGTH[scorer])

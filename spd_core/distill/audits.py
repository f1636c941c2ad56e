"""What OmniOPD has looked at: of each rollout its tokens, its chunks, the teacher's continuations and their weight.

One line a rollout in `audits.jsonl`, so that it can be read while the training runs. Imports no torch: pages read it.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, TypeAlias

from pydantic import ConfigDict, Field, model_validator

from spd_core.records import Record, cut_torn_line, read_rows, to_lines
from spd_core.storage import write_text

AUDITS = "audits.jsonl"
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class AuditedChunk(Record):
    """A chunk of a rollout and what the teacher wrote in its place.

    Attributes:
        start: of its first token in the rollout, counted from 0.
        own: the student's text.
        others: the teacher's, N of them, and `similar` φ of each.
        prior: π̄, the student's own mean probability of a token; `target` π̂, the weight of the chunk.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    start: int = Field(ge=0)
    own: str
    others: tuple[str, ...] = Field(min_length=1)
    similar: tuple[Share, ...]
    prior: Share
    target: Share

    @model_validator(mode="after")
    def _fits(self) -> "AuditedChunk":
        if len(self.similar) != len(self.others):
            raise ValueError(f"{len(self.others)} continuations with {len(self.similar)} similarities")
        return self


class Audit(Record):
    """A rollout of the student in training.

    Attributes:
        step: the optimizer step that learned from it, counted from 1.
        number: of its prompt.
        tokens: as texts, the end among them; `entropies` in nats, of the distribution that each was drawn from.
        divergence: mean KL(π_ref ‖ π_θ) of the tokens in no chunk, in nats; None where there is none.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    step: int = Field(ge=1, lt=2**53)
    number: int = Field(ge=0, lt=2**53)
    prompt: str
    tokens: tuple[str, ...]
    entropies: tuple[Annotated[float, Field(ge=0)], ...]
    chunks: tuple[AuditedChunk, ...] = ()
    divergence: float | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Audit":
        if len(self.entropies) > len(self.tokens):
            raise ValueError(f"{len(self.entropies)} entropies of {len(self.tokens)} tokens")
        return self


def read_audits(path: Path) -> list[Audit]:
    """All audits of a training, by step and prompt, also while it runs; none where there is no file.

    Raises:
        InputError: the file is damaged.
    """
    return sorted(read_rows(Audit, path, "audits"), key=lambda one: (one.step, one.number)) if path.is_file() else []


def cut_after(path: Path, step: int) -> None:
    """Leave out what is of later steps than a training goes on from: those are written again."""
    if path.is_file():
        cut_torn_line(path)
        write_text(path, to_lines([one for one in read_audits(path) if one.step <= step]))


def audit_means(audits: Sequence[Audit]) -> dict[str, float]:
    """What a step's rollouts have in common, by name: the same names for all steps, NaN where there is nothing.

    `chunks` a rollout; `unaudited`, the share of rollouts without one; `target` mean π̂; `prior` mean π̄; `agreement`
    mean k ÷ N; `interior`, the share of chunks with 0.05 < k ÷ N < 0.95; `divergence`, mean KL(π_ref ‖ π_θ) a token;
    `teacher_texts`.
    """
    chunks = [chunk for audit in audits for chunk in audit.chunks]
    agreed = [fmean(chunk.similar) for chunk in chunks]
    return {
        "chunks": len(chunks) / len(audits),
        "unaudited": fmean(not audit.chunks for audit in audits),
        "target": _mean([chunk.target for chunk in chunks]),
        "prior": _mean([chunk.prior for chunk in chunks]),
        "agreement": _mean(agreed),
        "interior": _mean([0.05 < one < 0.95 for one in agreed]),
        "divergence": _mean([audit.divergence for audit in audits if audit.divergence is not None]),
        "teacher_texts": float(sum(len(chunk.others) for chunk in chunks)),
    }


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else math.nan

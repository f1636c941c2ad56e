"""What audits come to, step by step, and how alike two texts are that have nothing to do with each other.

Imports no torch: pages read it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from spd_core.distill.audits import Audit, AuditedChunk, audit_means
from spd_core.distill.similarity import MOST_CHARACTERS, similarity

_MOST_PAIRS = 400
"""Chunks that are compared with what belongs to another prompt; spread over all."""


@dataclass(frozen=True)
class StepMeans:
    """A step's rollouts together. A mean of nothing is NaN.

    Attributes:
        chunks: a rollout, in the mean; `unaudited`: share of the rollouts that have none.
        target, prior, agreement: mean π̂, π̄ and k ÷ N of the chunks.
        divergence: mean KL(π_ref ‖ π_θ) of a token in no chunk, in nats.
        entropy: mean of all tokens that were drawn, in nats.
    """

    step: int
    rollouts: int
    chunks: float
    unaudited: float
    target: float
    prior: float
    agreement: float
    divergence: float
    entropy: float


def step_means(audits: Sequence[Audit]) -> list[StepMeans]:
    """Of each step, in order."""
    found = []
    for step, group in groupby(sorted(audits, key=lambda one: one.step), lambda one: one.step):
        rollouts = list(group)
        means = audit_means(rollouts)
        drawn = [one for audit in rollouts for one in audit.entropies]
        names = ("chunks", "unaudited", "target", "prior", "agreement", "divergence")
        entropy = fmean(drawn) if drawn else math.nan
        found.append(StepMeans(step, len(rollouts), **{name: means[name] for name in names}, entropy=entropy))
    return found


def shared_parts(own: str, other: str) -> list[tuple[str, bool]]:
    """The pieces of `other`, and whether `own` has them, too, in the shortest way from one to the other."""
    from rapidfuzz.distance import Levenshtein

    cut = other[:MOST_CHARACTERS]
    steps = Levenshtein.opcodes(own[:MOST_CHARACTERS], cut)
    pieces = [(cut[one.dest_start : one.dest_end], one.tag == "equal") for one in steps]
    return [(text, same) for text, same in pieces if text]


def unrelated(audits: Sequence[Audit]) -> float:
    """Mean φ of chunks with what the teacher wrote for a chunk of another prompt: what agreement is worth nothing.

    NaN where no two prompts have a chunk.
    """
    chunks = [(audit.number, chunk) for audit in audits for chunk in audit.chunks]
    each = max(1, math.ceil(len(chunks) / _MOST_PAIRS))
    found = []
    for at in range(0, len(chunks), each):
        number, chunk = chunks[at]
        stranger = _next_of_another(chunks, at, number)
        if stranger is not None:
            found.append(fmean(similarity(chunk.own, text) for text in stranger.others))
    return fmean(found) if found else math.nan


def _next_of_another(chunks: Sequence[tuple[int, AuditedChunk]], at: int, number: int) -> AuditedChunk | None:
    """The next chunk, going round, of another prompt than `number`."""
    around = (*chunks[at + 1 :], *chunks[:at])
    return next((chunk for other, chunk in around if other != number), None)

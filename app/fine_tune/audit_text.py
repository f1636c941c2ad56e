"""Audits to what is drawn: the strip of a rollout, a chunk beside its continuations, its weight in a line, tables.

Pure: no Streamlit. The strip is drawn by `token_strip`, whose text reaches the page as text alone.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from spd_core.distill.audit_steps import StepMeans, shared_parts
from spd_core.distill.audits import Audit, AuditedChunk
from spd_core.templates import render
from spd_core.text import opening, shown, signed

_MARKED = 3
"""How many tokens are underlined: those with the highest entropy."""


def chunk_at(audit: Audit, token: int, chunk_tokens: int) -> int | None:
    """Which chunk (0-based) a token belongs to."""
    places = (at for at, chunk in enumerate(audit.chunks) if chunk.start <= token < chunk.start + chunk_tokens)
    return next(places, None)


def rollout_strip(audit: Audit, chunk_tokens: int, most: float, chosen: int | None) -> dict[str, Any]:
    """What `token_strip` draws: tokens by entropy, chunks framed and numbered.

    Args:
        most: the entropy with the full colour, in nats.
        chosen: the chunk that is read, 0-based.
    """
    known = [*audit.entropies, *[0.0] * (len(audit.tokens) - len(audit.entropies))]
    marked = sorted(range(len(known)), key=known.__getitem__)[-_MARKED:]
    tokens = []
    for at, (text, entropy) in enumerate(zip(audit.tokens, known, strict=True)):
        chunk = chunk_at(audit, at, chunk_tokens)
        starts = chunk is not None and audit.chunks[chunk].start == at
        ends = chunk is not None and at in (audit.chunks[chunk].start + chunk_tokens - 1, len(known) - 1)
        tokens.append(
            {
                "text": shown(text).replace("\n", "↵\n") or "∅",
                "shade": round(math.sqrt(min(max(entropy / (most or 1.0), 0.0), 1.0)), 3),
                "largest": at in marked and entropy > most / 10,
                "loss": False,
                "aside": False,
                "tip": _tip(audit, at, chunk),
                "chunk": 0 if chunk is None else chunk + 1,
                "edge": " ".join(["first"] * starts + ["last"] * ends),
                "chosen": chunk is not None and chunk == chosen,
            }
        )
    legend = {"ticks": ["0", f"{most:.2g}"], "unit": "nats: entropy", "loss": False, "aside": False}
    label = f"Rollout of step {audit.step}: {len(tokens)} tokens by entropy, {len(audit.chunks)} chunks"
    framed = {**legend, "chunks": bool(audit.chunks)}
    return {"tokens": tokens, "label": label, "selected": None, "diverging": False, "legend": framed}


def _tip(audit: Audit, at: int, chunk: int | None) -> str:
    """All that is known of a token, a line each."""
    text = shown(audit.tokens[at]).replace("\n", "↵").strip() or "·"
    entropy = f"entropy {audit.entropies[at]:.2f} nats" if at < len(audit.entropies) else "the end, entropy not kept"
    lines = [f"“{text}” · token {at + 1} · {entropy}"]
    if chunk is not None:
        anchor = " (its anchor)" if audit.chunks[chunk].start == at else ""
        lines.append(f"in chunk {chunk + 1}{anchor}, weight {audit.chunks[chunk].target:.2f}")
    return "\n".join(lines)


# --- a chunk -----------------------------------------------------------------------------------------------------


def chunk_html(chunk: AuditedChunk, number: int) -> str:
    """The student's text of a chunk beside the teacher's, most alike first; what they share is shaded."""
    order = sorted(range(len(chunk.others)), key=lambda at: -chunk.similar[at])
    others = [
        {
            "similar": chunk.similar[at],
            "parts": [(_in_line(text), "shared" if same else "") for text, same in _parts(chunk.own, chunk.others[at])],
        }
        for at in order
    ]
    return render("audit.html", number=number, own=_in_line(chunk.own), others=others)


def _in_line(text: str) -> str:
    """Line breaks as signs: what is compared stands letter under letter."""
    return shown(text).replace("\n", "↵")


def _parts(own: str, other: str) -> Sequence[tuple[str, bool]]:
    return shared_parts(own, other) or [("(nothing)", False)]


def weight_in_words(chunk: AuditedChunk, prior: float) -> str:
    """How the weight of a chunk comes about, with its numbers, in one line.

    Args:
        prior: α, the weight of what the student itself believes.
    """
    k, n = sum(chunk.similar), len(chunk.similar)
    return (
        f"Agreement k ÷ N = {k:.2f} ÷ {n} = {k / n:.2f} · own belief π̄ = {chunk.prior:.2f} · "
        f"weight π̂ = (k + α π̄) ÷ (N + α) = ({k:.2f} + {prior:g} × {chunk.prior:.2f}) ÷ ({n} + {prior:g}) = "
        f"{chunk.target:.2f}"
    )


# --- tables ------------------------------------------------------------------------------------------------------


def rollout_title(audit: Audit) -> str:
    """What was asked, and how many chunks there are."""
    chunks = f"{len(audit.chunks)} chunk{'s' * (len(audit.chunks) != 1)}" if audit.chunks else "no chunk"
    return f"{opening(shown(audit.prompt), 70)} · {chunks}"


def audited_tokens(audit: Audit, chunk_tokens: int) -> list[dict[str, str]]:
    """The table twin of the strip: a row for each token."""
    rows = []
    for at, text in enumerate(audit.tokens):
        chunk = chunk_at(audit, at, chunk_tokens)
        rows.append(
            {
                "Token": str(at + 1),
                "Text": f"“{shown(text)}”",
                "Entropy (nats)": f"{audit.entropies[at]:.2f}" if at < len(audit.entropies) else "–",
                "Chunk": "" if chunk is None else str(chunk + 1),
            }
        )
    return rows


def chunk_rows(audit: Audit) -> list[dict[str, str]]:
    """All chunks of a rollout in numbers."""
    return [
        {
            "Chunk": str(at),
            "From token": str(chunk.start + 1),
            "k ÷ N": f"{fmean(chunk.similar):.3f}",
            "Own belief π̄": f"{chunk.prior:.3f}",
            "Weight π̂": f"{chunk.target:.3f}",
            "The student wrote": f"“{shown(chunk.own)}”",
        }
        for at, chunk in enumerate(audit.chunks, 1)
    ]


def continuation_rows(audit: Audit) -> list[dict[str, str]]:
    """What the teacher wrote in place of each chunk of a rollout, most alike first."""
    return [
        {"Chunk": str(at), "φ": f"{similar:.3f}", "The teacher wrote": f"“{shown(text)}”"}
        for at, chunk in enumerate(audit.chunks, 1)
        for similar, text in sorted(zip(chunk.similar, chunk.others, strict=True), key=lambda one: -one[0])
    ]


def step_rows(steps: Sequence[StepMeans]) -> list[dict[str, str]]:
    """The table twin of the chart: a row for each step."""
    return [
        {
            "Step": str(one.step),
            "Rollouts": str(one.rollouts),
            "Chunks a rollout": f"{one.chunks:.2f}",
            "Without a chunk": f"{one.unaudited:.0%}",
            "Weight π̂": _number(one.target),
            "Agreement k ÷ N": _number(one.agreement),
            "Own belief π̄": _number(one.prior),
            "KL to the untouched model (nats)": _number(one.divergence, ".5f"),
            "Entropy (nats)": _number(one.entropy),
        }
        for one in steps
    ]


def _number(value: float, form: str = ".4f") -> str:
    return "" if math.isnan(value) else signed(value, form)

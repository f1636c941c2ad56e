"""Finished cells made by hand, for tests of what is read from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spd_core.data.capability import Scorer
from spd_core.evaluation.cells import Cell, write_cell
from spd_core.evaluation.store import About, ItemRecord


def records(right: Sequence[int], **fields: Any) -> list[ItemRecord]:
    """An item for each 1 (right) or 0 (wrong)."""
    known = {"early": None, "ended": True, "tokens": 4, "finish": "eos", **fields}
    made = []
    for at, one in enumerate(right):
        early = bool(one) if known["early"] is None else known["early"]
        answer = {"completion": str(one), "extracted": str(one), "correct": bool(one)}
        made.append(ItemRecord(**{**known, "id": f"i{at}", "prompt": f"p{at}", "gold": "1", **answer, "early": early}))
    return made


def likelihoods(nats: Sequence[float]) -> list[ItemRecord]:
    """An item for each −log p."""
    return [ItemRecord(id=f"i{at}", prompt=f"p{at}", gold="x", nll=one, tokens=3) for at, one in enumerate(nats)]


def put(
    folder: Path,
    subject: str,
    items: Sequence[ItemRecord],
    *,
    set_name: str = "arithmetic",
    seed: int = 42,
    scorer: Scorer = "number",
    **fields: Any,
) -> Cell:
    """Write a cell into a run's folder."""
    about = About(
        subject=subject * 8, set=set_name, template="Q: {prompt}", scorer=scorer, style="raw", max_new_tokens=32
    )
    known: dict[str, Any] = {
        "title": set_name.capitalize(), "model": "builtin", "revision": "r", "dtype": "float32", "tokens": 100,
        "seconds": 10.0, "seen": 0, "fingerprint": "f" * 64, "created": "2026-11-24T12:00:00",
    }  # fmt: skip
    cell = Cell(subject=subject, seed=seed, set=set_name, about=about, **{**known, **fields})
    write_cell(folder, cell, items)
    return cell

"""What a result says of its own origin, and how a site is written down. Imports no torch."""

from typing import Any

from pydantic import BaseModel

from spd_core.models.families import Site


class Provenance(BaseModel):
    """How a subspace came about: `subspace.json`, less the description of the sites."""

    model: str
    revision: str
    dtype: str
    device: str
    layers: list[int]
    rank_rule: str
    ranks: dict[str, int] = {}
    capped: list[str] = []
    center: bool
    basis: str = "shared"
    loss: str
    prompt_style: str
    capability: str
    fingerprint: str
    examples_used: int
    examples_requested: int
    skipped: dict[str, str]
    tokens: int
    supervised_tokens: int
    mean_loss: float
    batch_size: int | None = None
    seconds: float | None = None
    seed: int | None = None
    versions: dict[str, str]
    command: str


def site_record(site: Site) -> dict[str, Any]:
    """A site as JSON."""
    return {"layer": site.layer, "kind": site.kind, "module": site.module, "heads": site.heads, "fused": site.fused,
            "columns": _as_ranges(site.columns)}  # fmt: skip


def _as_ranges(columns: tuple[int, ...]) -> list[list[int]]:
    """Runs of consecutive columns as [start, end): a fused head is a line, not hundreds of numbers."""
    starts = [c for i, c in enumerate(columns) if i == 0 or columns[i - 1] != c - 1]
    ends = [c + 1 for i, c in enumerate(columns) if i == len(columns) - 1 or columns[i + 1] != c + 1]
    return [list(pair) for pair in zip(starts, ends, strict=True)]


def site_from(record: dict[str, Any]) -> Site:
    """The site that `site_record` wrote.

    Raises:
        KeyError, TypeError: a field is missing or of another kind.
    """
    columns = tuple(c for start, end in record["columns"] for c in range(start, end))
    return Site(record["layer"], record["kind"], record["module"], columns, record["heads"], record["fused"])

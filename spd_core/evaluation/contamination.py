"""Whether a subject was tested on what it knows: counted over its cells, and said."""

from collections.abc import Sequence

from spd_core.evaluation.cells import Cell
from spd_core.recipes.evaluation import Subject

CONTAMINATED = "contaminated"
"""The name of the flag of items that were seen; what is not known has another."""


def seen_items(subject: Subject, cells: Sequence[Cell]) -> int | None:
    """How many items of a set a subject was calibrated or trained on, with the seed that knows most of them.

    None where that is not known: of foreign checkpoints, of adapters that do not say, and of what evaluations before
    December 2026 did not look for.
    """
    counts = [_counted(subject, cell) for cell in cells]
    known = [count for count in counts if count is not None]
    return max(known, default=0) if len(known) == len(counts) else None


def _counted(subject: Subject, cell: Cell) -> int | None:
    """What a cell says; earlier ones counted what their own evaluation captured and trained, for all subjects alike."""
    if cell.format > 2:
        return cell.seen
    if subject.kind == "base":
        return 0
    return None if subject.adapter or subject.capture or subject.model else cell.seen


def seen_flag(name: str, seen: int | None, n: int) -> str:
    """The reason to doubt a subject's score on `n` items; empty without one."""
    if seen is None:
        return f"seen: what {name} was trained on is not known, and these {n} items may be among it"
    return f"{CONTAMINATED}: {name} was calibrated or trained on {seen} of these {n} items" if seen else ""


def unseen_numbers(ids: Sequence[str], cells: Sequence[Cell]) -> list[int] | None:
    """The numbers of those items of a set that no subject of these cells was calibrated or trained on; None where that
    is all of them, or cells do not say which ones they had seen."""
    seen = {name for cell in cells for name in cell.seen_items}
    told = all(cell.format > 2 and len(cell.seen_items) == cell.seen for cell in cells)
    return [number for number, name in enumerate(ids) if name not in seen] if seen and told else None

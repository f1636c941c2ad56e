"""What Side by side is asked to write: lanes and grids from what a user chose. Pure, and imports no torch."""

from typing import Any

from spd_core.errors import InputError
from spd_core.models.families import Kind
from spd_core.recipes.lanes import RAW, Grid, LaneSpec
from spd_core.recipes.lanes import distilled as tuned_lane

MOST_LANES, MOST_CELLS = 6, 48
LANES, SWEEP = "Lanes", "Sweep"
COMPLEMENT, RANDOM, KEYS, VALUES = "complement", "random subspace", "keys only", "values only"
KINDS: dict[str, tuple[Kind, ...]] = {"keys and values": ("key", "value"), KEYS: ("key",), VALUES: ("value",)}


def chosen_specs(
    base: LaneSpec,
    more: list[str] | tuple[str, ...] = (),
    ranks: tuple[int, ...] = (),
    strengths: tuple[float, ...] = (),
    others: list[str] | tuple[str, ...] = (),
    distilled: list[str] | tuple[str, ...] = (),
    mixed: tuple[LaneSpec, ...] = (),
) -> tuple[LaneSpec, ...]:
    """Raw, the projected lane `base`, variants of it, mixed lanes, and fine-tuned models; repeated ones once.

    Args:
        more: of `COMPLEMENT`, `RANDOM`, `KEYS`, `VALUES`.
        others: names of analyses.
        distilled: `run/arm` of adapters.

    Raises:
        InputError: more than `MOST_LANES`.
    """

    def but(**changes: Any) -> LaneSpec:
        return base.model_copy(update=changes)

    specs = [
        RAW,
        base,
        *([but(complement=True)] if COMPLEMENT in more else []),
        *([but(of="random")] if RANDOM in more else []),
        *(but(kinds=KINDS[kinds]) for kinds in (KEYS, VALUES) if kinds in more),
        *(but(rank=str(rank)) for rank in ranks),
        *(but(strength=strength) for strength in strengths),
        *(but(capture=name) for name in others),
        *mixed,
        *(tuned_lane(ref) for ref in distilled),
    ]
    distinct = tuple(dict.fromkeys(specs))
    if len(distinct) > MOST_LANES:
        raise InputError(f"{len(distinct)} lanes are chosen and {MOST_LANES} fit; remove {len(distinct) - MOST_LANES}")
    return distinct


def resolved_rank(rule: str, d_kv: int) -> int | None:
    """The number of directions that a rank rule keeps at every site; None where each site has one of its own."""
    if rule == "half":
        return d_kv // 2
    return min(max(int(rule), 1), d_kv) if rule.isdecimal() else None


def parse_ranks(text: str, d_kv: int) -> tuple[int, ...]:
    """Ranks such as `24, 48`; raises `InputError` naming the first that cannot be."""
    parts = [part.strip() for part in text.replace(";", ",").split(",") if part.strip()]
    for part in parts:
        if not (part.isdecimal() and 1 <= int(part[:9]) <= d_kv):
            raise InputError(f"{part!r} is not a rank here; write numbers from 1 to {d_kv} with commas between")
    return tuple(dict.fromkeys(int(part) for part in parts))


def parse_strengths(text: str) -> tuple[float, ...]:
    """Strengths such as `0.25, 1`; raises `InputError` naming the first that cannot be."""
    found = []
    for part in (part.strip() for part in text.replace(";", ",").split(",") if part.strip()):
        try:
            value = float(part)
        except ValueError:
            value = float("nan")
        if not 0 <= value <= 2:  # also true for NaN
            raise InputError(
                f"{part!r} is not a strength here; write numbers from 0 to 2 with commas between, such as 0.5"
            )
        found.append(value)
    return tuple(dict.fromkeys(found))


def sweep_grid(ranks: tuple[int, ...], strengths: tuple[float, ...]) -> Grid:
    """The grid of a sweep; raises `InputError` when it is empty or larger than `MOST_CELLS`."""
    cells = len(ranks) * len(strengths)
    if not 1 <= cells <= MOST_CELLS:
        raise InputError(f"{len(ranks)} ranks × {len(strengths)} strengths are {cells} cells; choose 1 to {MOST_CELLS}")
    return Grid(ranks=tuple(map(str, sorted(ranks))), strengths=tuple(sorted(strengths)))

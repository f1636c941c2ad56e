"""Lanes from options: what `generate`, `export` and `harness` are told of a capture and an adapter."""

from typing import TYPE_CHECKING

from spd_core.errors import InputError
from spd_core.models.families import Kind
from spd_core.recipes.lanes import RAW, LaneSpec

if TYPE_CHECKING:
    from spd_core.intervention.projection import Lane


def open_lane(spec: LaneSpec, name: str, capture: str | None) -> "Lane":
    """The lane of a description; its capture is a folder or a name, and so is its adapter.

    Raises:
        SpdError: one of them is not there, or damaged.
    """
    from spd_core.intervention.adapters import adapter_at
    from spd_core.intervention.lanes import make_lane
    from spd_core.subspace.store import capture_at
    from spd_core.subspace.subspace import subspace_of

    if spec.projects and capture is None:
        raise InputError(f"the lane {name!r} needs --subspace: a folder written by capture, or the name of a capture")
    return make_lane(spec, name, lambda one: subspace_of(capture_at(capture or ""), one.rank), adapter_at)


def parse_kinds(text: str) -> tuple[Kind, ...]:
    """`key`, `value` or both, with commas between; raises `InputError`."""
    known: dict[str, Kind] = {"key": "key", "value": "value"}
    named = [name.strip() for name in text.split(",")]
    if not set(named) <= set(known):
        raise InputError(f"kinds {text!r}: choose key, value, or both: key,value")
    return tuple(known[name] for name in named)


def parse_numbers(text: str | None) -> tuple[int, ...] | None:
    """Layers with commas between, or None; raises `InputError`."""
    try:
        return None if text is None else tuple(int(layer) for layer in text.split(","))
    except ValueError as error:
        raise InputError(f"layers {text!r} are no numbers; write them as 12,23") from error


def open_lanes(names: str, capture: str | None, strength: float, rank: str | None) -> "list[Lane]":
    """Lanes from a comma-separated list of `raw`, `projected` and `complement`; raises like `open_lane`."""
    projected = LaneSpec(rank=rank or "", strength=strength)
    known = {"raw": RAW, "projected": projected, "complement": projected.model_copy(update={"complement": True})}
    wanted = [name.strip() for name in names.split(",")]
    if not set(wanted) <= set(known) or len(set(wanted)) < len(wanted):
        raise InputError(f"lanes {names!r}: choose each of {', '.join(known)} at most once")
    if wanted != ["raw"] and capture is None:
        raise InputError(f"lanes {names!r} need --subspace: the folder or the name of a capture; or use --lanes raw")
    return [open_lane(known[name], name, capture) for name in wanted]

"""Lanes from options: what `generate`, `export` and `harness` are told of a capture and an adapter."""

from typing import TYPE_CHECKING

from spd_core.errors import InputError
from spd_core.models.families import Kind
from spd_core.recipes.gains import parse_gains
from spd_core.recipes.lanes import RAW, LaneSpec
from spd_core.recipes.presets import validated

if TYPE_CHECKING:
    from spd_core.intervention.projection import Lane


def open_lane(spec: LaneSpec, name: str, capture: str | None) -> "Lane":
    """The lane of a description; its capture is a folder or a name, and so is its adapter.

    Raises:
        SpdError: one of them is not there, or damaged.
    """
    from spd_core.intervention.adapters import adapter_at
    from spd_core.intervention.lanes import make_lane, subspace_for
    from spd_core.subspace.store import capture_at

    if spec.projects and capture is None:
        raise InputError(f"the lane {name!r} needs --subspace: a folder written by capture, or the name of a capture")
    return make_lane(spec, name, lambda one: subspace_for(one, capture_at(capture or "")), adapter_at)


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


def open_lanes(
    names: str, capture: str | None, strength: float, rank: str | None, gains: str | None = None
) -> "list[Lane]":
    """Lanes from a comma-separated list of `raw`, `projected`, `complement` and, with gains, `mixed`.

    Args:
        strength: of all but the mixed one.
        gains: as `parse_gains` reads them.

    Raises:
        SpdError: like `open_lane`.
    """
    projected = LaneSpec(rank=rank or "", strength=strength)
    known = {"raw": RAW, "projected": projected, "complement": projected.model_copy(update={"complement": True})}
    if gains is not None:
        known["mixed"] = _mixed(gains, rank)
    wanted = [name.strip() for name in names.split(",")]
    if "mixed" in wanted and gains is None:
        raise InputError("the lane 'mixed' needs --gains, such as 29v_1x0: layer 29 values, direction 1 times 0")
    if not set(wanted) <= set(known) or len(set(wanted)) < len(wanted):
        raise InputError(f"lanes {names!r}: choose each of {', '.join(known)} at most once")
    if wanted != ["raw"] and capture is None:
        raise InputError(f"lanes {names!r} need --subspace: the folder or the name of a capture; or use --lanes raw")
    return [open_lane(known[name], name, capture) for name in wanted]


def _mixed(gains: str, rank: str | None) -> LaneSpec:
    """The lane whose only changes are these gains; raises `InputError`."""
    sites = parse_gains(gains)
    if not sites:
        raise InputError("--gains names no site; write such as 29v_1x0: layer 29 values, direction 1 times 0")
    settings = {"rank": rank or "", "strength": 0, "gains": [site.model_dump(mode="json") for site in sites]}
    return validated(LaneSpec, settings, "--gains")

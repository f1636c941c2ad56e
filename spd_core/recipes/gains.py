"""Gains of single directions at a site, as on a mixing desk: K̃ = K + Σ (gᵢ − 1) uᵢ uᵢᵀ K.

As a record, as the short text of links and options, and in words. What they do is in `intervention/projection.py`.
Imports no torch.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from pydantic import Field, ValidationError, field_validator

from spd_core.errors import InputError
from spd_core.models.families import Kind
from spd_core.records import Request, first_error
from spd_core.text import signed

LARGEST_GAIN = 10.0
_EXAMPLE = "29v_1x0_3x2 (layer 29 values, direction 1 times 0, direction 3 times 2)"
_KINDS: Mapping[str, Kind] = {"k": "key", "v": "value"}
_SITE, _OTHERS = re.compile(r"([0-9]{1,4})([kv])"), re.compile(r"ox([-+.0-9e]+)")
_DIRECTIONS = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?x([-+.0-9e]+)")
Runs: TypeAlias = list[tuple[int, int, float]]
"""First and last direction of neighbours with one gain, and that gain."""


class SiteGains(Request):
    """What each direction of one site is multiplied by: 0 removes, 1 keeps, above amplifies, below 0 flips.

    Attributes:
        directions: (direction, gain) of single ones, counted from 1 as on all pages; in ascending order.
        others: gain of everything else; with 0 the site is projected onto the directions with gain 1.
    """

    layer: int = Field(ge=0)
    kind: Kind
    directions: tuple[tuple[int, float], ...] = ()
    others: float = 1.0

    @field_validator("directions")
    @classmethod
    def _once_each(cls, directions: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
        found = sorted(directions)
        for (number, _), (other, _) in pairwise(found):
            if number == other:
                raise ValueError(f"direction {number} has two gains; give it one")
        if found and found[0][0] < 1:
            raise ValueError(f"there is no direction {found[0][0]}; they are counted from 1")
        return tuple((number, _checked(gain)) for number, gain in found)

    @field_validator("others")
    @classmethod
    def _bounded(cls, gain: float) -> float:
        return _checked(gain)

    @property
    def where(self) -> str:
        """Such as `layer 29 values`."""
        return f"layer {self.layer} {self.kind}s"

    @property
    def highest(self) -> int:
        """The last direction that has a gain of its own; 0 for none."""
        return self.directions[-1][0] if self.directions else 0

    @property
    def changes(self) -> bool:
        """Whether anything is multiplied by something else than 1."""
        return self.others != 1 or any(gain != 1 for _, gain in self.directions)


def _checked(gain: float) -> float:
    if not abs(gain) <= LARGEST_GAIN:  # NaN is not, either
        raise ValueError(f"a gain of {gain:g} is not from {-LARGEST_GAIN:g} to {LARGEST_GAIN:g}")
    return gain


# --- as text -----------------------------------------------------------------------------------------------------


def gains_text(gains: Iterable[SiteGains]) -> str:
    """Short, of characters that links leave alone: `29v_1x0_3x2_14k_1-8x1_ox0`. `parse_gains` reads it."""
    parts = []
    for site in gains:
        parts.append(f"{site.layer}{site.kind[0]}")
        parts += [f"{_numbers(first, last)}x{_number(gain)}" for first, last, gain in _runs(site)]
        parts += [f"ox{_number(site.others)}"] * (site.others != 1)
    return "_".join(parts)


def parse_gains(text: str) -> tuple[SiteGains, ...]:
    """The gains in a text as `gains_text` writes it; none in an empty one.

    Raises:
        InputError: it cannot be read, or a gain cannot be; the message names the part.
    """
    sites: list[dict[str, Any]] = []
    for part in filter(None, text.strip().split("_")):
        if site := _SITE.fullmatch(part):
            sites.append({"layer": int(site[1]), "kind": _KINDS[site[2]], "directions": []})
        elif sites and (others := _OTHERS.fullmatch(part)):
            sites[-1]["others"] = others[1]
        elif sites and (own := _DIRECTIONS.fullmatch(part)):
            sites[-1]["directions"] += [(number, own[3]) for number in range(int(own[1]), int(own[2] or own[1]) + 1)]
        else:
            raise InputError(f"{part!r:.40} is no gain; write them as {_EXAMPLE}")
    try:
        return tuple(map(SiteGains.model_validate, sites))
    except ValidationError as error:
        raise InputError(f"gains {text!r:.80}: {first_error(error)}; write them as {_EXAMPLE}") from error


def _number(gain: float) -> str:
    return repr(gain).removesuffix(".0")


def _numbers(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"


def _runs(site: SiteGains) -> Runs:
    """Neighbours with one gain, drawn together."""
    runs: Runs = []
    for number, gain in site.directions:
        if runs and runs[-1][1] + 1 == number and runs[-1][2] == gain:
            runs[-1] = (runs[-1][0], number, gain)
        else:
            runs.append((number, number, gain))
    return runs


def gains_fact(gains: Sequence[SiteGains]) -> dict[str, Any]:
    """What records of a lane say of its gains; nothing where it has none, as records of before do."""
    return {"gains": [site.model_dump(mode="json") for site in gains]} if gains else {}


# --- in words ----------------------------------------------------------------------------------------------------


def gains_in_words(gains: Iterable[SiteGains]) -> str:
    """`layer 29 values, d1 × 0, d3 × 2; layer 14 keys, d1–8 × 1, all others × 0`."""
    return "; ".join(", ".join((site.where, *_said(site))) for site in gains)


def _said(site: SiteGains) -> list[str]:
    said = [f"d{_numbers(first, last).replace('-', '–')} × {signed(gain, 'g')}" for first, last, gain in _runs(site)]
    return said + [f"all others × {signed(site.others, 'g')}"] * (site.others != 1 or not said)

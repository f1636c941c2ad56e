"""A strip of the mixing desk: faders, mute and solo of one site, and the gains that they mean. Pure, and no torch.

A channel is a direction, counted from 1, or `OTHERS`: everything that has no fader of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from spd_core.models.families import Kind
from spd_core.recipes.gains import SiteGains

OTHERS, FADERS = 0, 8
SitePlace: TypeAlias = tuple[int, Kind]


@dataclass(frozen=True)
class Strip:
    """The faders of one site.

    Attributes:
        directions: that have a fader.
        faders: gains by channel; 1 where none is set.
        muted: channels that are 0, wherever their fader stands.
        solo: where there are any, all other channels are 0.
    """

    directions: tuple[int, ...]
    faders: Mapping[int, float] = field(default_factory=dict)
    muted: frozenset[int] = frozenset()
    solo: frozenset[int] = frozenset()

    def fader(self, channel: int) -> float:
        """Where it stands, heard or not."""
        return self.faders.get(channel, 1.0)

    def silent(self, channel: int) -> bool:
        """Whether it is 0 wherever its fader stands: muted, or another one is solo."""
        return channel in self.muted or (bool(self.solo) and channel not in self.solo)

    def gain(self, channel: int) -> float:
        """What the channel is multiplied by."""
        return 0.0 if self.silent(channel) else self.fader(channel)

    def gains(self, place: SitePlace) -> SiteGains:
        """What the strip means for its site; directions that go with the others are not named."""
        layer, kind = place
        others = self.gain(OTHERS)
        own = tuple((number, gain) for number in self.directions if (gain := self.gain(number)) != others)
        return SiteGains(layer=layer, kind=kind, directions=own, others=others)

    def moved(self, channel: int, gain: float) -> "Strip":
        """With the fader of a channel elsewhere."""
        return replace(self, faders={**self.faders, channel: gain})

    def pressed(self, channel: int, muted: bool, solo: bool) -> "Strip":
        """With mute and solo of a channel pressed or not."""
        return replace(self, muted=_with(self.muted, channel, muted), solo=_with(self.solo, channel, solo))


def _with(channels: frozenset[int], channel: int, included: bool) -> frozenset[int]:
    return channels | {channel} if included else channels - {channel}


def strip_of(own: SiteGains | None, nonzero: int) -> Strip:
    """The strip of a site as its gains say it; a gain of 0 is muted, with its fader at 1.

    Args:
        nonzero: how many directions hold energy; the first `FADERS` of them always have a fader.
    """
    gains = {} if own is None else dict(own.directions)
    others = 1.0 if own is None else own.others
    directions = tuple(sorted({*range(1, min(FADERS, nonzero) + 1), *gains}))
    said = {OTHERS: others, **{number: gains.get(number, others) for number in directions}}
    faders = {channel: gain for channel, gain in said.items() if gain not in (0, 1)}
    return Strip(directions, faders, frozenset(channel for channel, gain in said.items() if gain == 0))


# --- presets -----------------------------------------------------------------------------------------------------


def projected(strip: Strip) -> Strip:
    """The directions with a fader kept, everything else removed."""
    return Strip(strip.directions, muted=frozenset({OTHERS}))


def complement(strip: Strip) -> Strip:
    """The directions with a fader removed, everything else kept."""
    return Strip(strip.directions, muted=frozenset(strip.directions))


def without(strip: Strip, direction: int) -> Strip:
    """One direction removed, everything else kept."""
    return Strip(tuple(sorted({*strip.directions, direction})), muted=frozenset({direction}))


def mix_of(strips: Mapping[SitePlace, Strip]) -> tuple[SiteGains, ...]:
    """The gains of all sites where anything is changed, by layer, keys before values."""
    return tuple(gains for place, strip in sorted(strips.items()) if (gains := strip.gains(place)).changes)


def strips_of(mix: Iterable[SiteGains], nonzero: Mapping[SitePlace, int]) -> dict[SitePlace, Strip]:
    """The strips of a mix, by site."""
    return {(own.layer, own.kind): strip_of(own, nonzero[own.layer, own.kind]) for own in mix}

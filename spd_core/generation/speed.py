"""How fast a model has written, by what was measured while it did. Knows nothing of what will be asked."""

from collections.abc import Iterable
from dataclasses import dataclass

from spd_core.generation.comparison import Comparison

_FEWEST = 32
"""Tokens from which a result says something."""


@dataclass(frozen=True)
class Speed:
    """New tokens a second, all lanes together.

    Attributes:
        tokens: of writing alone.
        with_reading: where each text is read under another lane, too.
        source: where and when it was measured.
    """

    tokens: float
    with_reading: float
    source: str


def speed_from(tokens: int, seconds: float, created: str) -> Speed | None:
    """The speed of so many tokens, which nothing was read beside; None of too few."""
    if tokens < _FEWEST or seconds <= 0:
        return None
    return Speed(tokens / seconds, tokens / seconds, _source(created))


def speed_of(model: str, results: Iterable[Comparison]) -> Speed | None:
    """The speed of the first of these results that is the model's, and long enough to tell."""
    for one in results:
        written = sum(len(lane.tokens) for lane in one.lanes)
        if one.model == model and written >= _FEWEST and one.seconds > 0:
            return Speed(written / one.seconds, written / (one.seconds + one.reading_seconds), _source(one.created))
    return None


def _source(created: str) -> str:
    return f"the result of {created.replace('T', ' ')} on this machine"

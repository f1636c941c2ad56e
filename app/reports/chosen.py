"""What a session has in hand, gathered while its page is drawn: a report is made later, on a thread that knows none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.ui.session import Selection
from spd_core.models.families import Site
from spd_core.subspace.direction_notes import DirectionPlace

if TYPE_CHECKING:
    from spd_core.attribution.results import CausalCheck, Lens
    from spd_core.subspace.analysis import Analysis


@dataclass(frozen=True)
class InHand:
    """A capture with everything that is chosen in it.

    Attributes:
        at: the selected site, direction, text and token.
        rank: how many directions the subspace keeps.
        names: that somebody has given to directions.
        hide: whether first and special tokens have no colour and are in no list.
        special: ids of special tokens, as far as the tokenizer is at hand.
        lens, check: of the selected direction, where this session has computed them.
        checked_on: the split whose texts the check has scored.
    """

    analysis: "Analysis"
    at: Selection
    rank: int
    names: Mapping[DirectionPlace, str] = field(default_factory=dict)
    hide: bool = True
    special: frozenset[int] = frozenset()
    lens: "Lens | None" = None
    check: "CausalCheck | None" = None
    checked_on: str = "calibration"

    @property
    def site(self) -> Site:
        """The selected site."""
        return self.analysis.site(self.at.layer, self.at.kind)

    @property
    def direction(self) -> str:
        """`layer 29 value, direction 1 “carries”`; plain text."""
        name = self.names.get((self.at.layer, self.at.kind, self.at.direction))
        return f"{self.site.label}, direction {self.at.direction + 1}{f' “{name}”' if name else ''}"

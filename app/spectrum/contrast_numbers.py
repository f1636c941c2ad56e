"""The numbers of a contrast as the Spectrum page reads them: two curves a site, its table, its CSV. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.spectrum.numbers import Array, Panel, panels_of
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.site_analysis import ContrastNumbers
from spd_core.subspace.spectrum import held_percent


@dataclass(frozen=True, eq=False)
class ContrastPanel:
    """One site of a contrast, as numbers to plot.

    Attributes:
        panel: the site; its `values` are the norms of the capability's gradient rows along the directions.
        numbers: what else the directions hold.
    """

    panel: Panel
    numbers: ContrastNumbers

    @property
    def own(self) -> Array:
        """[d_kv] share of the capability's energy along each direction."""
        shares: Array = self.panel.values**2 / (self.panel.values**2).sum()
        return shares

    def held(self, rank: int) -> tuple[float, float, float, float]:
        """Shares that the first directions hold: of the capability and the others; and those of the plain subspace."""
        plain_own, plain_other = self.numbers.plain[:, :rank].sum(1)
        return float(self.own[:rank].sum()), float(self.numbers.other[:rank].sum()), plain_own, plain_other


def contrast_panels(analysis: Analysis, layers: Sequence[int] | None = None) -> list[ContrastPanel]:
    """What to plot, by layer, key before value."""
    pairs = (
        (panel, analysis.sites[analysis.site(panel.layer, panel.kind)].contrast)
        for panel in panels_of(analysis, layers)
    )
    return [ContrastPanel(panel, found) for panel, found in pairs if found is not None]


def contrast_table(panels: Sequence[ContrastPanel], rank: int, mine: str, theirs: str) -> list[dict[str, Any]]:
    """A row for each site: what the rank holds of either, in percent, rounded down."""
    rows = []
    for one in panels:
        kept = one.panel.rank(rank)
        own, other, plain_own, plain_other = map(held_percent, one.held(kept))
        rows.append(
            {
                "Site": one.panel.label,
                "Rank kept": kept,
                f"Of {mine}": own,
                f"Of {theirs}": other,
                f"Plain: of {mine}": plain_own,
                f"Plain: of {theirs}": plain_other,
                **_of_unseen(one, kept, mine, theirs),
                "λ₁": float(one.numbers.ratios[0]),
            }
        )
    return rows


def _of_unseen(one: ContrastPanel, kept: int, mine: str, theirs: str) -> dict[str, float]:
    """What half of the examples hold in directions that the other half chose; nothing where that is not known."""
    if one.numbers.unseen is None:
        return {}
    own, other = map(held_percent, one.numbers.unseen[:, :kept].sum(1))
    return {f"Unseen half: of {mine}": own, f"Unseen half: of {theirs}": other}


def contrast_rows(panels: Sequence[ContrastPanel]) -> list[dict[str, Any]]:
    """A row for each site and direction."""
    return [
        {
            "layer": one.panel.layer,
            "kind": one.panel.kind,
            "direction": at + 1,
            "ratio": float(one.numbers.ratios[at]),
            "share_of_capability": float(one.own[at]),
            "share_of_others": float(one.numbers.other[at]),
            "plain_share_of_capability": float(one.numbers.plain[0, at]),
            "plain_share_of_others": float(one.numbers.plain[1, at]),
            "unseen_share_of_capability": None if one.numbers.unseen is None else float(one.numbers.unseen[0, at]),
            "unseen_share_of_others": None if one.numbers.unseen is None else float(one.numbers.unseen[1, at]),
        }
        for one in panels
        for at in range(len(one.own))
    ]


def summed(shares: Array) -> Array:
    """[d] what the first i directions hold together."""
    together: Array = np.minimum(shares.cumsum(), 1.0)
    return together

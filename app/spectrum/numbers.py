"""Spectra as pages read them: panels to plot, tables, CSV, and the overlap of subspaces. Numbers come from spd_core."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ui.figures import plotly_text
from app.ui.tokens import visible
from spd_core.models.families import Site
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.direction_notes import DirectionPlace
from spd_core.subspace.overlap_verdict import ALL, HALVES
from spd_core.subspace.site_analysis import Coordinates
from spd_core.subspace.spectrum import (
    Overlap,
    centred_band,
    choose_rank,
    effective_rank,
    energy,
    held_percent,
    stable_rank,
)
from spd_core.subspace.verdict import steepness

Array = NDArray[np.floating[Any]]
CONTEXT, LOSS_TOKEN, OTHER_TEXTS = "context", "loss token", "other texts"
"""Groups of gradient rows."""


@dataclass(frozen=True, eq=False)
class Panel:
    """The spectrum of one site, as numbers to plot.

    Attributes:
        values: [d_kv] singular values, descending.
        nonzero: how many of them are above rounding.
        error: [d_kv] ‖K − K P‖² / ‖K‖² of the activations at rank 1 … d_kv; None where it was not kept.
        nulls: singular values by the name of the null.
        band: [2, d_kv] the bootstrap band, moved onto the spectrum; None when there is none.
        heads: [KV heads, head_dim] singular values of each head alone.
        beyond_luck: whether it is steeper than with shuffled answers, beyond the band; None where that is not known.
        effect: mean change of log p when this site alone is projected, and with a random subspace; None where that was
            not measured.
        names: that somebody has given to directions, by their 0-based numbers.
    """

    layer: int
    kind: str
    values: Array
    nonzero: int
    error: Array | None
    nulls: Mapping[str, Array] = field(default_factory=dict)
    band: Array | None = None
    heads: Array | None = None
    beyond_luck: bool | None = None
    effect: tuple[float, float] | None = None
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """For people: `layer 15 key`."""
        return f"layer {self.layer} {self.kind}"

    @property
    def energy(self) -> Array:
        """[d_kv] share of Σσ² held by the first i directions."""
        return energy(self.values)

    def rank(self, wanted: int) -> int:
        """The wanted rank, capped at the number of non-zero singular values."""
        return min(wanted, self.nonzero)

    def rank_for(self, share: float) -> int:
        """The smallest rank that holds this share of the energy (the engine's rule `energy:x`)."""
        return choose_rank(f"energy:{share}", self.values)[0]


def panels_of(
    analysis: Analysis,
    layers: Sequence[int] | None = None,
    *,
    heads: bool = False,
    names: Mapping[DirectionPlace, str] | None = None,
) -> list[Panel]:
    """What to plot, by layer, key before value; the spectra of single KV heads on demand.

    Args:
        names: that somebody has given to directions.
    """
    by_site: dict[tuple[int, str], dict[int, str]] = {}
    for (layer, kind, direction), name in (names or {}).items():
        by_site.setdefault((layer, kind), {})[direction] = name
    return [
        Panel(
            site.layer,
            site.kind,
            found.values,
            analysis.directions(site),
            found.reconstruction_error,
            found.nulls,
            None if found.band is None else centred_band(found.values, found.band),
            found.head_values(site.heads) if heads else None,
            steepness(found).beyond_luck,
            names=by_site.get((site.layer, site.kind), {}),
        )
        for site, found in analysis.sites.items()
        if layers is None or site.layer in layers
    ]


def panel_table(panels: Sequence[Panel], rank: int) -> list[dict[str, Any]]:
    """The table twin of the spectrum figures, a row for each site; energy in percent with one decimal, as
    everywhere: what is kept is rounded down, and what is lost up."""
    return [
        {
            "Site": panel.label,
            "Rank kept": panel.rank(rank),
            "Energy kept": held_percent(panel.energy[panel.rank(rank) - 1]),
            "Activations lost": None
            if panel.error is None
            else 100 - held_percent(1 - panel.error[panel.rank(rank) - 1]),
            "Effective rank": effective_rank(panel.values),
            "Stable rank": stable_rank(panel.values),
            **{f"r at {share:.0%}": panel.rank_for(share) for share in (0.9, 0.95, 0.99)},
            "σ₁": float(panel.values[0]),
            "Non-zero σ": panel.nonzero,
            **({"Names": _listed(panel)} if any(one.names for one in panels) else {}),
        }
        for panel in panels
    ]


def _listed(panel: Panel) -> str:
    """`1 digits, 4 carries`: the directions of a site that have a name."""
    return ", ".join(f"{at + 1} {name}" for at, name in sorted(panel.names.items()))


def csv_rows(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """A row for each site, spectrum (the capability's own, or a null) and direction."""
    return [
        {
            "layer": panel.layer,
            "kind": panel.kind,
            "spectrum": name,
            "direction": i + 1,
            "name": panel.names.get(i, "") if name == "capability" else "",
            "singular_value": float(value),
            "cumulative_energy": float(share),
            "reconstruction_error": None if panel.error is None or name != "capability" else float(panel.error[i]),
        }
        for panel in panels
        for name, values in {"capability": panel.values, **panel.nulls}.items()
        for i, (value, share) in enumerate(zip(values, energy(values), strict=True))
    ]


# --- overlap of subspaces ------------------------------------------------------------------------------------


def overlap_rows(found: Overlap) -> list[dict[str, Any]]:
    """The table twin of an overlap: a row for each pair."""
    pairs = [(i, j) for i in range(len(found.names)) for j in range(i + 1, len(found.names))]
    return [
        {
            "First": found.names[i],
            "Second": found.names[j],
            "Shared": found.shared(i, j),
            "By chance": float(found.chance[i, j]),
            "Smallest angle": float(found.angles[i, j][0]),
            "Mean angle": float(found.angles[i, j].mean()),
            "Largest angle": float(found.angles[i, j][-1]),
        }
        for i, j in pairs
    ]


def bases_at(analysis: Analysis, site: Site, rank: int) -> dict[str, Array]:
    """The site's subspace of this analysis, and of either half of its examples alone, all at one rank."""
    found = analysis.sites[site]
    kept = min(rank, analysis.directions(site))
    bases = {ALL: found.vectors[:, :kept]}
    if found.halves is not None:
        halves = (half[:, :kept] for half in found.halves)
        bases |= {name: half[:, half.any(0)] for name, half in zip(HALVES, halves, strict=True)}  # its non-zero ones
    return bases


def bases_by_layer(analysis: Analysis, kind: str, rank: int) -> dict[str, Array]:
    """The subspaces of one kind of site, layer by layer."""
    sites = [site for site in analysis.sites if site.kind == kind]
    return {f"layer {site.layer}": bases_at(analysis, site, rank)[ALL] for site in sites}


def comparable(analysis: Analysis, other: Analysis) -> bool:
    """Whether another analysis is of the same model, so that its directions live in the same space."""
    return other.provenance.revision == analysis.provenance.revision


# --- gradient rows -------------------------------------------------------------------------------------------


def row_groups(analysis: Analysis, by: Coordinates | None, most: int = 5) -> tuple[list[str], list[str]]:
    """For every gradient row: what it is coloured by, and what is said on hover; both escaped for plotly, which knows
    no `&quot;`.

    Coloured by whether it is a loss token; given the coordinates of a site, by example: the `most` examples with
    the most energy there are told apart, and the rest are `OTHER_TEXTS`.
    """
    texts = token_texts(analysis)
    example, position = analysis.example_of, analysis.position_of
    said = [
        f"{plotly_text(visible(text))}<br>{plotly_text(analysis.examples[e].id)}, token {t}"
        for text, e, t in zip(texts, example, position, strict=True)
    ]
    if by is None:
        return [LOSS_TOKEN if on else CONTEXT for on in analysis.supervised], said
    size = np.bincount(example, (by.gradient**2).sum(1))
    named = {int(e): plotly_text(analysis.examples[e].id) for e in np.argsort(-size)[:most]}
    return [named.get(int(e), OTHER_TEXTS) for e in example], said


def token_texts(analysis: Analysis) -> list[str]:
    """The text of every token; empty for special ones."""
    return [example.text[start:end] for example in analysis.examples for start, end in example.offsets]


def row_table(analysis: Analysis, scores: Array) -> list[dict[str, Any]]:
    """The table twin of the scatter: a row for each token."""
    return [
        {
            "Example": analysis.examples[e].id,
            "Token": int(t),
            "Text": visible(text),
            "Loss token": bool(on),
            "Component 1": float(score[0]),
            "Component 2": float(score[1]),
        }
        for e, t, text, on, score in zip(
            analysis.example_of, analysis.position_of, token_texts(analysis), analysis.supervised, scores, strict=True
        )
    ]

"""Captures beside each other in numbers: their spectra, and what the subspaces of each pair share. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from spd_core.subspace.analysis import Analysis
from spd_core.subspace.spectrum import effective_rank, energy, overlap, stable_rank
from spd_core.subspace.store import open_capture


@dataclass(frozen=True)
class ComparedCaptures:
    """Rows of two tables, in words; `shared` is empty where no two captures have a site in common."""

    spectra: list[dict[str, str]]
    shared: list[dict[str, str]]


def compared_captures(names: Sequence[str]) -> ComparedCaptures:
    """Captures by their names, site by site.

    Raises:
        InputError: one is not there, or damaged.
    """
    captures = {name: open_capture(name) for name in names}
    spectra = [row for name, found in captures.items() for row in _spectra(name, found)]
    shared = [row for first, second in combinations(captures, 2) for row in _shared(first, second, captures)]
    return ComparedCaptures(spectra, shared)


def _spectra(name: str, analysis: Analysis) -> list[dict[str, str]]:
    return [
        {
            "Capture": name,
            "Site": site.label,
            "σ₁": f"{found.values[0]:.4g}",
            "Effective rank": f"{effective_rank(found.values):.1f} of {site.d_kv}",
            "Stable rank": f"{stable_rank(found.values):.1f}",
            "Energy of the first 8": f"{100 * float(energy(found.values)[min(8, site.d_kv) - 1]):.1f}%",
        }
        for site, found in analysis.sites.items()
    ]


def _shared(first: str, second: str, captures: dict[str, Analysis]) -> list[dict[str, str]]:
    rows = []
    for site, own in captures[first].sites.items():
        other = captures[second].sites.get(site)
        if other is None:
            continue
        rank = min(site.d_kv // 2, own.vectors.shape[1], other.vectors.shape[1])
        found = overlap(
            {name: np.asarray(one.vectors[:, :rank], np.float64) for name, one in ((first, own), (second, other))}
        )
        more = "more than chance" if found.beyond_chance(0, 1) else "no more than chance"
        rows.append(
            {
                "Captures": f"{first} and {second}",
                "Site": site.label,
                "Shared": f"{100 * found.shared(0, 1):.1f}%",
                "Chance": f"{100 * float(found.chance[0, 1]):.1f}%",
                "Limit": f"{100 * float(found.limit[0, 1]):.1f}%",
                "Which is": more,
            }
        )
    return rows

"""What a session asks to capture and what it then has in hand: spectra, ranks and the subspace, as pages read them.

Numbers come from spd_core; here they are only arranged. Imports torch only where it computes.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.resources import ModelKey
from spd_core.capability import Capability, Loss, Style

if TYPE_CHECKING:
    from spd_core.families import Site
    from spd_core.gradients import Capture
    from spd_core.models import LanguageModel
    from spd_core.spectrum import Spectrum
    from spd_core.subspace import Subspace


@dataclass(frozen=True)
class Request:
    """All settings of a capture; equal requests give equal captures."""

    model: ModelKey
    capability: Capability
    loss: Loss
    style: Style
    examples: int
    layers: tuple[int, ...]
    batch_size: int
    center: bool


@dataclass(frozen=True)
class Panel:
    """The spectrum of one site, as numbers to plot.

    Attributes:
        values: [d_kv] singular values, descending.
        energy: [d_kv] share of Σσ² held by the first i directions.
        nonzero: how many singular values are above rounding.
    """

    layer: int
    kind: str
    values: np.ndarray
    energy: np.ndarray
    nonzero: int

    @property
    def label(self) -> str:
        """For people: `layer 15 key`."""
        return f"layer {self.layer} {self.kind}"

    def rank(self, wanted: int) -> int:
        """The wanted rank, capped at the number of non-zero singular values."""
        return min(wanted, self.nonzero)

    def rank_for(self, share: float) -> int:
        """The smallest rank that holds this share of the energy (the engine's rule `energy:x`)."""
        import torch

        from spd_core.spectrum import choose_rank

        return choose_rank(f"energy:{share}", torch.from_numpy(self.values))[0]


@dataclass(frozen=True, eq=False)
class Captured:
    """A finished (or stopped) capture with its provenance.

    Attributes:
        revision: of the model that was loaded.
        elapsed: seconds of the capture itself, loading left out.
        stopped: it was stopped before its last example.
    """

    request: Request
    capture: "Capture"
    spectra: "dict[Site, Spectrum]"
    revision: str
    dtype: str
    device: str
    elapsed: float
    stopped: bool

    @property
    def d_kv(self) -> int:
        """Width of a site."""
        return next(iter(self.capture.grams)).d_kv

    @property
    def layers(self) -> list[int]:
        """Target layers, ascending."""
        return sorted({site.layer for site in self.spectra})

    @property
    def mean_loss(self) -> float:
        """Mean −log p over examples, in nats."""
        return float(np.mean(list(self.capture.losses.values())))

    def panels(self, layers: list[int] | None = None) -> list[Panel]:
        """What to plot, by layer, key before value."""
        from spd_core.spectrum import numerical_rank

        return [
            Panel(site.layer, site.kind, s.values.numpy(), s.energy().numpy(), numerical_rank(s.values))
            for site, s in self.spectra.items()
            if layers is None or site.layer in layers
        ]

    def subspace(self, lm: "LanguageModel", rank: int) -> "Subspace":
        """The subspace at one rank for all sites; where a site has fewer non-zero directions, all of those.

        The cap is written down in its provenance.
        """
        from spd_core.subspace import fit

        request = self.request
        return fit(
            self.capture,
            lm,
            rank=str(rank),
            cap=True,
            center=request.center,
            loss=request.loss,
            prompt_style=request.style,
            capability=request.capability.name,
            fingerprint=request.capability.fingerprint,
        )


def table(panels: list[Panel], rank: int) -> list[dict[str, Any]]:
    """The table twin of the spectrum figures: a row for each site; energy in percent, rounded down, never up."""
    return [
        {
            "Site": panel.label,
            "Rank kept": panel.rank(rank),
            "Energy kept": float(np.floor(1e4 * panel.energy[panel.rank(rank) - 1] + 1e-6) / 100),
            **{f"r at {share:.0%}": panel.rank_for(share) for share in (0.9, 0.95, 0.99)},
            "σ₁": float(panel.values[0]),
            "Non-zero σ": panel.nonzero,
            "d_kv": len(panel.values),
        }
        for panel in panels
    ]


def csv_rows(panels: list[Panel]) -> Iterator[tuple[Any, ...]]:
    """Header, then a row for each site and direction."""
    yield ("layer", "kind", "direction", "singular_value", "cumulative_energy")
    for panel in panels:
        for i, (value, energy) in enumerate(zip(panel.values, panel.energy, strict=True), 1):
            yield panel.layer, panel.kind, i, repr(float(value)), repr(float(energy))


def to_csv(panels: list[Panel]) -> bytes:
    """All spectra as CSV."""
    text = io.StringIO()
    csv.writer(text).writerows(csv_rows(panels))
    return text.getvalue().encode()

"""What is known of one capture, as frozen numbers that are saved and read back: spectra with their nulls, bases,
and the coordinates of every token.

Imports no torch, so that a saved analysis opens at once. How the numbers come about is in `subspace/pipeline.py`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from spd_core.data.capability import Capability, Loss
from spd_core.data.seen import Seen
from spd_core.data.spans import Encoded
from spd_core.errors import InputError
from spd_core.models.families import Site
from spd_core.recipes.capture import CaptureSettings
from spd_core.subspace.spectrum import Floats, numerical_rank

SHUFFLED, FULL, RANDOM = "shuffled answers", "full-sequence loss", "random directions"
"""Names of the nulls (see `subspace/nulls.py`)."""


class Provenance(BaseModel):
    """How a subspace came about: `subspace.json`, less the description of the sites.

    Attributes:
        method: counts changes of how gradients become a spectrum; captures of other counts are other captures.
    """

    model: str
    revision: str
    dtype: str
    device: str
    layers: list[int]
    rank_rule: str
    ranks: dict[str, int] = {}
    capped: list[str] = []
    center: bool
    basis: str = "shared"
    loss: str
    prompt_style: str
    capability: str
    fingerprint: str
    examples_used: int
    examples_requested: int
    skipped: dict[str, str]
    tokens: int
    supervised_tokens: int
    mean_loss: float
    batch_size: int | None = None
    seconds: float | None = None
    seed: int | None = None
    method: int = 1
    versions: dict[str, str]
    command: str


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Every captured token of a site in the basis of its singular vectors; row t is the token t of the analysis.

    Attributes:
        gradient: [M, k] (g_t − μ)·uᵢ of the first k directions, in nats per unit; μ = 0 when not centred.
        activation: [M, k] k_t·uᵢ or v_t·uᵢ.
        product: [M] g_t·k_t, gradient × activation over all directions, in nats.
        scores: [M, p] the rows on their first principal components (scikit-learn's PCA, always centred).
        explained: [p] share of the variance that each component holds.
        axes: [p, k] each direction uᵢ on the components: of length 1 when it lies wholly in them.
    """

    gradient: Floats
    activation: Floats
    product: Floats
    scores: Floats
    explained: Floats
    axes: Floats


@dataclass(frozen=True, eq=False)
class HeadSpectra:
    """The spectrum of each KV head's own gradient rows, cross terms left out.

    Attributes:
        values: [heads, head_dim] singular values, descending.
        vectors: [heads, head_dim, head_dim] column i of head h is its direction i, in that head's own coordinates.
    """

    values: Floats
    vectors: Floats

    @staticmethod
    def of_blocks(values: Floats, vectors: Floats, heads: int) -> "HeadSpectra":
        """From singular values `[d]` and block-diagonal vectors `[d, d]`, block by block."""
        width = len(values) // heads
        blocks = np.stack([vectors[at : at + width, at : at + width] for at in range(0, len(values), width)])
        return HeadSpectra(values.reshape(heads, width), blocks.astype(np.float32))


@dataclass(frozen=True, eq=False)
class SiteAnalysis:
    """The spectrum of one site and what it is compared with.

    Attributes:
        values: [d_kv] singular values σ of the gradient rows, descending, in nats per unit.
        vectors: [d_kv, d_kv] column i is the direction uᵢ; only the first ones, [d_kv, rank], where an older version
            kept no more.
        activation_energy: [d_kv] share of Σ‖k_t‖² (or v_t) that lies along each direction; sums to 1. None where an
            older version did not keep it.
        nulls: [d_kv] singular values by the name of the null.
        band: [2, d_kv] 5th and 95th percentile of σ over bootstrap samples of the examples.
        halves: [2, d_kv, d_kv] directions of either half of the examples alone; columns beyond its rank are 0.
        coordinates: of every token; None when the rows did not fit in memory, or were not kept.
        heads: of every KV head; None where an older version did not keep it.
    """

    values: Floats
    vectors: Floats
    activation_energy: Floats | None
    nulls: Mapping[str, Floats] = field(default_factory=dict)
    band: Floats | None = None
    halves: Floats | None = None
    coordinates: Coordinates | None = None
    heads: HeadSpectra | None = None

    @property
    def reconstruction_error(self) -> Floats | None:
        """[d_kv] ‖K − K P‖² / ‖K‖² over all tokens, for P of rank 1 … d_kv: the share that projecting removes.

        None where an older version kept nothing of the activations.
        """
        if self.activation_energy is None:
            return None
        error: Floats = np.clip(1 - self.activation_energy.cumsum(), 0, 1)
        return error

    def directions(self, dtype: str) -> int:
        """How many directions are kept and not rounding; `dtype` is that of the gradients."""
        return min(numerical_rank(self.values, dtype), int(self.vectors.shape[1]))

    def head_values(self, heads: int) -> Floats:
        """[heads, head_dim] singular values of each KV head's own gradient rows, descending."""
        if self.heads is not None:
            return self.heads.values
        vectors = self.vectors.astype(np.float64)
        gram = (vectors * self.values[: vectors.shape[1]] ** 2) @ vectors.T  # [d_kv, d_kv]
        width = len(gram) // heads
        blocks = np.stack([gram[at : at + width, at : at + width] for at in range(0, len(gram), width)])
        values: Floats = np.sqrt(np.linalg.eigvalsh(blocks)[:, ::-1].clip(min=0))
        return values

    def shares(self, direction: int) -> Floats:
        """[M] share of σᵢ² that each token holds: (g_t·uᵢ)² / σᵢ². They sum to 1 (method, step 5).

        Args:
            direction: 0-based.

        Raises:
            InputError: tokens were not kept, or not for this direction; or its σ is 0 up to rounding.
        """
        nonzero = numerical_rank(self.values)
        if direction >= nonzero:
            raise InputError(f"direction {direction + 1} has no energy to share; choose 1 to {nonzero}")
        column = self.gradient(direction).astype(np.float64)
        share: Floats = column**2 / self.values[direction] ** 2
        return share

    def gradient(self, direction: int) -> Floats:
        """[M] (g_t − μ)·uᵢ of every token; raises `InputError` like `shares`."""
        return self._kept(direction).gradient[:, direction]

    def activation(self, direction: int) -> Floats:
        """[M] k_t·uᵢ of every token; raises `InputError` like `shares`."""
        return self._kept(direction).activation[:, direction]

    def _kept(self, direction: int) -> Coordinates:
        if self.coordinates is None:
            raise InputError("this capture kept no single tokens: they did not fit; capture fewer examples or layers")
        kept = self.coordinates.gradient.shape[1]
        if not 0 <= direction < kept:
            raise InputError(f"direction {direction + 1} was not kept for single tokens; choose 1 to {kept}")
        return self.coordinates


@dataclass(frozen=True, eq=False)
class Analysis:
    """A capture as pages and exports read it.

    Attributes:
        name: unique among the saved ones; file and link.
        sites: by layer, key before value.
        examples: the captured examples in the order of their tokens.
        provenance: how it came about; its ranks are empty, for none is chosen yet.
        recorded: it comes with SPD Lab.
    """

    name: str
    provenance: Provenance
    capability: Capability
    sites: Mapping[Site, SiteAnalysis]
    examples: tuple[Encoded, ...]
    recorded: bool = False

    @property
    def d_kv(self) -> int:
        """Width of a site."""
        return next(iter(self.sites)).d_kv

    @property
    def layers(self) -> list[int]:
        """Target layers, ascending."""
        return sorted({site.layer for site in self.sites})

    @property
    def known_directions(self) -> int:
        """How many directions every site has: d_kv, or fewer where an older version kept the first ones alone."""
        return min(int(found.vectors.shape[1]) for found in self.sites.values())

    @property
    def settings(self) -> CaptureSettings:
        """How it was captured; its layers by their indices."""
        record = self.provenance
        return CaptureSettings(
            layers=",".join(map(str, record.layers)),
            rank=record.rank_rule or "half",
            loss=cast(Loss, record.loss),
            examples=record.examples_requested,
            batch_size=record.batch_size or 8,
            center=record.center,
        )

    @property
    def origin(self) -> str:
        """sha256 of what it was computed from; two captures of one origin are the same capture.

        That is the model's content, its dtype and kind of device, the layers, whether gradients are centred, the
        method's count, and of every example the tokens and which of them carry the loss: so the loss, the prompt style
        and the seed of a shuffling are in it. Not in it are the last bits that came out, which depend on how many
        threads and rows were at work, and what is worked out from the gradients afterwards, the rank above all.

        Empty where that is not known: of captures of older versions without examples, or of a model that is known by
        a sample of its weights.
        """
        record = self.provenance
        if not self.examples or record.revision == "unknown" or record.revision.startswith("sha256:"):
            return ""
        facts = {
            "method": record.method,
            "model": record.revision,
            "dtype": record.dtype,
            "device": record.device.partition(":")[0],
            "sites": [[site.name, site.d_kv] for site in self.sites],
            "center": record.center,
            "examples": sorted([list(example.ids), list(example.supervised)] for example in self.examples),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def identity(self) -> str:
        """Its origin, else sha256 of its bits: by this a capture is known again, under whatever name."""
        if self.origin:
            return self.origin
        digest = hashlib.sha256()
        for site, found in self.sites.items():
            digest.update(site.name.encode() + found.values.tobytes() + found.vectors.tobytes())
        return digest.hexdigest()

    @property
    def seen(self) -> Seen | None:
        """The prompts that it was captured from; None of a folder of before whose examples are not at hand."""
        used = {example.id for example in self.examples}
        known = self.capability.split("calibration").examples
        if not used:  # the shell kept none until November 2026, and its capability may be here
            used = {example.id for example in known[: self.provenance.examples_requested]}
        return Seen.of(example.prompt for example in known if example.id in used) if used else None

    def directions(self, site: Site) -> int:
        """How many directions of a site are kept and not rounding."""
        return self.sites[site].directions(self.provenance.dtype)

    @property
    def kept_directions(self) -> int:
        """How many directions have coordinates of single tokens; 0 when none were kept."""
        found = next(iter(self.sites.values())).coordinates
        return 0 if found is None else found.gradient.shape[1]

    def site(self, layer: int, kind: str) -> Site:
        """The site of a layer; raises `InputError` when it was not captured."""
        for site in self.sites:
            if (site.layer, site.kind) == (layer, kind):
                return site
        raise InputError(f"no {kind} site at layer {layer}; this capture has layers {self.layers}")

    @property
    def example_of(self) -> NDArray[np.int64]:
        """[M] index into `examples` of every token."""
        return np.repeat(np.arange(len(self.examples)), [len(example.ids) for example in self.examples])

    @property
    def position_of(self) -> NDArray[np.int64]:
        """[M] position of every token in its example."""
        return np.concatenate([np.arange(len(example.ids)) for example in self.examples])

    @property
    def supervised(self) -> NDArray[np.bool_]:
        """[M] whether the loss was taken on the token."""
        return np.concatenate([np.isin(np.arange(len(e.ids)), e.supervised) for e in self.examples])

    def rows_of(self, example: int) -> slice:
        """Which tokens of the analysis are those of `examples[example]`."""
        lengths = [len(e.ids) for e in self.examples[: example + 1]]
        return slice(sum(lengths[:-1]), sum(lengths))

    def limited(self, directions: int) -> "Analysis":
        """The same with coordinates of the first `directions` directions only: smaller on disk."""
        return dataclasses.replace(
            self, sites={site: _limited(found, directions) for site, found in self.sites.items()}
        )


def _limited(found: SiteAnalysis, directions: int) -> SiteAnalysis:
    kept = found.coordinates
    if kept is None:
        return found
    fewer = dataclasses.replace(
        kept,
        gradient=kept.gradient[:, :directions],
        activation=kept.activation[:, :directions],
        axes=kept.axes[:, :directions],
    )
    return dataclasses.replace(found, coordinates=fewer)


def nulls_of(analysis: Analysis) -> tuple[str, ...]:
    """The nulls that need passes of their own: shuffled answers, and the full-sequence loss unless it is that."""
    return (SHUFFLED, FULL) if analysis.provenance.loss != "full" else (SHUFFLED,)

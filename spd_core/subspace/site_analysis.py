"""What is known of one site of a capture, as frozen numbers: its spectrum with the nulls, the coordinates of every
token, and the spectra of its heads.

Imports no torch. A whole capture is in `subspace/analysis.py`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spd_core.errors import InputError
from spd_core.subspace.spectrum import Floats, numerical_rank


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
        lengths: [2, M] ‖g_t − μ‖ and ‖k_t‖ (or ‖v_t‖), over all directions; None where an older version did not keep
            them.
    """

    gradient: Floats
    activation: Floats
    product: Floats
    scores: Floats
    explained: Floats
    axes: Floats
    lengths: Floats | None = None


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
class ContrastNumbers:
    """What the directions of a contrast hold (see `subspace/contrast.py`).

    Attributes:
        ratios: [d_kv] λ descending: the capability's share of the energy ÷ (that of the others + shrinkage ÷ d_kv), of
            the eigenvectors before they are made orthogonal; 0 where the capability has no directions left.
        other: [d_kv] share of the others' energy along each direction; sums to 1.
        plain: [2, d_kv] share of the capability's energy, and of the others', along each direction of the capability's
            own capture.
        unseen: [2, d_kv] the same along directions that half of the examples choose, in the other half (see
            `subspace/contrast_halves.py`); None where single tokens were not kept for all directions.
    """

    ratios: Floats
    other: Floats
    plain: Floats
    unseen: Floats | None = None


@dataclass(frozen=True, eq=False)
class SiteAnalysis:
    """The spectrum of one site and what it is compared with.

    Attributes:
        values: [d_kv] σᵢ = ‖G uᵢ‖ of the gradient rows G, in nats per unit: singular values, descending; of a contrast
            the norms along its directions, in their order.
        vectors: [d_kv, d_kv] column i is the direction uᵢ; only the first ones, [d_kv, rank], where an older version
            kept no more.
        activation_energy: [d_kv] share of Σ‖k_t‖² (or v_t) that lies along each direction; sums to 1. None where an
            older version did not keep it, or a contrast could not turn it.
        nulls: [d_kv] singular values by the name of the null.
        band: [2, d_kv] 5th and 95th percentile of σ over bootstrap samples of the examples.
        halves: [2, d_kv, d_kv] directions of either half of the examples alone; columns beyond its rank are 0.
        coordinates: of every token; None when the rows did not fit in memory, or were not kept.
        heads: of every KV head; None where an older version did not keep it.
        contrast: of a contrast alone.
    """

    values: Floats
    vectors: Floats
    activation_energy: Floats | None
    nulls: Mapping[str, Floats] = field(default_factory=dict)
    band: Floats | None = None
    halves: Floats | None = None
    coordinates: Coordinates | None = None
    heads: HeadSpectra | None = None
    contrast: ContrastNumbers | None = None

    @property
    def reconstruction_error(self) -> Floats | None:
        """[d_kv] ‖K − K P‖² / ‖K‖² over all tokens, for P of rank 1 … d_kv: the share that projecting removes.

        None where nothing was kept of the activations.
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


def limited_to(found: SiteAnalysis, directions: int) -> SiteAnalysis:
    """The same with coordinates of the first `directions` directions only."""
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

"""Gradient rows, summed up: the Gram matrix of a site, its singular values and vectors, and rows that are kept.

Knows nothing of models; `capture.py` fills what stands here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spd_core.data.spans import Encoded
from spd_core.errors import CaptureError
from spd_core.models.families import Site
from spd_core.peers import Peers
from spd_core.subspace.spectrum import choose_rank


class GradientGram:
    """Accumulates GᵀG and the column sum of gradient rows, in float64; never keeps a row.

    Attributes:
        gram: [d, d] sum of g gᵀ over rows.
        total: [d] sum of rows.
        rows: number of rows M.
    """

    def __init__(self, d: int) -> None:
        self.gram = torch.zeros(d, d, dtype=torch.float64)
        self.total = torch.zeros(d, dtype=torch.float64)
        self.rows = 0

    def update(self, rows: Tensor) -> "GradientGram":
        """Add gradient rows, `[n, d]` of any float dtype and device."""
        rows = rows.to(torch.float64)
        self.gram += (rows.T @ rows).cpu()
        self.total += rows.sum(0).cpu()
        self.rows += len(rows)
        return self

    def merge(self, other: "GradientGram") -> "GradientGram":
        """Add what another accumulator of the same width has seen."""
        self.gram += other.gram
        self.total += other.total
        self.rows += other.rows
        return self

    def share(self, peers: Peers) -> None:
        """Add what all processes have seen, in the order of their ranks."""
        peers.add_up(self.gram)
        peers.add_up(self.total)
        self.rows = sum(peers.gathered(self.rows))

    def centred(self) -> Tensor:
        """[d, d] Gram matrix of the rows less their mean: GᵀG − M·μμᵀ (method, step 5)."""
        return self.gram - torch.outer(self.total, self.total) / max(self.rows, 1)


# --- singular values and vectors -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Spectrum:
    """Singular values and right singular vectors of the gradient rows of one site.

    Attributes:
        values: [d] float64, descending within a block.
        vectors: [d, d] float64, column i belongs to value i.
        blocks: widths of the diagonal blocks: (d,), or head_dim for every KV head.
        dtype: in which the gradient rows were computed, e.g. `float32`: below its rounding a value means nothing.
    """

    values: Tensor
    vectors: Tensor
    blocks: tuple[int, ...]
    dtype: str = "float64"


def decompose(gram: GradientGram, *, center: bool = True, heads: int = 1, dtype: str = "float64") -> Spectrum:
    """Singular values and vectors from a Gram matrix: σᵢ² and uᵢ are its eigenvalues and eigenvectors.

    Args:
        gram: accumulated gradient rows of one site.
        center: subtract the column mean.
        heads: above 1, one basis for each of so many diagonal blocks (per KV head), cross terms left out.
        dtype: in which the rows were computed.

    Raises:
        CaptureError: the Gram matrix is zero or not finite.
    """
    matrix = gram.centred() if center else gram.gram
    d = len(matrix)
    if not torch.isfinite(matrix).all():
        raise CaptureError("the Gram matrix is not finite; capture again in float32")
    if not matrix.any():
        raise CaptureError("all gradients are zero: the loss does not depend on this site")
    width = d // heads
    values, vectors = torch.zeros(d, dtype=torch.float64), torch.zeros(d, d, dtype=torch.float64)
    for start in range(0, d, width):
        block = slice(start, start + width)
        eigenvalues, eigenvectors = torch.linalg.eigh(matrix[block, block])
        values[block] = eigenvalues.flip(0).clamp(min=0).sqrt()  # rounding can leave −1e-20
        vectors[block, block] = _fixed_signs(eigenvectors.flip(1))
    return Spectrum(values, vectors, (width,) * heads, dtype)


def _fixed_signs(vectors: Tensor) -> Tensor:
    """Flip columns so that the largest component of each is positive: the same capture, the same file."""
    largest = vectors.abs().argmax(0)  # [d]
    return vectors * vectors.gather(0, largest[None]).sign()


def truncate(spectrum: Spectrum, rule: str, *, cap: bool = False) -> tuple[Tensor, bool]:
    """The basis [d, rank] float32 that a rank rule keeps of a spectrum, and whether the rank was capped."""
    columns, capped, start = [], False, 0
    for width in spectrum.blocks:
        block = spectrum.values[start : start + width]
        rank, block_capped = choose_rank(rule, block.numpy(), cap=cap, dtype=spectrum.dtype)
        columns.append(spectrum.vectors[:, start : start + rank])
        capped |= block_capped
        start += width
    return torch.cat(columns, 1).float(), capped  # float32 on disk and in use; decomposed in float64


# --- rows that are kept --------------------------------------------------------------------------------------------


ROWS_LIMIT = 2**30
"""Default bound of a row store, in bytes: 50 examples of 100 tokens at 4 sites of 1,024 need 0.16 GiB."""


@dataclass
class RowStore:
    """Rows of every token of every example that was captured, or none at all once they exceed `limit`.

    Attributes:
        limit: bytes.
        examples: in the order of the rows.
        overflowed: the limit was passed, and everything dropped.
    """

    limit: int = ROWS_LIMIT
    examples: list[Encoded] = field(default_factory=list)
    overflowed: bool = False
    size: int = 0
    _gradients: dict[Site, list[NDArray[np.float32]]] = field(default_factory=dict)
    _activations: dict[Site, list[NDArray[np.float32]]] = field(default_factory=dict)

    def add(
        self,
        batch: Sequence[Encoded],
        gradients: Mapping[Site, NDArray[np.float32]],
        activations: Mapping[Site, NDArray[np.float32]],
    ) -> None:
        """Add a batch: per site `[tokens, d_kv]`, example after example."""
        if self.overflowed:
            return
        self.size += sum(rows.nbytes for rows in (*gradients.values(), *activations.values()))
        if self.size > self.limit:
            self.overflow()
            return
        self.examples += batch
        for site, rows in gradients.items():
            self._gradients.setdefault(site, []).append(rows)
            self._activations.setdefault(site, []).append(activations[site])

    def overflow(self) -> None:
        """Drop everything."""
        self.overflowed = True
        self.examples.clear()
        self._gradients.clear()
        self._activations.clear()

    def shared(self, peers: Peers, sites: Sequence[Site], examples: list[Encoded]) -> "RowStore":
        """The rows of all processes, of the sites that are `peers.mine(sites)`, in the order in which one has them.

        Args:
            examples: that all of them added, a batch each a turn.
        """
        found = RowStore(self.limit, examples)
        for at, site in enumerate(sites):
            for own, whole in ((self._gradients, found._gradients), (self._activations, found._activations)):
                parts = peers.handed_to(at % peers.count, own.get(site, []))
                turns = range(max(map(len, parts), default=0))
                whole[site] = [part[turn] for turn in turns for part in parts if turn < len(part)]
        return found

    def gradients(self, site: Site) -> NDArray[np.float32]:
        """[M, d_kv] gradient rows of a site."""
        return np.concatenate(self._gradients[site])

    def activations(self, site: Site) -> NDArray[np.float32]:
        """[M, d_kv] keys or values of a site at the same tokens."""
        return np.concatenate(self._activations[site])

    @property
    def example(self) -> NDArray[np.int64]:
        """[M] which of `examples` each row belongs to."""
        return np.repeat(np.arange(len(self.examples)), [len(example.ids) for example in self.examples])

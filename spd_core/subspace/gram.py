"""Decomposes a Gram matrix into singular values and vectors, and cuts them off at a rank."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spd_core.errors import CaptureError
from spd_core.subspace.capture import GradientGram
from spd_core.subspace.spectrum import choose_rank


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

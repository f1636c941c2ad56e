"""Decomposes a Gram matrix: singular values and vectors, rank rules, angles between subspaces."""

import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spd_core.errors import CaptureError, InputError
from spd_core.gradients import GradientGram


@dataclass(frozen=True)
class Spectrum:
    """Singular values and right singular vectors of the gradient rows of one site.

    Attributes:
        values: [d] float64, descending within a block.
        vectors: [d, d] float64, column i belongs to value i.
        blocks: widths of the diagonal blocks: (d,), or head_dim for every KV head.
    """

    values: Tensor
    vectors: Tensor
    blocks: tuple[int, ...]

    def energy(self) -> Tensor:
        """[d] cumulative share of Σσ², for a spectrum of one block or many alike (values sorted descending)."""
        squares = self.values.sort(descending=True).values.square()
        return squares.cumsum(0) / squares.sum()


def decompose(gram: GradientGram, *, center: bool = True, heads: int = 1) -> Spectrum:
    """Singular values and vectors from a Gram matrix: σᵢ² and uᵢ are its eigenvalues and eigenvectors.

    Args:
        gram: accumulated gradient rows of one site.
        center: subtract the column mean.
        heads: above 1, one basis for each of so many diagonal blocks (per KV head), cross terms left out.

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
    return Spectrum(values, vectors, (width,) * heads)


def _fixed_signs(vectors: Tensor) -> Tensor:
    """Flip columns so that the largest component of each is positive: the same capture, the same file."""
    largest = vectors.abs().argmax(0)  # [d]
    return vectors * vectors.gather(0, largest[None]).sign()


def numerical_rank(values: Tensor) -> int:
    """Number of singular values above rounding: σ > σ_max · √(d · eps), the precision of a float64 Gram matrix."""
    eps = torch.finfo(torch.float64).eps
    return int((values > values.max() * (len(values) * eps) ** 0.5).sum())


def choose_rank(rule: str, values: Tensor, *, cap: bool = False) -> tuple[int, bool]:
    """The rank that a rule gives for singular values `[d]`, and whether it was capped.

    Rules: `half` is d // 2 (SPD paper, Table 7), capped at the number of non-zero singular values;
    `energy:x` the smallest rank that holds the share x of Σσ²; an integer that rank, capped only with `cap`.

    Raises:
        InputError: an unknown rule, a rank below 1, above d, or (without `cap`) above the number of non-zero
            singular values.
    """
    d, nonzero = len(values), numerical_rank(values)
    if rule == "half":
        return min(max(d // 2, 1), nonzero), nonzero < d // 2
    if re.fullmatch(r"energy:(0?\.\d+|1|1\.0+)", rule) and float(rule[7:]) > 0:
        squares = values.square()
        kept = squares.cumsum(0) / squares.sum()
        # A hair's breadth of slack, or rounding of the sum would ask for one direction more.
        return min(int((kept < float(rule[7:]) - 1e-12).sum()) + 1, nonzero), False
    if not re.fullmatch(r"-?\d{1,9}", rule):
        raise InputError(f"unknown rank {rule!r}; use half, energy:x with x above 0 and up to 1, or an integer")
    rank = int(rule)
    if not 1 <= rank <= d:
        raise InputError(f"rank {rank} is outside 1 to {d} (d_kv {d}); choose a rank from 1 to {nonzero}")
    if rank > nonzero and not cap:
        raise InputError(f"rank {rank} exceeds the {nonzero} non-zero singular values; choose 1 to {nonzero}")
    return min(rank, nonzero), rank > nonzero


def principal_angles(first: Tensor, second: Tensor) -> np.ndarray:
    """Principal angles between the column spaces of two bases `[d, r1]` and `[d, r2]`, ascending, in radians.

    scipy's method uses sine and cosine, so that small angles keep their digits (Knyazev and Argentati, 2002).
    """
    from scipy.linalg import subspace_angles

    angles: np.ndarray = subspace_angles(first.double().numpy(), second.double().numpy())[::-1]
    return angles


def truncate(spectrum: Spectrum, rule: str, *, cap: bool = False) -> tuple[Tensor, bool]:
    """The basis [d, rank] float32 that a rank rule keeps of a spectrum, and whether the rank was capped."""
    columns, capped, start = [], False, 0
    for width in spectrum.blocks:
        rank, block_capped = choose_rank(rule, spectrum.values[start : start + width], cap=cap)
        columns.append(spectrum.vectors[:, start : start + rank])
        capped |= block_capped
        start += width
    return torch.cat(columns, 1).float(), capped  # float32 on disk and in use; decomposed in float64

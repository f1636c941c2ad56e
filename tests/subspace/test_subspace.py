"""Bases, ranks and angles against numpy's SVD and hand calculations; files that explain themselves."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spd_core.errors import CaptureError, InputError, ModelError
from spd_core.subspace.capture import capture_gradients
from spd_core.subspace.gram import GradientGram, decompose, truncate
from spd_core.subspace.spectrum import choose_rank, principal_angles
from spd_core.subspace.subspace import fit
from tests.reference import right_singular_vectors
from tests.subspace.test_capture import random_examples


def gradient_like(rows: int = 400, d: int = 16) -> torch.Tensor:
    """Rows with a falling spectrum and a mean that is not zero."""
    generator = torch.Generator().manual_seed(3)
    scales = 2.0 ** -torch.arange(d, dtype=torch.float64)
    mixed = torch.randn(rows, d, dtype=torch.float64, generator=generator) * scales
    rotation = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=generator)).Q
    return mixed @ rotation + 0.3


@pytest.mark.parametrize("center", [True, False])
def test_spectrum_equals_the_svd_of_the_stacked_rows(center: bool) -> None:
    rows = gradient_like()
    spectrum = decompose(GradientGram(16).update(rows), center=center)
    values, vectors = right_singular_vectors(rows, center)
    torch.testing.assert_close(spectrum.values, values, rtol=1e-6, atol=1e-9)
    cosines = np.cos(principal_angles(spectrum.vectors[:, :8], vectors[:, :8]))
    assert cosines.min() > 0.9999


def test_energy_shares_of_the_rows_sum_to_the_squared_singular_value() -> None:
    rows = gradient_like()
    spectrum = decompose(GradientGram(16).update(rows))
    shares = ((rows - rows.mean(0)) @ spectrum.vectors).square()  # [M, d]
    torch.testing.assert_close(shares.sum(0), spectrum.values.square(), rtol=1e-6, atol=1e-9)


def test_the_same_capture_gives_the_same_signs() -> None:
    rows = gradient_like()
    vectors = decompose(GradientGram(16).update(rows)).vectors
    largest = vectors.gather(0, vectors.abs().argmax(0)[None])
    assert (largest > 0).all()


def test_a_basis_per_head_is_block_diagonal_and_each_block_is_its_own_svd() -> None:
    rows = gradient_like()
    spectrum = decompose(GradientGram(16).update(rows), heads=2)
    basis, _ = truncate(spectrum, "3")
    assert basis.shape == (16, 6)
    assert not basis[8:, :3].any()
    assert not basis[:8, 3:].any()
    values, vectors = right_singular_vectors(rows[:, 8:], center=True)
    torch.testing.assert_close(spectrum.values[8:], values, rtol=1e-6, atol=1e-9)
    assert np.cos(principal_angles(basis[8:, 3:], vectors[:, :3])).min() > 0.9999


SIGMA = torch.tensor([2.0, 1.0, 1.0, 0.0], dtype=torch.float64)  # energies 4/6, 5/6, 6/6


@pytest.mark.parametrize(
    ("rule", "rank"),
    [("half", 2), ("1", 1), ("3", 3), ("energy:0.5", 1), ("energy:0.7", 2), ("energy:0.9", 3), ("energy:1", 3)],
)
def test_rank_rules(rule: str, rank: int) -> None:
    assert choose_rank(rule, SIGMA) == (rank, False)


def test_half_is_capped_and_says_so() -> None:
    values = torch.tensor([1.0, 0, 0, 0, 0, 0], dtype=torch.float64)
    assert choose_rank("half", values) == (1, True)


def test_an_integer_is_capped_only_on_request() -> None:
    assert choose_rank("4", SIGMA, cap=True) == (3, True)
    assert choose_rank("2", SIGMA, cap=True) == (2, False)
    with pytest.raises(InputError, match="outside 1 to 4"):
        choose_rank("5", SIGMA, cap=True)


@pytest.mark.parametrize("rule", ["0", "-1", "5", "4", "energy:0", "energy:1.5", "energy:", "most", "", "1.5"])
def test_ranks_that_cannot_be_are_refused(rule: str) -> None:
    with pytest.raises(InputError):
        choose_rank(rule, SIGMA)


def test_rank_errors_name_value_and_remedy() -> None:
    with pytest.raises(InputError, match="rank 9 is outside 1 to 4.*choose a rank from 1 to 3"):
        choose_rank("9", SIGMA)
    with pytest.raises(InputError, match="rank 4 exceeds the 3 non-zero"):
        choose_rank("4", SIGMA)


def test_principal_angles_of_two_planes() -> None:
    theta = 0.3
    first = torch.eye(3)[:, :2]
    second = torch.tensor([[1.0, 0.0], [0.0, np.cos(theta)], [0.0, np.sin(theta)]])
    np.testing.assert_allclose(principal_angles(first, second), [0.0, theta], atol=1e-7)


def test_zero_and_infinite_gradients_are_refused() -> None:
    with pytest.raises(CaptureError, match="zero"):
        decompose(GradientGram(3).update(torch.zeros(5, 3)))
    with pytest.raises(CaptureError, match="not finite"):
        decompose(GradientGram(3).update(torch.full((5, 3), float("inf"))))


def test_a_subspace_of_another_model_is_refused_naming_both(tmp_path: Path, tiny_lm: Callable[[str], Any]) -> None:
    lm, other = tiny_lm("llama"), tiny_lm("mistral")
    subspace = fit(capture_gradients(lm, random_examples(5), (2,)), lm, rank="2")
    with pytest.raises(ModelError) as refused:
        subspace.check_model(other)
    assert lm.name in str(refused.value)
    assert other.name in str(refused.value)
    same_shape = dataclasses.replace(lm, revision="sha256:other")
    with pytest.raises(ModelError, match="sha256:other"):
        subspace.check_model(same_shape)

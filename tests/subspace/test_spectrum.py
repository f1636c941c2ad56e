"""Ranks and energies against hand calculations."""

import numpy as np
import pytest

from spd_core.subspace.spectrum import centred_band, effective_rank, energy, energy_band, numerical_rank, stable_rank


def test_energy_by_hand() -> None:
    np.testing.assert_allclose(energy([2.0, 2.0, 1.0]), [4 / 9, 8 / 9, 1.0])
    np.testing.assert_allclose(energy([1.0, 2.0, 2.0]), [1 / 9, 5 / 9, 1.0], err_msg="a contrast's do not descend")


@pytest.mark.parametrize(("values", "effective", "stable"), [
    ([3.0, 3.0, 3.0, 3.0], 4.0, 4.0),
    ([5.0, 0.0, 0.0], 1.0, 1.0),
    ([2.0, 1.0], np.exp(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))), 5 / 4),
])  # fmt: skip
def test_effective_and_stable_rank_by_hand(values: list[float], effective: float, stable: float) -> None:
    assert effective_rank(values) == pytest.approx(effective)
    assert stable_rank(values) == pytest.approx(stable)


@pytest.mark.parametrize(("dtype", "torch_name"), [("float32", "float32"), ("bfloat16", "bfloat16")])
def test_rounding_noise_of_the_rows_is_no_direction(dtype: str, torch_name: str) -> None:
    """Rows of rank 3 in 32 dimensions, rounded to a dtype: numpy's SVD sees noise, the rank does not."""
    import torch

    draw = np.random.default_rng(0)
    exact = draw.normal(size=(500, 3)) @ draw.normal(size=(3, 32))
    rounded = torch.from_numpy(exact).to(getattr(torch, torch_name)).double().numpy()
    values = np.linalg.svd(rounded, compute_uv=False)
    assert (values > 1e-9 * values[0]).sum() == 32
    assert numerical_rank(values, dtype) == 3
    assert numerical_rank(np.linalg.svd(exact, compute_uv=False)) == 3


def test_small_but_real_directions_count() -> None:
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(500, 16)) * np.geomspace(1, 1e-3, 16)
    assert numerical_rank(np.linalg.svd(rows, compute_uv=False), "float32") == 16


def test_a_band_is_moved_onto_its_spectrum_and_keeps_its_width() -> None:
    band = np.array([[1.0, 0.0, 0.0], [2.0, 0.8, 0.2]])
    np.testing.assert_allclose(centred_band(np.array([3.0, 1.0, 0.0]), band), [[2.5, 0.6, 0.0], [3.5, 1.4, 0.1]])


def test_the_energy_of_any_spectrum_inside_a_band_lies_between_its_ends() -> None:
    low, high = np.array([2.0, 1.0, 0.5]), np.array([4.0, 2.0, 1.0])
    least, most = energy_band(np.stack([low, high]))
    np.testing.assert_allclose(most, [16 / 17.25, 20 / 20.25, 1])
    np.testing.assert_allclose(least, [4 / 9, 5 / 6, 1])
    draw = np.random.default_rng(0)
    for _ in range(200):
        shares = energy(draw.uniform(low, high))
        assert (least - 1e-12 <= shares).all()
        assert (shares <= most + 1e-12).all()

"""What the overlap of subspaces may be said to show: chance by sampling, the sentences by hand."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles

from spd_core.subspace.overlap_verdict import captures_verdict, layers_verdict
from spd_core.subspace.spectrum import Overlap, chance_overlap, overlap


def random_subspace(draw: np.random.Generator, d: int, rank: int) -> np.ndarray:
    return np.linalg.qr(draw.normal(size=(d, rank)))[0]


@pytest.mark.parametrize(("r", "s", "d"), [(1, 1, 6), (2, 5, 9), (4, 4, 8), (3, 7, 7), (8, 8, 16)])
def test_chance_is_what_random_subspaces_share(r: int, s: int, d: int) -> None:
    """1,000 draws, angles by scipy: mean and spread within five standard errors, and few lie above the limit."""
    draw = np.random.default_rng(3)
    angles = (subspace_angles(random_subspace(draw, d, r), random_subspace(draw, d, s)) for _ in range(1000))
    shared = np.array([(np.cos(one) ** 2).mean() for one in angles])
    mean, spread = chance_overlap(r, s, d)
    assert shared.mean() == pytest.approx(mean, abs=5 * spread / np.sqrt(1000) + 1e-12)
    assert shared.std() == pytest.approx(spread, rel=0.15, abs=1e-7)
    assert (shared > mean + 2 * spread + 1e-6).mean() < 0.07


def found(shared: dict[tuple[str, str], float], names: tuple[str, ...], chance: float, spread: float) -> Overlap:
    """An overlap of rank 1 subspaces that share what is asked for."""
    full = np.ones((len(names), len(names)))
    of = {(a, b): x for (a, b), x in shared.items()} | {(b, a): x for (a, b), x in shared.items()}
    angles = {
        (i, j): np.degrees(np.arccos(np.sqrt([of.get((a, b), 1.0)])))
        for i, a in enumerate(names)
        for j, b in enumerate(names)
    }
    return Overlap(names, angles, chance * full, spread * full)


CAPTURES = ("all examples", "half 1", "half 2", "text", "sums")


def test_halves_and_captures_stand_beside_chance() -> None:
    shared = {("half 1", "half 2"): 0.7, ("all examples", "text"): 0.509, ("all examples", "sums"): 0.58}
    assert captures_verdict(found(shared, CAPTURES, 0.5, 0.005), "Layer 7 values at rank 4") == (
        "Layer 7 values at rank 4: two halves of the examples share 70.0%, random subspaces 50.0%: more than chance. "
        "Shared with other captures, more than chance: sums 58.0%. Shared with other captures, no "
        "more than chance: text 50.9%. More than chance is above 51.0%: the mean of random subspaces and two "
        "standard deviations."
    )
    few = {("half 1", "half 2"): 0.505}
    said = captures_verdict(found(few, CAPTURES[:3], 0.5, 0.005), "Layer 7 values at rank 4")
    assert "share 50.5%, random subspaces 50.0%: no more than chance, the examples are too few for this rank." in said
    assert "other captures" not in said


def test_without_halves_other_captures_are_compared_alone() -> None:
    names = ("all examples", "sums")
    said = captures_verdict(found({names: 0.58}, names, 0.5, 0.005), "Here")
    assert said.startswith("Here: Shared with other captures, more than chance: sums 58.0%. More than chance is")


def test_all_directions_share_everything() -> None:
    eye = np.eye(4)
    both = overlap({"all examples": eye, "half 1": eye[:, ::-1], "half 2": eye})
    assert captures_verdict(both, "Here") == (
        "Here: every direction is kept, so all subspaces share everything. Choose a lower rank."
    )
    assert "Choose a lower rank" in layers_verdict(overlap({"layer 1": eye, "layer 2": eye}), "Here")


def test_pairs_of_layers_are_counted_and_the_closest_is_named() -> None:
    names = ("layer 3", "layer 4", "layer 9")
    shared = {("layer 3", "layer 4"): 0.8, ("layer 3", "layer 9"): 0.5, ("layer 4", "layer 9"): 0.505}
    assert layers_verdict(found(shared, names, 0.5, 0.005), "Values at rank 4").startswith(
        "Values at rank 4: 1 of 3 pairs of layers share more than chance. The most, layer 3 and layer 4 share 80.0%; "
        "random subspaces 50.0%. More than chance is above 51.0%"
    )
    two = layers_verdict(found({names[:2]: 0.505}, names[:2], 0.5, 0.005), "Values at rank 4")
    assert two.startswith(
        "Values at rank 4: layer 3 and layer 4 share 50.5%, random subspaces 50.0%: no more than chance. "
    )

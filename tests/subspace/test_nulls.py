"""Nulls and resampling against slow versions and what they promise."""

import numpy as np
import pytest
import torch

from spd_core.data.capability import Capability, Example, RangeSpans, RegexSpans, Settings, read_builtin
from spd_core.errors import InputError
from spd_core.subspace.nulls import bootstrap, by_example, halves, random_directions, shuffled
from spd_core.subspace.spectrum import principal_angles


def rows_of(lengths: list[int], d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows [M, d] with a mean, and which example each belongs to."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(sum(lengths), d)) * np.geomspace(1, 0.1, d) + 0.5
    return rows, np.repeat(np.arange(len(lengths)), lengths)


def test_shuffling_moves_every_answer_and_loses_none() -> None:
    capability = read_builtin("arithmetic").split("calibration")
    mixed = shuffled(capability, seed=3)
    assert [e.prompt for e in mixed.examples] == [e.prompt for e in capability.examples]
    assert sorted(e.answer for e in mixed.examples) == sorted(e.answer for e in capability.examples)
    unique = Capability(Settings(capability="x"), tuple(Example(prompt=f"q{i}", answer=f"a{i}") for i in range(9)))
    assert all(e.prompt[1:] != e.answer[1:] for e in shuffled(unique).examples)
    assert shuffled(unique, 1) == shuffled(unique, 1)
    assert shuffled(unique, 1) != shuffled(unique, 2)


def test_tests_in_the_prompt_are_exchanged_there() -> None:
    capability = read_builtin("python-functions").split("calibration").limited(4)
    for before, after in zip(capability.examples, shuffled(capability).examples, strict=True):
        assert after.tests != before.tests
        assert after.prompt.splitlines()[0] == before.prompt.splitlines()[0], "the instruction stays"
        assert all(test in after.prompt for test in after.tests)
        assert not any(test in after.prompt for test in before.tests)


def test_spans_in_the_answer_travel_and_spans_in_the_prompt_stay() -> None:
    first = Example(prompt="a", answer="12345", spans=RangeSpans(ranges=((3, 5),)))
    second = Example(prompt="bb", answer="1", spans=RegexSpans(regex="b", **{"in": "prompt"}))
    mixed = shuffled(Capability(Settings(capability="x"), (first, second))).examples
    assert mixed[0].answer == "1"
    assert mixed[0].spans == second.spans
    assert mixed[1].answer == "12345"
    assert mixed[1].spans == second.spans, "it points into its own prompt"


def test_one_example_cannot_be_shuffled() -> None:
    with pytest.raises(InputError, match="at least 2"):
        shuffled(Capability(Settings(capability="x"), (Example(prompt="a", answer="b"),)))


def test_random_directions_keep_the_norms_and_nothing_else() -> None:
    norms = np.linspace(0.1, 3, 4000)
    gram = random_directions(norms, 8).gram
    assert float(gram.trace()) == pytest.approx(float((norms**2).sum()))
    share = torch.linalg.eigvalsh(gram) / gram.trace()
    assert share.max() < 1.15 / 8, "even in all directions"


@pytest.mark.parametrize("center", [True, False])
def test_bootstrap_equals_resampling_and_stacking(center: bool) -> None:
    rows, example = rows_of([5, 9, 3, 7])
    fast = bootstrap(by_example(rows, example), center=center, samples=20, seed=4)
    assert fast is not None
    counts = np.random.default_rng(4).multinomial(4, [0.25] * 4, 20)
    slow = []
    for sample in counts:
        stacked = np.concatenate([rows[example == e] for e in range(4) for _ in range(sample[e])])
        slow.append(np.linalg.svd(stacked - stacked.mean(0) * center, compute_uv=False))
    np.testing.assert_allclose(fast, np.quantile(slow, [0.05, 0.95], axis=0), rtol=1e-6, atol=1e-7)


def test_halves_are_the_subspaces_of_disjoint_examples() -> None:
    rows, example = rows_of([5, 9, 3, 7])
    found = halves(by_example(rows, example), center=True, seed=1)
    assert found is not None
    order = np.random.default_rng(1).permutation(4)
    for part, vectors in zip(np.array_split(order, 2), found, strict=True):
        mine = rows[np.isin(example, part)]
        _, _, vh = np.linalg.svd(mine - mine.mean(0), full_matrices=False)
        assert principal_angles(vh[:3].T, vectors[:, :3]).max() < 1e-3
    assert halves(by_example(*rows_of([4]))) is None


def test_directions_of_a_half_that_are_rounding_are_left_out() -> None:
    draw = np.random.default_rng(2)
    rows = np.concatenate([np.outer(draw.normal(size=5), draw.normal(size=12)) for _ in range(8)])  # rank 8 of 12
    found = halves(by_example(rows, np.repeat(np.arange(8), 5)), center=False)
    assert found is not None
    _, _, whole = np.linalg.svd(rows, full_matrices=False)
    for half in found:
        kept = half[:, half.any(0)]
        assert kept.shape[1] == 4, "four examples of one direction each"
        assert principal_angles(whole[:8].T, kept).max() < 1e-3, "it lies inside the whole"


def test_too_little_to_resample_is_none() -> None:
    assert bootstrap(by_example(*rows_of([9]))) is None, "one example is drawn the same each time"
    rows, example = rows_of([5, 9])
    rows[example == 0] = 0
    assert halves(by_example(rows, example), center=False) is None, "one half has no gradient"

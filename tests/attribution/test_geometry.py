"""Points against stacked gradients and explicit projections, all directions at once; old captures without lengths."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spd_core.attribution.geometry import (
    ACTIVATIONS,
    GRADIENTS,
    NUMBER,
    OUTSIDE,
    SIGN,
    SPACE,
    SPECIAL,
    WORD,
    drawn_tokens,
    lengths_of,
    points_of,
    token_class,
)
from spd_core.attribution.lens import activations
from spd_core.data.catalog import find_capability
from spd_core.errors import InputError
from spd_core.recipes.capture import CaptureSettings
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.pipeline import capture
from tests.reference import right_singular_vectors, stacked_gradients

RANK = 2


@pytest.fixture(scope="module")
def lm(double_lm: Callable[[str], Any]) -> Any:
    return double_lm("llama")


@pytest.fixture(scope="module")
def analysis(lm: Any) -> Analysis:
    return capture(lm, find_capability("arithmetic"), CaptureSettings(layers="1,2", examples=4), name="tiny")


def rows_of(lm: Any, analysis: Analysis, site: Any, of: str) -> np.ndarray:
    """The centred gradients, or the activations, of every token, found without the capture."""
    if of == GRADIENTS:
        gradients = stacked_gradients(lm.model, analysis.examples, site).numpy()
        return np.asarray(gradients - gradients.mean(0))
    return np.concatenate([activations(lm, e.ids, [site])[site].cpu().numpy() for e in analysis.examples])


@pytest.mark.parametrize("of", [GRADIENTS, ACTIVATIONS])
@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_points_are_where_an_explicit_projection_puts_them(
    lm: Any, analysis: Analysis, of: str, strength: float
) -> None:
    site = analysis.site(2, "value")
    rows = rows_of(lm, analysis, site, of)
    _, vectors = right_singular_vectors(stacked_gradients(lm.model, analysis.examples, site), True)
    own = analysis.sites[site].vectors
    vectors = vectors.numpy() * np.sign((vectors.numpy() * own).sum(0))  # the sign of a direction is arbitrary
    basis = vectors[:, :RANK]
    moved = rows + strength * (rows @ basis @ basis.T - rows)
    points = points_of(analysis.sites[site], of, (0, 3, OUTSIDE), RANK)
    expected = np.stack(
        [moved @ vectors[:, 0], moved @ vectors[:, 3], np.linalg.norm(moved - moved @ basis @ basis.T, axis=1)], 1
    )
    np.testing.assert_allclose(points.at(strength), expected, rtol=1e-3, atol=1e-5 * np.abs(rows).max())
    assert points.lengths is not None
    np.testing.assert_allclose(points.lengths, np.linalg.norm(rows, axis=1), rtol=1e-4, atol=1e-9)
    assert points.shrinks.tolist() == [False, True, True]


def test_lengths_know_what_lies_outside_the_directions_that_were_kept(analysis: Analysis) -> None:
    site = analysis.site(1, "key")
    whole, few = analysis.sites[site], analysis.limited(3).sites[site]
    for of in (GRADIENTS, ACTIVATIONS):
        outside = points_of(whole, of, (OUTSIDE,), RANK).values
        scale = np.abs(outside).max()
        np.testing.assert_allclose(points_of(few, of, (OUTSIDE,), RANK).values, outside, atol=1e-3 * scale)


def test_captures_without_lengths_say_so_unless_they_kept_all_directions(analysis: Analysis) -> None:
    site = analysis.site(1, "key")
    found = analysis.sites[site]
    assert found.coordinates is not None
    old = dataclasses.replace(found, coordinates=dataclasses.replace(found.coordinates, lengths=None))
    known = lengths_of(found, ACTIVATIONS)
    assert known is not None
    np.testing.assert_allclose(lengths_of(old, ACTIVATIONS), known, rtol=1e-5)  # type: ignore[arg-type]
    kept = old.coordinates
    assert kept is not None
    few = dataclasses.replace(
        old, coordinates=dataclasses.replace(kept, gradient=kept.gradient[:, :3], activation=kept.activation[:, :3])
    )
    assert lengths_of(few, GRADIENTS) is None
    assert points_of(few, GRADIENTS, (0, 1), 3).lengths is None
    with pytest.raises(InputError, match="no lengths of tokens; capture again"):
        points_of(few, GRADIENTS, (0, OUTSIDE), 3)
    for axes, rank in (((0, 3), 2), ((-2,), 2), ((0,), 4), ((0,), 0)):
        with pytest.raises(InputError, match="choose 1 to 3"):
            points_of(few, GRADIENTS, axes, rank)
    with pytest.raises(InputError, match="kept no single tokens"):
        points_of(dataclasses.replace(found, coordinates=None), GRADIENTS, (0,), 1)


@pytest.mark.parametrize(
    ("text", "is_a"),
    [
        (" 12", NUMBER), ("3.5", NUMBER), ("½", SIGN), (" the", WORD), ("3rd", WORD), ("é", WORD), ("日本", WORD),
        (" +", SIGN), ("?\n", SIGN), ("_", SIGN), ("✓", SIGN), (" ", SPACE), ("\n\n", SPACE), ("", SPECIAL),
    ],
)  # fmt: skip
def test_a_token_is_what_its_characters_are(text: str, is_a: str) -> None:
    assert token_class(text) == is_a
    assert token_class(text, special=True) == SPECIAL


def test_of_too_many_tokens_some_are_drawn_and_the_selected_one_is_among_them() -> None:
    shown = np.arange(100) % 2 == 0
    assert drawn_tokens(shown, 50).tolist() == list(range(0, 100, 2))
    some = drawn_tokens(shown, 10)
    assert len(set(some)) == 10
    assert shown[some].all()
    assert some.tolist() == sorted(some) == drawn_tokens(shown, 10).tolist()
    left_out = next(at for at in range(0, 100, 2) if at not in some)
    assert left_out in drawn_tokens(shown, 10, always=left_out)
    assert len(drawn_tokens(shown, 10, always=left_out)) == 10
    assert 1 not in drawn_tokens(shown, 10, always=1), "hidden ones stay hidden"

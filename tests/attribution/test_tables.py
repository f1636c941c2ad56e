"""Token tables against stacked gradient rows and explicit products; shares sum to one however they are grouped."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spd_core.attribution import tables
from spd_core.attribution.tables import ASIDE, LOSS, OTHER
from spd_core.data.catalog import find_capability
from spd_core.data.spans import Encoded
from spd_core.errors import InputError
from spd_core.recipes.capture import CaptureSettings
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.pipeline import capture
from tests.reference import right_singular_vectors, stacked_gradients


@pytest.fixture(scope="module")
def lm(double_lm: Callable[[str], Any]) -> Any:
    return double_lm("llama")


@pytest.fixture(scope="module")
def analysis(lm: Any) -> Analysis:
    return capture(lm, find_capability("arithmetic"), CaptureSettings(layers="1,2", examples=4), name="tiny")


@pytest.mark.parametrize("center", [True, False])
def test_shares_are_those_of_the_stacked_gradients_and_sum_to_one(lm: Any, center: bool) -> None:
    settings = CaptureSettings(layers="1,2", examples=4, center=center)
    analysis = capture(lm, find_capability("arithmetic"), settings, name="tiny")
    for site in analysis.sites:
        rows = stacked_gradients(lm.model, analysis.examples, site)
        values, vectors = right_singular_vectors(rows, center)
        centred = rows - rows.mean(0) if center else rows
        for direction in (0, 1, 3):
            table = tables.direction_table(analysis, site, direction)
            expected = (centred @ vectors[:, direction]) ** 2 / values[direction] ** 2
            np.testing.assert_allclose(table.share, expected, rtol=1e-3, atol=1e-7)  # coordinates are kept in float32
            assert table.share.sum() == pytest.approx(1, abs=1e-5)
            for by in ("text", "position", "supervised", "role"):
                assert tables.summed(table, by).share.sum() == pytest.approx(1, abs=1e-5)


def test_coordinates_and_the_baseline_are_explicit_products(lm: Any, analysis: Analysis) -> None:
    from spd_core.attribution.lens import activations

    site = analysis.site(2, "value")
    rows = stacked_gradients(lm.model, analysis.examples, site).numpy()
    outputs = np.concatenate([activations(lm, e.ids, [site])[site].cpu().numpy() for e in analysis.examples])
    table = tables.direction_table(analysis, site, 1)
    vectors = analysis.sites[site].vectors
    np.testing.assert_allclose(table.coordinate, outputs @ vectors[:, 1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(table.gradient, (rows - rows.mean(0)) @ vectors[:, 1], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(table.baseline, (rows * outputs).sum(1), rtol=1e-3, atol=1e-6)


def test_tokens_know_what_they_are() -> None:
    encoded = Encoded("e", "ab c", (7, 8, 9, 3), ((0, 0), (0, 2), (2, 4), (4, 4)), (2,))
    table = tables.tokens_of([encoded, encoded], special_ids={9})
    assert table.text.tolist() == ["", "ab", " c", ""] * 2
    assert table.special.tolist() == [True, False, True, True] * 2
    assert table.supervised.tolist() == [False, False, True, False] * 2
    assert table.aside.tolist() == [True, False, True, True] * 2
    assert table.role.tolist() == [ASIDE, OTHER, ASIDE, ASIDE] * 2
    plain = tables.tokens_of([Encoded("e", "ab", (7, 8), ((0, 1), (1, 2)), (1,))])
    assert plain.aside.tolist() == [True, False], "the first position is set aside though it is an ordinary token"
    assert plain.role.tolist() == [ASIDE, LOSS]


def test_further_tokens_of_one_character_are_known() -> None:
    split = Encoded("e", "a漢漢", (1, 2, 3, 4, 5), ((0, 1), (1, 2), (1, 2), (2, 3), (3, 3)), ())
    assert tables.tokens_of([split, split]).continued.tolist() == [False, False, True, False, False] * 2


def test_a_later_direction_than_was_kept_says_so(analysis: Analysis) -> None:
    fewer = analysis.limited(2)
    with pytest.raises(InputError, match="direction 3 was not kept for single tokens; choose 1 to 2"):
        tables.direction_table(fewer, fewer.site(2, "value"), 2)


def table_of(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_sums_are_sorted_by_share_and_positions_by_position() -> None:
    table = table_of(text=["a", "b", "a", "c"], position=[3, 1, 2, 1], share=[0.1, 0.6, 0.2, 0.1])
    by_text = tables.summed(table, "text")
    assert by_text.text.tolist() == ["b", "a", "c"]
    assert by_text.share.tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert by_text.tokens.tolist() == [1, 2, 1]
    assert tables.summed(table, "position").position.tolist() == [1, 2, 3]


def test_extremes_are_of_either_sign_only() -> None:
    table = table_of(coordinate=[1.0, -2.0, 0.0, 3.0, -0.5])
    above, below = tables.extremes(table, "coordinate", 5)
    assert above.coordinate.tolist() == [3.0, 1.0]
    assert below.coordinate.tolist() == [-2.0, -0.5]


def test_rank_correlation_ignores_tokens_without_gradient_and_signs() -> None:
    table = table_of(share=[0.1, 0.2, 0.3, 0.4, 0.0, 0.0], baseline=[0.1, -0.2, 0.3, -0.4, 0.0, 0.0])
    assert tables.rank_correlation(table) == pytest.approx(1)
    turned = table.assign(baseline=[0.4, 0.3, -0.2, 0.1, 0, 0])
    assert tables.rank_correlation(turned) == pytest.approx(-1)
    assert np.isnan(tables.rank_correlation(table.assign(share=0.25)))
    with pytest.raises(InputError, match="2 tokens have a gradient"):
        tables.rank_correlation(table.iloc[[0, 1, 4]])


def test_a_scale_is_never_zero_and_deaf_to_a_few_outliers() -> None:
    assert tables.scale_of([-3.0] * 500 + [1000.0]) == 3
    assert tables.scale_of([0.0] * 500 + [7.0]) == 7
    assert tables.scale_of([]) == tables.scale_of([0.0]) == 1

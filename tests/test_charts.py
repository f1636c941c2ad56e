"""The figures hold the numbers they should, computed here anew from stacked gradient rows."""

import csv
import io

import numpy as np
import pytest
import torch

from app import charts
from app.captured import Panel, table, to_csv
from spd_core.gradients import GradientGram
from spd_core.spectrum import decompose, numerical_rank

D = 12


def rows_of_rank(rank: int, seed: int) -> np.ndarray:
    """[40, D] rows with fast falling singular values, `rank` of them non-zero."""
    generator = np.random.default_rng(seed)
    factors = generator.normal(size=(40, rank)) * np.logspace(0, -2, rank)
    return factors @ generator.normal(size=(rank, D))


ROWS = {(3, "key"): rows_of_rank(D, 0), (3, "value"): rows_of_rank(5, 1), (7, "key"): rows_of_rank(D, 2),
        (7, "value"): rows_of_rank(D, 3)}  # fmt: skip


def sigma(site: tuple[int, str]) -> np.ndarray:
    """Singular values of the centred rows, without any Gram matrix."""
    rows = ROWS[site]
    return np.linalg.svd(rows - rows.mean(0), compute_uv=False)


@pytest.fixture(scope="module")
def panels() -> list[Panel]:
    def panel(site: tuple[int, str]) -> Panel:
        s = decompose(GradientGram(D).update(torch.from_numpy(ROWS[site])))
        return Panel(*site, s.values.numpy(), s.energy().numpy(), numerical_rank(s.values))

    return [panel(site) for site in ROWS]


def test_singular_values_are_those_of_the_stacked_rows(panels: list[Panel]) -> None:
    figure = charts.singular_values(panels, 4)
    for trace, site in zip(figure.data, ROWS, strict=True):
        assert list(trace.x) == list(range(1, D + 1))
        drawn = np.array(trace.y)
        shown = ~np.isnan(drawn)
        assert shown.sum() == np.linalg.matrix_rank(ROWS[site] - ROWS[site].mean(0))
        np.testing.assert_allclose(drawn[shown], sigma(site)[shown], rtol=1e-6)
        assert "nats" in trace.hovertemplate
    assert figure.layout.yaxis.type == "log"


def test_cumulative_energy_ends_at_one(panels: list[Panel]) -> None:
    for trace, site in zip(charts.cumulative_energy(panels, 4).data, ROWS, strict=True):
        squares = sigma(site) ** 2
        np.testing.assert_allclose(trace.y, np.cumsum(squares) / squares.sum(), rtol=1e-9)
        assert trace.y[-1] == pytest.approx(1)


@pytest.mark.parametrize("build", [charts.singular_values, charts.cumulative_energy])
def test_panels_share_their_axes_and_carry_their_own_rank(build: object, panels: list[Panel]) -> None:
    figure = build(panels, 8)  # type: ignore[operator]
    titles = [a.text for a in figure.layout.annotations]
    assert titles[:4] == ["Layer 3 · key", "Layer 3 · value", "Layer 7 · key", "Layer 7 · value"]
    lines = [shape.x0 for shape in figure.layout.shapes if shape.type == "line"]
    assert lines == [8, 5, 8, 8], "a site with five directions keeps five"
    assert titles[4:] == ["rank 8", "rank 5", "rank 8", "rank 8"]
    axes = [figure.layout[name] for name in figure.layout if str(name).startswith("yaxis")]
    assert sum(axis.matches is None for axis in axes) == 1, "all follow one"


def test_light_and_dark_differ_and_kinds_differ(panels: list[Panel]) -> None:
    light, dark = (charts.singular_values(panels, 4, dark=dark) for dark in (False, True))
    colours = [[trace.line.color for trace in figure.data] for figure in (light, dark)]
    assert colours[0][0] == colours[0][2] != colours[0][1] == colours[0][3]
    assert not set(colours[0]) & set(colours[1])


def test_the_table_is_the_twin_of_the_figures(panels: list[Panel]) -> None:
    for row, site in zip(table(panels, 6), ROWS, strict=True):
        squares = sigma(site) ** 2
        kept = np.cumsum(squares) / squares.sum()
        rank = min(6, np.linalg.matrix_rank(ROWS[site] - ROWS[site].mean(0)))
        assert row["Rank kept"] == rank
        assert 0 <= 100 * kept[rank - 1] - row["Energy kept"] < 0.0101, "rounded down, never up"
        for share in (90, 95, 99):
            assert row[f"r at {share}%"] == int(np.argmax(kept >= share / 100)) + 1
        assert row["σ₁"] == pytest.approx(sigma(site)[0])


def test_csv_holds_every_direction(panels: list[Panel]) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(panels).decode())))
    assert len(rows) == 4 * D
    assert [float(row["singular_value"]) for row in rows[:D]] == panels[0].values.tolist()
    assert {(row["layer"], row["kind"]) for row in rows} == {(str(layer), kind) for layer, kind in ROWS}


def test_html_needs_no_network_and_escapes_its_title(panels: list[Panel]) -> None:
    page = charts.to_html([charts.singular_values(panels, 4)], "<b>a</b>").decode()
    assert "<h1>&lt;b&gt;a&lt;/b&gt;</h1>" in page
    assert "<script src" not in page
    assert "cdn.plot.ly" not in page.split("<script")[-1]

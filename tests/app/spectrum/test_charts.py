"""The figures hold the numbers they should, computed here anew from stacked gradient rows."""

import csv
import dataclasses
import io
from typing import Any

import numpy as np
import pytest
import torch

from app.spectrum import charts, numbers, subspace_charts
from app.spectrum.charts import Look
from app.spectrum.numbers import Panel, csv_rows, panel_table
from app.ui.figures import figures_html
from app.ui.tables import to_csv
from spd_core.subspace.gram import GradientGram, decompose
from spd_core.subspace.spectrum import energy, numerical_rank, overlap
from spd_core.subspace.store import RECORDED, load_capture, recorded_captures

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


NULL, HEADS = "shuffled answers", 2


@pytest.fixture(scope="module")
def panels() -> list[Panel]:
    def panel(site: tuple[int, str]) -> Panel:
        values = decompose(GradientGram(D).update(torch.from_numpy(ROWS[site]))).values.numpy()
        error = 1 - np.linspace(0.1, 1, D)
        band = np.stack([values * 0.9, values * 1.1])
        nulls = {NULL: values[::-1].copy() + 1}
        return Panel(*site, values, numerical_rank(values), error, nulls, band, np.ones((HEADS, D // HEADS)))

    return [panel(site) for site in ROWS]


def own(figure: Any) -> list[Any]:
    """The traces of the capability itself, in the order of the panels."""
    return [trace for trace in figure.data if trace.name in ("keys", "values")]


def test_singular_values_are_those_of_the_stacked_rows(panels: list[Panel]) -> None:
    figure = charts.singular_values(panels, 4, Look())
    for trace, site in zip(own(figure), ROWS, strict=True):
        assert list(trace.x) == list(range(1, D + 1))
        drawn = np.array(trace.y)
        shown = ~np.isnan(drawn)
        assert shown.sum() == np.linalg.matrix_rank(ROWS[site] - ROWS[site].mean(0))
        np.testing.assert_allclose(drawn[shown], sigma(site)[shown], rtol=1e-6)
        assert "nats" in trace.hovertemplate
        assert [tuple(point) for point in trace.customdata] == [(*site, i) for i in range(D)], "a click tells its site"
    assert figure.layout.yaxis.type == "log"


def test_cumulative_energy_ends_at_one_and_the_activations_stand_beside_it(panels: list[Panel]) -> None:
    figure = charts.cumulative_energy(panels, 4, Look())
    for trace, site in zip(own(figure), ROWS, strict=True):
        squares = sigma(site) ** 2
        np.testing.assert_allclose(trace.y, np.cumsum(squares) / squares.sum(), rtol=1e-9)
        assert trace.y[-1] == pytest.approx(1)
    activations = [trace for trace in figure.data if trace.name == "activations"]
    assert len(activations) == 4
    np.testing.assert_allclose(activations[0].y, np.linspace(0.1, 1, D))


@pytest.mark.parametrize("build", [charts.singular_values, charts.cumulative_energy])
def test_panels_share_their_axes_and_carry_their_own_rank(build: Any, panels: list[Panel]) -> None:
    figure = build(panels, 8, Look())
    titles = [a.text for a in figure.layout.annotations]
    assert titles[:4] == ["Layer 3 · key", "Layer 3 · value", "Layer 7 · key", "Layer 7 · value"]
    lines = [shape.x0 for shape in figure.layout.shapes if shape.type == "line"]
    assert lines == [8, 5, 8, 8], "a site with five directions keeps five"
    assert titles[4:] == ["rank 8", "rank 5", "rank 8", "rank 8"]

    def free(figure: Any) -> int:
        axes = [figure.layout[name] for name in figure.layout if str(name).startswith("yaxis")]
        return sum(axis.matches is None for axis in axes)

    assert free(figure) == 1, "all follow one"
    assert free(build(panels, 8, Look(shared=False))) == 4


def test_overlays_are_drawn_once_in_every_panel_and_once_in_the_legend(panels: list[Panel]) -> None:
    look = Look(overlays=(NULL, charts.BAND, charts.HEADS, "not captured"))
    figure = charts.singular_values(panels, 4, look)
    for name in (NULL, charts.BAND, "KV head 1", "KV head 2"):
        traces = [trace for trace in figure.data if trace.name == name]
        assert len(traces) == 4, name
        assert [bool(trace.showlegend) for trace in traces] == [True, False, False, False]
    null = next(trace for trace in figure.data if trace.name == NULL)
    np.testing.assert_allclose(null.y, panels[0].nulls[NULL])
    head = next(trace for trace in figure.data if trace.name == "KV head 2")
    assert len(head.x) == D // HEADS
    energies = next(t for t in charts.cumulative_energy(panels, 4, look).data if t.name == NULL)
    np.testing.assert_allclose(energies.y, energy(panels[0].nulls[NULL]))


def test_shapes_are_compared_at_norm_one(panels: list[Panel]) -> None:
    figure = charts.singular_values(panels, 4, Look(overlays=(NULL,), shape=True))
    for trace in figure.data:
        assert np.sqrt(np.nansum(np.array(trace.y) ** 2)) == pytest.approx(1, abs=1e-6)
        assert "of the norm" in trace.hovertemplate


def test_the_selected_direction_is_ringed(panels: list[Panel]) -> None:
    figure = charts.singular_values(panels, 4, Look(selected=(7, "key", 2)))
    (ring,) = [trace for trace in figure.data if trace.name == "selected"]
    assert (ring.x[0], ring.y[0]) == (3, pytest.approx(panels[2].values[2]))


def test_light_and_dark_differ_and_kinds_differ(panels: list[Panel]) -> None:
    figures = [charts.singular_values(panels, 4, Look(dark=dark)) for dark in (False, True)]
    colours = [[trace.line.color for trace in own(figure)] for figure in figures]
    assert colours[0][0] == colours[0][2] != colours[0][1] == colours[0][3]
    assert not set(colours[0]) & set(colours[1])


def test_the_overlap_matrix_holds_the_mean_angles() -> None:
    eye, turned = np.eye(6), np.eye(6)
    turned[:2, 1] = [np.sin(np.radians(30)), np.cos(np.radians(30))]  # the second axis, 30° towards the first
    found = overlap({"a": eye[:, :2], "b": turned[:, 1:3], "c": eye[:, 4:6]})
    heat, labels = subspace_charts.overlap_matrix(found).data
    assert list(labels.text) == ["0°", "45°", "90°", "45°", "0°", "90°", "90°", "90°", "0°"]
    assert labels.textfont.color[0] == "#000000", "black on yellow"
    assert labels.textfont.color[2] == "#ffffff", "white on dark blue"
    assert heat.z[0][0] == pytest.approx(0, abs=1e-5)
    assert heat.z[0][2] == pytest.approx(90)
    assert heat.z[0][1] == heat.z[1][0] == pytest.approx((0 + 90) / 2, abs=1e-4), "one axis in common, one not"
    (first, *_), pairs = numbers.overlap_rows(found), len(numbers.overlap_rows(found))
    assert pairs == 3
    assert (first["First"], first["Second"], first["By chance"]) == ("a", "b", pytest.approx(1 / 3))
    assert first["Shared"] == pytest.approx(0.5)
    assert found.shared(1, 2) == pytest.approx(0, abs=1e-9)


def test_rows_are_told_apart_by_colour_and_symbol() -> None:
    scores = np.arange(8.0).reshape(4, 2)
    figure = subspace_charts.rows_scatter(scores, np.array([0.7, 0.2]), ["a", "b", "a", "b"], ["w", "x", "y", "z"])
    assert [trace.name for trace in figure.data] == ["a", "b"]
    assert list(figure.data[1].x) == [2.0, 6.0]
    assert [tuple(point) for point in figure.data[1].customdata] == [(1, "x"), (3, "z")]
    assert figure.data[0].marker.symbol != figure.data[1].marker.symbol
    line = subspace_charts.rows_scatter(
        scores, np.array([0.7, 0.2]), list("abab"), list("wxyz"), {"u1": np.array([0.6, 0.8, 0])}
    )
    np.testing.assert_allclose(line.data[-1].x, [-0.6 * 7, 0.6 * 7])
    np.testing.assert_allclose(line.data[-1].y, [-0.8 * 7, 0.8 * 7])
    assert "70.0%" in figure.layout.xaxis.title.text


def test_what_is_said_of_rows_is_text_alone() -> None:
    recorded = load_capture(RECORDED / recorded_captures()[0])
    first, *rest = recorded.examples
    hostile = dataclasses.replace(first, id='<a href="http://evil">"x"</a>', text="<b>" + first.text[3:])
    found = dataclasses.replace(recorded, examples=(hostile, *rest))
    site = found.sites[found.site(found.layers[-1], "value")].coordinates
    assert site is not None
    groups, said = numbers.row_groups(found, site, most=len(found.examples))
    assert not any("<" in text.replace("<br>", "") for text in (*groups, *said))
    assert '&lt;a href="http://evil"&gt;"x"&lt;/a&gt;' in groups, "plotly knows no &quot;"


def test_subspaces_of_halves_are_their_own_directions() -> None:
    recorded = load_capture(RECORDED / recorded_captures()[0])
    site = recorded.site(recorded.layers[-1], "value")
    found = recorded.sites[site]
    assert found.halves is not None
    halves = found.halves * (np.arange(site.d_kv) < 3)  # no more than three directions are above rounding
    cut = dataclasses.replace(recorded, sites={site: dataclasses.replace(found, halves=halves)})
    bases = numbers.bases_at(cut, site, 8)
    assert [basis.shape[1] for basis in bases.values()] == [8, 3, 3]


def test_the_table_is_the_twin_of_the_figures(panels: list[Panel]) -> None:
    for row, site in zip(panel_table(panels, 6), ROWS, strict=True):
        squares = sigma(site) ** 2
        kept = np.cumsum(squares) / squares.sum()
        rank = min(6, np.linalg.matrix_rank(ROWS[site] - ROWS[site].mean(0)))
        assert row["Rank kept"] == rank
        assert 0 <= 100 * kept[rank - 1] - row["Energy kept"] < 0.0101, "rounded down, never up"
        for share in (90, 95, 99):
            assert row[f"r at {share}%"] == int(np.argmax(kept >= share / 100)) + 1
        assert row["Activations lost"] == pytest.approx(100 * (1 - np.linspace(0.1, 1, D)[rank - 1]), abs=0.011)
        assert row["Stable rank"] == pytest.approx(squares.sum() / squares[0])
        assert row["σ₁"] == pytest.approx(sigma(site)[0])


def test_csv_holds_every_direction(panels: list[Panel]) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(csv_rows(panels)).decode())))
    assert len(rows) == 4 * D * 2, "the capability and one null"
    assert [float(row["singular_value"]) for row in rows[:D]] == panels[0].values.tolist()
    assert {(row["layer"], row["kind"]) for row in rows} == {(str(layer), kind) for layer, kind in ROWS}


def test_html_needs_no_network_and_escapes_its_title(panels: list[Panel]) -> None:
    page = figures_html([charts.singular_values(panels, 4, Look())], "<b>a</b>").decode()
    assert "<h1>&lt;b&gt;a&lt;/b&gt;</h1>" in page
    assert "<script src" not in page
    assert "cdn.plot.ly" not in page.split("<script")[-1]

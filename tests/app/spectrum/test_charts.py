"""The figures hold the numbers they should, computed here anew from stacked gradient rows."""

import csv
import dataclasses
import io
from typing import Any

import numpy as np
import pytest
import torch

from app.spectrum import charts, layer_map, numbers, panel_grid, subspace_charts
from app.spectrum.charts import Look
from app.spectrum.curves import clicked_site
from app.spectrum.numbers import Panel, csv_rows, panel_table
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
    """The curves of the capability itself, in the order of the panels."""
    return [trace for trace in figure.data if trace.name in ("keys", "values") and "lines" in trace.mode]


def test_singular_values_are_those_of_the_stacked_rows(panels: list[Panel]) -> None:
    figure = charts.singular_values(panels, 4, Look())
    for trace, site in zip(own(figure), ROWS, strict=True):
        assert list(trace.x) == list(range(1, D + 1))
        drawn = np.array(trace.y)
        shown = ~np.isnan(drawn)
        assert shown.sum() == np.linalg.matrix_rank(ROWS[site] - ROWS[site].mean(0))
        np.testing.assert_allclose(drawn[shown], sigma(site)[shown], rtol=1e-6)
        assert "nats" in trace.hovertemplate
        assert [clicked_site(point) for point in trace.customdata] == [(*site, i) for i in range(D)], (
            "a click tells its site"
        )
    assert figure.layout.yaxis.type == "log"


def test_the_dots_of_a_curve_lie_on_it_and_stay_when_a_point_is_chosen(panels: list[Panel]) -> None:
    figure = charts.singular_values(panels, 4, Look())
    dots = [trace for trace in figure.data if trace.name in ("keys", "values") and "text" in trace.mode]
    assert len(dots) == len(panels)
    for dotted, curve in zip(dots, own(figure), strict=True):
        on_curve = dict(zip(curve.x, curve.y, strict=True))
        np.testing.assert_array_equal([on_curve[x] for x in dotted.x], dotted.y)
        assert dotted.hoverinfo == "skip", "the curve itself is what can be clicked"
        assert not dotted.showlegend


def test_cumulative_energy_ends_at_one_and_the_activations_can_stand_beside_it(panels: list[Panel]) -> None:
    figure = charts.cumulative_energy(panels, 4, Look())
    for trace, site in zip(own(figure), ROWS, strict=True):
        squares = sigma(site) ** 2
        np.testing.assert_allclose(trace.y, np.cumsum(squares) / squares.sum(), rtol=1e-9)
        assert trace.y[-1] == pytest.approx(1)
    assert charts.ACTIVATIONS not in {trace.name for trace in figure.data}
    figure = charts.cumulative_energy(panels, 4, Look(overlays=(charts.ACTIVATIONS,)))
    activations = [trace for trace in figure.data if trace.name == "activations"]
    assert len(activations) == 4
    np.testing.assert_allclose(activations[0].y, np.linspace(0.1, 1, D))


def titles(figure: Any) -> list[str]:
    """What stands above the panels, in their order."""
    return [note.text for note in figure.layout.annotations if "keeps" in note.text]


@pytest.mark.parametrize("build", [charts.singular_values, charts.cumulative_energy, charts.ratio_to_null])
def test_panels_share_their_axes_and_carry_their_own_rank(build: Any, panels: list[Panel]) -> None:
    figure = build(panels, 8, Look())
    kept = [np.floor(1000 * (sigma(site)[:n] ** 2).sum() / (sigma(site) ** 2).sum() + 1e-9) / 10
            for site, n in zip(ROWS, (8, 5, 8, 8), strict=True)]  # fmt: skip
    assert titles(figure) == [
        f"<b>Layer {layer} · {kind}</b><br>rank {n} keeps {share:.1f}%"
        for (layer, kind), n, share in zip(ROWS, (8, 5, 8, 8), kept, strict=True)
    ]
    lines = [shape.x0 for shape in figure.layout.shapes if shape.type == "line" and shape.x0 == shape.x1]
    assert lines == [8.5, 5.5, 8.5, 8.5], "a site with five directions keeps five"
    shades = [shape.x0 for shape in figure.layout.shapes if shape.type == "rect"]
    assert shades == lines, "what projecting removes is shaded"
    assert figure.layout.xaxis.type == "log"

    def free(figure: Any) -> int:
        axes = [figure.layout[name] for name in figure.layout if str(name).startswith("yaxis")]
        return sum(axis.matches is None for axis in axes)

    assert free(figure) == 1, "all follow one"
    assert free(build(panels, 8, Look(shared=False))) == 4


def legend(figure: Any) -> list[str]:
    """What the legend names: curves, and a shade for what projecting removes."""
    entries = [trace for trace in figure.data if trace.showlegend]
    shades = [shape.name for shape in figure.layout.shapes if shape.showlegend]
    return [trace.name for trace in sorted(entries, key=lambda one: one.legendrank)] + shades


def test_overlays_are_drawn_in_every_panel_and_named_once(panels: list[Panel]) -> None:
    look = Look(overlays=(NULL, charts.BAND, charts.HEADS, "not captured"))
    figure = charts.singular_values(panels, 4, look)
    names = (NULL, charts.BAND, "KV head 1", "KV head 2")
    for name in names:
        assert len([trace for trace in figure.data if trace.name == name]) == 4, name
    assert legend(figure) == ["keys", "values", charts.BAND, NULL, charts.HEADS, panel_grid.REMOVED]
    assert not any(name in note.text for note in figure.layout.annotations for name in names), "no name over a curve"
    null = next(trace for trace in figure.data if trace.name == NULL)
    np.testing.assert_allclose(null.y, panels[0].nulls[NULL])
    head = next(trace for trace in figure.data if trace.name == "KV head 2")
    assert len(head.x) == D // HEADS
    energies = next(t for t in charts.cumulative_energy(panels, 4, look).data if t.name == NULL)
    np.testing.assert_allclose(energies.y, energy(panels[0].nulls[NULL]))


def test_nulls_are_told_apart_by_dash_and_by_colour(panels: list[Panel]) -> None:
    values = panels[0].values
    three = dataclasses.replace(panels[0], nulls={name: values * (at + 2) for at, name in enumerate(charts.NULLS)})
    for dark in (False, True):
        figure = charts.singular_values([three, panels[1]], 4, Look(dark=dark, overlays=charts.NULLS))
        lines = {trace.name: trace.line for trace in figure.data if trace.name in charts.NULLS}
        assert len({line.dash for line in lines.values()}) == 3
        assert len({line.color for line in lines.values()}) == 3


def test_neither_band_nor_null_squashes_the_curves(panels: list[Panel]) -> None:
    """A band and a null that fall to 10⁻¹⁰: the axis ends a little below the capability's own curve."""
    own = panels[0].values
    tiny = dataclasses.replace(panels[0], band=np.stack([own * 1e-10, own]), nulls={NULL: own * np.logspace(0, -5, D)})
    figure = charts.singular_values([tiny, panels[2]], 4, Look(overlays=(NULL, charts.BAND), shared=False))
    low, high = figure.layout.yaxis.range
    assert np.log10(own.min()) - 0.5 < low < np.log10(own.min())
    assert np.log10(own.max()) < high < np.log10(own.max()) + 0.5
    band = next(trace for trace in figure.data if trace.name == charts.BAND)
    assert min(band.y) >= 10**low * (1 - 1e-9), "it is drawn down to the edge, and ends there"
    steep = dataclasses.replace(panels[0], values=own * np.logspace(0, -9, D))
    low, high = charts.singular_values([steep, panels[2]], 4, Look(shared=False)).layout.yaxis.range
    assert high - low < 5, "below 10⁻⁴ of the largest there is nothing to see"


def test_dots_say_how_many_directions_hold_ninety_percent(panels: list[Panel]) -> None:
    figure = charts.cumulative_energy(panels, 4, Look(overlays=(NULL,)))
    for panel, site in zip(panels, ROWS, strict=True):
        squares, null = sigma(site) ** 2, panel.nulls[NULL] ** 2
        marks = {t.name: t for t in figure.data if "text" in t.mode and t.xaxis == axis(panels, panel)}
        needed = 1 + int(np.argmax(np.cumsum(squares) >= 0.9 * squares.sum()))
        assert [text for text in marks[f"{panel.kind}s"].text if text] == [f"<b>{needed}</b>"]
        shares = np.cumsum(null) / null.sum()  # in their own order
        assert marks[NULL].x == (1 + int(np.argmax(shares >= 0.9)),)


def axis(panels: list[Panel], panel: Panel) -> str:
    at = 1 + [id(one) for one in panels].index(id(panel))
    return f"x{at}" if at > 1 else "x"


def test_the_ratio_to_the_null_compares_shapes(panels: list[Panel]) -> None:
    """Twice the spectrum is the same shape: 1 everywhere. Equal values are flatter: above 1 first, below 1 last."""
    values = panels[0].values
    flat = np.full(D, 3.0)
    both = dataclasses.replace(
        panels[0], nulls={NULL: 2 * values, charts.RANDOM: flat}, band=np.stack([values / 2, values * 2])
    )
    figure = charts.ratio_to_null([both, panels[2]], 4, Look(overlays=(NULL, charts.RANDOM, charts.BAND)))
    same, steeper = (next(t for t in figure.data if t.name == name) for name in (NULL, charts.RANDOM))
    np.testing.assert_allclose(same.y, 1)
    np.testing.assert_allclose(steeper.y, values / np.linalg.norm(values) * np.sqrt(D), rtol=1e-9)
    assert [clicked_site(point) for point in steeper.customdata] == [(3, "key", i) for i in range(D)]
    band = next(t for t in figure.data if t.name == charts.BAND)
    np.testing.assert_allclose(sorted(band.y), [0.5] * D + [2.0] * D)
    (first,) = {t.name for t in charts.ratio_to_null([both], 4, Look()).data}
    assert first == NULL, "without a choice it is the first that there is"


@pytest.mark.parametrize(("reach", "shown", "hidden"), [(1.25, "×1.1", "×1.5"), (3, "×2", "×5"), (40, "×10", "×1.5")])
def test_ticks_of_a_ratio_are_factors_as_fine_as_they_fit(reach: float, shown: str, hidden: str) -> None:
    ticks = panel_grid.ratio_ticks([(-0.01, float(np.log10(reach)))])
    assert shown in ticks["ticktext"]
    assert shown.replace("×", "÷") in ticks["ticktext"]
    assert hidden not in ticks["ticktext"]
    assert ticks["tickvals"][ticks["ticktext"].index("1")] == 1


def test_energy_ticks_are_never_rounded_to_the_same_name(panels: list[Panel]) -> None:
    axis = charts.cumulative_energy(panels, 4, Look()).layout.yaxis
    assert axis.tickformat == "~%", "as many digits as it takes, also where somebody zooms in"
    assert list(axis.tickvals) == [0, 0.25, 0.5, 0.75, 0.9, 1]


def test_shapes_are_compared_at_norm_one(panels: list[Panel]) -> None:
    figure = charts.singular_values(panels, 4, Look(overlays=(NULL,), shape=True))
    for trace in (trace for trace in figure.data if "lines" in trace.mode):
        assert np.sqrt(np.nansum(np.array(trace.y) ** 2)) == pytest.approx(1, abs=1e-6)
        assert "of the norm" in trace.hovertemplate


def test_the_selected_direction_is_ringed(panels: list[Panel]) -> None:
    figure = charts.singular_values(panels, 4, Look(selected=(7, "key", 2)))
    (marks,) = [trace for trace in figure.data if "circle-open" in (trace.marker.symbol or ())]
    ring = marks.marker.symbol.index("circle-open")
    assert (marks.x[ring], marks.y[ring]) == (3, pytest.approx(panels[2].values[2]))
    assert marks.text[ring] == "direction 3"


def test_light_and_dark_differ_and_kinds_differ(panels: list[Panel]) -> None:
    figures = [charts.singular_values(panels, 4, Look(dark=dark)) for dark in (False, True)]
    colours = [[trace.line.color for trace in own(figure)] for figure in figures]
    assert colours[0][0] == colours[0][2] != colours[0][1] == colours[0][3]
    assert not set(colours[0]) & set(colours[1])


def test_the_overlap_matrix_holds_what_is_shared() -> None:
    eye, turned = np.eye(6), np.eye(6)
    turned[:2, 1] = [np.sin(np.radians(30)), np.cos(np.radians(30))]  # the second axis, 30° towards the first
    found = overlap({"a": eye[:, :2], "b": turned[:, 1:3], "c": eye[:, 4:6]})
    heat, labels = subspace_charts.overlap_matrix(found).data
    assert list(labels.text) == ["100", "50", "0", "50", "100", "0", "0", "0", "100"], "percent"
    assert labels.textfont.color[0] == "#000000", "black on yellow"
    assert labels.textfont.color[2] == "#ffffff", "white on dark blue"
    assert heat.z[0][0] == pytest.approx(1)
    assert heat.z[0][2] == pytest.approx(0, abs=1e-9)
    assert heat.z[0][1] == heat.z[1][0] == pytest.approx((1 + 0) / 2), "one axis in common, one not"
    assert not heat.showscale, "the numbers say it"
    assert "mean 45.0°" in heat.customdata[0][1]
    (first, *_), pairs = numbers.overlap_rows(found), len(numbers.overlap_rows(found))
    assert pairs == 3
    assert (first["First"], first["Second"], first["By chance"]) == ("a", "b", pytest.approx(1 / 3))
    assert first["Shared"] == pytest.approx(0.5)
    assert found.shared(1, 2) == pytest.approx(0, abs=1e-9)


def test_many_layers_overlap_in_a_map_that_is_wider_than_high() -> None:
    draw = np.random.default_rng(0)
    found = overlap({f"layer {at}": np.linalg.qr(draw.normal(size=(12, 4)))[0] for at in range(30)})
    figure = subspace_charts.overlap_matrix(found)
    (heat,) = figure.data
    assert figure.layout.height < 700
    assert heat.colorbar.tickvals[0] == pytest.approx(4 / 12), "chance: the rank of the dimensions"
    assert list(heat.x) == [str(at) for at in range(30)]
    assert figure.layout.xaxis.title.text == "layer"
    assert np.isnan(np.diag(heat.z)).all(), "each with itself would take most of the colours"
    np.testing.assert_allclose(heat.z[3][7], (np.cos(np.radians(found.angles[3, 7])) ** 2).mean())


def test_the_map_has_a_cell_for_every_site_that_tells_which_it_is(panels: list[Panel]) -> None:
    heat, squares = layer_map.site_map(panels, layer_map.NEEDED, 4, (7, "key")).data
    assert (list(heat.x), list(heat.y)) == (["3", "7"], ["key", "value"])
    needed = {site: 1 + int(np.argmax(energy(sigma(site)) >= 0.9)) for site in ROWS}
    assert [list(row) for row in heat.text] == [
        [str(needed[layer, kind]) for layer in (3, 7)] for kind in ("key", "value")
    ]
    assert squares.opacity == 0
    assert [tuple(point) for point in squares.customdata] == list(ROWS)
    assert list(zip(squares.x, squares.y, strict=True)) == [(str(layer), kind) for layer, kind in ROWS]


def test_every_measure_of_the_map_by_hand() -> None:
    values = np.array([3.0, 1.0, 1.0, 1.0])  # energies 9, 1, 1, 1 of 12
    one = Panel(0, "key", values, 4, None, {NULL: np.ones(4)}, beyond_luck=True)
    one = dataclasses.replace(one, effect=(-0.125, 0.5))
    number = {measure: layer_map.site_number(one, measure, 2) for measure in layer_map.MEASURES}
    share = values / 6
    assert number == {
        layer_map.NEEDED: 3,
        layer_map.EFFECTIVE: pytest.approx(np.exp(-(share * np.log(share)).sum())),
        layer_map.KEPT: 83.3,
        layer_map.AGAINST: pytest.approx(4 / 3),
        layer_map.EFFECT: -0.125,
    }
    assert layer_map.site_text(one, layer_map.EFFECT, 2) == "−0.12"
    assert layer_map.site_text(dataclasses.replace(one, effect=None), layer_map.EFFECT, 2) == "?"
    assert layer_map.site_text(one, layer_map.AGAINST, 2) == "1.3*"
    lucky = dataclasses.replace(one, beyond_luck=False)
    assert layer_map.site_text(lucky, layer_map.AGAINST, 2) == "1.3"
    assert layer_map.site_text(dataclasses.replace(one, nulls={}), layer_map.AGAINST, 2) == "?"


def test_a_ratio_of_one_has_the_colour_in_the_middle(panels: list[Panel]) -> None:
    heat = layer_map.site_map(panels, layer_map.AGAINST, 4, (3, "key")).data[0]
    assert heat.zmin == -heat.zmax
    ratios = [2.0 ** np.array(row) for row in heat.z]
    own, null = (1 + int(np.argmax(energy(v) >= 0.9)) for v in (sigma((7, "key")), panels[2].nulls[NULL]))
    assert ratios[0][1] == pytest.approx(null / own)


def test_a_band_of_an_analysis_is_moved_onto_its_spectrum() -> None:
    recorded = load_capture(RECORDED / recorded_captures()[0])
    for panel, found in zip(numbers.panels_of(recorded), recorded.sites.values(), strict=True):
        assert found.band is not None
        assert panel.band is not None
        np.testing.assert_allclose((panel.band[0] + panel.band[1]) / 2, found.values, rtol=0.2)
        assert panel.beyond_luck is False


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
        assert 0 <= 100 * kept[rank - 1] - row["Energy kept"] < 0.1001, "rounded down, never up"
        for share in (90, 95, 99):
            assert row[f"r at {share}%"] == int(np.argmax(kept >= share / 100)) + 1
        assert 0 <= row["Activations lost"] - 100 * (1 - np.linspace(0.1, 1, D)[rank - 1]) < 0.1001, "rounded up"
        assert row["Stable rank"] == pytest.approx(squares.sum() / squares[0])
        assert row["σ₁"] == pytest.approx(sigma(site)[0])


def test_csv_holds_every_direction(panels: list[Panel]) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(csv_rows(panels)).decode())))
    assert len(rows) == 4 * D * 2, "the capability and one null"
    assert [float(row["singular_value"]) for row in rows[:D]] == panels[0].values.tolist()
    assert {(row["layer"], row["kind"]) for row in rows} == {(str(layer), kind) for layer, kind in ROWS}

"""The figures of Token attributions hold the numbers they are given, and no text in them can be a tag."""

import numpy as np
import pandas as pd
import pytest

from app.attributions import charts
from app.ui.tokens import LARGEST, Scale, strip_data
from spd_core.attribution.results import LensToken
from spd_core.attribution.tables import ASIDE, LOSS, OTHER, summed

EVIL = '<b>x</b> <a href="http://evil.example">&lt;'


@pytest.fixture
def table() -> pd.DataFrame:
    """Two texts of three tokens; the first position of each is set aside."""
    return pd.DataFrame({
        "example": [0, 0, 0, 1, 1, 1], "position": [0, 1, 2] * 2, "id": [1, 2, 3, 1, 4, 3],
        "text": ["", " a", EVIL, "", "\n", EVIL], "supervised": [False, False, True] * 2, "continued": [False] * 6,
        "special": [True, False, False] * 2, "aside": [True, False, False] * 2, "role": [ASIDE, OTHER, LOSS] * 2,
        "share": [0.5, 0.1, 0.05, 0.2, 0.05, 0.1], "gradient": [1.0, -0.4, 0.3, -0.6, 0.3, 0.4],
        "coordinate": [9.0, -2.0, 1.0, 8.0, 0.5, -1.0], "baseline": [3.0, -0.2, 0.1, 2.0, 0.0, 0.4],
    })  # fmt: skip


def test_bars_by_token_sum_to_one_and_escape_text(table: pd.DataFrame) -> None:
    figure = charts.by_token(summed(table, "text"), most=2)
    bars, labels = figure.data[0], figure.layout.yaxis.ticktext
    assert sum(bars.x) == pytest.approx(1)
    assert labels[0] == "∅"
    assert labels[1].startswith('&lt;b&gt;x&lt;/b&gt;·&lt;a·href="')
    assert labels[2] == "2 others"
    assert "σ²" in bars.hovertemplate
    whole = charts.by_token(summed(table, "text"))
    assert [bars[0] for bars in whole.data[0].customdata] == list(whole.layout.yaxis.ticktext)
    assert not any("<" in label or "\n" in label for label in whole.layout.yaxis.ticktext)


def test_positions_are_stacked_by_role(table: pd.DataFrame) -> None:
    figure = charts.by_position(table)
    found = {trace.name: dict(zip(trace.x, trace.y, strict=True)) for trace in figure.data}
    assert found == {ASIDE: {0: pytest.approx(0.7)}, OTHER: {1: pytest.approx(0.15)}, LOSS: {2: pytest.approx(0.15)}}
    assert figure.layout.barmode == "stack"
    assert len({trace.marker.pattern.shape for trace in figure.data}) == 3, "not told by colour alone"


def test_agreement_leaves_out_tokens_without_gradient(table: pd.DataFrame) -> None:
    figure = charts.agreement(table)
    assert sum(len(trace.x) for trace in figure.data) == 5
    assert all((np.array(trace.x) > 0).all() for trace in figure.data)
    assert {trace.marker.symbol for trace in figure.data} == {"x", "circle", "diamond"}
    assert not any("<b>" in said for trace in figure.data for said in trace.customdata)


def test_lens_bars_keep_tokens_of_the_same_text_apart() -> None:
    tokens = [LensToken(5, " a", -2.0), LensToken(7, EVIL, 3.0), LensToken(9, " a", 1.0)]
    figure = charts.lens_bars(tokens)
    bars = figure.data[0]
    assert list(bars.x) == [3.0, 1.0, -2.0]
    assert len(set(bars.y)) == 3
    assert list(figure.layout.yaxis.ticktext)[1:] == ["·a", "·a"]
    assert len(set(bars.marker.color)) == 2
    assert "logits" in bars.hovertemplate
    assert not figure.layout.shapes
    luck = charts.lens_bars(tokens, [2.5, 1.5, 2.0]).layout.shapes
    assert [(band.x0, band.x1) for band in luck] == [(1.5, 2.5), (-1.5, -2.5)]


def test_changes_carry_their_intervals_and_the_random_ones_their_band() -> None:
    rows = [
        {
            "name": "removed",
            "mean": -0.2,
            "low": -0.3,
            "high": -0.05,
            "random": [-0.02, 0.01, 0.0],
            "least": -0.03,
            "most": 0.02,
        },
        {
            "name": "only it",
            "mean": -2.0,
            "low": -3.0,
            "high": -1.0,
            "random": [-4.0, -3.0, -5.0],
            "least": -5.5,
            "most": -2.5,
        },
    ]
    figure = charts.change_panels(rows)
    own, random, other, others = figure.data
    assert own.x[0] - own.error_x.arrayminus[0] == pytest.approx(-0.3)
    assert own.x[0] + own.error_x.array[0] == pytest.approx(-0.05)
    assert (list(random.x), list(others.x)) == ([-0.02, 0.01, 0.0], [-4.0, -3.0, -5.0])
    assert own.xaxis != other.xaxis, "each change has its own scale"
    bands = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert [(band.x0, band.x1, band.xref) for band in bands] == [(-0.03, 0.02, own.xaxis), (-5.5, -2.5, other.xaxis)]
    assert "nats" in own.hovertemplate
    upper, lower = figure.layout.yaxis.domain, figure.layout.yaxis2.domain
    assert lower[1] < upper[0], "below each other, as wide as the page"


def test_light_and_dark_differ(table: pd.DataFrame) -> None:
    light, dark = (charts.by_position(table, dark=dark).data[0].marker.color for dark in (False, True))
    assert light != dark


def test_shades_are_centred_clipped_and_square_rooted() -> None:
    assert Scale(2.0, "nats").shade([-4, -1, 0, 1]).tolist() == [-1, -0.5, 0, 0.5]
    assert Scale(0.04, "of σ²", diverging=False).shade([0, 0.01, 0.04, 1]).tolist() == [0, 0.5, 1, 1]
    assert Scale(2.5, "nats").ticks() == ("≤ −2.5", "≥ +2.5")
    assert Scale(0.004, "of σ²", percent=True, diverging=False).ticks() == ("0", "≥ 0.400%")


def test_the_strip_hides_what_is_set_aside_and_marks_the_largest(table: pd.DataFrame) -> None:
    rows = table[table.example == 0]
    scale = Scale(2.0, "units")
    data = strip_data(rows, "coordinate", scale, ["tip"] * 3, label="text", selected=1, hide=True)
    first, second, third = data["tokens"]
    assert (first["shade"], first["aside"], first["largest"]) == (0.0, True, False)
    assert (second["shade"], second["largest"], second["text"]) == (-1.0, True, "·a")
    assert third["loss"]
    assert third["text"].startswith("<b>"), "the component sets it as text"
    assert data["legend"] == {"ticks": ("≤ −2", "≥ +2"), "unit": "units", "loss": True, "aside": True}
    shown = strip_data(rows, "coordinate", scale, ["tip"] * 3, label="text", selected=1, hide=False)
    assert shown["tokens"][0]["shade"] == 1.0
    assert not shown["legend"]["aside"]


def test_only_the_largest_are_underlined() -> None:
    count = 20
    rows = pd.DataFrame({"text": ["a"] * count, "continued": [False, True] * 10, "supervised": False, "aside": False,
                         "coordinate": np.arange(count)})  # fmt: skip
    data = strip_data(rows, "coordinate", Scale(19.0, ""), [""] * count, label="", selected=None, hide=True)
    assert [i for i, token in enumerate(data["tokens"]) if token["largest"]] == list(range(count - LARGEST, count))
    assert [token["text"] for token in data["tokens"][:2]] == ["a", "…"]

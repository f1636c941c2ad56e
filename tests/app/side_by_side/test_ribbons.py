"""Lanes asked for, ribbons, curves and the sweep's map as pure functions; nothing a model wrote may act."""

import csv
import io
from typing import Any

import pytest

from app.side_by_side import ribbons, sweep_chart
from app.side_by_side.lanes import (
    COMPLEMENT,
    KEYS,
    RANDOM,
    VALUES,
    chosen_specs,
    parse_ranks,
    parse_strengths,
    sweep_grid,
)
from app.ui.tables import to_csv
from app.ui.tokens import visible
from spd_core.errors import InputError
from spd_core.generation.comparison import Comparison
from spd_core.recipes.lanes import RAW, Grid, LaneSpec
from tests.generation.test_comparison import HOSTILE, PROJECTED, TWO, comparison, lane

BASE = LaneSpec(rank="96")


def swept() -> Comparison:
    loop = lane("rank 4, α 1", [" the"] * 20)
    unwritten = lane("rank 8, α 0.5", [], finish="stopped", other=None)
    return comparison(
        lane("Raw", [" 4", ".", " yes"]), lane("rank 4, α 0.5", [" 4", "!", " yes"]), loop, unwritten,
        lane("rank 8, α 1", [" 4", ".", " yes"]), grid=Grid(ranks=("4", "8"), strengths=(0.5, 1.0)),
    )  # fmt: skip


# --- what is asked for ---------------------------------------------------------------------------------------


def test_raw_and_projected_by_default_then_variants() -> None:
    assert chosen_specs(BASE) == (RAW, BASE)
    found = chosen_specs(BASE, [RANDOM, COMPLEMENT], ranks=(96, 24), strengths=(0.5, 1.0))
    assert [spec.kind for spec in found] == [
        "raw",
        "projected",
        "complement",
        "random subspace",
        "projected",
        "projected",
    ]
    assert (found[4].rank, found[5].strength) == ("24", 0.5), "what equals the projected lane is not written twice"
    keys, values = chosen_specs(BASE, [KEYS, VALUES])[2:]
    assert (keys.kinds, values.kinds) == (("key",), ("value",))
    assert chosen_specs(BASE, others=["code"])[2].capture == "code"


def test_more_than_six_lanes_are_refused_with_the_number() -> None:
    with pytest.raises(InputError, match="7 lanes are chosen and 6 fit; remove 1"):
        chosen_specs(BASE, ranks=(1, 2, 3, 4, 5))


def test_numbers_with_commas() -> None:
    assert parse_ranks(" 24, 48;24,", 192) == (24, 48)
    assert parse_strengths("0.25, 1,.5") == (0.25, 1.0, 0.5)
    for text in ("0", "193", "-1", "a", "1.5", "9" * 30):
        with pytest.raises(InputError, match="is not a rank here; write numbers from 1 to 192"):
            parse_ranks(text, 192)
    for text in ("-0.1", "2.5", "nan", "inf", "x"):
        with pytest.raises(InputError, match="is not a strength here"):
            parse_strengths(text)
    assert sweep_grid((48, 24), (1.0, 0.5)) == Grid(ranks=("24", "48"), strengths=(0.5, 1.0))
    with pytest.raises(InputError, match="0 ranks × 1 strengths are 0 cells"):
        sweep_grid((), (1.0,))
    with pytest.raises(InputError, match="are 100 cells; choose 1 to 48"):
        sweep_grid(tuple(range(1, 21)), (0.1, 0.2, 0.3, 0.4, 0.5))


# --- ribbons -------------------------------------------------------------------------------------------------


def test_a_ribbon_has_one_scale_for_all_lanes_and_marks_the_largest() -> None:
    most = ribbons.largest_value(TWO.lanes, ribbons.ENTROPY)
    assert most == 0.5
    data = ribbons.ribbon(PROJECTED, "Raw", ribbons.ENTROPY, 2 * most, selected=1)
    assert [token["shade"] for token in data["tokens"]] == pytest.approx([0.707] * 3, abs=1e-3)
    assert data["selected"] == 1
    assert data["label"] == "Projected: 3 tokens by entropy"
    assert ribbons.ribbon(PROJECTED, "Raw", ribbons.KL, 1.0, selected=7)["selected"] is None


def test_a_token_tells_its_numbers_and_the_likeliest_of_both_lanes() -> None:
    token = TWO.lanes[0].tokens[0]
    assert ribbons.token_tip(token, 0, "Projected").splitlines() == [
        "“4” · token 1 · id 84",
        "log p −1.00 nats (p 36.8%) · entropy 0.50 nats",
        "in Projected: log p −2.00 nats · KL 0.250 nats",
        "likeliest here: “ 4” 50.0%, “<b>” 25.0%",
        "in Projected: “⟨U+202E⟩” 12.5%",
    ]
    unread = lane("Raw", ["a"], other=None).unread().tokens[0]
    assert len(ribbons.token_tip(unread, 0, "Raw").splitlines()) == 2


def test_control_characters_are_escaped_wherever_text_is_drawn() -> None:
    hostile = comparison(lane("Raw", [HOSTILE, ""]), PROJECTED)
    drawn = str(ribbons.ribbon(hostile.lanes[0], "Projected", ribbons.KL, 1.0, None))
    drawn += str(ribbons.token_rows(hostile)) + str(ribbons.tokens_at_place(hostile, 0)) + visible(HOSTILE)
    assert "\u202e" not in drawn
    assert "\x1b" not in drawn
    assert "⟨U+202E⟩" in drawn
    assert "∅" in drawn
    figure = ribbons.token_curves(hostile).to_json()
    assert "<script" not in figure
    assert "<img" not in figure


def test_the_table_is_the_ribbon_s_twin() -> None:
    rows = ribbons.token_rows(TWO)
    assert [row["Token"] for row in rows] == [1, 2, 3, 1, 2, 3]
    back = list(csv.DictReader(io.StringIO(to_csv(rows).decode())))
    assert float(back[0]["KL"]) == 0.25
    assert [row["Lane"] for row in ribbons.tokens_at_place(TWO, 2)] == ["Raw", "Projected"]
    shorter = comparison(lane("Raw", ["a"]), PROJECTED)
    assert [row["Lane"] for row in ribbons.tokens_at_place(shorter, 1)] == ["Projected"]


@pytest.mark.parametrize("dark", [False, True])
def test_curves_have_three_panels_and_a_line_for_each_lane(dark: bool) -> None:
    figure = ribbons.token_curves(TWO, dark=dark)
    assert len(figure.data) == 6
    assert len({trace.line.dash for trace in figure.data}) == 2, "lanes are told apart without colour"
    assert sum(bool(trace.showlegend) for trace in figure.data) == 2
    assert "first divergence" in [annotation.text for annotation in figure.layout.annotations]


# --- the sweep -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "texts"),
    [
        (sweep_chart.LIKELIHOOD, ["−2.00", "−2.00, degenerate", "not written", "−2.00"]),
        (sweep_chart.DIVERGENCE, ["token 2", "token 1, degenerate", "not written", "as raw"]),
        (sweep_chart.MEAN_KL, ["0.250", "0.250, degenerate", "not written", "0.250"]),
    ],
)
def test_cells_say_their_number_and_whether_they_degenerate(measure: str, texts: list[str]) -> None:
    found = swept()
    assert [sweep_chart.cell_text(cell, found, measure) for cell in found.lanes[1:]] == texts
    heat, squares, labels = sweep_chart.sweep_map(found, measure, 4).data
    assert list(labels.text) == [text.replace(", ", "<br>") for text in texts]
    places = [(y, x) for y in heat.y for x in heat.x]
    assert list(zip(labels.y, labels.x, strict=True)) == list(zip(squares.y, squares.x, strict=True)) == places
    assert list(squares.customdata) == [1, 2, 3, 4]
    assert squares.hoverinfo != "skip", "plotly clicks only what it can hover"


def test_a_stopped_sweep_can_be_drawn() -> None:
    lanes = [lane(str(i), [], finish="stopped", other=None) for i in range(3)]
    found = comparison(*lanes, grid=Grid(ranks=("4", "8"), strengths=(1.0,)))
    for measure in sweep_chart.MEASURES:
        assert list(sweep_chart.sweep_map(found, measure, 1).data[2].text)[:1] == ["not written"]


def test_a_rank_of_a_file_is_drawn_as_text() -> None:
    found = comparison(lane("Raw", [" 4"]), lane("b", [" 4"]), grid=Grid(ranks=("<b>4</b>",), strengths=(1.0,)))
    heat, squares, _ = sweep_chart.sweep_map(found, sweep_chart.MEAN_KL, 1).data
    assert list(heat.y) == list(squares.y) == ["rank &lt;b&gt;4&lt;/b&gt;"]


def test_the_chosen_cell_is_framed() -> None:
    frame = sweep_chart.sweep_map(swept(), sweep_chart.MEAN_KL, 3).layout.shapes[0]
    assert (round(frame.x0), round(frame.y0 + 0.1)) == (0, 1)


def test_a_cell_beside_raw_is_a_comparison_of_its_own() -> None:
    found = swept()
    first, third = found.cell(1), found.cell(4)
    assert [one.label for one in third.lanes] == ["Raw", "rank 8, α 1"]
    assert third.grid is None
    raws: list[Any] = [first.lanes[0].other, third.lanes[0].other]
    assert raws == [None, None], "raw was read under itself here, and under no cell"
    raw, *cells = found.lanes
    read = found.model_copy(update={"lanes": (raw.model_copy(update={"other": 3}), *cells)})
    assert read.cell(3).lanes[0].other == 1, "the cell is the second lane now"

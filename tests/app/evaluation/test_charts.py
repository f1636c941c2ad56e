"""Figures of an evaluation hold the numbers of its cells, tell headlines apart without colour, and hold no tag."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.evaluation import (
    answer_charts,
    claim_cards,
    heat_map,
    one_item,
    score_charts,
    verdict_panel,
)
from app.ui import difference_charts, set_panels
from app.ui.figures import KEY, MUTED
from spd_core.evaluation.budgets import Budget
from spd_core.evaluation.cells import Cell, write_cell
from spd_core.evaluation.store import About, ItemRecord
from spd_core.evaluation.table import Table, read_table
from spd_core.recipes.evaluation import EvaluationRecipe, Subject, evaluation_from
from spd_core.templates import render

EVIL = "<img src=x onerror=alert(1)> ![x](http://evil.example/i.png)"
REVISION = "SmolLM2-135M-Instruct@b179c9523d0e"
SETS = ["arithmetic", "multiple-choice", "codealpaca"]


def recipe(subjects: Sequence[Any] = ("base", "projected", "projected-random", "spd"), **more: Any) -> EvaluationRecipe:
    asked = [one.model_dump() if isinstance(one, Subject) else one for one in subjects]
    return evaluation_from({"subjects": asked, "sets": SETS, **more})


def answered(right: int, n: int = 40, text: str = " 7", **more: Any) -> list[ItemRecord]:
    """The first so many of n items right."""
    return [
        ItemRecord(id=f"item-{i}", prompt=f"Question: {i}?\nAnswer:", gold=str(i), completion=text, tokens=i % 4,
                   **{"extracted": str(i), "correct": i < right, "early": i < right, "ended": True, "finish": "eos",
                      **more})
        for i in range(n)
    ]  # fmt: skip


def read(nats: float, n: int = 40) -> list[ItemRecord]:
    return [
        ItemRecord(id=f"item-{i}", prompt=f"Code {i}", gold="x", nll=nats + i % 5 / 100, tokens=9) for i in range(n)
    ]


def put(
    folder: Path,
    subject: str,
    set_name: str,
    items: list[ItemRecord],
    seed: int = 42,
    title: str = "",
    about: str = "ab12" * 16,
    **more: Any,
) -> None:
    """A finished cell; `about` is the subject's fingerprint."""
    scorer: Any = {"arithmetic": "number", "multiple-choice": "letter"}.get(set_name, "nll")
    asked = About(subject=about, set=set_name, template="math", scorer=scorer, style="raw", max_new_tokens=32)
    known: dict[str, Any] = {
        "title": title or set_name.title(), "model": "builtin", "revision": REVISION, "dtype": "float32",
        "tokens": 1200, "seconds": 12.5, "reused": 3, "fingerprint": "e5ed8a4a" * 8,
        "chance": 0.25 if scorer == "letter" else None, "created": "2026-01-01T00:00:00",
    }  # fmt: skip
    cell = Cell(subject=subject, seed=seed, set=set_name, about=asked, **{**known, **more})
    write_cell(folder, cell, items)


def fill(folder: Path, title: str = "") -> None:
    """Arithmetic: the base has 10 of 40 right, projected 8, random none, SPD 30; and nats that fall and rise."""
    for subject, right in (("base", 10), ("projected", 8), ("projected-random", 0), ("spd", 30)):
        put(folder, subject, "arithmetic", answered(right), title=title)
        put(folder, subject, "multiple-choice", answered(10))
    for subject, nats in (("base", 0.7), ("projected", 0.71), ("projected-random", 0.7), ("spd", 0.69)):
        put(folder, subject, "codealpaca", read(nats))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("cells")
    fill(folder)
    return read_table(recipe(), folder)


def on(figure: Any, number: str) -> list[Any]:
    return [trace for trace in figure.data if (trace.xaxis or "x") == f"x{number}"]


# --- scores ------------------------------------------------------------------------------------------------------


def test_scores_have_a_panel_for_each_set_and_n_in_its_title(table: Table) -> None:
    figure = score_charts.scores(table, False)
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["<b>Arithmetic, in-domain</b><br>n = 40", "<b>Multiple-Choice, out-of-domain</b><br>n = 40",
                      "<b>Codealpaca, out-of-domain</b><br>n = 40"]  # fmt: skip
    base, scores = on(figure, "")
    assert (list(base.x), base.name) == ([25, 25], "base")
    assert list(scores.x) == [25, 20, 0, 75]
    wilson = table.answered["spd", "arithmetic"].estimate.interval
    assert scores.error_x.array[3] == pytest.approx(100 * wilson.high - 75)
    assert scores.error_x.arrayminus[3] == pytest.approx(75 - 100 * wilson.low)
    assert "75.0%, 95% interval" in scores.text[3]
    assert list(figure.layout.yaxis.ticktext) == ["Base", "Projected", "Projected, random<br>subspace", "SPD"]
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range, "shared by all sets in percent"
    assert "chance" in [trace.name for trace in on(figure, "2")]
    assert figure.layout.xaxis3.autorange == "reversed", "better is on the right"
    assert "nats" in figure.layout.xaxis3.title.text
    assert "nats" in on(figure, "3")[-1].text[0]


def test_each_seed_is_a_small_dot_below_the_pooled_score(tmp_path: Path) -> None:
    asked = recipe(["base", "projected-random"], sets=["arithmetic"], seeds=[1, 2])
    put(tmp_path, "base", "arithmetic", answered(10), seed=1)
    for seed, right in ((1, 8), (2, 12)):
        put(tmp_path, "projected-random", "arithmetic", answered(right), seed=seed)
    figure = score_charts.scores(read_table(asked, tmp_path), False)
    pooled = next(trace for trace in figure.data if trace.name == "score, 95% interval")
    dots = next(trace for trace in figure.data if trace.name == "each seed")
    assert list(pooled.x) == pytest.approx([25, 25])
    assert list(dots.x) == pytest.approx([20, 30])
    assert all(1 < row < 1.5 for row in dots.y)
    assert dots.marker.size < pooled.marker.size
    assert dots.text[1] == "Projected, random subspace, seed 2: 30.0%"
    assert "each seed" not in [trace.name for trace in score_charts.scores(read_table(recipe(), tmp_path), False).data]


def test_the_papers_figures_have_their_own_mark(tmp_path: Path) -> None:
    put(tmp_path, "base", "gsm8k", answered(4))
    paper = evaluation_from({"model": "Qwen/Qwen2.5-0.5B-Instruct", "subjects": ["base", "spd"], "sets": ["gsm8k"]})
    figure = score_charts.scores(read_table(paper, tmp_path), True)
    (mark,) = [trace for trace in figure.data if trace.name == "the paper's"]
    assert (list(mark.x), mark.marker.symbol) == ([11.0], "diamond-open")


def test_the_alt_text_and_the_half_filled_table(tmp_path: Path) -> None:
    put(tmp_path, "base", "arithmetic", answered(10))
    half = read_table(recipe(), tmp_path)
    assert score_charts.scores_alt(half) == "Scores with 95% intervals. Arithmetic, in-domain: Base 25.0%."
    assert len(score_charts.scores(half, False).layout.annotations) == 1
    assert set_panels.compared_sets(half) == []


# --- differences -------------------------------------------------------------------------------------------------


def test_differences_are_subject_minus_base_with_a_mark_for_each_headline(table: Table) -> None:
    figure = difference_charts.differences(table, False)
    zero, *marks = on(figure, "")
    assert list(zero.x) == [0, 0]
    found = {trace.name: trace for trace in marks}
    assert set(found) == {"helps", "hurts", "not shown"}
    assert (list(found["helps"].x), list(found["helps"].y)) == ([50], [2])
    assert list(found["hurts"].x) == [-25]
    assert found["not shown"].x[0] == pytest.approx(-5)
    assert len({trace.marker.symbol for trace in marks}) == 3, "told apart without colour"
    assert all(word in found["helps"].text[0] for word in ("points", "Holm", "20 better, 0 worse", "n = 40"))
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert len(named) == len(set(named))


def test_a_bar_without_zero_that_is_not_shown_is_hollow(table: Table) -> None:
    key = next(key for key, one in table.claims.items() if one.headline == "helps")
    luck = replace(table.claims[key], headline="not shown", p_adjusted=0.3)
    drawn = on(difference_charts.differences(replace(table, claims={**table.claims, key: luck}), False), "")
    (hollow,) = [trace for trace in drawn if trace.name == "not shown after Holm"]
    assert hollow.marker.symbol == "circle-open"
    assert len(hollow.x) == 1


def test_the_axis_of_likelihoods_runs_backwards_and_better_is_called_better(table: Table) -> None:
    figure = difference_charts.differences(table, False)
    low, high = figure.layout.xaxis3.range
    assert low > 0 > high
    helps = next(trace for trace in on(figure, "3") if trace.name == "helps")
    assert helps.x[0] == pytest.approx(-0.01)
    assert "40 better, 0 worse" in helps.text[0]
    assert "−0.010 nats" in helps.text[0]


def test_what_several_panels_measure_is_said_once_below_the_last(table: Table) -> None:
    layout = difference_charts.differences(table, False).layout
    said = [axis.title.text or "" for axis in (layout.xaxis, layout.xaxis2, layout.xaxis3)]
    assert said[0] == "", "the second panel says it for both"
    assert "percentage points" in said[1]
    assert "nats per token" in said[2]


def test_one_set_alone_is_drawn_in_its_own_unit(table: Table) -> None:
    for name, unit in (("multiple-choice", "percentage points"), ("codealpaca", "nats per token")):
        figure = difference_charts.differences(table, False, only=name)
        assert unit in figure.layout.xaxis.title.text
        assert len(figure.layout.annotations) == 1
        assert {trace.xaxis for trace in figure.data} == {"x"}


def test_the_table_twin_of_differences(table: Table) -> None:
    rows = difference_charts.differences_table(table)
    assert len(rows) == 9
    spd = next(row for row in rows if row["Arm"] == "SPD" and row["Set"] == "Arithmetic, in-domain")
    assert (spd["Shows"], spd["Difference to base"], spd["Items"]) == (
        "▲ helps", "+50.0 points", "20 better, 0 worse, 20 alike")  # fmt: skip
    assert "SPD +50.0 points (helps)" in difference_charts.differences_alt(table)


def test_few_items_have_no_bounds_and_no_bar(tmp_path: Path) -> None:
    for subject in ("base", "projected"):
        put(tmp_path, subject, "codealpaca", read(0.7 if subject == "base" else 0.6, n=4))
    few = read_table(recipe(), tmp_path)
    figure = difference_charts.differences(few, False)
    assert list(figure.data[1].error_x.array) == [0]
    assert "no bounds" in figure.data[1].text[0]
    assert not {"infinity", "nan"} & set(re.findall(r"\w+", figure.to_json().lower()))


# --- the map -----------------------------------------------------------------------------------------------------


def test_the_map_is_coloured_by_what_is_shown_alone(table: Table) -> None:
    figure = heat_map.difference_map(table, ("spd", "arithmetic"), False)
    cells, squares, labels = figure.data
    assert [list(row) for row in cells.z] == [[0, 0, -1], [-1, 0, 0], [1, 0, 1]]
    assert (cells.zmin, cells.zmax, cells.showscale) == (-1.5, 1.5, False)
    assert labels.text[6] == "+50.0<br>▲ helps"
    assert list(squares.customdata[6]) == ["spd", "arithmetic"]
    assert squares.opacity == 0
    assert len(figure.layout.shapes) == 2, "the chosen cell is framed"
    assert heat_map.difference_map(table, ("gone", "arithmetic"), True).layout.shapes == ()
    assert "3 arms by 3 sets" in heat_map.difference_map_alt(table)


@pytest.mark.parametrize("dark", [False, True])
def test_a_large_difference_that_is_not_shown_has_no_colour(tmp_path: Path, dark: bool) -> None:
    put(tmp_path, "base", "arithmetic", answered(3, n=7))
    put(tmp_path, "spd", "arithmetic", answered(7, n=7))  # +57 points on 7 items
    cells, _, labels = heat_map.difference_map(read_table(recipe(), tmp_path), None, dark).data
    assert (cells.z[2][0], labels.text[2]) == (0, "+57.1<br>· not shown")
    assert labels.text[0] == "–", "what is not there yet"
    neutral = {colour for place, colour in cells.colorscale if 0.34 < place < 0.66}
    red, green, blue = (int(next(iter(neutral or {cells.colorscale[2][1]}))[at : at + 2], 16) for at in (1, 3, 5))
    assert max(red, green, blue) - min(red, green, blue) < 24, "grey"


@pytest.mark.parametrize("dark", [False, True])
def test_texts_on_the_map_can_be_read(table: Table, dark: bool) -> None:
    cells, _, labels = heat_map.difference_map(table, None, dark).data
    colours = {-1: cells.colorscale[0][1], 0: cells.colorscale[2][1], 1: cells.colorscale[4][1]}
    for at, ink in enumerate(labels.textfont.color):
        light, text = (heat_map._luminance(one) for one in (colours[cells.z[at // 3][at % 3]], ink))
        assert (max(light, text) + 0.05) / (min(light, text) + 0.05) >= 4.5


# --- answers -----------------------------------------------------------------------------------------------------


def test_bars_of_answers_are_told_apart_by_colour_and_filling(table: Table) -> None:
    figure = answer_charts.answer_bars(table, table.columns[0], False)
    assert [trace.name for trace in figure.data] == [
        "ended before the limit", "answer could be read", "right if cut at the first answer", "right"]  # fmt: skip
    assert list(figure.data[3].x) == [25, 20, 0, 75]
    lines = [trace.marker.line.color for trace in figure.data]
    assert lines == [MUTED[0], MUTED[0], KEY[0], KEY[0]], "form is grey, what is right blue"
    assert [trace.marker.color == trace.marker.line.color for trace in figure.data] == [True, False, False, True]
    assert "1.5 tokens" in figure.layout.yaxis.ticktext[0]
    assert "SPD: 1.5 tokens, 100% ended before the limit" in answer_charts.answer_bars_alt(table, table.columns[0])


# --- cards -------------------------------------------------------------------------------------------------------


def cards_of(table: Table) -> list[str]:
    """HTML of the cards of a table's first set."""
    return [render("claim.html", claim=one) for one in claim_cards.claims_of(table, table.columns[0])]


def test_cards_tell_everything_and_not_shown_is_a_card_like_any_other(table: Table) -> None:
    cards = cards_of(table)
    projected, random, spd = cards
    assert "</span> not shown</span>" in projected
    assert "<details>" in projected
    assert "<details>" not in random + spd, "gains and losses are there in full"
    assert "−5.0 points (" in projected.partition("</summary>")[0]
    assert "controls: 1 passed, 2 not run" in projected.partition("</summary>")[0]
    assert "</span> hurts</p>" in random
    assert "</span> helps</p>" in spd
    assert all(card.startswith('<article class="spd-claim') for card in cards)
    assert "no effect" not in "".join(cards)
    for words in ("+50.0 points", "20 better, 0 worse", "after Holm over 9", "not known: a control was not run",
                  "<b>– Random subspace: not run</b>", "12.5 s, 1,200 tokens written; 3 answers of earlier runs",
                  REVISION, "float32", "items sha256 e5ed8a4ae5ed", "subject sha256 ab12ab12ab12",
                  "seed 42"):  # fmt: skip
        assert words in spd, words
    assert "not known: no gain is shown" in projected
    assert "<b>✓ Projected, random subspace: passed</b>, +20.0 points (" in projected
    assert ", p = 0.00781, n = 40; does any projection do it?" in projected
    assert "Passed needs an interval above zero and p &lt; 0.05, before any correction." in projected
    assert "Was it the subspace?" not in random, "a control does not claim to be"


def test_a_gain_that_its_controls_share_is_not_specific(tmp_path: Path) -> None:
    for subject, right in (("base", 5), ("ssd", 30), ("spd", 31)):
        put(tmp_path, subject, "arithmetic", answered(right))
    found = read_table(recipe(["base", "ssd", "spd"]), tmp_path)
    card = cards_of(found)[1]
    assert "not shown: these items do not show it to be better than every control" in card
    assert "<b>· SSD: not shown</b>, +2.5 points (" in card


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (None, "what SPD was trained on is not known, and these 40 items may be among it"),
        (0, "no: it was calibrated or trained on none of these items"),
        (8, "SPD was calibrated or trained on 8 of these 40 items"),
    ],
)
def test_a_card_says_what_the_subject_had_seen(tmp_path: Path, seen: int | None, said: str) -> None:
    put(tmp_path, "base", "arithmetic", answered(10), seen=0)
    put(tmp_path, "spd", "arithmetic", answered(12), seen=seen)
    found = read_table(recipe(["base", "spd"]), tmp_path)
    (card,) = cards_of(found)
    assert said in card
    brief = card.partition("</summary>")[0]
    assert (f"⚠ contaminated: {said}" in brief) == (seen == 8)
    assert ("Seen before?" in card) == (seen == 0), "else it is a reason to doubt"
    lines = {
        0: [],
        8: [f"Arithmetic, in-domain: {said}."],
        None: ["What these were trained on is not known, and items may be among it: SPD."],
    }
    assert list(verdict_panel.seen_lines(found)) == lines[seen]


def test_a_card_says_what_was_written_to_train_it(table: Table, tmp_path: Path) -> None:
    put(tmp_path, "base", "arithmetic", answered(10))
    for arm in ("omniopd", "omniopd-raw", "spd"):
        put(tmp_path, arm, "arithmetic", answered(10))
    found = read_table(recipe(["base", "omniopd", "omniopd-raw", "spd"]), tmp_path)
    budgets = {"omniopd": Budget(1000, 9000), "omniopd-raw": Budget(1000, 1500)}
    omniopd, raw, spd = cards_of(replace(found, budgets=budgets))
    assert "1,000 that it wrote, and 9,000 that its teacher wrote." in omniopd
    assert "10,000 for OmniOPD, 9,000 of them by its teacher, which is 4.0 times the 2,500 for OmniOPD by" in omniopd
    assert "1,000 that it wrote, and 1,500 that its teacher wrote." in raw
    assert "not known: an earlier version trained it, or its adapter is gone" in spd
    *_, said = verdict_panel.warning_lines(replace(found, budgets=budgets))
    assert said.startswith("Not at equal numbers of written tokens: 10,000 for OmniOPD")
    assert (
        one_item.trained_on(budgets["omniopd"]) == "trained on 1,000 tokens of its own, beside 9,000 of its teacher's"
    )
    assert one_item.trained_on(Budget(2000)) == "trained on 2,000 tokens of its own"
    assert one_item.trained_on(None) == ""
    projected, *_ = cards_of(table)
    assert "Tokens written to train it" not in projected, "it was not trained"


def test_the_overview_counts_all(table: Table, tmp_path: Path) -> None:
    said = claim_cards.overview(table).replace("\u00a0", " ")
    assert said == "9 comparisons with the base: ▲ **2** helps, ▼ **2** hurts, · **5** not shown"
    put(tmp_path, "base", "arithmetic", answered(3))
    put(tmp_path, "spd", "arithmetic", answered(3))
    assert claim_cards.overview(read_table(recipe(), tmp_path)).endswith("; 8 comparisons still to come")


def test_no_text_is_a_tag(tmp_path: Path) -> None:
    evil = recipe(["base", {"kind": "projected", "label": f"p {EVIL}"}], sets=["arithmetic"])
    for subject in evil.subjects:
        put(tmp_path, subject.name, "arithmetic", answered(9), title=f"t {EVIL}")
    found = read_table(evil, tmp_path)
    figures = (score_charts.scores(found, False), difference_charts.differences(found, False),
               heat_map.difference_map(found, None, False),
               answer_charts.answer_bars(found, found.columns[0], False))  # fmt: skip
    for figure in figures:
        assert "<img" not in figure.to_json().replace("\\u003c", "<")
    assert "<img" not in "".join(cards_of(found))

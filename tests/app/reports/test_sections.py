"""Sections of what is not recorded: contrasts, many layers, sweeps, and texts that would like to be more than text."""

import dataclasses
import re

import pytest

from app.reports import spectrum
from app.reports.attributions import attributions_section
from app.reports.blocks import Report, ReportFigure, ReportLanes, ReportSection, ReportTable
from app.reports.chosen import InHand
from app.reports.evaluation import evaluation_section
from app.reports.origins import capture_replays
from app.reports.page import report_html
from app.reports.side_by_side import Written, side_by_side_section, writing_facts, writing_replays
from app.reports.spectrum import spectrum_section
from app.reports.strips import MOST_TOKENS, strip_block
from app.ui.session import Selection
from spd_core.evaluation.table import Table
from spd_core.generation.comparison import Comparison
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.recipes.lanes import Grid
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.contrast import contrast
from spd_core.subspace.contrast_verdict import contrast_verdict
from spd_core.subspace.store import RECORDED, load_capture
from tests.generation.test_comparison import HOSTILE, PROJECTED, comparison, lane
from tests.test_templates import Tags


def names(section: ReportSection) -> list[str]:
    return [block.name for block in section.blocks if isinstance(block, ReportFigure)]


@pytest.fixture(scope="module")
def sums() -> Analysis:
    return load_capture(RECORDED / "arithmetic")


def test_a_contrast_says_what_it_holds_of_either_and_how_to_make_it(sums: Analysis) -> None:
    made = contrast(sums, [load_capture(RECORDED / "multiple-choice")], name="sums-alone")
    held = InHand(made, Selection(29, "value"), 25)
    section = spectrum_section(held, ("shuffled answers",))
    assert names(section)[:2] == ["held-together", "held-by-each"]
    assert "ratio-to-null" not in names(section), "a contrast has no null"
    assert made.provenance.left_out is not None
    assert section.verdict == contrast_verdict(made, made.provenance.left_out, 29, "value", 25)
    first, *_ = capture_replays(held)
    assert first.code == ("python -m spd_core contrast --of arithmetic --without multiple-choice --shrinkage 1")
    assert report_html(Report("t", "s", [section, attributions_section(held)], []))


def test_of_many_layers_there_is_a_map_and_the_curves_of_one(sums: Analysis) -> None:
    sites = {
        dataclasses.replace(site, layer=layer): found
        for layer in range(10, 16)
        for site, found in sums.sites.items()
        if site.layer == 15
    }
    section = spectrum_section(InHand(dataclasses.replace(sums, sites=sites), Selection(12, "key"), 8), ())
    assert names(section)[0] == "sites"
    curves = next(
        block for block in section.blocks if isinstance(block, ReportFigure) and block.name == "singular-values"
    )
    titles = [note.text for note in curves.draw(False).layout.annotations]
    assert len(titles) == 2
    assert all("12" in title for title in titles)
    (table,) = (block for block in section.blocks if isinstance(block, ReportTable))
    assert len(table.rows) == 12


def of(result: Comparison) -> bytes:
    section = side_by_side_section(Written(result, (None,) * len(result.lanes)))
    return report_html(Report("t", "s", [section], list(writing_facts(result)), list(writing_replays(result))))


def test_texts_that_would_like_to_be_more_are_text() -> None:
    hostile = lane(f"Raw {HOSTILE}", [HOSTILE, " end"], capability=HOSTILE)
    page = of(comparison(hostile, PROJECTED, prompt=HOSTILE, read=HOSTILE, answer=HOSTILE, capability=HOSTILE))
    found = Tags(page.decode())
    assert not {"img", "iframe"} & set(found.tags)
    assert not any(name.startswith("on") or name == "src" for name in found.attributes)
    assert not re.search("[\x1b\u202e]", page.decode())
    assert "⟨U+202E⟩" in found.text
    assert "<img src=http://evil>" in found.text


def test_a_sweep_has_its_maps_and_one_cell_in_full() -> None:
    grid = Grid(ranks=("4", "8"), strengths=(1.0,))
    swept = comparison(lane("Raw", ["a"]), PROJECTED, PROJECTED.model_copy(update={"label": "rank 8"}), grid=grid)
    section = side_by_side_section(Written(swept, (None, None, None), cell=1))
    assert [name for name in names(section) if name.startswith("sweep")] == [
        "sweep-mean log-probability under raw", "sweep-first divergence from raw", "sweep-mean KL to raw",
    ]  # fmt: skip
    (cards,) = (block for block in section.blocks if isinstance(block, ReportLanes))
    assert [one.label for one in cards.lanes] == ["Raw", "Projected"]
    assert of(swept)


def test_a_text_that_was_stopped_before_its_first_word() -> None:
    empty = comparison(lane("Raw", [], finish="stopped"), lane("Projected", [], finish="stopped"))
    page = of(empty).decode()
    assert page.count("<i>(no text)</i>") == 2
    assert "Figure 1" not in page


def test_an_evaluation_without_a_cell_says_so() -> None:
    section = evaluation_section(Table(EvaluationRecipe(), (), {}, {}, 3, 0))
    assert (section.verdict, list(section.blocks)) == ("No cell of this evaluation is filled yet.", [])


def test_of_very_much_a_part_is_drawn_and_said(sums: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "MOST_POINTS", 100)
    section = spectrum_section(InHand(sums, Selection(29, "value"), 96), ())
    (rows,) = (one for one in section.blocks if isinstance(one, ReportFigure) and one.name == "gradient-rows")
    assert "100 of 1,210 are drawn" in rows.caption
    assert sum(len(trace.x) for trace in rows.draw(False).data if trace.mode == "markers") == 100

    plain = {"tip": "t", "largest": False, "loss": False, "aside": False}
    long = [{**plain, "text": str(at), "shade": 0.1 + 0.8 * (at == 7)} for at in range(1000)]
    legend = {"ticks": ["0", "1"], "unit": "nats", "loss": False, "aside": False}
    data = {"tokens": long, "selected": None, "diverging": False, "legend": legend}
    first = strip_block(data, "T", "c")
    assert (len(first.tokens), first.first, first.title) == (MOST_TOKENS, 7, "T, tokens 1 to 600 of 1000")
    late = strip_block({**data, "selected": 990}, "T", "c")
    assert late.title == "T, tokens 401 to 1000 of 1000"
    assert late.tokens[late.first].text == "990"

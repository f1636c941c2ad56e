"""Reports of what is recorded: sections say what the pages say, and the programs they offer can be run."""

import ast
import dataclasses
import json
from pathlib import Path

import pytest

from app.jobs.captures import load_saved
from app.reports import attributions, evaluation, fine_tune, side_by_side
from app.reports.blocks import Report, ReportClaims, ReportFigure, ReportLanes, ReportSection, ReportStrip, ReportTable
from app.reports.chosen import InHand
from app.reports.gathering import study_of
from app.reports.page import report_html
from app.reports.study import Study, study_report
from app.ui.recorded_texts import recorded_for
from app.ui.session import Selection
from spd_core.attribution.tables import direction_table
from spd_core.attribution.verdict import energy_verdict
from spd_core.evaluation.training_verdict import training_verdict
from spd_core.evaluation.verdict import verdict
from spd_core.generation.verdict import comparison_verdict
from spd_core.recipes.distill import Recipe, read_recipe, short_name
from spd_core.recipes.evaluation import read_evaluation
from spd_core.runs.folder import recorded_runs
from spd_core.subspace.store import recorded_captures


@pytest.fixture(scope="module")
def held() -> InHand:
    return InHand(load_saved("arithmetic"), Selection(29, "value"), 96)


@pytest.fixture(scope="module")
def study(held: InHand) -> Study:
    return study_of(held, ("shuffled answers",), "")


@pytest.fixture(scope="module")
def report(study: Study) -> Report:
    return study_report(study)


def blocks(section: ReportSection, kind: type) -> list[object]:
    return [block for block in section.blocks if isinstance(block, kind)]


def test_a_study_goes_from_the_capture_to_the_evaluation(report: Report, study: Study, held: InHand) -> None:
    names = [section.name for section in report.sections]
    assert names == ["Capture", "Spectrum", "Token attributions", "Side by side", "Evaluation"]
    capture, _, tokens, texts, helped = report.sections
    first = held.analysis.examples[0]
    assert capture.first.startswith(f"Of the {len(first.ids)} tokens of this text, {len(first.supervised)} decide")
    table = direction_table(held.analysis, held.site, 0)
    assert tokens.verdict == energy_verdict(table, 0)
    assert study.written is not None
    assert study.written.result == recorded_for("arithmetic")
    whole = comparison_verdict(study.written.result, study.written.right)
    assert texts.verdict.startswith(whole.partition(". ")[0])
    assert study.evaluated is not None
    record, found = study.evaluated
    assert record.evaluation.capability == "arithmetic"
    assert helped.verdict == verdict(found.claims.values(), found.comparisons - len(found.claims))
    assert helped.mood == "not-shown"


def test_the_strip_draws_every_token_of_the_selected_text(held: InHand) -> None:
    chosen = dataclasses.replace(held, at=Selection(29, "value", 2, 3, 5))
    section = attributions.attributions_section(chosen)
    strips = [block for block in section.blocks if isinstance(block, ReportStrip)]
    assert len(strips) == 3
    table = direction_table(held.analysis, held.site, 2)
    rows = table[table.example == 3]
    for strip in strips:
        assert len(strip.tokens) == len(rows)
        assert strip.first == 5
        assert all(abs(token.shade) <= 10 for token in strip.tokens)
    share = rows.share.iloc[5]
    assert f"energy share {100 * share:.3g}% of σ²" in strips[0].tokens[5].tip
    assert sum("loss" in token.marks for token in strips[0].tokens) == int(rows.supervised.sum())
    figures = [block.name for block in section.blocks if isinstance(block, ReportFigure)]
    wanted = ["by-token", "by-position", "against-the-baseline", "geometry", "logit-lens", "causal-check"]
    assert figures == wanted, "the lens and the check of this direction are recorded"


def test_lanes_say_what_they_wrote_and_the_program_writes_it_again(study: Study) -> None:
    assert study.written is not None
    result = study.written.result
    section = side_by_side.side_by_side_section(study.written)
    (cards,) = (block for block in section.blocks if isinstance(block, ReportLanes))
    assert cards.prompt == result.prompt
    for card, lane in zip(cards.lanes, result.lanes, strict=True):
        assert "".join(text or "" for text, _ in card.parts) == lane.text
    (program,) = side_by_side.writing_replays(result)
    assert ast.get_docstring(ast.parse(program.code)) == "Writes the texts of a comparison again."
    facts = dict(side_by_side.writing_facts(result))
    assert facts["Capability of the texts"] == f"arithmetic, aligned loss, sha256 {result.fingerprint}"
    assert facts["Settings of the texts"].startswith("temperature 0.7, top-p 0.9, seed ")
    tables = [block for block in section.blocks if isinstance(block, ReportTable)]
    assert len(tables[0].rows) == sum(len(lane.tokens) for lane in result.lanes)


def test_every_comparison_has_its_card_and_the_recipe_can_be_read_back(study: Study, tmp_path: Path) -> None:
    assert study.evaluated is not None
    record, table = study.evaluated
    section = evaluation.evaluation_section(table)
    cards = [claim for block in section.blocks if isinstance(block, ReportClaims) for claim in block.claims]
    assert len(cards) == len(table.claims)
    recipe, command = evaluation.evaluation_replays(record)
    path = tmp_path / "evaluation.json"
    path.write_text(recipe.code)
    assert read_evaluation(path) == record.evaluation
    assert command.code.startswith("python -m spd_core table evaluation.json")
    facts = dict(evaluation.evaluation_facts(table, record))
    assert facts["Set Arithmetic"].startswith("100 items, sha256 ")


@pytest.mark.parametrize("name", recorded_captures())
def test_a_study_of_every_recorded_capture_is_one_small_file(name: str) -> None:
    held = InHand(load_saved(name), Selection(29, "value"), 96)
    report = study_report(study_of(held, ("shuffled answers", "bootstrap band"), "no such text"))
    page = report_html(report)
    assert len(page) < 6_000_000
    assert page.count(b'<script type="application/json"') == sum(
        len(blocks(one, ReportFigure)) for one in report.sections
    )
    if name != "arithmetic":
        assert report.sections[-1].verdict == f"Not measured: no evaluation of {name} on this model is kept."


def test_a_direction_without_tokens_is_said(held: InHand) -> None:
    far = dataclasses.replace(held, at=Selection(29, "value", 191))
    section = attributions.attributions_section(far)
    assert section.verdict == "This capture kept no single tokens for layer 29 value, direction 192."
    assert section.blocks == []


def test_json_of_a_recipe_is_what_differs_from_its_preset(study: Study) -> None:
    assert study.evaluated is not None
    recipe, _ = evaluation.evaluation_replays(study.evaluated[0])
    assert json.loads(recipe.code)["preset"] == "quick"


def test_a_training_says_what_its_page_says_and_its_recipe_can_be_read_back(tmp_path: Path) -> None:
    run = next(run for run in recorded_runs() if isinstance(run.record.recipe, Recipe))
    view = fine_tune.view_of(run)
    section = fine_tune.training_section(view)
    assert section.verdict == " ".join(training_verdict(view, works=False))
    assert [block.name for block in section.blocks if isinstance(block, ReportFigure)] == [
        "losses", "right-answers", "drift",
    ]  # fmt: skip
    finals = next(block for block in section.blocks if isinstance(block, ReportTable))
    assert [row[0] for row in finals.rows] == [short_name(arm) for arm in run.record.distillation.arms]
    recipe, command = fine_tune.training_replays(run)
    path = tmp_path / "recipe.json"
    path.write_text(recipe.code)
    assert read_recipe(path) == run.record.distillation
    assert command.code.startswith("python -m spd_core distill recipe.json")
    facts = list(fine_tune.training_facts(run, view))
    assert report_html(Report("t", "s", [section], facts, [recipe, command]))
    assert dict(facts)["Capability"] == "arithmetic"

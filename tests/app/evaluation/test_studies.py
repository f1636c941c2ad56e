"""The part with studies: what was announced and what it shows, the way to an evaluation, and all of it as one file."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.evaluation import study_charts
from app.reports.page import report_html
from app.reports.replication import replication_report
from app.ui import session
from app.ui.widgets import escaped
from spd_core.evaluation.table import read_table
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs import queue, remarks
from spd_core.studies import carrying_out
from spd_core.studies.carrying_out import carry_out_study, record_study
from spd_core.studies.findings import findings
from spd_core.studies.plan import read_study
from spd_core.studies.shelf import KnownStudy, known_studies
from tests import ROOT
from tests.app.test_pages import go_to, prepared, verdict_of
from tests.cells import put, records
from tests.waiting import LONG

WORSE, BASE, BETTER = ([1] * count + [0] * (40 - count) for count in (2, 10, 26))
SCORES = {
    "base": BASE,
    "projected": BETTER,
    "projected-random": BASE,
    "rank-8": WORSE,
    "rank-24": BASE,
    "rank-96": BETTER,
}
RANKS = [{"kind": "projected", "rank": str(rank), "label": f"Rank {rank}"} for rank in (96, 8, 24)]
PLAN: dict[str, Any] = {
    "title": "A study of <b>sums</b>",
    "date": "2026-11-29",
    "design": "docs/studies/sums.md",
    "common": {"sets": ["arithmetic"], "subjects": ["base", "projected", "projected-random"], "seeds": [1]},
    "evaluations": {
        "first": {"title": "SmolLM2, sums", "question": "Does it help?"},
        "ranks": {"question": "At which rank?", "subjects": ["base", *RANKS]},
        "later": {"question": "And there?", "model": "another/model"},
    },
    "primary": [
        {"part": "later", "subject": "projected"},
        {"part": "first", "subject": "projected"},
        {"part": "first", "subject": "projected-random"},
    ],
    "slice": [{"part": "first", "subjects": ["base", "projected"], "seeds": [1]}],
    "limits": ["One small model."],
}


def answer(recipe: EvaluationRecipe, folder: Path, **_: Any) -> str:
    for subject, seed, _set in recipe.cells:
        put(folder, subject, records(SCORES[subject]), seed=seed)
    return "done"


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spd_home: Path) -> KnownStudy:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "models").symlink_to(spd_home / "models")
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(carrying_out, "check", lambda recipe: None)
    monkeypatch.setattr(queue, "start_next", list)
    studies = tmp_path / "studies"
    studies.mkdir()
    (studies / "sums.json").write_text(json.dumps(PLAN))
    (studies / "broken.json").write_text("{")
    study = read_study(studies / "sums.json")
    runs = carry_out_study(study, answer, only=["first", "ranks"])  # type: ignore[arg-type]
    record_study(study, runs, studies / "sums")
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "another"))
    (tmp_path / "another").mkdir()
    (tmp_path / "another" / "models").symlink_to(spd_home / "models")
    monkeypatch.setattr(remarks, "STUDIES", studies)
    (known,) = known_studies()
    return known


def opened() -> AppTest:
    at = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    at.query_params[session.EVALUATIONS_VIEW] = "Studies"
    at.run()
    return prepared(go_to(at, session.EVALUATION))


@pytest.mark.builtin
def test_what_was_announced_stands_on_top_and_a_click_opens_its_evaluation(recorded: KnownStudy) -> None:
    at = opened()
    assert not at.exception
    shown = verdict_of(at)
    assert shown.startswith("▲ SmolLM2, sums: Projected is better than Base (+40.0 points).")
    assert shown.endswith("1 of 3 are not answered yet.")
    assert escaped(PLAN["title"]) in " ".join(one.value for one in at.markdown), "a title is text"
    buttons = {one.key: one for one in at.button if one.label == "Open"}
    assert [one.disabled for one in buttons.values()] == [False, False, True]
    next(iter(buttons.values())).click().run()
    assert at.session_state[session.EVALUATION_RUN] == recorded.runs["first"].id
    assert at.session_state[session.EVALUATIONS_VIEW] == session.THIS_EVALUATION
    assert not at.exception


def test_the_forest_has_a_row_for_each_answered_comparison(recorded: KnownStudy) -> None:
    tables = {name: read_table(run.record.evaluation, run.folder) for name, run in recorded.runs.items()}
    found = findings(recorded.study, tables)
    figure = study_charts.forest(found, False)
    marks = [trace for trace in figure.data if trace.mode == "markers"]
    assert sorted(x for trace in marks for x in trace.x) == pytest.approx([0, 40])
    assert figure.layout.yaxis.ticktext == ("Projected − Base", "Projected, random<br>subspace − Base")
    assert "Projected − Base +40.0 points (helps)" in study_charts.forest_alt(found)


def test_ranks_make_a_curve_in_their_order(recorded: KnownStudy) -> None:
    run = recorded.runs["ranks"]
    ((_, table, dose),) = study_charts.all_doses({"ranks": read_table(run.record.evaluation, run.folder)})
    assert [(label, one.estimate.value) for label, one in dose.points] == [("8", 0.05), ("24", 0.25), ("96", 0.65)]
    figure = study_charts.dose_chart(table, dose, True)
    assert list(figure.data[0].y) == [5, 25, 65]
    assert list(figure.data[1].y) == [25] * 3, "the untouched model"
    assert "8 5.0%, 24 25.0%, 96 65.0%; base 25.0%" in study_charts.dose_alt(dose)


def test_the_report_has_every_part_and_the_way_to_repeat_it(recorded: KnownStudy) -> None:
    tables = {name: read_table(run.record.evaluation, run.folder) for name, run in recorded.runs.items()}
    report = replication_report(recorded, tables)
    names = [section.name for section in report.sections]
    assert names == ["Announced", "SmolLM2, sums", "ranks", "The paper", "Limits"]
    page = report_html(report).decode()
    assert "One small model." in page
    assert "A study of &lt;b&gt;sums&lt;/b&gt;" in page
    assert "python -m spd_core study assets/studies/sums.json --slice --against assets/studies/sums" in page
    assert re.search(r"SPD.*25.5%.*0\.679 nats.*22.0%", page, re.DOTALL), "the paper's own figures"


@pytest.mark.builtin
def test_without_any_study_the_part_says_so(
    recorded: KnownStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remarks, "STUDIES", tmp_path / "none")
    at = opened()
    assert [one.value for one in at.info] == ["No study comes with this installation."]

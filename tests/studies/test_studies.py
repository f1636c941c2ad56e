"""A study from its plan to what it shows: what is refused, one family of tests, and what is the same again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from spd_core.data.capability import builtin_names
from spd_core.data.catalog import find_capability
from spd_core.errors import InputError, Stopped
from spd_core.evaluation.damaged import read_cells
from spd_core.evaluation.table import read_table
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.folder import Run, all_runs
from spd_core.runs.remarks import STUDIES
from spd_core.studies import carrying_out
from spd_core.studies.carrying_out import carry_out_study, record_study, recorded_parts
from spd_core.studies.equal import equal_cells
from spd_core.studies.findings import findings
from spd_core.studies.plan import StudyPlan, read_study, study_from
from spd_core.studies.report import shown_rows, study_markdown, study_verdict
from spd_core.studies.shelf import known_studies
from tests.cells import put, records

BASE, BETTER = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0] * 6, [1, 1, 1, 1, 0, 0, 0, 0, 0, 0] * 6
SCORES = {"base": BASE, "projected": BETTER, "projected-random": BASE}
PLAN: dict[str, Any] = {
    "title": "A study",
    "date": "2026-11-29",
    "common": {"sets": ["arithmetic"], "subjects": ["base", "projected", "projected-random"], "seeds": [1]},
    "evaluations": {"first": {"question": "One?"}, "second": {"question": "Two?", "batch_size": 7}},
    "primary": [
        {"part": "first", "subject": "projected"},
        {"part": "first", "subject": "projected", "against": "projected-random"},
        {"part": "second", "subject": "projected"},
    ],
    "slice": [{"part": "first", "subjects": ["base", "projected"], "seeds": [1]}],
}


def answer(recipe: EvaluationRecipe, folder: Path, **_: Any) -> str:
    for subject, seed, _set in recipe.cells:
        put(folder, subject, records(SCORES[subject]), seed=seed)
    return "done"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPlan:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(carrying_out, "check", lambda recipe: None)
    return study_from(PLAN, "small")


def carried(study: StudyPlan, work: Callable[..., str] = answer, **options: Any) -> dict[str, Run]:
    return carry_out_study(study, work, **options)  # type: ignore[arg-type]


def changed(**settings: Any) -> dict[str, Any]:
    return {**PLAN, **settings}


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ([], "a study is an object"),
        (changed(evaluations={"first": 3}), "'first' is no object"),
        (changed(evaluations={"first": {"subjects": ["bases"]}}), "'first': .*unknown arm 'bases'"),
        (changed(primary=[]), "primary"),
        (changed(primary=[{"part": "third", "subject": "projected"}]), "no evaluation 'third', only first, second"),
        (changed(primary=[{"part": "first", "subject": "spd"}]), "first has no subject 'spd', only base, projected"),
        (changed(primary=[{"part": "first", "subject": "projected", "set": "mmlu"}]), "first has no set 'mmlu'"),
        (changed(date="soon"), "date"),
        (changed(titles="A study"), "titles"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_name(plan: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        study_from(plan, "small")


def test_announced_comparisons_are_one_family(study: StudyPlan, tmp_path: Path) -> None:
    """By hand: 12 items gained and none lost three times; McNemar's p, then Holm over the three that were announced."""
    p = binomtest(0, 12).pvalue
    for count in (2, 1):
        names = study.part_names[:count]
        runs = carried(study, only=names)
        tables = {name: read_table(run.record.evaluation, run.folder) for name, run in runs.items()}
        found = findings(study, tables)
        answered = [one.claim for one in found if one.claim is not None]
        assert len(answered) == count + 1
        assert [one.p_adjusted for one in answered] == pytest.approx([3 * p] * len(answered))
        assert {one.headline for one in answered} == {"helps"}
        assert "control" not in answered[1].sentence, "it is compared with one"
        assert [row["Difference"] for row in shown_rows(found)[: len(answered)]] == ["+20.0 points"] * len(answered)
    assert "1 of 3 are not answered yet" in study_verdict(found)
    assert "Holm's correction is over all 3 that were announced" in study_markdown(study, tables)


def test_what_is_finished_is_found_and_what_was_stopped_is_gone_on_with(study: StudyPlan, tmp_path: Path) -> None:
    asked: list[str] = []

    def stops(recipe: EvaluationRecipe, folder: Path, **_: Any) -> str:
        asked.append(folder.name)
        return answer(recipe, folder) if len(asked) != 2 else "stopped"

    with pytest.raises(Stopped):
        carried(study, stops)
    runs = carried(study, stops)
    assert asked == [runs["first"].id, runs["second"].id, runs["second"].id]
    assert len(all_runs()) == 2
    assert carried(study, stops) == runs
    assert len(asked) == 3, "both are finished"


def test_what_is_wrong_is_told_before_anything_is_answered(
    study: StudyPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(recipe: EvaluationRecipe) -> None:
        if recipe.batch_size == 7:
            raise InputError("no such model")

    monkeypatch.setattr(carrying_out, "check", refuse)
    with pytest.raises(InputError, match="no such model"):
        carried(study)
    assert all_runs() == []
    with pytest.raises(InputError, match="no evaluation 'third'; there are first, second"):
        carried(study, only=["third"])


def test_recorded_runs_open_elsewhere_and_later_ones_take_their_place(
    study: StudyPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, place = carried(study), tmp_path / "small"
    record_study(study, {"first": runs["first"]}, place)
    record_study(study, {"second": runs["second"]}, place)
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "another home"))
    found = recorded_parts(study, place)
    assert list(found) == ["first", "second"], "what was recorded before stays"
    table = read_table(found["first"].record.evaluation, found["first"].folder)
    assert table.answered["projected", "arithmetic"].estimate.value == 24 / 60
    assert not list(place.rglob("*.jsonl")), "items are packed"
    other = study_from(changed(evaluations={**PLAN["evaluations"], "second": {"batch_size": 8}}), "small")
    again = carried(other, only=["second"])
    record_study(other, again, place)
    assert {path.name for path in (place / "runs").iterdir()} == {runs["first"].id, again["second"].id}


def test_the_slice_has_cells_of_the_whole_and_they_are_compared_item_by_item(study: StudyPlan, tmp_path: Path) -> None:
    whole = carried(study, only=["first"])
    record_study(study, whole, tmp_path / "small")
    there = recorded_parts(study, tmp_path / "small")
    sliced = study.sliced()
    assert [part.recipe.cells for part in sliced.parts] == [[("base", 1, "arithmetic"), ("projected", 1, "arithmetic")]]
    assert [one.subject for one in sliced.primary] == ["projected"]
    here = carried(sliced)
    same = equal_cells(sliced, here, there)
    assert (same.cells, same.equal, same.items, same.equal_items, same.scores, same.first) == (2, 2, 120, 120, 2, "")
    shutil.rmtree(tmp_path / "home")

    def otherwise(recipe: EvaluationRecipe, folder: Path, **_: Any) -> str:
        put(folder, "base", records(BASE), seed=1)
        put(folder, "projected", records([0, *BETTER[1:]]), seed=1)
        return "done"

    same = equal_cells(sliced, carried(sliced, otherwise), there)
    assert (same.equal, same.equal_items, same.scores) == (1, 119, 1)
    assert same.first.startswith("first/projected/1/arithmetic: ")
    assert "1 of 2 cells are the same, item by item (119 of 120 answers)" in same.sentence
    with pytest.raises(InputError, match="names no slice"):
        study_from(changed(slice=[]), "small").sliced()
    with pytest.raises(InputError, match="slice: first has no spd"):
        study_from(changed(slice=[{"part": "first", "subjects": ["base", "spd"], "seeds": [1]}]), "small").sliced()


def test_a_set_of_a_study_is_found_by_its_name_and_offered_nowhere() -> None:
    assert len(find_capability("arithmetic-1000", split="heldout").examples) == 1000
    assert find_capability("arithmetic-1000").examples == find_capability("arithmetic").examples
    assert "arithmetic-1000" not in builtin_names()


# --- what comes with SPD Lab -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.json")), ids=lambda path: path.stem)
def test_plans_that_come_along_can_be_read_and_their_design_names_them(path: Path) -> None:
    study = read_study(path)
    text = (STUDIES.parents[1] / study.design).read_text("utf-8")
    assert f"assets/studies/{path.name}" in text
    assert study.sliced().parts


def test_what_is_recorded_is_whole_and_small() -> None:
    for known in known_studies():
        for run in known.runs.values():
            cells, damaged = read_cells(run.record.evaluation, run.folder)
            assert damaged == ()
            assert len(cells) == len(run.record.evaluation.cells)
    files = [path for path in STUDIES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 20e6
    assert not [path for path in files if path.suffix == ".safetensors"], "no weights"


def test_the_larger_arithmetic_is_right_and_has_the_smaller_one_in_it() -> None:
    rows = [json.loads(line) for line in (STUDIES / "arithmetic-1000.jsonl").read_text("utf-8").splitlines()[1:]]
    assert len({row["prompt"] for row in rows}) == len(rows) == 60 + 240 + 1000
    for row in rows:
        left, operation, right = row["equation"].split()
        numbers = int(left), int(right)
        worked = {"+": sum(numbers), "-": numbers[0] - numbers[1], "*": numbers[0] * numbers[1]}
        assert int(row["answer"]) == worked.get(operation, numbers[0] // numbers[1]), row
        assert operation != "//" or numbers[0] % numbers[1] == 0, row
    small = (STUDIES.parent / "capabilities" / "arithmetic.jsonl").read_text("utf-8").splitlines()[1:]
    assert rows[: len(small)] == [json.loads(line) for line in small]

"""How long a whole evaluation has still to go, against numbers worked out by hand."""

from pathlib import Path
from typing import Any

import pytest

from spd_core.evaluation import remaining
from spd_core.evaluation.costs import AnswerRates
from spd_core.evaluation.progress import EvaluationView
from spd_core.evaluation.remaining import evaluation_left, expected_of
from spd_core.recipes.distill import recipe_from
from spd_core.recipes.evaluation import evaluation_from
from spd_core.runs.events import AnyEvent, CellDone, StageBegun, StageProgress
from tests.cells import put, records

RECIPE = evaluation_from({"subjects": ["base", "projected"], "sets": ["arithmetic", "multiple-choice"]})
EXPECTED = {"arithmetic": 100.0, "multiple-choice": 10.0, "capture": 5.0, "corpus": 20.0, "train": 50.0, "drift": 5.0}


def view(*events: AnyEvent) -> EvaluationView:
    found = EvaluationView()
    found.take(events)
    return found


def at(time: float, arm: str, name: str, *progress: tuple[float, int]) -> list[AnyEvent]:
    where: dict[str, Any] = {"stage": "evaluate", "arm": arm, "set": name}
    told = [StageProgress(time=t, done=done, total=60, seconds=t - time, tokens=done, **where) for t, done in progress]
    return [StageBegun(time=time, **where), *told]


def test_cells_that_have_not_begun_are_as_slow_as_those_that_are_over(tmp_path: Path) -> None:
    """Arithmetic took 200 s of expected 100: the other takes 200, and each of multiple choice 20 instead of 10."""
    load = StageBegun(time=0.0, stage="load")
    assert evaluation_left(view(load), RECIPE, tmp_path, EXPECTED) == 220
    put(tmp_path, "base", records([1, 0]))
    over = CellDone(time=200.0, arm="base", set="arithmetic", n=60, value=0.5, reused=0, tokens=60, seconds=200.0)
    done = [load, *at(0.0, "base", "arithmetic", (50.0, 16), (200.0, 60)), over]
    begun = at(200.0, "base", "multiple-choice")
    assert evaluation_left(view(*done, *begun), RECIPE, tmp_path, EXPECTED) == pytest.approx(20 + 200 + 20)
    begun = at(200.0, "base", "multiple-choice", (202.0, 20), (206.0, 30))
    assert evaluation_left(view(*done, *begun), RECIPE, tmp_path, EXPECTED) == pytest.approx(30 * 0.4 + 200 + 20)
    assert evaluation_left(view(*done, *begun), RECIPE, tmp_path, None) is None


def test_an_engine_is_still_to_be_started_for_who_has_cells_left(tmp_path: Path) -> None:
    """30 s for each of two subjects, beside cells of 220 s."""
    expected = {**EXPECTED, "load": 30.0}
    load = StageBegun(time=0.0, stage="load")
    assert evaluation_left(view(load), RECIPE, tmp_path, expected) == 2 * 30 + 220
    starting = [load, StageBegun(time=10.0, stage="load", arm="base")]
    later = StageBegun(time=22.0, stage="load", arm="base")
    assert evaluation_left(view(*starting, later), RECIPE, tmp_path, expected) == 2 * 30 + 220
    answering = at(40.0, "base", "arithmetic", (50.0, 20), (60.0, 30))
    rest = 30 * 1.0 + 100 + 2 * 10
    assert evaluation_left(view(*starting, *answering), RECIPE, tmp_path, expected) == pytest.approx(30 + rest)


def test_arms_are_trained_first(tmp_path: Path) -> None:
    """One arm that needs no capture: a corpus and a training, then two cells of each set."""
    recipe = evaluation_from({**RECIPE.model_dump(), "subjects": ["base", "psr"]})
    assert evaluation_left(view(), recipe, tmp_path, EXPECTED) == 20 + 50 + 220
    corpus = StageBegun(time=0.0, stage="corpus", arm="psr")
    later = StageProgress(time=15.0, stage="corpus", arm="psr", done=1, total=9, seconds=15.0)
    assert evaluation_left(view(corpus, later), recipe, tmp_path, EXPECTED) == (20 - 15) + 50 + 220
    own = StageBegun(time=0.0, stage="capture", arm="capability")
    assert evaluation_left(view(own), recipe, tmp_path, EXPECTED) == 220, "the arms were trained by another run"


def test_what_pieces_are_expected_to_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the built-in rates: 60 items of arithmetic at 0.83 s."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    quick = {"preset": "quick", "capability": "arithmetic"}
    found = expected_of(evaluation_from({**quick, "sets": [{"capability": "arithmetic", "limit": 60}]}))
    assert found == pytest.approx({"arithmetic": 60 * 0.83})
    found = expected_of(recipe_from(quick))
    assert found is not None
    assert found["capture"] == pytest.approx(30 / 7.3)
    assert found["corpus"] == pytest.approx(48 * 24 / 41)
    for unknown in ({"model": "org/model"}, {"capability": "gsm8k"}, {"capability": "gone"}):
        assert expected_of(recipe_from({**quick, **unknown})) is None
    assert expected_of(evaluation_from({**quick, "sets": ["gsm8k"]})) is None


def test_a_task_of_the_harness_takes_as_long_as_its_items_took_before(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = AnswerRates(tokens=50.0, item=0.1, sets={"harness:sums": 0.5}, source="here")
    monkeypatch.setattr(remaining, "measured_answers", lambda _model, _writer: rates)
    sets: list[Any] = [{"capability": "harness:sums", "limit": 40}]
    assert expected_of(evaluation_from({"preset": "quick", "sets": sets})) == {"harness-sums": pytest.approx(40 * 0.5)}
    sets = [{"capability": "harness:sums"}]
    assert expected_of(evaluation_from({"preset": "quick", "sets": sets})) is None, "nobody knows how many there are"

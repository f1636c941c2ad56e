"""The cost of an evaluation by hand, and rates from what its cells have told."""

from pathlib import Path
from typing import Any

import pytest

from spd_core.data.capability import Scorer
from spd_core.evaluation.costs import (
    BUILTIN_ANSWERS,
    AnswerRates,
    answering,
    answers_of,
    cost_of_evaluation,
    measured_answers,
)
from spd_core.evaluation.set_facts import SetFacts
from spd_core.recipes.evaluation import EvaluationRecipe, evaluation_from
from spd_core.runs import queue
from spd_core.runs.costs import START, Cost, Rates
from spd_core.runs.events import CellDone, StageBegun
from spd_core.runs.folder import Run

STAGES = Rates(capture=10.0, corpus=50.0, train=100.0, source="here")
ANSWERS = AnswerRates(tokens=50.0, item=0.1, sets={"arithmetic": 0.5}, source="here")


def made(*subjects: object, sets: tuple[object, ...] = ("arithmetic",), **more: object) -> EvaluationRecipe:
    return evaluation_from({"preset": "quick", "subjects": ["base", *subjects], "sets": list(sets), **more})


def cost(recipe: EvaluationRecipe, n: int | None = 60, scorer: Scorer = "number", **more: object) -> object:
    known = {"examples": 60, "answers": ANSWERS, "stages": STAGES, **more}
    facts = {wanted.name: SetFacts(scorer, n) for wanted in recipe.sets}
    return cost_of_evaluation(recipe, facts, **known)  # type: ignore[arg-type]


def test_by_hand() -> None:
    found = cost(made("projected", "projected-random"))
    assert (found.cells, found.items, found.captures) == (3, 180, 1), "one capture serves both"
    assert found.seconds == pytest.approx(START + 30 / 10 + 180 * 0.5), "30 calibration examples, as preset quick has"


def test_a_contrast_captures_what_it_leaves_out_as_well() -> None:
    without = {"without": ["multiple-choice", "python-functions"]}
    found = cost(made("projected", "projected-contrast", capture=without))
    assert found.captures == 1 + 3


def test_what_was_not_measured_counts_as_long_as_it_may_be() -> None:
    found = cost(made(sets=("multiple-choice",)), scorer="letter")
    assert found.seconds == pytest.approx(START + 60 * (0.1 + 4 / 50))
    longer = cost(made(sets=({"capability": "arithmetic", "max_new_tokens": 100},)))
    assert longer.seconds == pytest.approx(START + 60 * (0.1 + 100 / 50)), "measured with shorter answers"
    reference = cost(made(sets=("codealpaca",)), scorer="nll")
    assert reference.seconds == pytest.approx(START + 60 / 10)


def test_what_nobody_knows_is_not_guessed() -> None:
    recipe = made("projected")
    assert cost(recipe, answers=None).seconds is None
    assert cost(recipe, stages=None).seconds is None, "its capture"
    assert cost(made(), stages=None).seconds == pytest.approx(START + 30), "nothing is captured"
    assert cost(recipe, examples=None).seconds is None
    unknown = cost(recipe, n=None)
    assert (unknown.items, unknown.seconds, unknown.cells) == (None, None, 2)
    assert cost(made("spd"), arms=[None]).seconds is None


def test_seeds_captures_checkpoints_and_arms() -> None:
    recipe = made("projected", "projected-random", "projected-full", "projected-shuffled", "complement",
                  {"kind": "projected", "rank": "8", "label": "narrow"},
                  {"kind": "projected", "capture": "saved", "label": "saved"},
                  {"kind": "checkpoint", "model": "/a/b"}, "spd", seeds=[1, 2])  # fmt: skip
    one = Cost(corpora=1, captures=1, corpus_tokens=1, train_tokens=1, seconds=100.0, disk=None)
    found = cost(recipe, arms=[one, one])
    assert found.cells == 7 + 3 * 2, "random, shuffled and the arm depend on the seed"
    assert found.captures == 4, "capability, of which two ranks are cut, full loss, shuffled answers with two seeds"
    assert found.seconds == pytest.approx(2 * START + 2 * 100 + 4 * 30 / 10 + 13 * 60 * 0.5)


# --- rates -------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    return queue.create_here(made("projected", sets=("arithmetic", "multiple-choice"), model="org/model"))


def cell(arm: str, set_: str, tokens: int, seconds: float, reused: int = 0, n: int = 50) -> CellDone:
    return CellDone(time=1.0, arm=arm, set=set_, n=n, value=0.5, reused=reused, tokens=tokens, seconds=seconds)


def test_rates_of_an_evaluation(run: Run) -> None:
    assert answers_of(run) is None, "it has not told anything yet"
    run.tell(cell("base", "arithmetic", 10, 90.0, reused=40))
    assert answers_of(run) is None, "most was there before"
    for told in (cell("base", "arithmetic", 800, 20.0), cell("projected", "arithmetic", 1000, 30.0),
                 cell("base", "multiple-choice", 200, 5.0), cell("base", "renamed", 9, 900.0)):  # fmt: skip
        run.tell(told)
    found = answers_of(run)
    assert found is not None
    assert found.tokens == pytest.approx(2000 / 55)
    assert found.sets == {"arithmetic": pytest.approx(30 / 50), "multiple-choice": pytest.approx(5 / 50)}
    assert found.item == pytest.approx(5 / 50)
    assert run.record.created[:10] in found.source
    assert measured_answers("org/model") == found
    assert measured_answers("org/other") is None


def test_an_engine_is_started_for_each_subject(run: Run) -> None:
    """12 s and 30 s until vLLM was there: an upper bound has the longer one twice, beside 60 items at 0.5 s each."""
    local = made("projected")
    engine = queue.create_here(made("projected", model="org/model", writer={"kind": "vllm"}))
    for time, stage, arm, name in (
        (0.0, "load", "", ""),
        (5.0, "capture", "capability", ""),
        (9.0, "load", "base", ""),
        (21.0, "evaluate", "base", "arithmetic"),
        (31.0, "load", "projected", ""),
        (61.0, "evaluate", "projected", "arithmetic"),
    ):
        for one in (engine, run):
            one.tell(StageBegun.model_validate({"time": time, "stage": stage, "arm": arm, "set": name}))
    for one in (engine, run):
        one.tell(cell("base", "arithmetic", 200, 25.0))
    found, here = answers_of(engine), answers_of(run)
    assert found is not None
    assert here is not None
    assert (found.start, here.start) == (30.0, 0.0), "of SPD Lab itself it is loading, which is counted apart"
    facts = {"arithmetic": SetFacts("number", 60)}
    assert answering(local, facts, found, None) == pytest.approx(2 * 30 + 2 * 60 * 0.5)
    assert answering(local, facts, here, None) == pytest.approx(2 * 60 * 0.5)


def test_patience_with_an_engine_measures_nothing_anew(run: Run) -> None:
    def asked(**writer: Any) -> EvaluationRecipe:
        return made("projected", model="org/model", writer={"kind": "vllm", **writer})

    queue.create_here(asked()).tell(cell("base", "arithmetic", 200, 25.0))
    assert measured_answers("org/model") is None, "that was not written here"
    assert measured_answers("org/model", asked(timeout=600, tries=2).writer) is not None
    assert measured_answers("org/model", asked(concurrency=2).writer) is None


def test_the_newest_rates_count_and_older_ones_fill_gaps(run: Run) -> None:
    run.tell(cell("base", "multiple-choice", 200, 5.0))
    run.tell(cell("base", "arithmetic", 200, 5.0))
    newer = queue.create_here(made(model="org/model"))
    newer.tell(cell("base", "arithmetic", 400, 40.0))
    found = measured_answers("org/model")
    assert found is not None
    assert found.sets == {"arithmetic": pytest.approx(0.8), "multiple-choice": pytest.approx(0.1)}
    assert found.tokens == pytest.approx(10.0)


def test_the_builtin_model_has_rates_from_the_start(run: Run) -> None:
    assert measured_answers("builtin") == BUILTIN_ANSWERS
    queue.create_here(made()).tell(cell("base", "arithmetic", 400, 40.0))
    found = measured_answers("builtin")
    assert found is not None
    assert found.sets == {**BUILTIN_ANSWERS.sets, "arithmetic": pytest.approx(0.8)}


def test_a_damaged_evaluation_has_measured_nothing(run: Run) -> None:
    (run.folder / "events.jsonl").mkdir()
    assert measured_answers("org/model") is None

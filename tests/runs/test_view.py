"""What events add up to, against numbers worked out by hand; resumes, lost lines, and the order of all stages."""

import subprocess
import sys
from typing import Any

import pytest

from spd_core.recipes.distill import Recipe
from spd_core.runs.events import (
    AnswersScored,
    AnyEvent,
    ArmDone,
    Drift,
    HygieneFound,
    Sample,
    StageBegun,
    StageProgress,
    TrainingLoss,
)
from spd_core.runs.view import (
    Curve,
    Final,
    RunView,
    describe_stage,
    eta,
    final_losses,
    overall,
    plan,
    tokens_per_second,
)
from tests.shell import ROOT

DRIFT: dict[str, Any] = {"overlap": {"layer 1 key": 0.9}, "before": {"layer 1 key": 0.9},
                         "angles": {"layer 1 key": (1.0, 30.0)}, "chance": {"layer 1 key": 0.5}}  # fmt: skip


def begun(stage: Any, arm: str = "", round_: int = 1, time: float = 0.0) -> StageBegun:
    return StageBegun(time=time, stage=stage, arm=arm, round=round_)


def told(stage: Any, done: int, total: int, seconds: float = 0.0, arm: str = "", tokens: int = 0) -> StageProgress:
    return StageProgress(time=0.0, stage=stage, arm=arm, done=done, total=total, seconds=seconds, tokens=tokens)


def loss(
    step: int, value: float | None = None, held_out: float | None = None, arm: str = "spd", r: int = 1
) -> TrainingLoss:
    return TrainingLoss(
        time=0.0, arm=arm, round=r, step=step, steps=18, epoch=step / 9, loss=value, held_out_loss=held_out
    )


def sample(step: int, text: str = "") -> Sample:
    return Sample(time=0.0, arm="spd", step=step, epoch=step / 9, prompt="1+1=", completion=text)


def done(arm: str, r: int = 1) -> ArmDone:
    return ArmDone(time=0.0, arm=arm, round=r, steps=18, planned=18, rows=40, seconds=9.0)


def turned(arm: str, r: int = 1) -> Drift:
    return Drift(time=0.0, arm=arm, round=r, **DRIFT)


def seen(*events: AnyEvent) -> RunView:
    view = RunView()
    view.take(events)
    return view


# --- curves ------------------------------------------------------------------------------------------------------


def test_curves_hold_each_training_apart() -> None:
    view = seen(loss(1, 3.0), loss(2, 2.5), loss(2, held_out=2.75), loss(1, 4.0, arm="ssd"), loss(1, 1.0, r=2))
    curve = view.curves["spd", 1]
    assert (curve.steps, curve.epochs, curve.losses) == ([1, 2], [1 / 9, 2 / 9], [3.0, 2.5])
    assert (curve.held_out, curve.planned) == ([(2, 2 / 9, 2.75)], 18)
    assert final_losses(view) == {"spd": Final(2, 1.0, None), "ssd": Final(1, 4.0, None)}


def test_epoch_means_by_hand() -> None:
    view = seen(*(loss(step, value) for step, value in ((1, 4.0), (4, 3.0), (9, 2.0), (10, 8.0), (18, 1.0))))
    assert view.curves["spd", 1].epoch_means() == [(9, 1.0, 3.0), (18, 2.0, 4.5)]
    assert final_losses(view)["spd"].train == 4.5, "not the last step's 1.0"


def test_epochs_that_were_rounded_when_told_stay_in_their_epoch() -> None:
    curve = Curve(steps=[2, 3, 4], epochs=[0.6667, 1.00004, 1.3333], losses=[1.0, 3.0, 5.0])
    assert curve.epoch_means() == [(3, 1.0, 2.0), (4, 2.0, 5.0)]


def test_rates_norms_and_scores_go_with_their_steps() -> None:
    def step(at: int, rate: float | None, norm: float | None) -> TrainingLoss:
        facts = {"step": at, "steps": 18, "epoch": at / 9, "loss": 1.0}
        return TrainingLoss(time=0.0, arm="spd", learning_rate=rate, grad_norm=norm, **facts)

    def scored(at: int, right: int) -> AnswersScored:
        return AnswersScored(time=0.0, arm="spd", step=at, epoch=at / 9, right=right, n=8)

    view = seen(scored(0, 2), step(1, 2e-4, 0.5), step(9, None, None), scored(9, 3), step(10, 1e-4, 0.25))
    curve = view.curves["spd", 1]
    assert (curve.learning_rates, curve.grad_norms) == ([2e-4, None, 1e-4], [0.5, None, 0.25])
    assert curve.scored == [(0, 0.0, 2, 8), (9, 1.0, 3, 8)]
    view.take([step(8, 1e-4, 1.0)])  # a resume tells it again: what was known of later steps is gone
    assert (curve.steps, curve.learning_rates, curve.scored) == ([1, 8], [2e-4, 1e-4], [(0, 0.0, 2, 8)])


def test_what_students_measure_goes_with_its_steps() -> None:
    def step(at: int, **measured: float) -> TrainingLoss:
        return TrainingLoss(time=0.0, arm="omniopd", step=at, steps=9, epoch=at / 9, loss=1.0, **measured)

    view = seen(step(1, entropy=2.0, target=0.25, divergence=0.0), step(2, entropy=1.5), step(3, target=0.5))
    curve = view.curves["omniopd", 1]
    assert (curve.entropies, curve.targets, curve.divergences) == (
        [2.0, 1.5, None], [0.25, None, 0.5], [0.0, None, None])  # fmt: skip
    view.take([step(2, entropy=1.25)])
    assert (curve.steps, curve.entropies, curve.targets) == ([1, 2], [2.0, 1.25], [0.25, None])


def test_steps_told_again_after_a_resume_replace_the_old_ones_and_all_later_ones() -> None:
    before = [loss(at, float(at)) for at in range(1, 6)]
    view = seen(*before, loss(3, held_out=30.0), sample(3, "kept"))
    assert view.curves["spd", 1].steps == [1, 2, 3, 4, 5], "a held-out loss cuts no train losses"
    view.take([loss(6, 6.0), loss(6, held_out=60.0), sample(6, "gone")])
    view.take([begun("load"), begun("train", "spd"), loss(4, 40.0)])
    curve = view.curves["spd", 1]
    assert (curve.steps, curve.losses) == ([1, 2, 3, 4], [1.0, 2.0, 3.0, 40.0])
    assert curve.held_out == [(3, 3 / 9, 30.0)]
    assert [one.completion for one in view.samples] == ["kept"]
    assert final_losses(view) == {"spd": Final(1, (1 + 2 + 3 + 40) / 4, 30.0)}, "all of the first epoch"


def test_events_taken_in_parts_give_the_same_as_at_once() -> None:
    events = [begun("train", "spd"), loss(1, 3.0), told("train", 1, 18, 2.0, "spd"), loss(2, 2.0), done("spd")]
    parts = RunView()
    for event in events:
        parts.take([event])
    assert parts == seen(*events)


def test_what_is_told_once_more_is_kept_once() -> None:
    found = HygieneFound(time=0.0, arm="spd", kept=40, counts={"empty": 2}, examples={})
    view = seen(found, found.model_copy(update={"kept": 39}), turned("spd"), turned("spd"), done("spd"), turned("ssd"))
    assert view.hygiene["spd", 1].kept == 39
    assert list(view.drifts) == [("spd", 1), ("ssd", 1)]
    assert list(view.done) == [("spd", 1)]
    view.take((), damaged=2)
    view.take((), damaged=1)
    assert view.damaged == 3


# --- speed -------------------------------------------------------------------------------------------------------


def test_time_left_is_measured_from_the_first_progress_of_the_stage() -> None:
    view = seen(begun("corpus", "psr"))
    assert eta(view) is None
    view.take([told("corpus", 16, 48, 12.0, "psr", tokens=300)])  # resumed with some rows, and warming up
    assert eta(view) is tokens_per_second(view) is None, "one point is no rate"
    view.take([told("corpus", 32, 48, 20.0, "psr", tokens=700)])
    assert eta(view) == 8.0  # 16 rows in 8 s, 16 to go
    assert tokens_per_second(view) == 50.0  # 400 in 8 s
    view.take([told("corpus", 48, 48, 28.0, "psr", tokens=1100)])
    assert eta(view) == 0.0
    view.take([begun("train", "psr"), told("train", 9, 18, 3.0, "psr")])
    assert eta(view) is None, "another stage starts anew"
    view.take([told("train", 9, 18, 3.0, "psr")])
    assert eta(view) is tokens_per_second(view) is None, "no step and no second have passed"


def test_pauses_and_waiting_are_no_work() -> None:
    view = seen(begun("load", time=100.0), begun("train", "spd", time=110.0), begun("corpus", time=130.0))
    view.take([begun("load", time=9000.0), begun("train", "spd", time=9004.0), begun("corpus", time=9001.0)])
    assert view.worked == 34.0, "30 and 4 seconds; a clock that was set back counts as none"


# --- the whole ---------------------------------------------------------------------------------------------------


def test_the_plan_of_the_three_default_arms() -> None:
    assert plan(Recipe(capability="arithmetic", drift=False)) == [
        ("corpus", "psr", 1), ("corpus", "ssd", 1), ("capture", "", 1), ("corpus", "spd", 1),
        ("train", "psr", 1), ("train", "ssd", 1), ("train", "spd", 1),
    ]  # fmt: skip


def test_arms_that_write_alike_share_a_corpus_and_captures_are_shared() -> None:
    recipe = Recipe(capability="a", arms=("psr", "ssd", "spd", "random", "full"), corpus={"top_p": 0.9}, drift=False)
    units = plan(recipe)
    assert [unit for unit in units if unit[0] == "corpus"] == [
        ("corpus", "psr", 1), ("corpus", "spd", 1), ("corpus", "random", 1), ("corpus", "full", 1),
    ]  # fmt: skip
    assert units.count(("capture", "", 1)) == 2, "one for spd and random, one for the full loss"
    assert len(units) == 4 + 2 + 5


def test_rounds_capture_again_unless_the_drift_has() -> None:
    recipe = Recipe(capability="a", arms=("psr", "full", "spd"), rounds=2)
    assert plan(recipe)[:5] == [("corpus", "psr", 1), ("capture", "", 1), ("corpus", "full", 1), ("capture", "", 1),
                                ("corpus", "spd", 1)]  # fmt: skip
    later = [("corpus", "psr", 2), ("capture", "full", 2), ("corpus", "full", 2), ("corpus", "spd", 2)]
    assert [unit for unit in plan(recipe) if unit[2] == 2 and unit[0] in ("capture", "corpus")] == later
    alone = plan(recipe.model_copy(update={"drift": False}))
    assert ("capture", "spd", 2) in alone
    assert ("capture", "psr", 2) not in alone
    only = plan(Recipe(capability="a", arms=("psr",)))
    assert only == [("corpus", "psr", 1), ("capture", "", 1), ("train", "psr", 1), ("drift", "psr", 1)]


def test_pieces_of_work_are_counted_in_order() -> None:
    recipe = Recipe(capability="a")  # corpora 3, capture 1, trainings 3, drifts 3
    view = seen(begun("load"))
    assert overall(view, recipe) == (0, 10)
    view.take([begun("corpus", "psr"), begun("corpus", "ssd"), begun("capture")])
    assert overall(view, recipe) == (2, 10)
    view.take([begun("load"), begun("capture"), begun("corpus", "spd"), begun("train", "psr")])
    assert overall(view, recipe) == (4, 10), "a resume counts nothing twice"
    view.take([done("psr")])
    assert overall(view, recipe) == (5, 10)
    view.take([begun("drift", "psr", 2), turned("psr"), begun("train", "ssd")])
    assert overall(view, recipe) == (6, 10)
    view.take([begun("load"), turned("psr"), begun("train", "ssd")])
    assert overall(view, recipe) == (6, 10), "an old drift that is told again does not lead back"
    view.take([begun("drift", "spd", 2), turned("spd")])
    assert overall(view, recipe) == (10, 10)
    assert overall(RunView(), recipe) == (0, 10)


# --- in words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], "Waiting for its first word"),
        ([begun("load")], "Loading the model"),
        ([begun("capture"), told("capture", 8, 30)], "Capturing gradients: 8 of 30 examples"),
        ([begun("capture", "spd", 2)], "Capturing gradients of SPD, round 2"),
        ([begun("corpus", "psr"), told("corpus", 32, 48, arm="psr")], "Writing the corpus of PSR: 32 of 48 rows"),
        ([begun("train", "spd"), told("train", 7, 18, arm="spd")], "Training SPD: step 7 of 18"),
        ([told("train", 7, 18, arm="spd")], "Training SPD: step 7 of 18"),
        ([begun("train", "spd"), done("ssd")], "Training SPD"),
        ([begun("train", "spd"), done("spd")], "Training SPD: finished"),
        ([begun("drift", "ssd", 2)], "Measuring the drift of SSD"),
        ([begun("drift", "apple", 3)], "Measuring the drift of SSD (Apple), round 2"),
        ([begun("train", "<b>")], "Training <b>"),
    ],
)
def test_stages_in_words(events: list[AnyEvent], words: str) -> None:
    assert describe_stage(seen(*events)) == words


def test_it_needs_neither_streamlit_nor_plotly_nor_torch() -> None:
    code = "import spd_core.runs.view, sys; print([n for n in ('streamlit', 'plotly', 'torch') if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

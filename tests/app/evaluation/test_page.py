"""Evaluation without a browser: the form, evaluations in every state, their list, bad links and files."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.evaluation import cost, form
from app.evaluation import subjects as evaluation_subjects
from app.evaluation.all_evaluations import EVALUATIONS, Results, results_of_table
from app.evaluation.subjects import Choice, choice_of, subjects_of
from app.runs.form import settings_file
from app.ui import session
from spd_core.errors import InputError
from spd_core.evaluation import preflight
from spd_core.evaluation.cells import Cell, write_cell
from spd_core.evaluation.progress import (
    EvaluationView,
    describe,
    finished_cells,
    in_short,
    left,
    speed,
    steps,
)
from spd_core.evaluation.set_facts import facts_by_name
from spd_core.evaluation.store import About, ItemRecord
from spd_core.evaluation.table import read_table
from spd_core.intervention.cards import AdapterCard, write_card
from spd_core.recipes.distill import TrainSettings, recipe_from
from spd_core.recipes.evaluation import NAMED, Subject, evaluation_from
from spd_core.recipes.sets import EvalSet
from spd_core.recipes.writer import Writer
from spd_core.runs import queue, states
from spd_core.runs.events import AnyEvent, CellDone, StageBegun, StageProgress
from spd_core.runs.folder import Run
from spd_core.runs.record import State, Status
from tests import ROOT
from tests.app.runs.test_all_runs import select
from tests.app.side_by_side.test_page import html_of
from tests.app.test_pages import go_to, prepared, press, text_of
from tests.cells import put, records
from tests.generation.test_comparison import HOSTILE
from tests.waiting import LONG

pytestmark = pytest.mark.builtin
QUICK = form.preset("Quick look", "arithmetic")
RESULTS = "app.evaluation.results"


@pytest.fixture(autouse=True)
def nothing_starts(empty_history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, in which no job is really started; results are one line."""
    monkeypatch.setattr(queue, "start_next", lambda: [])
    monkeypatch.delenv("SPD_ALLOW_CODE", raising=False)
    results = ModuleType(RESULTS)
    results.panel = lambda run, *_: __import__("streamlit").markdown(f"RESULTS of {len(run.id)}")  # type: ignore[attr-defined]
    results.draw_results_verdict = lambda _: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, RESULTS, results)
    monkeypatch.setattr("app.evaluation.results", results, raising=False)


def opened(**link: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    app.query_params.update(link)
    app.run()
    return prepared(go_to(app, session.EVALUATION))


def widget(at: AppTest, kind: str, label: str) -> Any:
    return next(element for element in at.get(kind) if element.label == label)


def button(at: AppTest, label: str) -> Any:
    return next(one for one in at.button if one.label == label)


def take(at: AppTest, preset: str) -> AppTest:
    widget(at, "radio", "Preset").set_value(preset).run()
    assert not at.exception
    return at


def only_run() -> Run:
    (run,) = (one for one in queue.all_runs() if isinstance(one, Run))
    return run


# --- the form ----------------------------------------------------------------------------------------------------


def test_the_form_starts_with_a_quick_look_and_tells_what_it_costs() -> None:
    at = opened()
    shown = text_of(at)
    assert "3 cells · 180 answers · 1 capture" in shown
    assert "at most" in shown
    assert "60 of 180 items, held-out" in shown
    assert "with 60 items, a difference below about **21 points**" in shown
    assert "Random subspace**: does any projection do it?" in shown
    press(at, "Start evaluation")
    run = only_run()
    assert run.record.recipe == QUICK
    assert run.record.command.endswith(f"table --run {run.id}")
    assert at.query_params[session.EVALUATION_RUN] in (run.id, [run.id])
    assert "It waits for its turn" in text_of(at)


def test_no_path_or_model_is_in_the_link() -> None:
    at = opened()
    widget(at, "text_input", "Model").set_value("/home/me/secret").run()
    assert "secret" not in str(dict(at.query_params))


def test_presets_fill_the_form() -> None:
    at = take(opened(), "Was it the subspace?")
    shown = text_of(at)
    assert "15 cells · 900 answers · 3 captures" in shown, "capability, full loss, shuffled answers"
    assert shown.count("in-domain") == 1
    assert shown.count("out-of-domain") == 2
    at = take(at, "Arms × sets")
    shown = text_of(at)
    assert "24 cells" in shown
    assert "to train 6 arms" in shown
    assert "Arms are trained first" in shown
    assert widget(at, "radio", "Preset").value == "Arms × sets"
    widget(at, "number_input", "Epochs").set_value(4).run()
    assert widget(at, "radio", "Preset").value is None, "it is that preset no more"


def test_a_preset_leaves_to_the_user_who_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_VLLM", sys.executable)
    at = opened()
    answers, corpora = (one for one in at.selectbox if one.label == "Written by")
    answers.set_value("vllm")
    corpora.set_value("vllm").run()
    assert widget(at, "radio", "Preset").value == "Quick look", "who writes makes no other preset of it"
    at = take(at, "Was it the subspace?")
    assert [one.value for one in at.selectbox if one.label == "Written by"] == ["vllm", "vllm"]
    assert widget(at, "radio", "Preset").value == "Was it the subspace?"


def test_code_is_run_only_when_it_was_allowed() -> None:
    at = take(opened(), "Was it the subspace?")
    assert button(at, "Start evaluation").disabled
    assert "python-functions is scored by running code that a model has written" in text_of(at)
    switch = widget(at, "toggle", "Allow code that a model has written to be run")
    assert switch.value is False
    switch.set_value(True).run()
    shown = text_of(at)
    assert "a process without network, which can write nothing" in shown
    assert not button(at, "Start evaluation").disabled, shown
    press(at, "Start evaluation")
    assert only_run().record.evaluation.allow_code


def test_the_environment_allows_code_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_ALLOW_CODE", "1")
    at = take(opened(), "Was it the subspace?")
    assert not button(at, "Start evaluation").disabled
    assert "Allow code" not in str([one.label for one in at.toggle])


def test_a_machine_that_cannot_isolate_code_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_isolation", lambda _when: "no Landlock here; use a newer kernel")
    monkeypatch.setenv("SPD_ALLOW_CODE", "1")
    at = take(opened(), "Was it the subspace?")
    assert button(at, "Start evaluation").disabled
    assert "no Landlock here; use a newer kernel" in text_of(at)


def test_without_any_set_of_code_there_is_no_switch() -> None:
    assert "Allow code" not in str([one.label for one in opened().toggle])


@pytest.mark.parametrize("path", ["/nowhere/set.jsonl", "nothing.jsonl", "![x](a).jsonl"])
def test_a_set_that_is_not_there(path: str) -> None:
    at = opened()
    widget(at, "multiselect", "Sets").set_value(["arithmetic", path]).run()
    assert not at.exception
    assert "cannot be read" in text_of(at)
    assert path in text_of(at)
    assert button(at, "Start evaluation").disabled


def test_unknown_folders_and_senseless_settings_are_refused_with_their_value() -> None:
    at = opened()
    widget(at, "text_input", "Model").set_value("/nowhere/model").run()
    assert "no model folder at /nowhere/model" in text_of(at)
    assert button(at, "Start evaluation").disabled
    at = opened()
    widget(at, "multiselect", "Folded or merged checkpoints").set_value(["./nowhere"]).run()
    assert "no model folder at ./nowhere" in text_of(at)
    at = opened()
    widget(at, "text_input", "Seeds").set_value("42, x").run()
    assert "seeds.1" in text_of(at)
    assert "'x'" in text_of(at)
    assert button(at, "Start evaluation").disabled
    at = opened()
    widget(at, "multiselect", "Sets").set_value([]).run()
    assert "Choose at least one set" in text_of(at)
    assert button(at, "Start evaluation").disabled


def test_a_public_set_comes_from_the_hub_or_a_file(tmp_path: Path) -> None:
    at = opened()
    widget(at, "multiselect", "Sets").set_value(["gsm8k"]).run()
    assert "from the hub when it runs" in text_of(at)
    assert "180 answers" in text_of(at), "the first 60 are asked for"
    rows = [{"question": f"{i}+1?", "answer": f"#### {i + 1}"} for i in range(7)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    widget(at, "text_input", "Local file of gsm8k").set_value(str(tmp_path / "rows.jsonl")).run()
    assert "7 of 7 items" in text_of(at)
    widget(at, "text_input", "Local file of gsm8k").set_value("/nowhere.jsonl").run()
    assert "cannot read /nowhere.jsonl" in text_of(at)


def test_a_task_of_the_harness_is_a_set_that_says_itself_how_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spd_core.evaluation.preflight._check_tasks", lambda _: None)  # loads the harness
    at = opened()
    widget(at, "multiselect", "Sets").set_value(["arithmetic", "harness:arc_easy"]).run()
    assert not at.exception
    assert "task of lm-evaluation-harness, scored by its own rules" in text_of(at)
    assert [one.label for one in at.number_input if "Max new tokens, " in one.label] == ["Max new tokens, arithmetic"]
    (folder,) = (one for one in at.text_input if one.label.startswith("Folder of tasks for"))
    folder.set_value("my_tasks").run()
    press(at, "Start evaluation")
    assert only_run().record.evaluation.sets[1].model_dump(exclude_defaults=True) == {
        "capability": "harness:arc_easy", "data": "my_tasks", "limit": 60}  # fmt: skip


def test_settings_reach_the_evaluation() -> None:
    at = opened()
    widget(at, "text_input", "Seeds").set_value("7, 8")
    widget(at, "number_input", "Items of arithmetic").set_value(12)
    widget(at, "number_input", "Max new tokens, arithmetic").set_value(20)
    widget(at, "number_input", "Items at once").set_value(4)
    widget(at, "selectbox", "Prompt format").set_value("chat")
    widget(at, "number_input", "Calibration examples").set_value(10)
    widget(at, "text_input", "Title").set_value(HOSTILE)
    at.run()
    press(at, "Start evaluation")
    recipe = only_run().record.evaluation
    assert recipe.seeds == (7, 8)
    assert recipe.sets == (EvalSet(capability="arithmetic", limit=12, max_new_tokens=20),)
    assert (recipe.batch_size, recipe.prompt_style, recipe.capture.examples) == (4, "chat", 10)
    assert recipe.train.learning_rate == QUICK.train.learning_rate
    assert "<script" not in html_of(at)


def adapter(arm: str, base: str = "builtin") -> AdapterCard:
    run = queue.create(recipe_from({"capability": "arithmetic", "model": base}))
    folder = run.folder / "adapters" / arm
    folder.mkdir(parents=True)
    card = AdapterCard(
        run=run.id, arm=arm, capability="arithmetic", base=base, revision="r", dtype="float32", rows=40, steps=3,  # type: ignore[arg-type]
        planned=3, finished=True, settings=TrainSettings(), created="2026-11-24T10:00:00", versions={},
    )  # fmt: skip
    write_card(card, folder)
    return card


def test_what_is_there_already_can_be_asked() -> None:
    mine = adapter("spd")
    adapter("ssd", base="org/other")
    at = opened()
    adapters = widget(at, "multiselect", "Trained adapters")
    assert len(adapters.options) == 1, "those of this model"
    adapters.set_value([mine.ref])
    widget(at, "multiselect", "Saved captures").set_value(["arithmetic"]).run()
    widget(at, "text_input", "Rank").set_value("40").run()
    assert not at.exception
    assert "6 cells" in text_of(at)
    assert not button(at, "Start evaluation").disabled
    press(at, "Start evaluation")
    titles = [one.title for one in next(iter(queue.all_runs())).record.evaluation.subjects]  # type: ignore[union-attr]
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.strptime(mine.run[:15], "%Y%m%d-%H%M%S"))
    assert titles == ["Base", "Projected", "Projected, random subspace",
                      "Projected, arithmetic (recorded), rank 40, α 1",
                      "Random subspace like arithmetic (recorded), rank 40, α 1", f"SPD ({when})"]  # fmt: skip


def test_exports_are_suggested(tmp_path: Path) -> None:
    folder = tmp_path / "exports" / "folded"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).touch()
    at = opened()
    checkpoints = widget(at, "multiselect", "Folded or merged checkpoints")
    assert checkpoints.options == ["folded"]
    checkpoints.set_value([str(folder)]).run()
    assert "4 cells" in text_of(at)
    assert not button(at, "Start evaluation").disabled


# --- subjects as widgets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subjects",
    [
        QUICK.subjects,
        (NAMED["base"], NAMED["spd"], NAMED["complement"]),
        subjects_of(Choice(captures=("arithmetic", "python-functions"), rank="energy:0.9", strength=0.5)),
        subjects_of(Choice(captures=("arithmetic",), control=False)),
        (NAMED["base"], Subject(kind="distilled", adapter="run/spd"), Subject(kind="checkpoint", model="/a/b")),
        (NAMED["base"], Subject(kind="projected", rank="4", label="narrow"), NAMED["projected"]),
        (Subject(label="Untouched"), Subject(kind="projected", capture="a", label="mine"), NAMED["projected"],
         Subject(kind="checkpoint", model="/a", label="b")),
        (NAMED["base"], *subjects_of(Choice(captures=("a",)))[1:], Subject(kind="projected", capture="b", label="b")),
    ],
)  # fmt: skip
def test_subjects_survive_the_form(subjects: tuple[Subject, ...]) -> None:
    found = subjects_of(choice_of(subjects))
    assert set(found) == set(subjects)
    assert found[0].kind == "base" or any(one.kind == "base" for one in subjects)


def test_a_file_fills_the_form_and_comes_out_the_same() -> None:
    recipe = evaluation_from({
        "capability": "multiple-choice", "subjects": ["base", "projected", {"kind": "projected", "rank": "4",
                                                                            "label": "narrow"}],
        "sets": [{"capability": "arithmetic", "limit": 9, "max_new_tokens": 5, "split": "train"}, "multiple-choice"],
        "seeds": [1, 2], "batch_size": 3,
    })  # fmt: skip
    at = opened()
    at.session_state[session.EVALUATION_BASE] = recipe.model_dump(mode="json")
    at.session_state[session.EVALUATION_FORM] = 9
    at.run()
    assert not at.exception
    press(at, "Start evaluation")
    found = only_run().record.evaluation
    assert set(found.subjects) == set(recipe.subjects)
    same = {"subjects": ()}
    assert found.model_copy(update=same) == recipe.model_copy(update=same)
    assert evaluation_from(json.loads(settings_file(found))) == found


def test_a_file_that_is_no_evaluation_is_refused() -> None:
    with pytest.raises(InputError, match="unknown arm 'sdp'"):
        form.fill_evaluation({"subjects": ["base", "sdp"]})
    with pytest.raises(InputError, match="a JSON list"):
        form.fill_evaluation([])


def test_what_is_not_there_any_more_is_named() -> None:
    for name in ("gone", "gone/spd"):
        at = opened()
        kind = {"kind": "distilled", "adapter": name} if "/" in name else {"kind": "projected", "capture": name}
        form_settings = {**QUICK.model_dump(mode="json"), "subjects": ["base", kind]}
        at.session_state[session.EVALUATION_BASE] = evaluation_from(form_settings).model_dump(mode="json")
        at.session_state[session.EVALUATION_FORM] = 99
        at.run()
        assert f"'{name}'" in text_of(at)
        assert button(at, "Start evaluation").disabled


def test_folders_are_one_model_however_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    assert evaluation_subjects.same_model(str(tmp_path / "m"), "m")
    assert not evaluation_subjects.same_model("builtin", "m")


def test_what_arms_and_their_teachers_write_is_counted_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "preparation", lambda *_: SimpleNamespace(result=None))  # no engine in the background
    recipe = evaluation_from({"preset": "quick", "subjects": ["base", "psr", "omniopd"], "sets": ["arithmetic"]})
    found = cost.priced(recipe, facts_by_name(recipe.sets))
    rows, longest = recipe.corpus.prompts or 0, recipe.corpus.max_new_tokens
    learned = recipe.train.epochs * (rows - recipe.corpus.held_out)
    chunks, most = recipe.omniopd, min(recipe.omniopd.chunks, longest // recipe.omniopd.chunk_tokens)
    assert found.written == (rows + learned) * longest, "a corpus before, and rollouts anew in each epoch"
    assert found.taught == learned * most * chunks.samples * chunks.chunk_tokens
    alone = recipe.model_copy(update={"subjects": recipe.subjects[:1]})
    assert (cost.priced(alone, facts_by_name(alone.sets)).written, found.to_train) == (0, 2)


def test_what_few_items_can_show() -> None:
    assert cost.power({}) == ""
    told = cost.power({"a": 60, "b": 60, "c": 5})
    assert "with 5 items, no difference can reach significance; with 60 items, a difference below about" in told


# --- what it has told ----------------------------------------------------------------------------------------------


def seen(*events: AnyEvent) -> EvaluationView:
    view = EvaluationView()
    view.take(events)
    return view


def at_cell(done: int, seconds: float, tokens: int = 0, total: int = 150, arm: str = "base") -> StageProgress:
    return StageProgress(time=1.0, stage="evaluate", arm=arm, set="arithmetic", done=done, total=total, seconds=seconds,
                    tokens=tokens)  # fmt: skip


BEGUN = StageBegun(time=1.0, stage="evaluate", arm="base", set="arithmetic")
CELL = CellDone(time=2.0, arm="base", set="arithmetic", n=150, value=0.5, reused=0, tokens=9, seconds=1.0)


def test_what_it_does_in_words() -> None:
    assert describe(seen(), QUICK) == "Waiting for its first word"
    assert describe(seen(BEGUN), QUICK) == "Base answers arithmetic"
    starting = StageBegun(time=0.0, stage="load", arm="projected-random")
    engine = QUICK.model_copy(update={"writer": Writer(kind="vllm")})
    assert describe(seen(starting), QUICK) == "Loading the model"
    assert describe(seen(starting), engine) == "Starting vLLM for Projected, random subspace"
    assert describe(seen(BEGUN, at_cell(40, 10.0)), QUICK) == "Base answers arithmetic: 40 of 150 items"
    assert describe(seen(BEGUN, at_cell(40, 10.0), CELL), QUICK) == "Base answers arithmetic: finished"
    random = BEGUN.model_copy(update={"arm": "projected-random", "round": 2})
    seeds = QUICK.model_copy(update={"seeds": (7, 8)})
    assert describe(seen(random), seeds) == "Projected, random subspace, seed 8, answers arithmetic"
    training = StageProgress(time=1.0, stage="train", arm="spd", done=3, total=9)
    assert describe(seen(training), QUICK) == "Training SPD: step 3 of 9"
    capturing = StageProgress(time=1.0, stage="capture", done=8, total=30)
    assert describe(seen(capturing), QUICK) == "Capturing gradients: 8 of 30 examples"
    assert (in_short(QUICK), in_short(seeds)) == ("3 subjects × 1 set", "3 subjects × 1 set, 2 seeds")


def test_speed_and_time_left_by_hand() -> None:
    first = seen(BEGUN, at_cell(32, 8.0, tokens=400))
    assert speed(first) == 50.0
    assert left(first, 32) == pytest.approx((150 - 32) * 8 / 32)
    resumed = seen(BEGUN, at_cell(100, 8.0, tokens=400))
    assert left(resumed, 32) == pytest.approx(50 * 8 / 32), "at most one batch of them is new"
    second = seen(BEGUN, at_cell(32, 8.0), at_cell(64, 12.0))
    assert left(second, 32) == pytest.approx((150 - 64) * 4 / 32)
    assert (speed(seen(BEGUN)), left(seen(BEGUN), 32)) == (None, None)


def test_pieces_of_work_by_hand() -> None:
    arms = evaluation_from({"preset": "quick", "subjects": ["base", "ssd", "spd"], "sets": ["arithmetic"],
                            "seeds": [1, 2]})  # fmt: skip
    assert len(arms.cells) == 1 + 2 + 2
    pieces = 2 * (2 + 1 + 2)  # of each seed: two corpora, a capture, two trainings
    assert steps(seen(), arms, 0) == (0, pieces + 5)
    writing = StageBegun(time=1.0, stage="corpus", arm="spd")
    assert steps(seen(writing), arms, 0) == (2, pieces + 5), "SSD's corpus, and the capture"
    assert steps(seen(BEGUN), arms, 0) == (pieces, pieces + 5), "whatever was trained before counts"
    own = StageBegun(time=1.0, stage="capture", arm="full loss")
    assert steps(seen(own), arms, 0) == (pieces, pieces + 5), "captured for its own subjects, after all training"
    assert steps(seen(StageBegun(time=1.0, stage="corpus", arm="random")), arms, 0) == (0, pieces + 5)
    assert steps(seen(BEGUN), arms, 3) == (pieces + 3, pieces + 5)


# --- one evaluation ------------------------------------------------------------------------------------------------


@pytest.fixture
def made() -> Callable[..., Run]:
    def new(state: State, reason: str = "", cells: tuple[str, ...] = (), **recipe: Any) -> Run:
        settings = {"preset": "quick", "sets": [{"capability": "arithmetic", "limit": 6}], **recipe}
        run = queue.create(evaluation_from(settings), HOSTILE)
        run.write_status(Status(state=state, since=time.time(), reason=reason))
        for subject in cells:
            fill(run, subject)
        return run

    return new


def fill(run: Run, subject: str) -> None:
    about = About(subject="s", set="arithmetic", template="{prompt}", scorer="number", style="raw", max_new_tokens=32)
    items = [ItemRecord(id=str(i), prompt="Q", gold="1", completion=HOSTILE, correct=i < 3) for i in range(6)]
    cell = Cell(subject=subject, seed=42, set="arithmetic", title="Arithmetic", about=about, model="builtin",
                revision="r", dtype="float32", fingerprint="f", created="2026-11-24T10:00:00")  # fmt: skip
    write_cell(run.folder, cell, items)
    run.tell(CellDone(time=2.0, arm=subject, set="arithmetic", n=6, value=0.5, reused=0, tokens=60, seconds=3.0))


@pytest.mark.parametrize(
    ("state", "says", "label"),
    [
        ("queued", "It waits for its turn", "Stop this run"),
        ("stopped", "stopped on request", "Resume"),
        ("failed", "the capture 'x' is not there", "Resume"),
        ("done", "finished", "Delete this run"),
    ],
)
def test_every_state_says_what_to_do(state: State, says: str, label: str, made: Callable[..., Run]) -> None:
    run = made(state, "the capture 'x' is not there" if state == "failed" else "stopped on request")
    at = opened(evaluation=run.id)
    shown = text_of(at)
    assert says.lower() in shown.lower()
    assert "3 subjects × 1 set" in shown
    assert label in [one.label for one in at.button]
    assert "<script" not in html_of(at)
    press(at, "Clone with changes")
    assert at.session_state[session.EVALUATIONS_VIEW] == "New evaluation"
    assert widget(at, "number_input", "Items of arithmetic").value == 6


def test_a_running_one_tells_what_it_does(made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = made("running", cells=("base",))
    monkeypatch.setattr(states, "status_of", lambda run: Status(state="running", since=1.0))
    for event in (BEGUN.model_copy(update={"arm": "projected"}), at_cell(2, 4.0, tokens=200, total=6, arm="projected")):
        run.tell(event)
    at = opened(evaluation=run.id)
    (bar,) = at.get("progress")
    assert bar.proto.text.replace("\\", "") == (
        "Stage 2 of 3 · Projected answers arithmetic: 2 of 6 items · 50 tokens/s · about 11 s left · "
        "8 s of it to the end of this stage"
    ), "and 6 items of at most 8 tokens: 6 × (0.22 s + 8 ÷ 25 s) by the built-in rates"
    assert bar.proto.value == 33
    assert "RESULTS" in text_of(at), "whatever is filled is shown"
    press(at, "Stop this run")


def test_its_link_survives_and_the_other_page_keeps_its_own(made: Callable[..., Run]) -> None:
    run = made("done", cells=("base", "projected", "projected-random"))
    at = opened(evaluation=run.id)
    assert "RESULTS" in text_of(at)
    go_to(at, session.FINE_TUNE)
    assert session.RUN not in at.session_state or not at.session_state[session.RUN]
    go_to(at, session.EVALUATION)
    assert at.query_params[session.EVALUATION_RUN] in (run.id, [run.id])


def test_runs_of_the_other_kind_are_a_sentence(made: Callable[..., Run]) -> None:
    distillation = queue.create(recipe_from({"capability": "arithmetic"}))
    assert "open it on the page Fine-tune" in text_of(opened(evaluation=distillation.id))
    app = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    app.query_params.update({session.RUN: made("done").id})
    app.run()
    assert "open it on the page Evaluation" in text_of(prepared(go_to(app, session.FINE_TUNE)))


@pytest.mark.parametrize("name", ["nothing", "../../etc", "a\0b", "."])
def test_links_to_none_are_a_sentence(name: str) -> None:
    assert "This evaluation cannot be opened" in text_of(opened(evaluation=name))


def test_a_lost_one_is_resumed_and_deleted(made: Callable[..., Run]) -> None:
    run = made("running")  # nobody works on it
    at = opened(evaluation=run.id)
    assert "lost" in text_of(at)
    press(at, "Resume")
    assert states.state_of(run) == "queued"
    press(at, "Stop this run")
    press(at, "Delete this run")
    assert run.folder.exists()
    press(at, "Delete permanently")
    assert not run.folder.exists()
    assert at.session_state[session.EVALUATIONS_VIEW] == "New evaluation"


def test_log_command_and_notes_are_folded_away(made: Callable[..., Run]) -> None:
    run = made("done")
    at = opened(evaluation=run.id)
    assert not at.code, "nothing is read while it is closed"
    at.session_state[session.EVALUATION_MORE] = True
    at.run()
    assert not at.exception
    assert any("table --run" in code.value for code in at.code)
    at.text_area(key=f"{session.RUN_NOTES}_{run.id}").set_value("look again").run()
    press(at, "Save the notes")
    assert run.notes() == "look again"


def test_finished_cells_are_counted_by_their_files(made: Callable[..., Run]) -> None:
    run = made("done", cells=("base", "projected"))
    assert finished_cells(run.record.evaluation, run.folder) == 2


# --- all of them ---------------------------------------------------------------------------------------------------


def test_all_evaluations_are_listed_searched_opened_and_deleted(made: Callable[..., Run]) -> None:
    at = opened(evaluations_view="All evaluations")
    assert "There is no evaluation yet" in text_of(at)
    tuned = queue.create(recipe_from({"capability": "arithmetic"}), "A distillation")
    tuned.write_status(Status(state="done", since=1.0))
    run = made("done", cells=("base",))
    other = made("stopped", sets=["multiple-choice"])
    at = opened(evaluations_view="All evaluations")
    second, first = at.dataframe[0].value.to_dict("records")
    assert first["Subjects"] == "Base; Projected; Projected, random subspace"
    assert (first["Cells"], second["Cells"]) == (pytest.approx(100 / 3), 0)
    assert (second["State"], second["Sets"]) == ("■ stopped", "multiple-choice")
    assert "<script" not in html_of(at)
    widget(at, "text_input", "Search").set_value("multiple-choice").run()
    assert [row["In-domain"] for row in at.dataframe[0].value.to_dict("records")] == ["arithmetic"]
    widget(at, "text_input", "Search").set_value("").run()
    press(
        press(select(at, other, shown=[other.id, run.id], kind=EVALUATIONS), "Delete evaluation"), "Delete permanently"
    )
    assert (run.folder.exists(), other.folder.exists()) == (True, False)
    press(select(at, run, shown=[run.id], kind=EVALUATIONS), "Open evaluation")
    assert at.session_state[session.EVALUATION_RUN] == run.id


def test_what_an_evaluation_has_found_stands_in_its_row(tmp_path: Path) -> None:
    """40 items: the base has 10 right, one subject 30 of them more, another none of them, the third the same 10."""
    recipe = evaluation_from({"subjects": ["base", "projected", "complement", "projected-random"]})
    base = [1] * 10 + [0] * 30
    for name, right in (("base", base), ("projected", [1] * 40), ("complement", [0] * 40), ("projected-random", base)):
        put(tmp_path, name, records(right))
    found = results_of_table(read_table(recipe, tmp_path))
    assert found == Results("▲ 1 · ▼ 1 · 1 not shown", 0.25, 1.0, "Projected")
    assert results_of_table(read_table(recipe, tmp_path / "nothing")) == Results()


def test_the_list_of_the_other_page_has_no_evaluation(made: Callable[..., Run]) -> None:
    made("done")
    app = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    app.query_params.update({session.RUNS_VIEW: "All runs"})
    app.run()
    assert "There is no run yet" in text_of(prepared(go_to(app, session.FINE_TUNE)))


def test_an_evaluation_that_another_page_proposes_fills_the_form_once() -> None:
    proposed = QUICK.model_copy(update={"seeds": (7, 8)})
    at = opened()
    widget(at, "button_group", "Part of the page").set_value("All evaluations").run()
    at.session_state[session.EVALUATION_PROPOSED] = proposed.model_dump(mode="json")
    at.run()
    assert at.session_state[session.EVALUATIONS_VIEW] == "New evaluation"
    assert widget(at, "text_input", "Seeds").value == "7, 8"
    widget(at, "text_input", "Seeds").set_value("9").run()
    assert widget(at, "text_input", "Seeds").value == "9", "the proposal is taken up once"


def gone_script() -> None:
    from app.evaluation import form
    from app.fine_tune import form as fine_tune_form
    from spd_core.recipes.distill import recipe_from

    form._take_preset("preset_of_a_form_that_is_gone", "arithmetic", "builtin", {})
    fine_tune_form._take_preset("preset_of_a_form_that_is_gone", recipe_from({"capability": "arithmetic"}))


def test_a_preset_clicked_while_the_form_is_filled_anew_is_no_crash() -> None:
    assert not AppTest.from_function(gone_script, default_timeout=LONG).run().exception


def test_a_contrast_asks_what_it_leaves_out() -> None:
    at = opened()
    (projected,) = (one for one in at.button_group if one.label == "Projected while it answers")
    projected.set_value(["projected", "projected-random", "projected-contrast"]).run()
    assert not at.exception
    assert "**Contrast subspace**: does it help to leave out what others share?" in text_of(at)
    assert widget(at, "multiselect", "The contrast leaves out what these share").value == ["multiple-choice"]
    assert not [one.value for one in at.error]
    press(at, "Start evaluation")
    assert only_run().record.evaluation.capture.without == ("multiple-choice",)

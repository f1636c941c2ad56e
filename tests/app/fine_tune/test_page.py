"""Fine-tune without a browser: the form, runs in every state, corpora and rejections, adapters, bad links."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.runs import form
from app.runs.checkpoints import zip_of
from app.ui import session
from spd_core.data.catalog import find_capability
from spd_core.distill.corpus import CorpusRow, corpus_path
from spd_core.distill.trained import note_sources
from spd_core.errors import StorageError
from spd_core.intervention.cards import AdapterCard, write_card
from spd_core.recipes.distill import TrainSettings, recipe_from
from spd_core.recipes.presets import PRESETS
from spd_core.runs import queue, states
from spd_core.runs.events import AnswersScored, ArmDone, Drift, HygieneFound, Sample, StageBegun, TrainingLoss
from spd_core.runs.folder import Run, open_run
from spd_core.runs.record import State, Status
from tests import ROOT
from tests.app.runs.test_all_runs import select
from tests.app.side_by_side.test_page import html_of
from tests.app.test_pages import go_to, prepared, press, text_of
from tests.generation.test_comparison import HOSTILE
from tests.lora import a_card
from tests.waiting import LONG, until

pytestmark = pytest.mark.builtin
QUICK = recipe_from({"preset": "quick", "capability": "arithmetic"})


@pytest.fixture(autouse=True)
def nothing_starts(empty_history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, in which no job is really started."""
    monkeypatch.setattr(queue, "start_next", lambda: [])


def opened(**link: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    app.query_params.update(link)
    app.run()
    return prepared(go_to(app, session.FINE_TUNE))


def made(state: State, reason: str = "", **recipe: Any) -> Run:
    run = queue.create(recipe_from({"preset": "quick", "capability": "arithmetic", **recipe}), HOSTILE)
    run.write_status(Status(state=state, since=time.time(), reason=reason))
    return run


def widget(at: AppTest, kind: str, label: str) -> Any:
    return next(element for element in at.get(kind) if element.label == label)


def test_the_form_starts_with_quick_and_tells_what_it_costs() -> None:
    at = opened()
    shown = text_of(at)
    assert "at most" in shown
    assert "3,456 new tokens" in shown, "3 corpora of 48 completions of at most 24 tokens"
    assert "PSR, plain self-retraining**: writes freely. Is training on its own text enough?" in shown
    (presets,) = (one for one in at.radio if one.label == "Preset")
    assert presets.value == "quick"
    quick, *_ = presets.proto.captions
    assert quick.startswith("A first look, which hardly changes the model: 48 prompts, 2 epochs; at most ")
    assert f"at most {quick.partition('at most ')[2]}**" in shown, "the same as the cost below"
    press(at, "Start fine-tuning")
    (run,) = (one for one in queue.all_runs() if isinstance(one, Run))
    assert run.record.recipe == QUICK
    assert at.query_params[session.RUN] in (run.id, [run.id])
    assert "It waits for its turn" in text_of(at)


def test_settings_presets_and_what_cannot_be() -> None:
    at = opened()
    widget(at, "number_input", "Epochs").set_value(4)
    widget(at, "number_input", "Temperature").set_value(0.5)
    widget(at, "toggle", "Wait for my review").set_value(True)
    at.run()
    assert at.radio[0].label == "Preset (these settings are your own)"
    press(at, "Start fine-tuning")
    (run,) = (one for one in queue.all_runs() if isinstance(one, Run))
    recipe = run.record.recipe
    assert (recipe.train.epochs, recipe.corpus.temperature, recipe.review) == (4, 0.5, True)
    assert recipe.corpus.max_new_tokens == PRESETS["quick"]["corpus"]["max_new_tokens"]
    at = opened()
    widget(at, "number_input", "Held-out prompts").set_value(48).run()
    assert "corpus.held_out 48 of 48 prompts leaves none to train on" in text_of(at)
    assert next(button for button in at.button if button.label == "Start fine-tuning").disabled
    at = opened()
    next(one for one in at.button_group if one.label.startswith("Arms")).set_value([]).run()
    assert "No arm is chosen:** choose at least one" in text_of(at)
    assert next(button for button in at.button if button.label == "Start fine-tuning").disabled
    at = opened()
    widget(at, "text_input", "Launcher").set_value("no-such-launcher -n 2").run()
    assert next(button for button in at.button if button.label == "Start fine-tuning").disabled
    assert "no-such-launcher" in text_of(at)
    assert len(queue.all_runs()) == 1, "nothing was created"


def test_a_preset_leaves_to_the_user_who_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_VLLM", sys.executable)
    at = opened()
    widget(at, "selectbox", "Written by").set_value("vllm").run()
    assert widget(at, "radio", "Preset").value == "quick", "who writes makes no other preset of it"
    assert "not measured yet with this engine" in text_of(at)
    widget(at, "radio", "Preset").set_value("paper").run()
    assert not at.exception
    assert widget(at, "selectbox", "Written by").value == "vllm"
    assert widget(at, "radio", "Preset").value == "paper"


@pytest.mark.parametrize(
    ("state", "says", "button"),
    [
        ("queued", "It waits for its turn", "Stop this run"),
        ("review", "The corpora are written", "Train on 0 of 0 rows"),
        ("stopped", "stopped on request", "Resume"),
        ("failed", "the loss is nan at step 3", "Resume"),
        ("done", "finished", "Delete this run"),
    ],
)
def test_every_state_says_what_to_do(state: State, says: str, button: str) -> None:
    run = made(state, "the loss is nan at step 3" if state == "failed" else "stopped on request")
    at = opened(run=run.id)
    assert says.lower() in text_of(at).lower()
    assert button in [one.label for one in at.button]
    assert "<script" not in html_of(at)
    press(at, "Clone with changes")
    assert at.session_state[session.RUNS_VIEW] == "New run"


@pytest.mark.parametrize(
    ("code", "reason", "first"),
    [
        (7, "the loss is nan at step 3; choose a smaller learning rate", "Clone with changes"),
        (2, "corpus.held_out 48 of 48 prompts leaves none to train on; hold out fewer", "Clone with changes"),
        (2, "c.jsonl was written here; go on with that writer, or delete the file and resume", "Resume"),
        (6, "the disk is full; free space and resume; nothing is lost", "Resume"),
        (8, "nothing answers at http://127.0.0.1:8000/v1; start the server", "Resume"),
        (None, "of an earlier version", "Resume"),
    ],
)
def test_a_failed_run_leads_with_what_helps(code: int | None, reason: str, first: str) -> None:
    """Exit codes as `python -m spd_core --help` lists them."""
    run = made("failed")
    run.write_status(Status(state="failed", since=time.time(), reason=reason, exit_code=code))
    buttons = [one for one in opened(run=run.id).button if one.label in ("Resume", "Clone with changes")]
    assert [one.label for one in buttons if one.proto.type == "primary"] == [first]
    assert buttons[0].label == first
    assert len(buttons) == 2, "the other one is there, too: a file may have been mended"


def test_a_lost_run_is_resumed() -> None:
    run = made("running")  # nobody works on it
    at = opened(run=run.id)
    assert "lost" in text_of(at)
    press(at, "Resume")
    assert states.state_of(run) == "queued"
    press(at, "Stop this run")
    assert states.state_of(run) == "stopped"


def rows_of(run: Run, arm: str = "psr", n: int = 4) -> list[CorpusRow]:
    """A corpus on the first prompts of the capability: every other row is right; the second one cannot be shown raw."""
    examples = find_capability("arithmetic", split="train").limited(n).examples
    rows = [
        CorpusRow(number=i, id=one.id, sample=0, prompt=f"Question: {one.prompt}", special=True,
                  completion=HOSTILE if i == 1 else f" {one.answer}" if i % 2 == 0 else " none",
                  tokens=(5, 6 + i), finish="eos")
        for i, one in enumerate(examples)
    ]  # fmt: skip
    write_rows(run, arm, rows)
    return rows


def write_rows(run: Run, arm: str, rows: list[CorpusRow]) -> None:
    path = corpus_path(run.folder, arm, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(row.model_dump_json() + "\n" for row in rows))


def reviewed(state: State = "review", arms: tuple[str, ...] = ("psr",), **corpus: Any) -> Run:
    run = made(
        state,
        review=True,
        arms=arms,
        corpus={"prompts": 6, "held_out": 2, "drop": ["empty", "degenerate", "duplicate"], **corpus},
    )
    for arm in arms:
        rows_of(run, arm, 6)
    return run


def tick(at: AppTest, edits: dict[int, bool], filtered: str = "all") -> AppTest:
    """Click ticks of the table that is on the page: by the place of their rows in it."""
    ticks = at.session_state[session.CORPUS_TABLE]
    assert ticks.key.split("_")[-2] == filtered
    changed = {at: {"keep": keep} for at, keep in edits.items()}
    at.session_state[ticks.key] = {"edited_rows": changed, "added_rows": [], "deleted_rows": []}
    at.run()
    assert not at.exception
    return at


def test_every_tick_is_saved_at_once() -> None:
    run = reviewed()
    at = opened(run=run.id)
    assert "**4 of 6 rows** are trained on; 2 held out: only scored. **3 of 6** are right." in text_of(at)
    assert "Saved: no row rejected" in text_of(at)
    tick(at, {2: False})
    assert run.rejected() == {"psr": {2}}, "without a button"
    assert "Saved: 1 row rejected" in text_of(at)
    assert "Train on 3 of 4 rows" in [one.label for one in at.button]
    tick(at, {0: False})  # the edits of a table are told relative to what it was first: row 2 is ticked again
    assert run.rejected() == {"psr": {0}}
    press(at, "Train on 3 of 4 rows")
    assert (states.state_of(run), run.reviewed) == ("queued", True)


def test_who_looks_on_is_shown_the_corpora_when_they_are_written() -> None:
    run = reviewed("queued")
    at = opened(run=run.id)
    assert at.session_state[session.RUN_PART] == "Curves"
    run.write_status(Status(state="review", since=time.time()))
    at.run()
    assert at.session_state[session.RUN_PART] == "Corpora"
    at.session_state[session.RUN_PART] = "Log"
    at.run()
    assert at.session_state[session.RUN_PART] == "Log", "and may go elsewhere"
    run.write_status(Status(state="queued", since=time.time()))
    at.run()
    assert at.session_state[session.RUN_PART] == "Curves", "the rows are settled: it trains"


def test_a_tick_that_comes_with_the_button_is_saved_before_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    run = reviewed()
    at = opened(run=run.id)
    seen = []
    monkeypatch.setattr(queue, "approve", lambda run: seen.append(run.rejected()))
    at.session_state[at.session_state[session.CORPUS_TABLE].key] = {"edited_rows": {1: {"keep": False}}}
    press(at, "Train on 4 of 4 rows")
    assert seen == [{"psr": {1}}]


def test_a_full_disk_is_told_and_the_tick_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    run = reviewed()
    at = opened(run=run.id)
    first = at.session_state[session.CORPUS_TABLE]

    def refuse(*_: object) -> None:
        raise StorageError("cannot write rejected.json: No space left on device; free some, then try again")

    monkeypatch.setattr(Run, "set_rejected", refuse)
    tick(at, {2: False})
    assert "Not saved, and the tick is as it was" in text_of(at)
    assert "No space left" in text_of(at)
    again = at.session_state[session.CORPUS_TABLE]
    assert again.key != first.key, "the table is a new one"
    assert again.kept[2]
    assert "Saved: no row rejected" in text_of(at)
    assert "Train on 4 of 4 rows" in [one.label for one in at.button]


def test_rows_that_are_nobodys_choice_have_no_tick_and_say_why() -> None:
    run = reviewed()
    rows = rows_of(run, n=6)
    rows[3] = rows[3].model_copy(update={"completion": " ", "tokens": ()})
    write_rows(run, "psr", rows)
    at = opened(run=run.id)
    (table,) = at.dataframe
    frame = table.value.set_index("number")
    assert list(frame["keep"].isna()) == [False, False, False, True, True, True]
    assert frame["fate"][3] == "left out: empty"
    assert frame["fate"][4] == "held out: only scored"
    assert list(frame["right"])[:3] == ["✓ right", "✗ wrong", "✓ right"]
    assert "Train on 3 of 4 rows" in [one.label for one in at.button]


def test_rejecting_the_first_of_two_alike_gives_the_second_a_tick() -> None:
    run = reviewed(held_out=0, samples=2)
    rows = rows_of(run)
    write_rows(run, "psr", [rows[0], rows[0].model_copy(update={"number": 1, "sample": 1}), *rows[2:]])
    at = opened(run=run.id)
    assert at.session_state[session.CORPUS_TABLE].kept == {0: True, 2: True, 3: True}
    tick(at, {0: False})
    at.run()
    assert at.session_state[session.CORPUS_TABLE].kept == {0: False, 1: True, 2: True, 3: True}
    assert run.rejected() == {"psr": {0}}


def test_filters_count_and_ticks_of_a_filtered_table_are_of_its_rows() -> None:
    run = reviewed()
    at = opened(run=run.id)
    pills = next(one for one in at.get("button_group") if one.label == "Rows")
    assert [option.content for option in pills.proto.options] == [
        "all · 6", "right · 3", "wrong · 3", "trained on · 4", "held out · 2", "stopped at end of text · 6",
    ]  # fmt: skip
    at.session_state[session.CORPUS_FILTER] = "wrong"
    at.run()
    tick(at, {1: False}, "wrong")  # the second of rows 1, 3 and 5
    assert run.rejected() == {"psr": {3}}
    assert "Rows" in [one.label for one in at.get("button_group")]


def checkpoint(run: Run, arm: str, step: int, planned: int) -> None:
    folder = run.folder / "arms" / arm / "round-1" / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": planned}))


def test_rejecting_what_was_trained_on_asks_first() -> None:
    run = reviewed("stopped", arms=("psr", "spd"))
    checkpoint(run, "spd", 3, 6)
    at = opened(run=run.id, part="Corpora")
    at.session_state[session.CORPUS_SHOWN] = "spd-round-1"
    at.run()
    tick(at, {2: False})
    assert run.rejected() == {}
    question = "SPD has trained 3 of 6 steps on rows you take out: it starts again from the first step."
    assert question in text_of(at)
    press(at, "Leave the rows as they were")
    assert (run.rejected(), question in text_of(at)) == ({}, False)
    tick(at, {2: False})
    press(at, "Change the rows, and start again")
    assert run.rejected() == {"spd": {2}}
    assert question not in text_of(at)
    at.session_state[session.CORPUS_SHOWN] = "psr-round-1"  # nothing was trained on these
    at.run()
    tick(at, {1: False})
    assert run.rejected() == {"spd": {2}, "psr": {1}}


def test_rows_of_a_finished_arm_cannot_be_changed() -> None:
    run = reviewed("stopped", arms=("psr", "spd"))
    run.tell(ArmDone(time=4, arm="psr", steps=10, planned=10, rows=40, seconds=51.5))
    at = opened(run=run.id, part="Corpora")
    at.session_state[session.CORPUS_SHOWN] = "psr-round-1"
    at.run()
    assert "PSR has finished on these rows: they cannot be changed any more" in text_of(at)
    assert session.CORPUS_TABLE not in at.session_state


def test_nothing_is_saved_into_a_run_that_works_meanwhile() -> None:
    run = reviewed("stopped")
    at = opened(run=run.id, part="Corpora")
    run.write_status(Status(state="queued", since=time.time()))
    ticks = at.session_state[session.CORPUS_TABLE]
    at.session_state[ticks.key] = {"edited_rows": {2: {"keep": False}}}
    at.run()
    assert run.rejected() == {}


def test_arms_stand_beside_each_other_on_one_prompt() -> None:
    run = reviewed(arms=("psr", "spd"))
    rows = rows_of(run, "spd", 6)
    write_rows(run, "spd", [row.model_copy(update={"completion": " none", "tokens": (1,)}) for row in rows])
    at = opened(run=run.id)
    (table,) = at.dataframe
    frame = table.value
    assert list(frame.columns)[:3] == ["Row", "Prompt", "Reference"]
    assert frame["PSR"][0].startswith("✓ ")
    assert frame["SPD"][0] == "✗ none"
    shown = html_of(at)
    for fact in ("4 of 4 rows", "3 of 6", "0 of 6", "100%", "2.0 / 2", "5 of 6", "1 of 6"):
        assert fact in shown
    assert "<script" not in shown
    box = next(one for one in at.checkbox if one.label == "Keep it for SPD")
    box.uncheck().run()
    assert run.rejected() == {"spd": {0}}
    assert "rejected by you" in text_of(at)


def test_code_is_marked_when_its_tests_were_run_and_only_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference solution of a task is right, and the one of another task is not."""
    monkeypatch.delenv("SPD_ALLOW_CODE", raising=False)
    run = made("review", capability="python-functions", arms=["psr"])
    first, second = find_capability("python-functions", split="train").examples[:2]
    write_rows(run, "psr", [row.model_copy(update={"id": one.id, "completion": f" {first.answer}", "finish": "eos"})
                            for row, one in zip(rows_of(run, n=2), (first, second), strict=True)])  # fmt: skip
    at = opened(run=run.id, runs_view="This run")
    assert "with SPD_ALLOW_CODE=1, the app runs them here" in text_of(at).replace("\\", "")
    monkeypatch.setenv("SPD_ALLOW_CODE", "1")
    at = press(at.run(), "Run the tests of these corpora")
    job = at.session_state[session.MARKS_JOB]
    until(lambda: not job.running, lambda: job.phase)
    assert job.error == ""
    assert [list(found.values()) for found in job.result.values()] == [[True, False]]
    right = next(frame for frame in at.run().dataframe if "right" in frame.value.columns).value["right"]
    assert list(right) == ["✓ right", "✗ wrong"]


def test_a_corpus_without_a_row_left_cannot_be_trained_on() -> None:
    run = reviewed()
    run.set_rejected({"psr": {0, 1, 2, 3}})
    at = opened(run=run.id)
    assert "PSR has no row left to train on: keep some." in text_of(at)
    assert next(one for one in at.button if one.label == "Train on 0 of 4 rows").disabled


def test_a_damaged_corpus_names_its_line() -> None:
    run = made("done")
    rows_of(run)
    path = corpus_path(run.folder, "psr", 1)
    path.write_text(path.read_text() + '{"number": 4, "id": "x"}\n')
    at = opened(run=run.id, part="Corpora")
    assert "line 5: sample: Field required" in text_of(at)


def adapter(run: Run, arm: str, finished: bool = True) -> None:
    folder = run.folder / "adapters" / arm
    folder.mkdir(parents=True)
    card = AdapterCard(
        run=run.id, arm=arm, capability="arithmetic", base="builtin", revision="r", dtype="float32", rows=40,  # type: ignore[arg-type]
        steps=10 if finished else 3, planned=10, finished=finished, held_out_loss=2.0625, train_loss=1.5,
        settings=TrainSettings(), created="2026-11-24T10:00:00", versions={},
    )  # fmt: skip
    write_card(card, folder)


def test_a_finished_run_shows_everything_it_made() -> None:
    run = made("done")
    for arm in ("psr", "spd"):
        adapter(run, arm, finished=arm == "psr")
    step = {"steps": 10, "epoch": 0.5, "arm": "psr"}
    for event in (
        StageBegun(time=1, stage="train", arm="psr"),
        HygieneFound(time=1, arm="psr", kept=40, counts={"empty": 2}, examples={}),
        TrainingLoss(time=2, step=1, loss=2.5, **step), TrainingLoss(time=3, step=10, held_out_loss=2.0625, **step),
        Sample(time=3, arm="psr", step=10, epoch=1.0, prompt="Q", completion=HOSTILE),
        ArmDone(time=4, arm="psr", steps=10, planned=10, rows=40, seconds=51.5),
        Drift(time=5, arm="psr", overlap={"layer 1 key": 0.75}, before={"layer 1 key": 0.75},
              angles={"layer 1 key": (1.0, 45.0)}, chance={"layer 1 key": 0.5}),
    ):  # fmt: skip
        run.tell(event)
    at = opened(run=run.id)
    shown = html_of(at)
    for fact in ("PSR", "10 of 10", "3 of 10, stopped", ">2.062<", ">1.500<", ">2.500<", "52 s"):
        assert fact in shown
    rate = f"{run.record.distillation.train.learning_rate:g}"
    assert f"The learning rate falls from {rate} along a cosine to zero at step 10." in text_of(at)
    assert "2.0625" not in shown, "the table twin of the curves is drawn when it is opened"
    assert len(at.get("plotly_chart")) == 1
    for part, says in (("Completions", "greedily"), ("Drift", "0.75"), ("Log", "Its job has printed nothing"),
                       ("About", "Versions")):  # fmt: skip
        at = opened(run=run.id, part=part)
        everything = html_of(at) + text_of(at) + "".join(code.value for code in at.code)
        assert says in everything
        assert "<script" not in html_of(at)
        assert "<img" not in html_of(at)
        assert not {"\x1b", "\u202e"} & set(everything), "shown as what they are"
    at.text_area(key=f"{session.RUN_NOTES}_{run.id}").set_value("worth another look").run()
    press(at, "Save the notes")
    assert open_run(run.id).notes() == "worth another look"


def test_before_the_first_loss_of_students_there_is_no_empty_chart_of_it() -> None:
    run = made("running", arms=["omniopd"])
    run.tell(StageBegun(time=1, stage="train", arm="omniopd"))
    run.tell(AnswersScored(time=2, arm="omniopd", step=0, epoch=0.0, right=3, n=8))
    at = opened(run=run.id)
    assert len(at.get("plotly_chart")) == 1, "right answers alone"
    assert "The first step is being written and learned from: the loss appears here with it." in text_of(at)
    measured = {"entropy": 2.0, "target": 0.25, "divergence": 0.0}
    run.tell(TrainingLoss(time=3, arm="omniopd", step=1, steps=9, epoch=0.1, loss=0.5, **measured))
    at = opened(run=run.id)
    assert len(at.get("plotly_chart")) == 3, "the loss, right answers, and what students measure"
    assert "Weight, entropy and distance" in text_of(at)


def test_event_files_are_asked_for_on_the_form_and_their_command_is_shown() -> None:
    at = opened()
    widget(at, "multiselect", "Also log to").set_value(["tensorboard"]).run()
    press(at, "Start fine-tuning")
    (run,) = (one for one in queue.all_runs() if isinstance(one, Run))
    assert run.record.distillation.train.log_to == ("tensorboard",)
    command = f"tensorboard --logdir {run.folder / 'arms'}"
    for one, there in ((run, True), (made("done"), False)):
        codes = [code.value for code in opened(run=one.id, part="About").code]
        assert (command in codes, len(codes)) == (there, 1 + there)


def test_arms_are_evaluated_with_all_controls_that_their_claims_need() -> None:
    run = made("done", arms=("psr", "spd"))
    note_sources(run.record.distillation, run.folder)
    for arm in ("psr", "spd"):
        adapter(run, arm)
    at = press(opened(run=run.id), "Evaluate these arms")
    at = prepared(go_to(at, session.EVALUATION))
    assert at.session_state[session.EVALUATIONS_VIEW] == "New evaluation"
    press(at, "Start evaluation")
    (evaluation,) = (one for one in queue.all_runs() if isinstance(one, Run) and one.id != run.id)
    recipe = evaluation.record.evaluation
    assert {one.name for one in recipe.subjects} == {"base", "psr", "spd", "ssd", "random", "full", "shuffled"}
    assert (recipe.capture, recipe.corpus, recipe.train) == (QUICK.capture, QUICK.corpus, QUICK.train)


def test_who_evaluates_without_controls_is_told_why_before_the_start() -> None:
    run = made("done", arms=("spd",))
    note_sources(run.record.distillation, run.folder)
    adapter(run, "spd")
    run.set_rejected({"spd": [1]})
    at = prepared(go_to(press(opened(run=run.id), "Evaluate these arms"), session.EVALUATION))
    (said,) = (one.value for one in at.info if "Without further controls" in one.value)
    assert "were rejected by hand" in said
    at.number_input(key=next(one.key for one in at.number_input if one.label.startswith("Items of"))).set_value(
        10
    ).run()
    assert any("Without further controls" in one.value for one in at.info), "as long as the form holds it"


@pytest.mark.parametrize(("state", "offered"), [("done", True), ("stopped", True), ("running", False)])
def test_what_has_finished_is_evaluated_when_nothing_works_on_it(
    state: State, offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(state)
    monkeypatch.setattr(states, "_is_there", lambda *_: True)
    adapter(run, "psr")
    at = opened(run=run.id)
    assert ("Evaluate these arms" in [one.label for one in at.button]) == offered


def test_nothing_that_was_stopped_is_evaluated() -> None:
    run = made("stopped")
    adapter(run, "psr", finished=False)
    assert "Evaluate these arms" not in [one.label for one in opened(run=run.id).button]


def test_deleting_asks_first() -> None:
    run = made("done")
    at = opened(run=run.id)
    press(at, "Delete this run")
    assert run.folder.exists()
    press(at, "Delete permanently")
    assert not run.folder.exists()
    assert "New run" in at.session_state[session.RUNS_VIEW]


@pytest.mark.parametrize("name", ["nothing", "../../etc", "a\0b", "."])
def test_links_to_no_run_are_a_sentence(name: str) -> None:
    assert "This run cannot be opened" in text_of(opened(run=name))


def test_all_runs_are_listed_and_one_opens() -> None:
    run = made("done")
    at = opened(runs_view="All runs")
    assert not at.exception
    press(select(at, run), "Open run")
    assert at.session_state[session.RUN] == run.id


# --- parts -------------------------------------------------------------------------------------------------------


def test_recipes_go_through_files() -> None:
    assert recipe_from(json.loads(form.settings_file(QUICK))) == QUICK


def test_an_adapter_as_zip(tmp_path: Path) -> None:
    import io
    import zipfile

    (tmp_path / "a.json").write_text("{}")
    write_card(a_card(None, base="/home/me/mine", revision="content:0123"), tmp_path)
    with zipfile.ZipFile(io.BytesIO(zip_of(tmp_path))) as archive:
        assert archive.read("a.json") == b"{}"
        assert {"card.json", "README.md"} < set(archive.namelist())
        assert not any(b"/home/me" in archive.read(name) for name in archive.namelist())


def test_a_contrast_asks_what_it_leaves_out_and_keeps_it_with_another_preset() -> None:
    at = opened()
    arms = next(one for one in at.button_group if one.label.startswith("Arms: each"))
    arms.set_value(["spd", "contrast"]).run()
    assert not at.exception
    assert "writes inside what is the capability's alone" in text_of(at)
    assert widget(at, "multiselect", "The contrast leaves out what these share").value == ["multiple-choice"]
    widget(at, "multiselect", "The contrast leaves out what these share").set_value(["python-functions"]).run()
    next(one for one in at.radio if one.label.startswith("Preset")).set_value("visible").run()
    press(at, "Start fine-tuning")
    (run,) = (one for one in queue.all_runs() if isinstance(one, Run))
    own = {"preset": "visible", "capability": "arithmetic", "arms": ["spd", "contrast"]}
    assert run.record.recipe == recipe_from({**own, "capture": {"without": ["python-functions"]}})

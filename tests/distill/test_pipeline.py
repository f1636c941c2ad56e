"""Whole recipes on a tiny model: what arms share, what a stop changes (nothing), rounds, review, several processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from spd_core.data.capability import Capability
from spd_core.data.seen import prompt_hash, read_seen
from spd_core.distill.corpus import CorpusRow, read_corpus
from spd_core.distill.event_files import TENSORBOARD
from spd_core.distill.pipeline import carry_out
from spd_core.distill.train import train
from spd_core.errors import InputError, MemoryLimitError
from spd_core.generation.decode import generate
from spd_core.intervention.cards import read_card
from spd_core.intervention.projection import Lane
from spd_core.models.loading import load
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.recipes.lanes import Sampling
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
from spd_core.subspace.store import load_capture
from spd_core.subspace.subspace import subspace_of
from tests import ROOT
from tests.waiting import LONG


@pytest.fixture
def recipe(counting: Path, family_folder: Callable[[str], Path]) -> Callable[..., Recipe]:
    def made(**changes: Any) -> Recipe:
        settings: dict[str, Any] = {
            "capability": str(counting), "model": str(family_folder("llama")), "dtype": "float32",
            "arms": ["psr", "ssd", "spd"], "capture": {"examples": None},
            "corpus": {"held_out": 2, "max_new_tokens": 6, "batch_size": 3, "drop": []},
            "train": {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3}, "drift": False,
        }  # fmt: skip
        for name, value in changes.items():
            settings[name] = {**settings[name], **value} if isinstance(value, dict) else value
        return recipe_from(settings)

    return made


def weights(folder: Path, arm: str) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapters" / arm / "adapter_model.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_all_arms_on_the_same_prompts(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    heard: list[AnyEvent] = []
    arms = ["psr", "ssd", "apple", "spd", "random", "full", "shuffled"]
    assert carry_out(recipe(arms=arms), tmp_path, run="r", tell=heard.append) == "done"
    corpora = {arm: read_corpus(tmp_path / "corpora" / f"{arm}-round-1.jsonl") for arm in arms}
    asked = {arm: {(row.number, row.prompt) for row in rows} for arm, rows in corpora.items()}
    assert all(asked[arm] == asked["psr"] for arm in arms)
    assert len(asked["psr"]) == 10
    assert all("train" in prompt for _, prompt in asked["psr"]), "never a prompt that the subspace was captured from"
    assert len({tuple(row.completion for row in sorted(rows, key=lambda row: row.number))
                for rows in corpora.values()}) == len(arms)  # fmt: skip
    captures = sorted(path.name for path in (tmp_path / "captures").iterdir())
    assert captures == ["capability-round-1", "full-round-1", "shuffled-round-1"], "one for all arms that use it"
    for arm in arms:
        card = read_card(tmp_path / "adapters" / arm)
        assert (card.ref, card.rows, card.steps, card.finished) == (f"r/{arm}", 8, 4, True)
        assert bool(card.subspace) == (arm in ("spd", "random", "full", "shuffled"))
        assert card.held_out_loss is not None
    assert len({read_card(tmp_path / "adapters" / arm).corpus for arm in arms}) == len(arms)
    begun = [(event.stage, event.arm) for event in heard if isinstance(event, StageBegun)]
    assert begun[:3] == [("load", ""), ("corpus", "psr"), ("corpus", "ssd")]
    assert [arm for stage, arm in begun if stage == "train"] == arms
    assert sum(stage == "capture" for stage, _ in begun) == 3
    losses = [event for event in heard if isinstance(event, TrainingLoss)]
    assert [event.step for event in losses if event.arm == "spd" and event.loss is not None] == [1, 2, 3, 4]
    assert sum(isinstance(event, ArmDone) for event in heard) == len(arms)
    assert {event.step for event in heard if isinstance(event, Sample)} == {0, 2, 4}
    rows = [
        event for event in heard if isinstance(event, StageProgress) and event.stage == "corpus" and event.arm == "psr"
    ]
    assert [event.done for event in rows] == [3, 6, 9, 10]
    assert rows[-1].tokens == sum(len(row.tokens) for row in corpora["psr"])
    assert not list(tmp_path.glob("arms/*/*/checkpoints")), "only a training that shall go on needs them"


def test_spd_without_a_subspace_is_psr(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    made = recipe(arms=["psr", "spd"], capture={"strength": 0.0}, corpus={"top_p": 1.0})
    assert carry_out(made, tmp_path) == "done"
    psr, spd = (read_corpus(tmp_path / "corpora" / f"{arm}-round-1.jsonl") for arm in ("psr", "spd"))
    assert psr == spd
    assert same(weights(tmp_path, "psr"), weights(tmp_path, "spd"))


def test_no_projection_acts_while_an_arm_is_trained(
    recipe: Callable[..., Recipe], family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """A model that never had a hook, trained on the same rows, gets the same weights."""
    made = recipe(arms=["spd"])
    assert carry_out(made, tmp_path) == "done"
    never = load(str(family_folder("llama")), dtype="float32")
    assert not any(module._forward_hooks for module in never.model.modules())
    rows = sorted(read_corpus(tmp_path / "corpora" / "spd-round-1.jsonl"), key=lambda row: row.number)
    train(never, rows[:8], made.train, tmp_path / "again", held_out=rows[8:])
    again = load_file(tmp_path / "again" / "adapter" / "adapter_model.safetensors")
    assert same(weights(tmp_path, "spd"), again)


def test_arms_that_write_in_the_same_way_share_a_corpus(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    assert carry_out(recipe(arms=["ssd", "psr"], corpus={"top_p": 0.8}), tmp_path) == "done"
    assert [path.name for path in (tmp_path / "corpora").iterdir()] == ["ssd-round-1.jsonl"]
    assert read_card(tmp_path / "adapters" / "psr").corpus == read_card(tmp_path / "adapters" / "ssd").corpus


def test_a_run_that_is_stopped_again_and_again_ends_at_the_same_weights(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    made = recipe(arms=["psr", "spd"], rounds=2, drift=True, train={"lora_dropout": 0.1})
    assert carry_out(made, tmp_path / "whole") == "done"
    outcomes = []
    for limit in range(3, 200, 13):
        asked = 0

        def stop(limit: int = limit) -> bool:
            nonlocal asked
            asked += 1
            return asked > limit

        outcomes.append(carry_out(made, tmp_path / "parts", stop=stop))
        if outcomes[-1] == "done":
            break
    assert outcomes[-1] == "done"
    assert outcomes.count("stopped") >= 4
    for path in sorted((tmp_path / "whole").glob("corpora/*.jsonl")):
        other = tmp_path / "parts" / path.relative_to(tmp_path / "whole")
        assert sorted(read_corpus(path), key=lambda row: row.number) == sorted(
            read_corpus(other), key=lambda row: row.number
        )
    for arm in ("psr", "spd"):
        assert same(weights(tmp_path / "whole", arm), weights(tmp_path / "parts", arm))


def test_a_stopped_training_has_an_adapter_that_says_so(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    steps = 0

    def hear(event: AnyEvent) -> None:
        nonlocal steps
        steps += isinstance(event, TrainingLoss) and event.loss is not None

    assert carry_out(recipe(arms=["psr"]), tmp_path, tell=hear, stop=lambda: steps >= 1) == "stopped"
    card = read_card(tmp_path / "adapters" / "psr")
    assert (card.finished, card.steps, card.planned) == (False, 2, 4)
    assert carry_out(recipe(arms=["psr"]), tmp_path, tell=hear) == "done"
    assert read_card(tmp_path / "adapters" / "psr").finished


def test_held_out_prompts_are_answered_greedily_and_it_changes_nothing(
    recipe: Callable[..., Recipe], family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Also after a stop in every epoch. The marks here call an answer right by its length in letters."""
    made = recipe(arms=["psr"], corpus={"samples": 2}, train={"lora_dropout": 0.1})
    heard: list[AnyEvent] = []
    asked: list[list[tuple[str, str]]] = []

    def marks(rows: Sequence[CorpusRow], capability: Capability) -> dict[int, bool]:
        asked.append([(row.id, row.completion) for row in rows])
        return {row.number: len(row.completion) % 2 == 0 for row in rows}

    assert carry_out(made, tmp_path / "alone") == "done"
    assert carry_out(made, tmp_path / "scored", tell=heard.append, marks=marks) == "done"
    assert same(weights(tmp_path / "alone", "psr"), weights(tmp_path / "scored", "psr"))
    scored = [event for event in heard if isinstance(event, AnswersScored)]
    assert [(event.step, event.epoch, event.n) for event in scored] == [(0, 0.0, 2), (4, 1.0, 2), (8, 2.0, 2)]
    assert [event.right for event in scored] == [sum(len(text) % 2 == 0 for _, text in rows) for rows in asked]
    assert [[id for id, _ in rows] for rows in asked] == [["train8", "train9"]] * 3, "each held-out prompt once"
    untouched = load(str(family_folder("llama")), dtype="float32")
    prompts = [f"Q: train {i} " + "and more " * (i % 4) for i in (8, 9)]
    plain = generate(untouched, prompts, [Lane()], Sampling(temperature=0.0, max_new_tokens=6))
    assert [text for _, text in asked[0]] == [one.text for one in plain]
    for _ in range(20):
        steps = 0

        def stop() -> bool:
            nonlocal steps
            steps += 1
            return steps > 40

        if carry_out(made, tmp_path / "parts", stop=stop, marks=marks) == "done":
            break
    assert same(weights(tmp_path / "alone", "psr"), weights(tmp_path / "parts", "psr"))


def test_without_marks_for_every_answer_nothing_is_told(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    heard: list[AnyEvent] = []
    assert carry_out(recipe(arms=["psr"]), tmp_path, tell=heard.append, marks=lambda *_: {}) == "done"
    assert not any(isinstance(event, AnswersScored) for event in heard)


def test_rounds_start_from_the_model_before_and_their_sum_is_one_adapter(
    recipe: Callable[..., Recipe], family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    heard: list[AnyEvent] = []
    made = recipe(arms=["spd"], rounds=2, drift=True, train={"learning_rate": 5e-3})
    assert carry_out(made, tmp_path, tell=heard.append) == "done"

    def plain() -> Any:
        return AutoModelForCausalLM.from_pretrained(family_folder("llama"), dtype=torch.float32)

    one_by_one = plain()
    for round_ in (1, 2):
        place = tmp_path / "arms" / "spd" / f"round-{round_}" / "adapter"
        one_by_one = PeftModel.from_pretrained(one_by_one, place).merge_and_unload()
    at_once = PeftModel.from_pretrained(plain(), tmp_path / "adapters" / "spd").eval()
    ids = torch.tensor([[5, 9, 70, 33, 80]])
    with torch.no_grad():
        first, second = one_by_one(ids).logits, at_once(ids).logits
        untouched = plain()(ids).logits
    assert torch.allclose(first, second, atol=1e-4)
    assert (first - untouched).abs().max() > 1e-2
    card, seen = read_card(tmp_path / "adapters" / "spd"), read_seen(tmp_path / "adapters" / "spd")
    assert seen is not None
    assert (card.rounds, card.calibrated, card.trained) == (2, 6, 8)
    assert (len(seen.calibrated), len(seen.trained)) == (6, 8), "of both rounds, each prompt once"
    assert [one.round for one in heard if isinstance(one, Drift)] == [1, 2]
    _check_drift(tmp_path, [one for one in heard if isinstance(one, Drift)])


def _check_drift(folder: Path, drifts: list[Drift]) -> None:
    """Against numpy: cos² of the principal angles are the squared singular values of U₁ᵀU₂."""
    names = ("capability-round-1", "capability-spd-round-2", "capability-spd-round-3")
    first, second, third = (subspace_of(load_capture(folder / "captures" / name)) for name in names)
    assert len({found.provenance.revision for found in (first, second, third)}) == 3, "captured on another model each"
    for drift, found, before in ((drifts[0], second, first), (drifts[1], third, second)):
        for site in first.sites:
            cosines = np.linalg.svd(first.basis[site].double().numpy().T @ found.basis[site].double().numpy())[1]
            turned = np.linalg.svd(before.basis[site].double().numpy().T @ found.basis[site].double().numpy())[1]
            assert drift.overlap[site.label] == pytest.approx((cosines**2).mean(), abs=1e-5)
            assert drift.before[site.label] == pytest.approx((turned**2).mean(), abs=1e-5)
            assert drift.angles[site.label][-1] == pytest.approx(
                np.degrees(np.arccos(min(cosines.min(), 1.0))), abs=0.05
            )
            assert drift.chance[site.label] == pytest.approx(first.basis[site].shape[1] / site.d_kv)


def test_rows_rejected_after_a_first_round_are_in_no_round(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """Stopped in the second round: what the first one has learned from the rejected rows is gone with it."""
    made, kept = recipe(arms=["psr"], rounds=2), {"psr": {0, 3}}
    assert carry_out(made, tmp_path / "never had them", rejected=kept) == "done"
    folder = tmp_path / "had them"
    second = folder / "corpora" / "psr-round-2.jsonl"
    assert carry_out(made, folder, stop=second.exists) == "stopped"
    assert read_card(folder / "arms" / "psr" / "round-1" / "adapter").rows == 8
    assert carry_out(made, folder, rejected=kept) == "done"
    assert read_card(folder / "arms" / "psr" / "round-1" / "adapter").rows == 6
    assert same(weights(folder, "psr"), weights(tmp_path / "never had them", "psr"))
    assert read_corpus(second) == read_corpus(tmp_path / "never had them" / "corpora" / "psr-round-2.jsonl")
    assert carry_out(made, folder, rejected={"psr": {0, 3, 5}}) == "done"
    assert read_card(folder / "arms" / "psr" / "round-1" / "adapter").rows == 6, "an arm that is done stays as it is"


def test_rows_rejected_after_a_checkpoint_of_before_are_not_trained_on(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """Earlier versions did not note which rows a checkpoint was made with: beside rejected ones, nobody can know."""
    made, kept, steps = recipe(arms=["psr"]), {"psr": {0, 3}}, 0

    def hear(event: AnyEvent) -> None:
        nonlocal steps
        steps += isinstance(event, TrainingLoss) and event.loss is not None

    assert carry_out(made, tmp_path / "had them", tell=hear, stop=lambda: steps >= 1) == "stopped"
    marks = list((tmp_path / "had them").glob("arms/psr/round-1/checkpoints/checkpoint-*/whole.json"))
    assert marks
    for path in marks:
        path.unlink()
    for folder in ("had them", "never had them"):
        assert carry_out(made, tmp_path / folder, rejected=kept) == "done"
    assert same(weights(tmp_path / "had them", "psr"), weights(tmp_path / "never had them", "psr"))


def test_an_arm_whose_end_was_not_told_is_told_again(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """Killed between the last write and the word of it: its checkpoints still lie there."""
    made = recipe(arms=["psr"])
    assert carry_out(made, tmp_path) == "done"
    left = tmp_path / "arms" / "psr" / "round-1" / "checkpoints"
    left.mkdir()
    (tmp_path / "adapters" / ".psr.half").mkdir()
    heard: list[AnyEvent] = []
    assert carry_out(made, tmp_path, tell=heard.append) == "done"
    assert [(event.steps, event.planned, event.rows) for event in heard if isinstance(event, ArmDone)] == [(4, 4, 8)]
    assert not left.exists()
    assert [path.name for path in (tmp_path / "adapters").iterdir()] == ["psr"], "nothing half is left"


def test_review_waits_and_rejected_rows_are_not_trained_on(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    made, heard = recipe(arms=["psr", "spd"], review=True), []
    assert carry_out(made, tmp_path) == "review"
    assert {path.name for path in (tmp_path / "corpora").iterdir()} == {"psr-round-1.jsonl", "spd-round-1.jsonl"}
    assert not (tmp_path / "adapters").exists()
    assert carry_out(made, tmp_path, reviewed=True, rejected={"psr": {0, 3}}, tell=heard.append) == "done"
    assert [read_card(tmp_path / "adapters" / arm).rows for arm in ("psr", "spd")] == [6, 8]
    found = [event for event in heard if isinstance(event, HygieneFound)]
    assert [event.counts["rejected"] for event in found] == [2, 0]
    _check_origin(made, tmp_path)
    rows = {row.number: row for row in read_corpus(tmp_path / "corpora" / "psr-round-1.jsonl")}
    bare = {number: row.prompt.removeprefix("Q: ") for number, row in rows.items()}
    for arm, captured, left_out in (("psr", 0, {0, 3, 8, 9}), ("spd", 6, {8, 9})):  # the last two are held out
        card, seen = read_card(tmp_path / "adapters" / arm), read_seen(tmp_path / "adapters" / arm)
        assert seen is not None
        assert (card.calibrated, card.trained) == (captured, 10 - len(left_out))
        known = {number for number, prompt in bare.items() if prompt_hash(prompt) in seen.trained}
        assert known == set(bare) - left_out
        assert seen.count(f"calibration {i} " + "and more " * (i % 4) for i in range(6)) == captured


def _check_origin(made: Recipe, folder: Path) -> None:
    """What lies beside a card trains the same arm again, elsewhere too."""
    for arm in ("psr", "spd"):
        place = folder / "adapters" / arm
        again = recipe_from(json.loads((place / "recipe.json").read_text()))
        local = {"model": Path(made.model).name, "capability": "counting.jsonl"}
        assert again == made.model_copy(update={"arms": (arm,), **local})
        card = read_card(place)
        assert card.command == "python -m spd_core distill recipe.json"
        assert card.data is not None
        assert (card.data.name, card.data.split, card.data.prompts, card.data.held_out) == ("counting", "train", 10, 2)
        assert (card.data.examples, bool(card.data.calibration)) == ((6, True) if arm == "spd" else (0, False))
        said = "".join((place / name).read_text() for name in ("README.md", "recipe.json", "adapter_config.json"))
        assert not any(str(Path(name).parent) in said for name in (made.model, made.capability))


def test_hygiene_is_reported_and_can_be_switched_off(
    recipe: Callable[..., Recipe], counting: Path, tmp_path: Path
) -> None:
    text = counting.read_text() + json.dumps({"id": "leak", "split": "train", "prompt": "heldout 1 and more ",
                                              "answer": "it is 1"}) + "\n"  # fmt: skip
    leaking = tmp_path / "leaking.jsonl"
    leaking.write_text(text)
    for drop, rows in ((["leakage"], 8), ([], 9)):
        heard: list[AnyEvent] = []
        folder = tmp_path / str(rows)
        made = recipe(capability=str(leaking), arms=["psr"], corpus={"drop": drop, "held_out": 2})
        carry_out(made, folder, tell=heard.append)
        found = next(event for event in heard if isinstance(event, HygieneFound))
        assert found.counts.get("leakage", 0) == len(drop)
        assert found.kept == 11 - len(drop)
        assert found.calibration == 0


def test_what_cannot_be_is_a_sentence(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="10 train prompts, and 10 are held out"):
        carry_out(recipe(corpus={"held_out": 10}), tmp_path)
    with pytest.raises(InputError, match="unknown capability 'nothing'"):
        carry_out(recipe(capability="nothing"), tmp_path)
    written = tmp_path / "corpora" / "spd-round-1.jsonl"
    free = "spd_core.models.device.available_memory"
    monkeypatch.setattr(free, lambda device: 1000 if written.exists() else 2**40)  # it is gone when training begins
    with pytest.raises(MemoryLimitError, match="training on 4 rows of up to .* tokens needs"):
        carry_out(recipe(), tmp_path)
    assert len(read_corpus(written)) == 10, "what was written is kept"


_SCRIPT = """
import json, os, sys
from pathlib import Path
from spd_core.distill.pipeline import carry_out
from spd_core.recipes.distill import recipe_from
heard = []
outcome = carry_out(recipe_from(json.loads(sys.argv[1])), Path(sys.argv[2]), tell=heard.append)
Path(sys.argv[2], f"said-{os.environ['RANK']}").write_text(f"{outcome} {len(heard)}")  # lines on stdout would mix
"""


def test_two_processes_give_what_one_gives(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    made = recipe(arms=["psr", "spd"], train={"lora_dropout": 0.0, "log_to": ["tensorboard"]}, drift=True)
    assert carry_out(made, tmp_path / "one") == "done"
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--main_process_port", "0", str(script), made.model_dump_json(), str(tmp_path / "two"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr[-2000:]
    said = [(tmp_path / "two" / f"said-{rank}").read_text().split() for rank in (0, 1)]
    assert [outcome for outcome, _ in said] == ["done", "done"]
    assert int(said[1][1]) == 0 < int(said[0][1]), "only the first process tells"
    for arm in ("psr", "spd"):
        alone, together = (read_corpus(tmp_path / n / "corpora" / f"{arm}-round-1.jsonl") for n in ("one", "two"))
        assert sorted(row.number for row in together) == list(range(10)), "complete, and no row twice"
        assert {row.number: row for row in alone} == {row.number: row for row in together}
        assert [path.name for path in (tmp_path / "two" / "corpora").glob("*part*")] == []
        one, two = weights(tmp_path / "one", arm), weights(tmp_path / "two", arm)
        assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one), "the same steps, shared"
        card = read_card(tmp_path / "two" / "adapters" / arm)
        assert (card.rows, card.steps) == (8, 4)
        for n in ("one", "two"):
            files = list((tmp_path / n / "arms" / arm / "round-1" / TENSORBOARD).iterdir())
            assert len(files) == 1, "of several processes, only the first one writes event files"

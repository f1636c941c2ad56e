"""Event files, read back with TensorBoard's own reader: they tell what the training told, and change nothing."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from spd_core.distill.event_files import TENSORBOARD
from spd_core.distill.train import train
from spd_core.distill.watch import TrainNews
from spd_core.errors import InputError, StorageError
from spd_core.evaluation.preflight import check
from spd_core.recipes.distill import TrainSettings, recipe_from
from spd_core.recipes.evaluation import evaluation_from
from spd_core.runs import queue
from spd_core.storage import runs_folder
from tests import shell
from tests.distill.test_train import QUICK, corpus, weights
from tests.shell import Run

run = shell.run
LOGGED = QUICK.model_copy(update={"log_to": ("tensorboard",)})
ASKED = {"preset": "quick", "capability": "arithmetic", "train": {"log_to": ["tensorboard"]}}
REMEDY = "train.log_to 'tensorboard': the package tensorboard is not installed here; pip install tensorboard"


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has installed tensorboard."""
    find = importlib.util.find_spec

    def found(name: str, *more: Any) -> Any:
        return None if name == "tensorboard" else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", found)


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / TENSORBOARD), size_guidance={"scalars": 0}).Reload()


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def told(news: tuple[TrainNews, ...], name: str) -> list[tuple[int, float]]:
    """What the training told, with the precision that event files have."""
    values = [(one.step, getattr(one, name)) for one in news]
    return [(step, float(np.float32(value))) for step, value in values if value is not None]


def test_they_hold_what_was_told_and_change_no_weight(
    tiny_lm: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)
    lm, held_out = tiny_lm("llama"), corpus(tiny_lm("llama"), 3, first=50)
    plain = train(lm, corpus(lm), QUICK, tmp_path / "plain", held_out=held_out)
    found = train(lm, corpus(lm), LOGGED, tmp_path / "logged", held_out=held_out)
    assert scalars(tmp_path / "logged", "train/loss") == told(plain.news, "loss") == told(found.news, "loss")
    assert scalars(tmp_path / "logged", "eval/loss") == told(plain.news, "held_out_loss")
    assert {"train/learning_rate", "train/grad_norm"} <= set(read(tmp_path / "logged").Tags()["scalars"])
    expected, learned = weights(tmp_path / "plain"), weights(tmp_path / "logged")
    assert all(torch.equal(learned[name], expected[name]) for name in expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logged", "plain"], "nothing lies elsewhere"
    assert not (tmp_path / "plain" / TENSORBOARD).exists(), "off by default"


def test_a_training_that_goes_on_writes_in_the_same_place(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm, steps = tiny_lm("llama"), 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps == 4

    first = train(lm, corpus(lm), LOGGED, tmp_path, stop=stop)
    assert scalars(tmp_path, "train/loss") == told(first.news, "loss")
    rest = train(lm, corpus(lm), LOGGED, tmp_path)
    assert scalars(tmp_path, "train/loss") == told((*first.news, *rest.news), "loss")
    assert [step for step, _ in scalars(tmp_path, "train/loss")] == list(range(1, 10))


@pytest.mark.parametrize("at", [2, 5])
def test_no_step_is_told_twice_after_it_died(at: int, tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    """It goes on from the checkpoint after step 3, or from the beginning; what came later is done again."""
    lm = tiny_lm("llama")

    def die(news: TrainNews) -> None:
        if news.step == at + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(lm, corpus(lm), LOGGED, tmp_path, on_news=die)
    assert [step for step, _ in scalars(tmp_path, "train/loss")][:at] == list(range(1, at + 1))
    train(lm, corpus(lm), LOGGED, tmp_path)
    assert [step for step, _ in scalars(tmp_path, "train/loss")] == list(range(1, 10))


def test_a_disk_that_refuses_is_a_sentence(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    (tmp_path / TENSORBOARD).write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot write .*/tensorboard: "):
        train(tiny_lm("llama"), corpus(tiny_lm("llama")), LOGGED, tmp_path)


# --- without the package -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("missing")
def test_without_the_package_it_is_refused_everywhere(
    tiny_lm: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    with pytest.raises(InputError, match=REMEDY):
        check(recipe_from(ASKED), ask=False)
    with pytest.raises(InputError, match=REMEDY):
        check(evaluation_from({**ASKED, "subjects": ["base", "spd"]}), ask=False)
    check(evaluation_from({**ASKED, "subjects": ["base"]}), ask=False)  # it trains nothing
    with pytest.raises(InputError, match=REMEDY):
        train(tiny_lm("llama"), corpus(tiny_lm("llama")), LOGGED, tmp_path / "training")
    (tmp_path / "recipe.json").write_text(json.dumps(ASKED))
    for more in ((), ("--detach",)):
        done = run("distill", tmp_path / "recipe.json", *more)
        assert (done.code, REMEDY in done.err) == (2, True)
    assert not list(runs_folder().glob("*"))


@pytest.mark.usefixtures("missing")
def test_a_job_refuses_before_it_writes_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """It may wait for its turn for days, or start on another machine."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    waiting = queue.create_here(recipe_from(ASKED), "")
    done = run("distill", "--run", waiting.id)
    assert (done.code, REMEDY in done.err) == (2, True)
    assert not (waiting.folder / "corpora").exists()


def test_a_recipe_of_before_has_none() -> None:
    saved = TrainSettings().model_dump(exclude={"log_to"})
    assert TrainSettings.model_validate(saved) == TrainSettings()
    assert TrainSettings().log_to == ()

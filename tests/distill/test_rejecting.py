"""Whose training a rejection throws away is known, and can be asked about, before anything is lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from spd_core.data.catalog import find_capability
from spd_core.distill.checkpoints import ADAPTER, CHECKPOINTS, STATE, trained_on_rejected
from spd_core.distill.corpus import CorpusRow, corpus_path
from spd_core.intervention.cards import AdapterCard, write_card
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.records import to_lines
from spd_core.runs import queue
from spd_core.runs.folder import Run
from spd_core.storage import write_text

EPOCH = 4
LAST = 11
"""The number of the last row, whose prompt is held out."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))


def begun(**changes: Any) -> Run:
    """A run whose corpus of twelve rows is written; the last two are held out."""
    wanted = {"capability": "arithmetic", "arms": ["psr"], "corpus": {"prompts": 12, "held_out": 2}}
    recipe = recipe_from({**wanted, **changes})
    run = queue.create_here(recipe)
    examples = find_capability("arithmetic", split="train").limited(12).examples
    rows = [
        CorpusRow(number=number, id=one.id, sample=0, prompt=one.prompt, special=True, completion=one.answer,
                  tokens=(number, 1, 2), finish="eos")
        for number, one in enumerate(examples)
    ]  # fmt: skip
    write_text(corpus_path(run.folder, recipe.corpus_name("psr"), 1), to_lines(rows))
    return run


def with_checkpoint(run: Run) -> Run:
    place = run.folder / "arms" / "psr" / "round-1" / CHECKPOINTS / f"checkpoint-{EPOCH}"
    write_text(place / STATE, json.dumps({"global_step": EPOCH, "max_steps": 20}))
    return run


def with_round(run: Run, number: int) -> Run:
    recipe = run.record.distillation
    card = AdapterCard(
        run=run.id, arm="psr", base="builtin", revision="r", dtype="float32", rows=10, steps=20, planned=20,
        finished=True, settings=recipe.train, created="2026-11-27T12:00:00", versions={},
    )  # fmt: skip
    write_card(card, run.folder / "arms" / "psr" / f"round-{number}" / ADAPTER)
    return run


def lost(run: Run, *numbers: int) -> dict[Any, tuple[int, int]]:
    recipe: Recipe = run.record.distillation
    return trained_on_rejected(run, {recipe.corpus_name("psr"): numbers})


def test_a_row_that_was_trained_on_is_asked_about_and_one_that_was_only_scored_is_not() -> None:
    run = with_checkpoint(begun())
    assert lost(run, 0) == {"psr": (EPOCH, 20)}
    assert lost(run, LAST) == {}
    assert lost(begun(), 0) == {}, "nothing was trained yet"


def test_a_scored_row_that_decides_when_the_training_ends_is_asked_about() -> None:
    """With early stopping a checkpoint counts for the held-out rows that it was made with, too."""
    run = with_checkpoint(begun(train={"patience": 2}))
    assert lost(run, LAST) == {"psr": (EPOCH, 20)}


def test_a_first_round_that_later_ones_go_on_from_is_asked_about() -> None:
    """It has no checkpoint any more, and would start again as a whole."""
    run = with_round(begun(rounds=2), 1)
    assert lost(run, 0) == {"psr": (20, 20)}
    assert lost(with_round(run, 2), 0) == {}, "all is done"
    assert lost(with_round(begun(), 1), 0) == {}, "there is no later round"

"""The cost of a recipe by hand, and rates from what a run has told."""

from pathlib import Path
from typing import Any

import pytest

from spd_core.models.families import ModelCard
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.runs import queue
from spd_core.runs.costs import BUILTIN_RATES, Rates, adapter_bytes, cost_of, measured_rates, rates_of
from spd_core.runs.events import AnyEvent, StageBegun, StageProgress
from spd_core.runs.folder import Run

CARD = ModelCard("m", "llama", layers=30, heads=9, kv_heads=3, head_dim=64, hidden=576, vocabulary=49152, context=2048,
                 positions="RoPE", norm="none", key_is_read="before RoPE")  # fmt: skip
RATES = Rates(capture=10.0, corpus=50.0, train=100.0, source="here")

WRITERS: dict[str, dict[str, Any]] = {
    "local": {"kind": "local"},
    "vllm": {"kind": "vllm"},
    "openai": {"kind": "openai", "url": "http://127.0.0.1:8000/v1", "served_name": "base"},
}


def made(**changes: object) -> Recipe:
    corpus = {"prompts": 12, "held_out": 2, "max_new_tokens": 20}
    return recipe_from({"capability": "arithmetic", "capture": {"examples": 30}, "corpus": corpus,
                        "train": {"epochs": 3}, **changes})  # fmt: skip


def test_by_hand() -> None:
    cost = cost_of(made(arms=["psr", "ssd", "spd"]), 240, 30.0, 60, RATES, CARD)
    assert (cost.corpora, cost.captures) == (3, 4), "one capture, and the drift of three arms"
    assert cost.corpus_tokens == 3 * 12 * 20
    assert cost.train_tokens == 3 * 3 * 10 * (30 + 20)
    assert cost.seconds == pytest.approx(15 + 4 * 30 / 10 + 720 / 50 + 4500 / 100)
    assert cost.disk == 3 * 2 * adapter_bytes(CARD, 8)


def test_a_vllm_keeps_one_checkpoint_on_the_disk_for_all_arms() -> None:
    weights = 538_090_000  # 134,515,008 numbers of four bytes, and a little
    through = {kind: made(arms=["psr", "ssd", "spd"], corpus={"prompts": 12, "held_out": 2, "writer": writer})
               for kind, writer in WRITERS.items()}  # fmt: skip
    disk = {kind: cost_of(recipe, 240, 30.0, 60, RATES, CARD, weights).disk for kind, recipe in through.items()}
    adapters = 3 * 2 * adapter_bytes(CARD, 8)
    assert disk == {"local": adapters, "vllm": adapters + weights, "openai": adapters}, "a server has its own"


def test_what_arms_share_costs_once() -> None:
    alike = {"prompts": 12, "held_out": 2, "max_new_tokens": 20, "top_p": 0.9}
    cost = cost_of(made(arms=["psr", "ssd"], corpus=alike, drift=False), 240, 30.0, 60, None, None)
    assert (cost.corpora, cost.captures, cost.seconds, cost.disk) == (1, 0, None, None)
    cost = cost_of(made(arms=["spd", "random", "full"], drift=False, rounds=2), 240, 30.0, 60, RATES, None)
    assert (cost.corpora, cost.captures) == (6, 5), "aligned and full loss, then one for each arm's second model"
    cost = cost_of(made(arms=["spd", "full"], rounds=2), 240, 30.0, 60, RATES, None)
    assert cost.captures == 2 + 4 + 1, "two kinds, four drifts, and the second model's full loss"
    assert cost_of(made(), 5, 30.0, 8, RATES, None).corpus_tokens == 3 * 5 * 20, "no more prompts than there are"


def test_an_adapter_has_as_many_bytes_as_peft_writes() -> None:
    """r (in + out) numbers for q 576→576, k and v 576→192, o 576→576, in 30 layers."""
    assert adapter_bytes(CARD, 4, ("k",)) == 4 * 4 * 30 * (576 + 192)
    assert adapter_bytes(CARD, 8) == 4 * 8 * 30 * ((576 + 576) * 2 + (576 + 192) * 2)


def told(run: Run, *events: AnyEvent) -> None:
    for event in events:
        run.tell(event)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    return queue.create_here(made(model="org/model"))


def test_rates_of_a_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rates_of(run) is None, "it has not told anything yet"
    told(
        run,
        StageBegun(time=0, stage="capture"), StageProgress(time=1, stage="capture", done=30, total=30, seconds=3),
        StageBegun(time=1, stage="corpus", arm="psr"),
        StageProgress(time=2, stage="corpus", done=8, total=16, tokens=100, seconds=2, arm="psr"),
        StageProgress(time=3, stage="corpus", done=16, total=16, tokens=200, seconds=5, arm="psr"),
        StageBegun(time=4, stage="corpus", arm="spd"),
        StageProgress(time=5, stage="corpus", done=16, total=16, tokens=100, seconds=5, arm="spd"),
        StageBegun(time=6, stage="train", arm="psr"),
        StageProgress(time=7, stage="train", done=5, total=5, tokens=900, seconds=10, arm="psr"),
        StageBegun(time=8, stage="drift", arm="psr"),
        StageProgress(time=9, stage="drift", done=30, total=30, seconds=2),
    )  # fmt: skip
    found = rates_of(run)
    assert found is not None
    assert (found.capture, found.corpus, found.train) == (60 / 5, 300 / 10, 900 / 10)
    assert run.record.created[:10] in found.source
    assert measured_rates("org/model") is None, "it has not finished"
    monkeypatch.setattr("spd_core.runs.costs.state_of", lambda run: "done")
    assert measured_rates("org/model") == found
    assert measured_rates("org/other") is None
    assert measured_rates("builtin") == BUILTIN_RATES

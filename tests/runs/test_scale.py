"""What is foretold for other machines, against sums by hand."""

import pytest

from spd_core.models.families import ModelCard
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.runs.costs import START, Sizes
from spd_core.runs.scale import Large, Machine, at_scale, rates_on

CARD = ModelCard(
    name="m", model_type="llama", layers=10, heads=8, kv_heads=2, head_dim=64, hidden=512, vocabulary=1000,
    context=4096, positions="", norm="", key_is_read="",
)  # fmt: skip
MODEL = Large(card=CARD, parameters=1e9, lowest=5, memory=10e9)
GPU = Machine(flops=1e14, bandwidth=1e12, memory=20e9, itemsize=2, source="made up")


def recipe(**corpus: object) -> Recipe:
    return recipe_from({
        "capability": "arithmetic", "arms": ["spd"], "drift": False, "capture": {"examples": 50},
        "corpus": {"max_new_tokens": 100, "batch_size": 10, **corpus}, "train": {"epochs": 2},
    })  # fmt: skip


def test_rates_are_operations_and_bytes_counted_by_hand() -> None:
    found = rates_on(GPU, MODEL, tokens=100, written=100, rows=10)
    forward = 2 * 1e9 * 100  # 2 operations a parameter and token
    assert found.capture == pytest.approx(1e14 / (forward * 1.5)), "backward through the upper half alone"
    assert found.train == pytest.approx(1e14 / 4e9)
    cache = 10 * 150 * 2 * 10 * 128 * 2  # rows, tokens on the average, keys and values, layers, d_kv, bytes
    assert found.corpus == pytest.approx(10 / ((2e9 + cache) / 1e12)), "weights and caches are read once a step"
    many = rates_on(GPU, MODEL, tokens=1, written=1, rows=10**6)
    assert many.corpus == pytest.approx(1e14 / 2e9), "and many rows are bounded by their products"


def test_gpus_share_the_work_and_hold_a_copy_each_if_it_fits() -> None:
    sizes = Sizes(prompts=1000, prompt_tokens=100, examples=200)
    one, eight = (at_scale(recipe(), MODEL, sizes, GPU, gpus) for gpus in (1, 8))
    assert (one.gpus_a_copy, one.copies, eight.copies) == (1, 1, 8)
    rates = rates_on(GPU, MODEL, tokens=100, written=100, rows=10)
    assert one.seconds["capture"] == pytest.approx(50 / rates.capture)
    assert one.seconds["corpus"] == pytest.approx(1000 * 100 / rates.corpus)
    assert one.seconds["train"] == pytest.approx(2 * 1000 * 200 / rates.train)
    for stage in ("capture", "corpus"):
        assert eight.seconds[stage] == pytest.approx(one.seconds[stage] / 8)
    assert eight.seconds["train"] == pytest.approx(one.seconds["train"] / 8 / 0.9)
    assert one.whole == pytest.approx(START + 2e9 / 1e9 + sum(one.seconds.values())), "2 GB of weights, 1 GB/s"


def test_a_model_that_does_not_fit_on_one_gpu_takes_several() -> None:
    large = MODEL.model_copy(update={"memory": 50e9})
    found = at_scale(recipe(), large, Sizes(prompts=100, prompt_tokens=100, examples=50), GPU, 8)
    assert (found.gpus_a_copy, found.copies) == (4, 2), "3 would hold it; heads are divided by 2, 4, 8"
    assert found.memory > 50e9 / 4


def test_an_engine_keeps_a_folded_model_on_the_disk_an_arm_at_a_time() -> None:
    sizes = Sizes(prompts=1000, prompt_tokens=100, examples=200)
    here, there = (at_scale(recipe(writer={"kind": kind}), MODEL, sizes, GPU, 1) for kind in ("local", "vllm"))
    assert there.disk - here.disk == pytest.approx(2e9)
    assert there.start - here.start == pytest.approx(2.0), "it is loaded twice"
    few = at_scale(recipe(), MODEL, Sizes(prompts=500, prompt_tokens=100, examples=200), GPU, 1)
    assert here.disk - few.disk == pytest.approx(500 * (420 + 100 * 10))

"""Lanes over prompts and seeds: each text is the one that `compare` writes for its prompt and seed, and a stop keeps
whole prompts alone."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from spd_core.errors import InputError
from spd_core.generation import prompt, repeat
from spd_core.generation.compare import compare
from spd_core.generation.decode import generate
from spd_core.generation.repeat import write_again
from spd_core.intervention.projection import Lane
from spd_core.progress import Progress
from spd_core.recipes.gains import parse_gains
from spd_core.recipes.lanes import RAW, LaneSpec, Sampling
from tests.generation.test_compare import FULL, HALF, analysis_of

MIXED = LaneSpec(rank="8", strength=0.0, gains=parse_gains("1v_1x3_2x0"))
SPECS = (RAW, HALF, HALF.model_copy(update={"of": "random"}), FULL, MIXED)
WARM = Sampling(temperature=1.3, max_new_tokens=12, seed=5)
PROMPTS, SEEDS = ("1 + 4?", "how much is 22 + 4?"), (5, 6, 9)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@pytest.mark.parametrize("shared", [True, False])
def test_each_text_is_what_generate_writes(
    family: str, shared: bool, tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in lanes whose texts end early, across batches, and where windows slide."""
    monkeypatch.setattr(repeat, "ROWS", 2 * len(SPECS))  # three seeds are two batches
    lm = tiny_lm(family)
    sums, sampling = analysis_of(lm), dataclasses.replace(WARM, shared_randomness=shared)
    found = list(write_again(lm, sums, PROMPTS, SEEDS, SPECS, sampling))
    assert len(found) == len(PROMPTS)
    for asked, again in zip(PROMPTS, found, strict=True):
        for seed, lanes in zip(SEEDS, again.texts, strict=True):
            alone = compare(lm, sums, asked, SPECS, dataclasses.replace(sampling, seed=seed))
            assert [lane.ids for lane in lanes] == [lane.ids for lane in alone.lanes]
            assert [lane.text for lane in lanes] == [lane.text for lane in alone.lanes]
            assert [(lane.label, lane.finish) for lane in lanes] == [(lane.label, lane.finish) for lane in alone.lanes]
            assert (again.read, again.prompt_tokens) == (alone.read, alone.prompt_tokens)
    assert len({tuple(lanes[0].ids) for again in found for lanes in again.texts}) > 2, "seeds draw texts of their own"


def test_a_long_prompt_is_read_in_pieces_all_the_same(
    tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt, "PIECE", 8)
    lm, told = tiny_lm("llama"), list[str]()
    sums = analysis_of(lm)
    (again,) = write_again(lm, sums, PROMPTS[1:], SEEDS, SPECS, WARM, tell=lambda at: told.append(at.what))
    assert any(what.startswith("Reading the prompt: 8 of") for what in told)
    for seed, lanes in zip(SEEDS, again.texts, strict=True):
        alone = compare(lm, sums, PROMPTS[1], SPECS, dataclasses.replace(WARM, seed=seed))
        assert [lane.ids for lane in lanes] == [lane.ids for lane in alone.lanes]


@pytest.mark.parametrize(("at", "prompts", "kept"), [(3, 2, []), (15, 2, [3]), (99, 2, [3, 3]), (13, 1, [2])])
def test_a_stop_keeps_what_is_through(
    at: int, prompts: int, kept: list[int], tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one prompt the seeds that are through; of several, only prompts with all their seeds."""
    monkeypatch.setattr(repeat, "ROWS", 4 if prompts == 1 else 6)
    lm = tiny_lm("llama")
    steps = iter(range(1000))
    found = write_again(
        lm, analysis_of(lm), PROMPTS[:prompts], SEEDS, (RAW, HALF), WARM, stop=lambda: next(steps) >= at
    )  # fmt: skip
    assert [len(again.texts) for again in found] == kept


def test_it_tells_texts_and_tokens(tiny_lm: Callable[[str], Any]) -> None:
    lm, told = tiny_lm("llama"), list[Progress]()
    found = list(write_again(lm, analysis_of(lm), PROMPTS, SEEDS, (RAW, HALF), WARM, tell=told.append))
    written = sum(len(lane.ids) for again in found for lanes in again.texts for lane in lanes)
    assert (told[-1].done, told[-1].total, told[-1].tokens) == (12, 12, written)
    assert [at.tokens for at in told] == sorted(at.tokens for at in told)


def test_every_prompt_has_a_seed(tiny_lm: Callable[[str], Any]) -> None:
    with pytest.raises(InputError, match="1 seeds for 2 prompts"):
        generate(tiny_lm("llama"), ["a", "b"], [Lane()], WARM, seeds=[1])


@pytest.mark.builtin
def test_the_real_model_writes_what_generate_writes(builtin_lm: Any) -> None:
    from spd_core.subspace.store import capture_at

    analysis, specs = capture_at("arithmetic"), (RAW, LaneSpec(), LaneSpec(of="random"))
    asked, short = analysis.capability.split("heldout").examples[0].prompt, Sampling(max_new_tokens=8)
    (again,) = write_again(builtin_lm, analysis, [asked], (0, 1), specs, short)
    for seed, lanes in enumerate(again.texts):
        alone = compare(builtin_lm, analysis, asked, specs, dataclasses.replace(short, seed=seed))
        assert [lane.ids for lane in lanes] == [lane.ids for lane in alone.lanes]

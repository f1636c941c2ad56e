"""Lanes in one batch against `model.generate` and against each lane alone."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from spd_core.errors import InputError
from spd_core.generation.decode import Completion, Sampling, generate
from spd_core.intervention.projection import Lane, projecting
from tests.intervention.test_projection import subspace_of
from tests.tiny import FAMILIES

GREEDY = Sampling(temperature=0, max_new_tokens=20)
PROMPTS = ["Question: 2 + 2?", "A much longer prompt than the others have", "Hi"]


def plain(lm: Any, prompt: str, n: int) -> list[int]:
    """What transformers writes, greedily."""
    inputs = lm.tokenizer(prompt, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    out = lm.model.generate(**inputs, do_sample=False, max_new_tokens=n, pad_token_id=0)[0]
    written: list[int] = out[inputs["input_ids"].shape[1] :].tolist()
    return written[: written.index(1)] if 1 in written else written


def no_eos(lm: Any) -> Any:
    """A copy whose model cannot end its text."""
    model = copy.deepcopy(lm.model)
    with torch.no_grad():
        model.lm_head.weight[1] = 0
    return dataclasses.replace(lm, model=model)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_raw_lane_equals_plain_generate_in_every_family(family: str, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    for completion in generate(lm, PROMPTS, [Lane()], GREEDY, batch_size=1):
        assert completion.tokens == plain(lm, completion.prompt, 20)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "mistral"])
def test_padded_batches_write_what_each_prompt_writes_alone(family: str, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    lanes = [Lane(), Lane(subspace_of(lm))]
    together = generate(lm, PROMPTS, lanes, GREEDY, batch_size=3, measured=True)
    alone = generate(lm, PROMPTS, lanes, GREEDY, batch_size=1, measured=True)
    assert [c.tokens for c in together] == [c.tokens for c in alone]
    for mine, other in zip(together, alone, strict=True):
        assert mine.logprobs == pytest.approx(other.logprobs, abs=1e-3)


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_a_projected_lane_in_a_mixed_batch_equals_the_same_lane_alone(
    family: str, tiny_lm: Callable[[str], Any]
) -> None:
    lm = tiny_lm(family)
    subspace = subspace_of(lm)
    projected = Lane(subspace)
    mixed = generate(lm, PROMPTS, [Lane(), projected, Lane(subspace, complement=True)], GREEDY)
    for i, prompt in enumerate(PROMPTS):
        with projecting(lm, projected):
            assert mixed[3 * i + 1].tokens == plain(lm, prompt, 20)


def test_strength_zero_and_full_rank_write_what_raw_writes(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    lanes = [Lane(), Lane(subspace_of(lm), strength=0.0), Lane(subspace_of(lm, rank=str(lm.card.d_kv)))]
    for sampling in (GREEDY, Sampling(seed=5, max_new_tokens=20)):
        raw, zero, full = generate(lm, PROMPTS[:1], lanes, sampling)
        assert raw.tokens == zero.tokens == full.tokens


def test_shared_randomness_makes_equal_lanes_write_equal_text(tiny_lm: Callable[[str], Any]) -> None:
    lm = no_eos(tiny_lm("llama"))
    shared = generate(lm, ["Hi"], [Lane(), Lane()], Sampling(temperature=2.0, seed=1, max_new_tokens=20))
    apart = generate(
        lm, ["Hi"], [Lane(), Lane()], Sampling(temperature=2.0, seed=1, max_new_tokens=20, shared_randomness=False)
    )
    assert shared[0].tokens == shared[1].tokens
    assert apart[0].tokens != apart[1].tokens
    assert apart[0].tokens == shared[0].tokens, "the first lane's noise is the same either way"
    later = generate(lm, ["Hi"], [Lane()], Sampling(2.0, 0.9, 20, 1, shared_randomness=False), first_lane=1)
    assert later[0].tokens == apart[1].tokens, "lanes written in a second call have noise of their own"


def test_seeds_decide_and_batches_do_not(tiny_lm: Callable[[str], Any]) -> None:
    lm = no_eos(tiny_lm("llama"))
    warm = {seed: Sampling(temperature=1.5, seed=seed, max_new_tokens=30) for seed in (0, 1)}
    draws = {seed: generate(lm, PROMPTS, [Lane()], warm[seed]) for seed in warm}
    again = generate(lm, PROMPTS, [Lane()], warm[0], batch_size=1)
    assert [c.tokens for c in again] == [c.tokens for c in draws[0]]
    assert [c.tokens for c in draws[1]] != [c.tokens for c in draws[0]]


def test_a_numbered_prompt_writes_the_same_in_any_batch(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    sampling = Sampling(temperature=1.5, top_p=1.0, max_new_tokens=8, seed=3)
    together = generate(lm, PROMPTS, [Lane()], sampling)
    last = generate(lm, PROMPTS[2:], [Lane()], sampling, numbers=[2])
    assert last[0].tokens == together[2].tokens
    assert generate(lm, PROMPTS[2:], [Lane()], sampling)[0].tokens != together[2].tokens, "the noise is another"
    with pytest.raises(InputError, match="1 numbers for 3 prompts"):
        generate(lm, PROMPTS, [Lane()], sampling, numbers=[0])


def test_log_probability_and_entropy_are_the_lane_s_own(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    lane = Lane(subspace_of(lm))
    warm = Sampling(temperature=1.3, max_new_tokens=6)
    completion = generate(lm, ["Hello"], [Lane(), lane], warm, measured=True)[1]
    unmeasured = generate(lm, ["Hello"], [Lane(), lane], warm)[1]
    assert (unmeasured.tokens, unmeasured.logprobs, unmeasured.entropies) == (completion.tokens, [], [])
    ids = lm.tokenizer("Hello")["input_ids"] + completion.tokens
    with projecting(lm, lane), torch.no_grad():
        logp = lm.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    start = len(ids) - len(completion.tokens)
    for i, token in enumerate(completion.tokens):
        row = logp[start + i - 1]
        assert completion.logprobs[i] == pytest.approx(float(row[token]), abs=1e-4)
        assert completion.entropies[i] == pytest.approx(float(-(row.exp() * row).sum()), abs=1e-4)


def test_the_checkpoint_s_generation_settings_do_not_leak_in(tiny_lm: Callable[[str], Any]) -> None:
    lm = no_eos(tiny_lm("llama"))
    before = generate(lm, ["Hi"], [Lane()], Sampling(seed=3, max_new_tokens=20))[0].tokens
    settings = lm.model.generation_config
    settings.repetition_penalty, settings.top_k, settings.temperature, settings.do_sample = 5.0, 1, 9.0, True
    assert generate(lm, ["Hi"], [Lane()], Sampling(seed=3, max_new_tokens=20))[0].tokens == before


def test_ending_stopping_and_running_out(tiny_lm: Callable[[str], Any]) -> None:
    lm = no_eos(tiny_lm("llama"))
    (long,) = generate(lm, ["Hi"], [Lane()], Sampling(temperature=0, max_new_tokens=5))
    assert (long.finish, len(long.tokens)) == ("length", 5)
    ending = dataclasses.replace(lm, model=copy.deepcopy(lm.model))
    ending.model.generation_config.eos_token_id = [long.tokens[2]]
    (short,) = generate(ending, ["Hi"], [Lane()], Sampling(temperature=0, max_new_tokens=5))
    assert (short.finish, short.tokens) == ("eos", long.tokens[: long.tokens.index(long.tokens[2])])
    seen: list[int] = []

    def on_step(batch: list[Completion]) -> None:
        seen.append(len(batch[0].tokens))

    (stopped,) = generate(lm, ["Hi"], [Lane()], GREEDY, on_step=on_step, stop=lambda: len(seen) == 3)
    assert seen == [1, 2, 3]
    assert (stopped.finish, len(stopped.tokens)) == ("stopped", 3)


def test_a_prompt_longer_than_the_context_is_refused(tiny_lm: Callable[[str], Any]) -> None:
    with pytest.raises(InputError, match="300 tokens long, and the model's context of 256"):
        generate(tiny_lm("llama"), ["x" * 300], [Lane()], GREEDY)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"max_new_tokens": 0},
    ],
)
def test_sampling_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Sampling(**settings)


def test_no_prompt_text_and_no_lane_are_refused(tiny_lm: Callable[[str], Any]) -> None:
    with pytest.raises(InputError, match="empty"):
        generate(tiny_lm("llama"), [""], [Lane()], GREEDY)
    with pytest.raises(InputError, match="lanes"):
        generate(tiny_lm("llama"), ["Hi"], [], GREEDY)


@pytest.mark.builtin
def test_the_builtin_model_writes_what_plain_generate_writes(builtin_lm: Any) -> None:
    prompts = ["Question: What is 3 + 4?\nAnswer:", "The capital of France is"]
    for completion in generate(builtin_lm, prompts, [Lane()], Sampling(temperature=0, max_new_tokens=12)):
        inputs = builtin_lm.tokenizer(completion.prompt, return_tensors="pt")
        out = builtin_lm.model.generate(**inputs, do_sample=False, max_new_tokens=12)[0]
        written = out[inputs["input_ids"].shape[1] :].tolist()
        assert completion.tokens == written[: len(completion.tokens)]
        assert len(completion.tokens) == len(written) or written[len(completion.tokens)] == 2


def test_every_step_shows_all_completions_those_of_later_batches_still_empty(tiny_lm: Callable[[str], Any]) -> None:
    lm = no_eos(tiny_lm("llama"))
    lengths: list[list[int]] = []
    generate(
        lm, ["Hi", "Ho"], [Lane()], Sampling(temperature=0, max_new_tokens=2), batch_size=1,
        on_step=lambda completions: lengths.append([len(c.tokens) for c in completions]),
    )  # fmt: skip
    assert lengths == [[1, 0], [2, 0], [2, 1], [2, 2]]


def test_rows_that_end_at_different_times_write_what_they_write_alone(tiny_lm: Callable[[str], Any]) -> None:
    """Places of ended rows are taken by others: keys, values, masks and noise must move with them."""
    lm = tiny_lm("llama")
    lm = dataclasses.replace(lm, model=copy.deepcopy(lm.model))
    warm = Sampling(temperature=1.5, top_p=0.95, seed=2, max_new_tokens=40)
    prompts = [f"{'word ' * (i % 4)}{i}" for i in range(12)]
    lm.model.generation_config.eos_token_id = list(range(1, 12))  # one in nine tokens ends a text
    together = generate(lm, prompts, [Lane()], warm, batch_size=12, measured=True)
    assert len({len(one.tokens) for one in together}) > 3
    for number, one in enumerate(together):
        (alone,) = generate(lm, prompts[number : number + 1], [Lane()], warm, numbers=[number], measured=True)
        assert (one.tokens, one.finish, one.end) == (alone.tokens, alone.finish, alone.end)
        assert one.logprobs == pytest.approx(alone.logprobs, abs=1e-3)


SEEDS = [5, 6, 7, 5, 8]
AGAIN = [PROMPTS[0], PROMPTS[0], PROMPTS[1], PROMPTS[2], PROMPTS[0]]


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "gemma2"])
@pytest.mark.parametrize("batch_size", [2, 5])
def test_prompts_with_seeds_of_their_own_write_what_each_writes_alone(
    batch_size: int, family: str, tiny_lm: Callable[[str], Any]
) -> None:
    """A prompt that stands several times in a batch is read once; some end early, and others take their place."""
    lm = tiny_lm(family)
    lm = dataclasses.replace(lm, model=copy.deepcopy(lm.model))
    lm.model.generation_config.eos_token_id = list(range(1, 20))
    lanes = [Lane(), Lane(subspace_of(lm))]
    warm = Sampling(temperature=1.5, top_p=1.0, max_new_tokens=24)
    ids = [lm.tokenizer(prompt)["input_ids"] for prompt in AGAIN]
    numbers = [3, 3, 0, 3, 4]
    together = generate(lm, ids, lanes, warm, batch_size=batch_size, seeds=SEEDS, numbers=numbers, measured=True)
    for at, (prompt, seed, number) in enumerate(zip(AGAIN, SEEDS, numbers, strict=True)):
        drawn = dataclasses.replace(warm, seed=seed)
        alone = generate(lm, [prompt], lanes, drawn, numbers=[number], measured=True)
        for mine, other in zip(together[2 * at : 2 * at + 2], alone, strict=True):
            assert (mine.prompt, mine.tokens, mine.finish, mine.end) == (
                other.prompt, other.tokens, other.finish, other.end,
            )  # fmt: skip
            assert mine.entropies == pytest.approx(other.entropies, abs=1e-3)
    assert len({tuple(one.tokens) for one in together}) > 6


def test_a_prompt_that_stands_several_times_is_read_once(
    tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, shapes = no_eos(tiny_lm("llama")), []
    plain = lm.model.forward

    def watching(*given: Any, **named: Any) -> Any:
        shapes.append(tuple(named["input_ids"].shape))
        return plain(*given, **named)

    monkeypatch.setattr(lm.model, "forward", watching)
    warm = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=2)
    generate(lm, AGAIN, [Lane()], warm, batch_size=5, seeds=SEEDS)
    assert shapes[0][0] == 3
    assert shapes[1] == (5, 1)


def test_one_seed_for_each_prompt(tiny_lm: Callable[[str], Any]) -> None:
    with pytest.raises(InputError, match="1 seeds for 3 prompts"):
        generate(tiny_lm("llama"), PROMPTS, [Lane()], GREEDY, seeds=[1])

"""Tokens chosen among few candidates against transformers' warpers over the whole vocabulary."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from spd_core.generation import choosing
from spd_core.generation.choosing import CANDIDATES, choose, nucleus, statistics
from spd_core.recipes.lanes import Sampling


def noise(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def plainly(logits: Tensor, sampling: Sampling, seeds: list[int]) -> list[int]:
    """The definition, row by row: transformers' warpers, then the largest of score − log(exponential noise)."""
    chain = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k:
        chain.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        chain.append(TopPLogitsWarper(sampling.top_p))
    chosen = []
    for row, seed in zip(logits, seeds, strict=True):
        scores = chain(torch.zeros(1, 1).long(), row[None].clone())[0]
        drawn = torch.empty(len(row)).exponential_(generator=torch.Generator().manual_seed(seed))
        chosen.append(int((scores - drawn.clamp(min=torch.finfo(torch.float32).tiny).log()).argmax()))
    return chosen


def hard_rows(vocabulary: int, seed: int) -> Tensor:
    """[8, vocabulary] logits: of a model's shape, peaked, flat, ties here and everywhere, −∞, and the nearly equal."""
    generator = torch.Generator().manual_seed(seed)
    model = torch.randn(vocabulary, generator=generator) * 3
    peaked = model.clone()
    peaked[seed % vocabulary] = 60.0
    barred = model.masked_fill(torch.rand(vocabulary, generator=generator) < 0.9, -torch.inf)
    barred[0] = 1.0
    few = torch.full((vocabulary,), -torch.inf)
    few[seed % vocabulary] = 0.0
    return torch.stack(
        [model, peaked, torch.zeros(vocabulary), model.round(), (model * 2).round() / 2, barred, few, model / 300]
    )


@settings(max_examples=60, deadline=None)
@given(
    vocabulary=st.sampled_from([5, 127, 128, 129, 400, 3000]),
    seed=st.integers(0, 10**6),
    top_p=st.sampled_from([1e-9, 0.05, 0.5, 0.9, 0.95, 0.999, 0.999999, 1.0]),
    temperature=st.sampled_from([0.1, 0.7, 1.0, 3.0]),
    top_k=st.sampled_from([0, 0, 0, 3, 200]),
)
def test_the_token_is_the_one_of_the_full_sort(
    vocabulary: int, seed: int, top_p: float, temperature: float, top_k: int
) -> None:
    logits, seeds = hard_rows(vocabulary, seed), list(range(seed, seed + 8))
    sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k)
    assert choose(logits, sampling, noise(*seeds)).tolist() == plainly(logits, sampling, seeds)


@settings(max_examples=60, deadline=None)
@given(
    vocabulary=st.sampled_from([129, 400, 3000]),
    seed=st.integers(0, 10**6),
    top_p=st.floats(0.01, 0.99),
)
def test_candidates_that_are_sure_are_those_that_the_library_keeps(vocabulary: int, seed: int, top_p: float) -> None:
    scores = hard_rows(vocabulary, seed)
    kept = torch.isfinite(TopPLogitsWarper(top_p)(None, scores.clone()))
    values, ids, sure = nucleus(scores, top_p)
    for row in torch.nonzero(sure)[:, 0].tolist():
        mine = ids[row][torch.isfinite(values[row])]
        assert sorted(mine.tolist()) == torch.nonzero(kept[row])[:, 0].tolist()


def test_ordinary_rows_are_sure_and_those_that_many_tokens_share_are_not() -> None:
    rows = torch.randn(50, 5000, generator=torch.Generator().manual_seed(0)) * 5
    assert nucleus(rows, 0.9)[2].float().mean() > 0.9
    assert not nucleus(torch.zeros(1, 5000), 0.9)[2].any()
    tied = torch.cat([torch.tensor([3.0, 2.0, 2.0, 2.0]), torch.full((200,), -9.0)])[None]
    assert not nucleus(tied, 0.7)[2].any(), "which of the equal ones stays is for the library's sort to say"


def test_rows_with_equal_noise_and_distribution_choose_alike_whatever_else_is_in_the_batch() -> None:
    rows = torch.randn(20, 3000, generator=torch.Generator().manual_seed(3)) * 2
    sampling = Sampling(temperature=1.2, top_p=0.9)
    for seed in range(20):
        alone = choose(rows[seed : seed + 1], sampling, noise(seed)).item()
        shared = noise(seed)[0]
        mixed = torch.cat([rows[:seed], rows[seed : seed + 1], rows, rows[seed : seed + 1]])
        others = noise(*range(1000, 1000 + len(mixed)))
        others[seed] = others[-1] = shared
        found = choose(mixed, sampling, others)
        assert found[seed] == found[-1] == alone


def test_a_shared_generator_draws_once_a_step() -> None:
    flat, sampling = torch.zeros(3, 500), Sampling(temperature=1.0, top_p=1.0)
    together, alone = noise(7)[0], noise(7)[0]
    for _ in range(5):
        assert set(choose(flat, sampling, [together] * 3).tolist()) == {choose(flat[:1], sampling, [alone]).item()}


@pytest.mark.parametrize("vocabulary", [1, 7, 16, 1000, 49_152])
def test_noise_is_torch_s_exponential_noise_to_the_last_bit(vocabulary: int) -> None:
    """What was written under a seed before is written under it again."""
    ours, theirs = torch.Generator().manual_seed(vocabulary), torch.Generator().manual_seed(vocabulary)
    for _ in range(4):
        found = choosing._Draws([ours], vocabulary)
        drawn = torch.empty(vocabulary).exponential_(generator=theirs).clamp(min=torch.finfo(torch.float32).tiny)
        assert torch.equal(found.rows([0])[0], -drawn.log())
        some = torch.randint(vocabulary, (1, 5))
        assert torch.equal(found.of(some), -drawn[some].log())
    assert torch.equal(ours.get_state(), theirs.get_state())


def test_greedy_takes_the_first_of_the_likeliest_and_reads_no_noise() -> None:
    assert choose(torch.tensor([[0.0, 2.0, 2.0], [1.0, 0.0, 0.0]]), Sampling(temperature=0), []).tolist() == [1, 0]


def test_statistics_are_of_the_untouched_distribution() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.25, 0.0]]).log()
    logprobs, entropies = statistics(logits, torch.tensor([1]))
    assert logprobs == pytest.approx([-1.3862944])  # log ¼
    assert entropies == pytest.approx([1.0397208])  # 1.5 log 2


def test_samples_follow_the_model_s_distribution() -> None:
    """First tokens of 3000 seeds against the softmax: chi-squared over the likeliest tokens."""
    from scipy.stats import chisquare

    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(0)) * 1.5
    counts = torch.zeros(12)
    for seed in range(3000):
        counts[choose(logits, Sampling(temperature=0.8, top_p=1.0), noise(seed))] += 1
    expected = 3000 * (logits[0] / 0.8).softmax(-1)
    assert chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-4


def test_truncated_samples_follow_the_distribution_that_is_left() -> None:
    """Among candidates, too: 3000 seeds over a vocabulary larger than they."""
    from scipy.stats import chisquare

    logits = torch.full((1, 4 * CANDIDATES), -12.0)
    logits[0, [3, 300, 500]] = torch.tensor([2.0, 1.5, 1.0])
    counts = torch.zeros(4 * CANDIDATES)
    for seed in range(3000):
        counts[choose(logits, Sampling(temperature=1.0, top_p=0.99), noise(seed))] += 1
    expected = 3000 * torch.tensor([2.0, 1.5, 1.0]).softmax(-1)
    assert counts.sum() == counts[[3, 300, 500]].sum() == 3000
    assert chisquare(counts[[3, 300, 500]], expected).pvalue > 1e-4


def test_top_p_keeps_the_smallest_set_with_its_mass() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    drawn = {int(choose(logits, Sampling(temperature=1.0, top_p=0.75), noise(seed))) for seed in range(200)}
    assert drawn == {0, 1}


def test_top_k_comes_before_top_p_as_in_transformers() -> None:
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(1)) * 2
    chain = LogitsProcessorList([TemperatureLogitsWarper(1.6), TopKLogitsWarper(20), TopPLogitsWarper(0.8)])
    allowed = set(torch.nonzero(torch.isfinite(chain(torch.zeros(1, 1).long(), logits.clone())[0]))[:, 0].tolist())
    sampling = Sampling(temperature=1.6, top_p=0.8, top_k=20)
    drawn = {int(choose(logits, sampling, noise(seed))) for seed in range(2000)}
    assert drawn == allowed
    assert 1 < len(allowed) < 20


def test_a_few_candidates_are_looked_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer of them change nothing but how often all are sorted."""
    rows, seeds = hard_rows(1000, 5), list(range(8))
    sampling = Sampling(temperature=1.0, top_p=0.9)
    whole = choose(rows, sampling, noise(*seeds)).tolist()
    monkeypatch.setattr(choosing, "CANDIDATES", 2)
    assert choose(rows, sampling, noise(*seeds)).tolist() == whole

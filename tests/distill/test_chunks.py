"""OmniOPD's objective against brute force, a table, numbers by hand and finite differences."""

import itertools
import random
from collections.abc import Callable
from math import exp

import pytest
import torch
from torch import Tensor

from spd_core.distill.chunks import (
    choose_anchors,
    chunk_loss,
    chunk_positions,
    target,
    unaudited,
)
from spd_core.distill.similarity import MOST_CHARACTERS, similarity
from tests.distill.students import levenshtein


def one_by_one(scores: list[float], length: int, most: int) -> list[int]:
    """The definition: as long as there is room, the highest start that may still be chosen, the latest of equals."""
    chosen: list[int] = []
    while len(chosen) < most:
        free = [
            t
            for t in range(len(scores))
            if t + length <= len(scores)
            and not any(set(range(t, t + length)) & set(range(u, u + length)) for u in chosen)
        ]
        if not free:
            break
        top = max(scores[t] for t in free)
        chosen.append([t for t in free if scores[t] == top][-1])
    return sorted(chosen)


def test_anchors_are_those_of_brute_force_on_all_small_cases() -> None:
    for tokens, length, most in itertools.product(range(7), range(1, 5), range(1, 4)):
        for scores in itertools.product((0.0, 0.5, 1.0), repeat=tokens):  # mostly ties
            expected = one_by_one(list(scores), length, most)
            assert choose_anchors(torch.tensor(scores), length, most) == expected, (scores, length, most)


def test_anchors_are_those_of_brute_force_on_long_rollouts() -> None:
    noise = random.Random(0)
    for _ in range(50):
        scores = [round(noise.uniform(0, 5), 1) for _ in range(noise.randrange(1, 120))]
        length, most = noise.randrange(1, 30), noise.randrange(1, 8)
        assert choose_anchors(torch.tensor(scores), length, most) == one_by_one(
            torch.tensor(scores).tolist(), length, most
        )


def test_a_rollout_of_one_chunk_has_one_and_one_token_less_has_none() -> None:
    assert choose_anchors(torch.rand(50), 50, 10) == [0]
    assert choose_anchors(torch.rand(49), 50, 10) == []
    assert choose_anchors(torch.zeros(0), 1, 10) == []
    assert choose_anchors(torch.zeros(12), 5, 10) == [2, 7], "of equals the later first, and the rest as it fits"


# --- similarity --------------------------------------------------------------------------------------------------


def test_similarity_is_that_of_the_textbook_s_table() -> None:
    noise = random.Random(1)
    for _ in range(400):
        one, other = ("".join(noise.choices("ab é🙂\n", k=noise.randrange(13))) for _ in range(2))
        longest = max(len(one), len(other))
        assert similarity(one, other) == pytest.approx(1 - levenshtein(one, other) / longest if longest else 1)
    assert (similarity("", ""), similarity("", "a"), similarity("a", "")) == (1, 0, 0)
    assert similarity("kitten", "sitting") == pytest.approx(1 - 3 / 7)


def test_of_long_texts_the_beginning_is_compared() -> None:
    same = "x" * MOST_CHARACTERS
    assert similarity(same + "a" * 50, same + "b" * 90) == 1


def test_likeness_of_known_pairs() -> None:
    assert similarity("abc", "abc") == 1
    assert similarity("abc", "xyz") == 0
    assert similarity("abcd", "abxx") == pytest.approx(0.5)


# --- the target --------------------------------------------------------------------------------------------------


def test_the_target_by_hand() -> None:
    prior = torch.tensor([0.25])
    at = prior.log()
    assert float(target(torch.tensor([0.0]), at, 10, 1.0)) == pytest.approx(0.25 / 11)
    assert float(target(torch.tensor([10.0]), at, 10, 1.0)) == pytest.approx(10.25 / 11)
    assert float(target(torch.tensor([0.5]), at, 1, 1.0)) == pytest.approx(0.375)
    assert float(target(torch.tensor([3.0]), at, 10, 0.0)) == pytest.approx(0.3), "without a prior the teacher alone"
    assert float(target(torch.tensor([3.0]), at, 10, 1e9)) == pytest.approx(0.25), "with all of it the student alone"


def test_the_target_is_a_probability_and_has_no_gradient() -> None:
    torch.manual_seed(0)
    for samples in (1, 4, 10):
        k = torch.rand(200) * samples
        logprob = (-20 * torch.rand(200)).requires_grad_()
        for prior in (0.0, 1.0, 5.0):
            found = target(k, logprob, samples, prior)
            assert not found.requires_grad
            assert bool(((found >= 0) & (found <= 1)).all())


# --- tokens ------------------------------------------------------------------------------------------------------


def test_every_token_is_in_a_chunk_or_free_or_padding() -> None:
    starts = torch.tensor([[0, 5, -1], [-1, -1, -1], [2, -1, -1]])
    mask = torch.tensor([[1] * 8, [1] * 3 + [0] * 5, [1] * 6 + [0] * 2])
    rows, at = chunk_positions(starts, 3)
    assert list(zip(rows.flatten().tolist(), at.flatten().tolist(), strict=True)) == [
        (0, 0), (0, 1), (0, 2), (0, 5), (0, 6), (0, 7), (2, 2), (2, 3), (2, 4),
    ]  # fmt: skip
    assert unaudited(starts, mask, 3).int().tolist() == [
        [0, 0, 0, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 1, 0, 0],
    ]  # fmt: skip
    assert mask.tolist()[0] == [1] * 8, "the mask itself is as before"


# --- the loss ----------------------------------------------------------------------------------------------------


def test_the_loss_of_two_chunks_by_hand() -> None:
    logprobs = torch.tensor([[0.5, 0.5], [0.25, 0.25]]).log().requires_grad_()
    loss, targets = chunk_loss(logprobs, torch.tensor([4.0, 1.0]), 4, 1.0)
    one, two = 4.5 / 5, 1.25 / 5
    assert targets.tolist() == pytest.approx([one, two])
    assert float(loss) == pytest.approx(
        -one * 2 * float(torch.tensor(0.5).log()) - two * 2 * float(torch.tensor(0.25).log())
    )
    loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad.flatten().tolist() == pytest.approx([-one, -one, -two, -two])


def test_without_a_chunk_the_loss_is_0() -> None:
    loss, targets = chunk_loss(torch.zeros(0, 5, requires_grad=True), torch.zeros(0), 4, 1.0)
    assert (float(loss.detach()), list(targets)) == (0.0, [])
    loss.backward()


def test_the_gradient_is_that_of_finite_differences_with_the_target_held() -> None:
    """A language model of two layers in float64; tokens 0 to 11 follow each other, chunks begin at 2 and 7."""
    torch.manual_seed(3)
    shape = [(9, 6), (6, 6), (6, 9)]
    weights = [torch.randn(one, dtype=torch.float64) * 0.7 for one in shape]
    reference = [one + 0.1 * torch.randn_like(one) for one in weights]
    tokens, samples, prior, beta = torch.randint(9, (13,)), 4, 1.0, 0.1
    starts, mask = torch.tensor([[2, 7]]), torch.ones(1, 12)
    k = torch.tensor([1.3, 3.2], dtype=torch.float64)

    def logp(model: list[Tensor]) -> Tensor:
        return (torch.tanh(model[0][tokens[:-1]] @ model[1]) @ model[2]).log_softmax(-1)  # [12, 9]

    def loss(model: list[Tensor], chunks: Callable[[Tensor], Tensor]) -> Tensor:
        own, held = logp(model), logp(reference)
        said = own.gather(1, tokens[1:, None])[:, 0]
        _, at = chunk_positions(starts, 3)
        apart = (held.exp() * (held - own)).sum(-1)[unaudited(starts, mask, 3)[0]].sum()
        return chunks(said[at]) + beta * apart

    def plain(said: Tensor) -> Tensor:
        """With the targets of the weights as they are, by hand."""
        return -sum(weight * line.sum() for weight, line in zip(held_targets, said, strict=True))  # type: ignore[return-value]

    own = logp(weights).gather(1, tokens[1:, None])[:, 0]
    held_targets = [
        (float(k[c]) + prior * exp(float(own[start : start + 3].mean()))) / (samples + prior)
        for c, start in enumerate((2, 7))
    ]
    free = [one.clone().requires_grad_() for one in weights]
    loss(free, lambda said: chunk_loss(said, k, samples, prior)[0]).backward()
    step = 1e-6
    for layer, place in [
        (0, (int(tokens[3]), 1)),
        (0, (int(tokens[8]), 4)),
        (1, (2, 3)),
        (1, (5, 0)),
        (2, (4, 7)),
        (2, (0, 2)),
    ]:
        sides = []
        for sign in (1, -1):
            moved = [one.clone() for one in weights]
            moved[layer][place] += sign * step
            sides.append(float(loss(moved, plain)))
        gradient = free[layer].grad
        assert gradient is not None
        assert float(gradient[place]) == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6, abs=1e-8)

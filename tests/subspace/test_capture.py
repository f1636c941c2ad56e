"""Streamed gradients equal the slow reference, whatever the batch size, family or padding."""

import copy
import dataclasses
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spd_core.data.spans import Encoded, EncodedSet
from spd_core.errors import CaptureError, InputError, Stopped
from spd_core.subspace.capture import batch_gradients, capture_gradients
from spd_core.subspace.gram import GradientGram
from tests.reference import gradient_rows, stacked_gradients
from tests.tiny import FAMILIES


def random_examples(n: int, seed: int = 0) -> EncodedSet:
    """Examples of different lengths with one to four supervised tokens anywhere but at 0."""
    draw = random.Random(seed)
    examples = []
    for i in range(n):
        length = draw.randint(5, 40)
        ids = tuple(draw.randrange(2, 250) for _ in range(length))
        supervised = tuple(sorted(draw.sample(range(1, length), draw.randint(1, 4))))
        examples.append(Encoded(f"example-{i}", "", ids, tuple((0, 0) for _ in ids), supervised))
    return EncodedSet(tuple(examples))


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


ROUNDED = {"gemma2": 1e-6}
"""Families that round inside although the model is in float64: Gemma 2 takes the softmax of attention in float32."""


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_slow_reference_in_every_family(family: str, double_lm: Callable[[str], Any]) -> None:
    lm = double_lm(family)
    examples = random_examples(7)
    result = capture_gradients(lm, examples, (1, 2), batch_size=3)
    assert set(result.grams) == set(lm.sites_at((1, 2)))
    for site, gram in result.grams.items():
        rows = stacked_gradients(lm.model, examples.examples, site)
        assert gram.rows == len(rows) == sum(len(example.ids) for example in examples.examples)
        total, bound = rows.sum(0), ROUNDED.get(family, 1e-9)
        assert relative(gram.gram, rows.T @ rows) < bound
        least = bound * float(total.norm()) if family in ROUNDED else 1e-12
        torch.testing.assert_close(gram.total, total, rtol=bound, atol=least)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
@pytest.mark.parametrize("batch_size", [2, 5, 100])
def test_the_result_does_not_depend_on_the_batch_size(
    family: str, batch_size: int, double_lm: Callable[[str], Any]
) -> None:
    lm = double_lm(family)
    examples = random_examples(11)
    one = capture_gradients(lm, examples, (0, 2), batch_size=1)
    many = capture_gradients(lm, examples, (0, 2), batch_size=batch_size)
    assert many.losses == pytest.approx(one.losses, rel=1e-6)  # some norms round to float32 inside
    for site in one.grams:
        assert relative(many.grams[site].gram, one.grams[site].gram) < 1e-6


def test_padding_contributes_nothing(double_lm: Callable[[str], Any]) -> None:
    lm = double_lm("mistral")
    short, long = sorted(random_examples(2).examples, key=lambda example: len(example.ids))
    _, gradients, _ = batch_gradients(lm, [long, short], lm.sites)
    for gradient in gradients.values():
        assert not gradient[1, len(short.ids) :].any()
        assert gradient[1, : len(short.ids)].any()


def test_no_weight_gets_a_gradient_and_nothing_below_the_lowest_target_layer_is_in_the_graph(
    tiny_lm: Callable[[str], Any],
) -> None:
    lm = tiny_lm("llama")
    trainable = dataclasses.replace(lm, model=copy.deepcopy(lm.model).requires_grad_(True))
    in_graph: dict[str, bool] = {}
    for layer in range(3):
        path = f"model.layers.{layer}.self_attn.q_proj"
        trainable.model.get_submodule(path).register_forward_hook(
            lambda _m, _a, out, layer=layer: in_graph.update({str(layer): out.requires_grad})
        )
    capture_gradients(trainable, random_examples(3), (1,), batch_size=3)
    assert in_graph == {"0": False, "1": False, "2": True}
    parameters = list(trainable.model.parameters())
    assert all(parameter.grad is None for parameter in parameters)
    assert all(parameter.requires_grad for parameter in parameters), "what was trainable is so again"


def test_logits_are_computed_at_the_supervised_positions_alone(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    shapes: list[tuple[int, ...]] = []
    handle = lm.model.lm_head.register_forward_hook(lambda _m, _a, out: shapes.append(tuple(out.shape)))
    examples = random_examples(4)
    capture_gradients(lm, examples, (2,), batch_size=4)
    handle.remove()
    assert shapes == [(1, sum(len(example.supervised) for example in examples.examples), 260)]


def test_nothing_is_left_behind_after_an_error(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    ids = torch.arange(2, 12)[None]
    before = lm.model(ids).logits
    bad = Encoded("bad", "", (5, 999_999, 7), ((0, 0),) * 3, (2,))
    with pytest.raises(IndexError):
        capture_gradients(lm, EncodedSet((bad,)), (1,))
    assert torch.equal(lm.model(ids).logits, before)
    assert not lm.model.lm_head._forward_pre_hooks


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_loss_that_is_not_finite_names_its_example(batch_size: int, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    broken = dataclasses.replace(lm, model=copy.deepcopy(lm.model))
    with torch.no_grad():
        broken.model.model.embed_tokens.weight[251] = float("nan")
    examples = list(random_examples(4).examples)
    examples[2] = dataclasses.replace(examples[2], ids=(251, *examples[2].ids[1:]))
    with pytest.raises(CaptureError, match="example-2"):
        capture_gradients(broken, EncodedSet(tuple(examples)), (1, 2), batch_size=batch_size)


def test_a_gradient_that_is_not_finite_names_its_example_and_site(
    tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_lm("llama")
    real = torch.autograd.grad

    def overflowing(*args: Any, **options: Any) -> Any:
        grads = real(*args, **options)
        grads[1][2, 0, 0] = float("inf")  # value site, third row of the batch
        return grads

    monkeypatch.setattr(torch.autograd, "grad", overflowing)
    examples = random_examples(4)
    third = sorted(examples.examples, key=lambda example: -len(example.ids))[2]
    with pytest.raises(CaptureError, match=f"{third.id}.*layer 2 value"):
        capture_gradients(lm, examples, (2,), batch_size=4)


def test_stopping_keeps_what_is_there(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    seen: list[int] = []
    result = capture_gradients(
        lm, random_examples(9), (2,), batch_size=2,
        tell=lambda at: seen.append(at.done), stop=lambda: len(seen) == 2,
    )  # fmt: skip
    assert seen == [2, 4]
    assert (result.used, result.requested) == (4, 9)
    with pytest.raises(Stopped, match="stopped before"):
        capture_gradients(lm, random_examples(2), (2,), stop=lambda: True)


def test_senseless_settings_are_refused(tiny_lm: Callable[[str], Any]) -> None:
    for layers, batch_size in (((), 8), ((1,), 0)):
        with pytest.raises(InputError):
            capture_gradients(tiny_lm("llama"), random_examples(2), layers, batch_size=batch_size)


def test_merging_halves_equals_seeing_all(double_lm: Callable[[str], Any]) -> None:
    rows = torch.randn(50, 6, dtype=torch.float64)
    whole = GradientGram(6).update(rows)
    halves = GradientGram(6).update(rows[:20]).merge(GradientGram(6).update(rows[20:]))
    torch.testing.assert_close(halves.gram, whole.gram)
    torch.testing.assert_close(halves.centred(), (rows - rows.mean(0)).T @ (rows - rows.mean(0)))
    assert halves.rows == 50


@pytest.mark.builtin
def test_the_builtin_model_agrees_with_the_reference(builtin_lm: Any) -> None:
    """Real model, real examples; float32 on both sides, so rows agree to float32 and bases to 1e-4 (cosine)."""
    from spd_core.data.catalog import find_capability
    from spd_core.data.spans import encode_all
    from spd_core.subspace.gram import decompose, truncate
    from spd_core.subspace.spectrum import principal_angles
    from tests.reference import right_singular_vectors

    found = find_capability("arithmetic").limited(6)
    encoded = encode_all(found.examples, found.settings, builtin_lm.tokenizer)
    result = capture_gradients(builtin_lm, encoded, (15, 29), batch_size=6)
    example = encoded.examples[0]
    first = gradient_rows(builtin_lm.model, example.ids, example.supervised, "model.layers.29.self_attn.k_proj")
    assert first.abs().sum() > 0
    for site, gram in result.grams.items():
        rows = stacked_gradients(builtin_lm.model, encoded.examples, site)
        _, vectors = right_singular_vectors(rows, center=True)
        mine, _ = truncate(decompose(gram), "half")
        cosines = torch.from_numpy(principal_angles(mine, vectors[:, : mine.shape[1]]).copy()).cos()
        assert cosines.min() > 0.9999, site.label


# --- bfloat16 forward, float64 sums --------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**16),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    scale=st.integers(-30, 30),
)
@settings(max_examples=40, deadline=None)
def test_sums_of_bfloat16_rows_are_exact_to_float64_however_they_are_batched(
    seed: int, sizes: list[int], scale: int
) -> None:
    """Products of two bfloat16 numbers have 16 bits: float64 adds millions of them without a rounding that matters."""
    draw = torch.Generator().manual_seed(seed)
    rows = (torch.randn(sum(sizes), 5, generator=draw) * 2.0**scale).bfloat16()
    whole = np.array([[Fraction(float(x)) for x in row] for row in rows])  # [n, 5] exact
    exact = (whole.T @ whole).astype(float)
    gram = GradientGram(5)
    for part in rows.split(sizes):
        gram.update(part)
    assert np.abs(gram.gram.numpy() - exact).max() <= 1e-14 * np.abs(exact).max()
    low = (rows.float().T @ rows.float()).double().numpy()
    assert np.abs(low - exact).max() <= 1e-5 * np.abs(exact).max(), "what float32 would lose"


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_bfloat16_forward_gives_the_subspace_of_float64(family: str, double_lm: Callable[[str], Any]) -> None:
    """Its rows are rounded to 8 bits, its sums are not: the first direction stays where it is."""
    from spd_core.subspace.gram import decompose

    lm = double_lm(family)
    half = dataclasses.replace(lm, model=copy.deepcopy(lm.model).bfloat16())
    examples = random_examples(12)
    precise, rough = (capture_gradients(one, examples, (1, 2), batch_size=4) for one in (lm, half))
    for site, gram in precise.grams.items():
        own, other = decompose(gram), decompose(rough.grams[site])
        assert rough.grams[site].gram.dtype == torch.float64
        assert float((own.vectors[:, 0] @ other.vectors[:, 0]).abs()) > 0.99, site.label
        torch.testing.assert_close(other.values[:4], own.values[:4], rtol=0.1, atol=0)

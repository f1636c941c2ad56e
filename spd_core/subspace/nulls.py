"""What a spectrum is compared with: nulls that lack what the capability has, and the luck of the examples.

Knows nothing of models: the nulls that need one are captured like any capability (see `subspace/pipeline.py`).
"""

import random
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from spd_core.data.capability import Capability, Example, RangeSpans, RegexSpans
from spd_core.errors import CaptureError, InputError
from spd_core.subspace.gram import GradientGram, decompose
from spd_core.subspace.spectrum import numerical_rank

BOOTSTRAP_SAMPLES = 50


def shuffled(capability: Capability, seed: int = 0) -> Capability:
    """Every example with the answer of another one: the same texts, and nothing that makes an answer right.

    Spans and tests that point into the answer go with it. Where tests stand in the prompt and carry the loss, they
    are exchanged there too: nothing after them could change their gradients. Answers that occur more than once (an
    option letter) can fall on a question where they are right.

    Raises:
        InputError: fewer than two examples.
    """
    examples = capability.examples
    if len(examples) < 2:
        raise InputError(f"{len(examples)} example cannot be shuffled; use at least 2")
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)
    other = {own: order[(at + 1) % len(order)] for at, own in enumerate(order)}  # one cycle: nobody keeps its own
    return replace(capability, examples=tuple(_answered_by(e, examples[other[i]]) for i, e in enumerate(examples)))


def _answered_by(example: Example, other: Example) -> Example:
    prompt, spans = example.prompt, example.spans
    if example.tests and other.tests and all(test in prompt for test in example.tests):
        start = min(prompt.index(test) for test in example.tests)
        end = max(prompt.index(test) + len(test) for test in example.tests)
        prompt = prompt[:start] + "\n".join(other.tests) + prompt[end:]
    if not (isinstance(spans, RangeSpans | RegexSpans) and spans.part == "prompt"):
        spans = other.spans
    update = {"prompt": prompt, "answer": other.answer, "spans": spans, "tests": other.tests, "setup": other.setup}
    return example.model_copy(update=update)


def random_directions(norms: NDArray[np.floating], d: int, seed: int = 0) -> GradientGram:
    """Rows of the given norms `[M]` in directions drawn evenly from the sphere, accumulated."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(len(norms), d, generator=generator, dtype=torch.float64)
    rows *= torch.from_numpy(np.asarray(norms, np.float64) / np.linalg.norm(rows.numpy(), axis=1))[:, None]
    return GradientGram(d).update(rows)


def by_example(rows: NDArray[np.floating], example_of: NDArray[np.int64]) -> list[GradientGram]:
    """One accumulator for each example of the rows `[M, d]`; `example_of` [M] is ascending."""
    cuts = np.flatnonzero(np.diff(example_of)) + 1
    return [GradientGram(rows.shape[1]).update(torch.from_numpy(part)) for part in np.split(rows, cuts)]


def bootstrap(
    grams: list[GradientGram], *, center: bool = True, samples: int = BOOTSTRAP_SAMPLES, seed: int = 0
) -> NDArray[np.float64] | None:
    """[2, d] 5th and 95th percentile of each singular value when the examples are drawn again, with replacement.

    None below two examples: one is drawn the same each time. The examples are resampled and not the tokens: tokens of
    one example are not independent (Efron, 1979).
    """
    n, d = len(grams), len(grams[0].gram)
    if n < 2:
        return None
    weights = torch.from_numpy(np.random.default_rng(seed).multinomial(n, [1 / n] * n, samples)).double()  # [s, n]
    gram = torch.empty(samples, d, d, dtype=torch.float64)
    for block in torch.arange(d).split(64):  # all at once would copy every example's Gram matrix
        part = torch.stack([g.gram[block] for g in grams])  # [n, block, d]
        gram[:, block] = torch.einsum("sn,nbd->sbd", weights, part)
    total = weights @ torch.stack([g.total for g in grams])  # [s, d]
    rows = weights @ torch.tensor([float(g.rows) for g in grams], dtype=torch.float64)  # [s]
    if center:
        gram.baddbmm_(total[:, :, None], (total / rows[:, None])[:, None], alpha=-1)
    values = torch.linalg.eigvalsh(gram).flip(1).clamp(min=0).sqrt()  # [s, d]
    band: NDArray[np.float64] = np.quantile(values.numpy(), [0.05, 0.95], axis=0)
    return band


def halves(
    grams: list[GradientGram], *, center: bool = True, dtype: str = "float64", seed: int = 0
) -> NDArray[np.float32] | None:
    """[2, d, d] directions of two random halves of the examples, each alone.

    Columns beyond the non-zero singular values of a half are 0: those directions are rounding. None below two
    examples, and when a half has no gradient at all.

    Args:
        dtype: in which the rows were computed.
    """
    if len(grams) < 2:
        return None
    order = np.random.default_rng(seed).permutation(len(grams))
    found = []
    for part in np.array_split(order, 2):
        whole = GradientGram(len(grams[0].gram))
        for at in part:
            whole.merge(grams[at])
        try:
            spectrum = decompose(whole, center=center)
        except CaptureError:
            return None
        kept = numerical_rank(spectrum.values, dtype)
        found.append((spectrum.vectors * (torch.arange(len(spectrum.values)) < kept)).float().numpy())
    vectors: NDArray[np.float32] = np.stack(found)
    return vectors

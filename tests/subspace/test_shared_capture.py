"""A capture that several processes share is the one that a single process makes: sums, rows, nulls, and what fails."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from spd_core.data.spans import EncodedSet
from spd_core.errors import CaptureError, Stopped
from spd_core.peers import Peers
from spd_core.progress import Progress
from spd_core.recipes.capture import CaptureSettings
from spd_core.subspace.analysis import FULL, RANDOM, SHUFFLED, Analysis
from spd_core.subspace.capture import Captured, capture_gradients
from spd_core.subspace.gram import RowStore, decompose, truncate
from spd_core.subspace.pipeline import capture, capture_source, with_nulls
from tests.side_by_side import side_by_side
from tests.subspace.test_capture import random_examples
from tests.subspace.test_pipeline import sums

SETTINGS = CaptureSettings(layers="1,2", examples=7, batch_size=2)
"""Four batches: three for two processes' turns, and more processes than batches is a case, too."""


@pytest.fixture(scope="module")
def alone(double_lm: Callable[[str], Any]) -> Analysis:
    return with_nulls(double_lm("llama"), capture(double_lm("llama"), sums(), SETTINGS, name="sums"))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_everything_that_a_capture_keeps_is_the_same(
    count: int, alone: Analysis, double_lm: Callable[[str], Any]
) -> None:
    lm = double_lm("llama")

    def work(peers: Peers) -> Analysis:
        return with_nulls(lm, capture(lm, sums(), SETTINGS, name="sums", peers=peers), peers=peers)

    for found in side_by_side(count, work):
        assert found.identity == alone.identity
        assert found.examples == alone.examples, "in the same order"
        varies = {"seconds": 0.0, "command": ""}
        assert found.provenance.model_copy(update=varies) == alone.provenance.model_copy(update=varies)
        assert list(found.sites) == list(alone.sites)
        for site, mine in found.sites.items():
            one = alone.sites[site]
            np.testing.assert_allclose(mine.values, one.values, rtol=1e-9, atol=1e-12)
            assert mine.nulls.keys() == one.nulls.keys() == {RANDOM, SHUFFLED, FULL}
            for null, values in one.nulls.items():
                np.testing.assert_allclose(mine.nulls[null], values, rtol=1e-7, atol=1e-9)
            assert mine.band is not None
            assert mine.coordinates is not None
            assert one.coordinates is not None
            np.testing.assert_allclose(mine.band, one.band, rtol=1e-9, atol=1e-9)
            np.testing.assert_array_equal(mine.halves, one.halves, "drawn from the same examples, by the same numbers")
            np.testing.assert_array_equal(mine.coordinates.product, one.coordinates.product, "row by row")
            np.testing.assert_allclose(mine.coordinates.gradient, one.coordinates.gradient, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("count", [2, 3])
def test_the_subspace_is_the_same_in_float32(count: int, tiny_lm: Callable[[str], Any]) -> None:
    lm, examples = tiny_lm("qwen2"), random_examples(11)
    whole = capture_gradients(lm, examples, (0, 1, 2), batch_size=2)
    shared = side_by_side(count, lambda peers: capture_gradients(lm, examples, (0, 1, 2), batch_size=2, peers=peers))
    for found in shared:
        assert list(found.losses.items()) == list(whole.losses.items())
        assert (found.tokens, found.supervised, found.requested) == (whole.tokens, whole.supervised, whole.requested)
        for site, gram in found.grams.items():
            assert gram.gram.dtype == torch.float64
            assert gram.rows == whole.grams[site].rows
            bases = [truncate(decompose(one), "half")[0].double() for one in (gram, whole.grams[site])]
            assert float(torch.linalg.svdvals(bases[0].T @ bases[1]).min()) > 0.9999, site.label
            assert torch.equal(gram.gram, shared[0].grams[site].gram), "all have the same sum, to the last bit"


def test_all_that_fail_are_named_by_all(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    broken = dataclasses.replace(lm, model=copy.deepcopy(lm.model))
    with torch.no_grad():
        broken.model.model.embed_tokens.weight[251] = float("nan")
    examples = [dataclasses.replace(one, ids=tuple(range(5, 15))) for one in random_examples(6).examples]
    examples = [dataclasses.replace(one, supervised=(3, 4)) for one in examples]
    for number in (1, 4):
        examples[number] = dataclasses.replace(examples[number], ids=(251, *examples[number].ids[1:]))
    said = []

    def work(peers: Peers) -> None:
        with pytest.raises(CaptureError) as met:
            capture_gradients(broken, EncodedSet(tuple(examples)), (1,), batch_size=3, peers=peers)
        said.append(str(met.value))

    side_by_side(2, work)
    assert said[0] == said[1]
    assert "example example-1: the loss is nan" in said[0]
    assert "example example-4: the loss is nan" in said[0]


def test_a_stop_is_heard_by_all_and_keeps_what_is_there(tiny_lm: Callable[[str], Any]) -> None:
    lm, examples = tiny_lm("llama"), random_examples(9)
    told: dict[int, list[Progress]] = {0: [], 1: []}

    def work(peers: Peers) -> Captured:
        own = told[peers.rank]
        return capture_gradients(
            lm, examples, (2,), batch_size=2, tell=own.append, peers=peers,
            stop=lambda: peers.first and len(own) == 1,
        )  # fmt: skip

    first, second = side_by_side(2, work)
    whole = capture_gradients(lm, examples, (2,), batch_size=2)
    assert list(first.losses) == list(second.losses) == list(whole.losses)[:4], "a batch of each"
    assert [at.done for at in told[0]] == [at.done for at in told[1]] == [4]

    def source(peers: Peers) -> None:
        with pytest.raises(Stopped, match="stopped before"):
            capture_source(lm, sums(), "capability", SETTINGS, "raw", 0, peers=peers, stop=lambda: True)

    side_by_side(2, source)


def test_rows_are_dropped_where_one_process_would_drop_them(tiny_lm: Callable[[str], Any]) -> None:
    lm, examples = tiny_lm("llama"), random_examples(8)
    size = 2 * 4 * sum(len(one.ids) for one in examples.examples) * sum(site.d_kv for site in lm.sites_at((1, 2)))

    def rows(limit: int) -> Callable[[Peers], RowStore | None]:
        return lambda peers: capture_gradients(
            lm, examples, (1, 2), batch_size=2, rows=RowStore(limit), peers=peers
        ).rows  # fmt: skip

    assert side_by_side(2, rows(size - 1)) == [None, None]
    first, second = side_by_side(2, rows(size))
    (whole,) = side_by_side(1, rows(size))
    assert first is not None
    assert second is not None
    assert whole is not None
    assert first.examples == second.examples == whole.examples
    for at, site in enumerate(lm.sites_at((1, 2))):
        np.testing.assert_array_equal((first, second)[at % 2].gradients(site), whole.gradients(site))
        np.testing.assert_array_equal((first, second)[at % 2].activations(site), whole.activations(site))

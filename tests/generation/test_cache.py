"""Keys and values in growing buffers against `DynamicCache`, which copies them."""

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from spd_core.generation.cache import BLOCK, GrowingLayer, growing_cache
from tests.tiny import tiny_config


@pytest.mark.parametrize("lengths", [(5, 1, 1), (BLOCK, 1), (1, BLOCK, 3 * BLOCK, 1)])
def test_layers_hold_what_a_dynamic_layer_holds(lengths: tuple[int, ...]) -> None:
    mine, plain = GrowingLayer(), DynamicLayer()
    for length in lengths:
        keys, values = torch.randn(4, 2, length, 8), torch.randn(4, 2, length, 6)
        for found, expected in zip(mine.update(keys, values), plain.update(keys, values), strict=True):
            assert torch.equal(found, expected)
        assert mine.get_mask_sizes(1) == plain.get_mask_sizes(1)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [0, 3], [3], [0, 3, 2], [1, 2, 3]])
def test_rows_that_are_kept_go_on(rows: list[int]) -> None:
    mine, plain = GrowingLayer(), DynamicLayer()
    for batch in (4, len(rows)):
        keys, values = torch.randn(2, batch, 2, 3, 8)
        for found, expected in zip(mine.update(keys, values), plain.update(keys, values), strict=True):
            assert torch.equal(found, expected)
        if batch == 4:
            mine.batch_select_indices(torch.tensor(rows))
            plain.batch_select_indices(torch.tensor(rows))


@pytest.mark.parametrize("family", ["llama", "gemma2", "mistral"])
def test_layers_that_forget_stay_as_they_are(family: str) -> None:
    mine, plain = growing_cache(tiny_config(family)), DynamicCache(config=tiny_config(family))
    for layer, expected in zip(mine.layers, plain.layers, strict=True):
        assert type(layer) is (GrowingLayer if type(expected) is DynamicLayer else type(expected))
    if family == "gemma2":
        assert {type(layer) for layer in mine.layers} == {GrowingLayer, DynamicSlidingWindowLayer}

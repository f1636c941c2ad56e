"""Keys and values of a batch, in buffers with room for the next tokens. Knows nothing of what is written.

`DynamicCache` copies all that a layer holds for every token; `StaticCache` attends to what it does not hold yet.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

BLOCK = 64
"""Positions that a buffer grows by."""


def growing_cache(config: Any) -> DynamicCache:
    """An empty cache for a model; layers that keep all positions get buffers, others (sliding windows) are as ever."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class GrowingLayer(DynamicLayer):
    """A `DynamicLayer` whose `keys` and `values` `[batch, heads, seq, head_dim]` are views of larger buffers."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take over batch, heads and widths of the first states."""
        super().lazy_initialization(key_states, value_states)
        self._key_buffer, self._value_buffer = key_states[:, :, :0], value_states[:, :, :0]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """All keys and values, the new ones last; those returned before share their memory."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        self._key_buffer = _with_room(self._key_buffer, start, end)
        self._value_buffer = _with_room(self._value_buffer, start, end)
        self._key_buffer[:, :, start:end] = key_states
        self._value_buffer[:, :, start:end] = value_states
        return self._show(end)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in this order; only rows that change their place are copied.

        A row may only move to a place whose own row is dropped or was moved before it. Of more rows than there are,
        each is a copy.
        """
        if not self.is_initialized:
            return
        seq = self.get_seq_length()
        if len(indices) > len(self._key_buffer):
            self._key_buffer, self._value_buffer = self._key_buffer[indices], self._value_buffer[indices]
            self._show(seq)
            return
        for place, row in enumerate(indices.tolist()):
            if place != row:
                self._key_buffer[place, :, :seq] = self._key_buffer[row, :, :seq]
                self._value_buffer[place, :, :seq] = self._value_buffer[row, :, :seq]
        self._key_buffer, self._value_buffer = self._key_buffer[: len(indices)], self._value_buffer[: len(indices)]
        self._show(seq)

    def _show(self, seq: int) -> tuple[Tensor, Tensor]:
        keys, values = self._key_buffer[:, :, :seq], self._value_buffer[:, :, :seq]
        self.keys, self.values = keys, values
        return keys, values


def _with_room(buffer: Tensor, used: int, wanted: int) -> Tensor:
    """The buffer, or a larger one that begins with its `used` positions, with room for `wanted`."""
    if wanted <= buffer.shape[2]:
        return buffer
    batch, heads, _, width = buffer.shape
    larger = torch.empty(batch, heads, -(-wanted // BLOCK) * BLOCK, width, dtype=buffer.dtype, device=buffer.device)
    larger[:, :, :used] = buffer[:, :, :used]
    return larger

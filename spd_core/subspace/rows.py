"""Keeps gradient rows and activations of a capture, token by token, up to a number of bytes.

Gram matrices need no rows; what asks for single tokens or examples (energy shares, bootstrap, halves) does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spd_core.data.spans import Encoded
from spd_core.models.families import Site

ROWS_LIMIT = 2**30
"""Default bound of a row store, in bytes: 50 examples of 100 tokens at 4 sites of 1,024 need 0.16 GiB."""


@dataclass
class RowStore:
    """Rows of every token of every example that was captured, or none at all once they exceed `limit`.

    Attributes:
        limit: bytes.
        examples: in the order of the rows.
        overflowed: the limit was passed, and everything dropped.
    """

    limit: int = ROWS_LIMIT
    examples: list[Encoded] = field(default_factory=list)
    overflowed: bool = False
    size: int = 0
    _gradients: dict[Site, list[NDArray[np.float32]]] = field(default_factory=dict)
    _activations: dict[Site, list[NDArray[np.float32]]] = field(default_factory=dict)

    def add(
        self,
        batch: Sequence[Encoded],
        gradients: Mapping[Site, NDArray[np.float32]],
        activations: Mapping[Site, NDArray[np.float32]],
    ) -> None:
        """Add a batch: per site `[tokens, d_kv]`, example after example."""
        if self.overflowed:
            return
        self.size += sum(rows.nbytes for rows in (*gradients.values(), *activations.values()))
        if self.size > self.limit:
            self.overflowed = True
            self.examples.clear()
            self._gradients.clear()
            self._activations.clear()
            return
        self.examples += batch
        for site, rows in gradients.items():
            self._gradients.setdefault(site, []).append(rows)
            self._activations.setdefault(site, []).append(activations[site])

    def gradients(self, site: Site) -> NDArray[np.float32]:
        """[M, d_kv] gradient rows of a site."""
        return np.concatenate(self._gradients[site])

    def activations(self, site: Site) -> NDArray[np.float32]:
        """[M, d_kv] keys or values of a site at the same tokens."""
        return np.concatenate(self._activations[site])

    @property
    def example(self) -> NDArray[np.int64]:
        """[M] which of `examples` each row belongs to."""
        return np.repeat(np.arange(len(self.examples)), [len(example.ids) for example in self.examples])

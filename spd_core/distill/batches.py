"""In which order a training sees its rows: batches of similar length, from the seed and the epoch alone."""

from collections.abc import Iterator, Sequence
from typing import Any

from spd_core.errors import InputError
from spd_core.runs.parallel import share, together


def check_shares(rows: int, batch_size: int) -> None:
    """Refuse a last step of an epoch that several processes cannot share: accelerate would fill it up with rows of the
    first one, and they would count twice.

    Raises:
        InputError: there are several processes, and `rows` is no multiple of `batch_size`, or that none of theirs.
    """
    processes = together().count
    share(batch_size)
    if processes > 1 and (left := rows % batch_size):
        raise InputError(
            f"{rows} rows in steps of {batch_size} leave a last step of {left}, which {processes} processes cannot "
            f"share; choose prompts so that {rows - left} or {rows - left + batch_size} rows are learned from "
            "(corpus.prompts less corpus.held_out, times corpus.samples), another train.batch_size, or one process"
        )


def by_length(lengths: Sequence[int], batch_size: int, seed: int) -> Any:
    """Batches of rows of similar length, in an order that depends on the seed and the epoch alone.

    transformers' own sampler draws from torch's global noise, so that a training which goes on sees another order, and
    it groups nothing below eight batches. Here rows are sorted by length within a tenth, so that each epoch has other
    batches; the batches are shuffled, but for the last one, which may be smaller.
    """
    import torch
    from torch.utils.data import Sampler

    class ByLength(Sampler[int]):
        epoch = 0

        def __len__(self) -> int:
            return len(lengths)

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            noise = torch.Generator().manual_seed(1_000_003 * seed + self.epoch)
            about = torch.tensor(lengths) * (1 + 0.1 * torch.rand(len(lengths), generator=noise))
            batches = about.argsort(descending=True).split(batch_size)
            whole = len(lengths) // batch_size
            order = torch.randperm(whole, generator=noise).tolist()
            return iter([int(row) for at in (*order, *range(whole, len(batches))) for row in batches[at]])

    return ByLength()

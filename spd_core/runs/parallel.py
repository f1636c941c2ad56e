"""The processes that work on one run together, when `accelerate launch` or torchrun started several; else just one.

What connects them is accelerate's; this is what the engine asks of it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from spd_core.errors import InputError, SpdError
from spd_core.peers import ALONE, Peers

if TYPE_CHECKING:
    from torch import Tensor

_T = TypeVar("_T")
_DIVIDING = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}
"""What `accelerate launch` tells its processes. A training would get as far as its end, where the adapter is saved."""


class PeerLostError(SpdError):
    """Another process of the launch does not answer any more."""


class Launched(Peers):
    """One of several processes that a launcher started."""

    def wait(self) -> None:
        """Return when all have called it; this and all below raise `PeerLostError` when one is gone."""
        with _answering():
            _state().wait_for_everyone()

    def gathered(self, value: _T) -> list[_T]:
        """What each has handed over, by rank, in all of them."""
        from accelerate.utils import gather_object

        with _answering():
            return list(gather_object([value]))

    def handed_to(self, rank: int, value: _T) -> list[_T]:
        """The same for one of them alone; empty for all others."""
        import torch.distributed as dist

        found: list[Any] | None = [None] * self.count if self.rank == rank else None
        with _answering():
            dist.gather_object(value, found, dst=rank)
        return found or []

    def add_up(self, tensor: "Tensor") -> None:
        """Replace a tensor by its sum over all of them, in the order of their ranks."""
        import torch
        from accelerate.utils import broadcast

        own, total = tensor.to(_state().device), torch.zeros_like(tensor)
        for rank in range(self.count):
            with _answering():
                part = broadcast(own.clone() if rank == self.rank else torch.empty_like(own), from_process=rank)
            total += part.to(total.device)
        tensor.copy_(total)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo's and NCCL's
        raise PeerLostError(f"another process of this launch does not answer: {str(error).splitlines()[0]}") from error


def _state() -> Any:
    """accelerate's state; its first use joins the processes, and gives each its own GPU.

    On a machine without one, `accelerate launch --num_processes 2` starts a single process; torchrun, or
    `accelerate launch --multi_gpu`, starts two.
    """
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available())  # it would not join processes on a CPU by itself


def together() -> Peers:
    """This process among those that were launched with it; the first call connects them.

    Raises:
        InputError: they do not find each other, or the launch would divide the model among them.
    """
    for name, of in _DIVIDING.items():
        if os.environ.get(name, "").lower() == "true":
            raise InputError(
                f"this launch divides the model by {of} ({name}), which SPD Lab does not do: each process has a whole "
                "copy; leave it out, and for a model larger than one GPU see docs/scale.md"
            )
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched == 1:
        return ALONE
    state = _state()
    if state.num_processes != launched:
        raise InputError(
            f"{launched} processes were launched, but accelerate sees {state.num_processes}; use accelerate launch"
        )
    return Launched(state.process_index, state.num_processes)


def share(batch_size: int) -> int:
    """Rows of an optimizer step that each process takes.

    Raises:
        InputError: they cannot be shared evenly.
    """
    processes = together().count
    if batch_size % processes:
        raise InputError(f"a batch of {batch_size} rows cannot be shared by {processes} processes; choose a multiple")
    return batch_size // processes

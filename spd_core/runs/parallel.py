"""The processes that work on one run together, when `accelerate launch` or torchrun started several; else just one.

Everything here is accelerate's; this is what the engine asks of it.
"""

from collections.abc import Callable
from typing import Any

from spd_core.errors import InputError


def together() -> Any:
    """accelerate's state: `process_index`, `num_processes`, `is_main_process`, `wait_for_everyone()`.

    The first call joins the processes, and gives each its own GPU. On a machine without one, `accelerate launch
    --num_processes 2` starts a single process; torchrun, or `accelerate launch --multi_gpu`, starts two.
    """
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available())  # it would not join processes on a CPU by itself


def agreed(stop: Callable[[], bool] | None) -> bool:
    """Whether the first process wants to stop; all processes ask at the same place, and hear the same."""
    from accelerate.utils import broadcast_object_list

    answer = [stop is not None and stop()]
    if together().num_processes > 1:
        broadcast_object_list(answer)
    return answer[0]


def share(batch_size: int) -> int:
    """Rows of an optimizer step that each process takes.

    Raises:
        InputError: they cannot be shared evenly.
    """
    processes: int = together().num_processes
    if batch_size % processes:
        raise InputError(f"a batch of {batch_size} rows cannot be shared by {processes} processes; choose a multiple")
    return batch_size // processes

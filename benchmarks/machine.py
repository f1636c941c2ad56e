"""What every benchmark prints first (the machine) and last (ratios beside their targets)."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 5


def describe() -> str:
    """One line: processor, cores, memory, torch."""
    import psutil
    import torch

    from spd_core.models.device import choose_device, choose_dtype, native_bfloat16

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    device = choose_device()
    where = torch.cuda.get_device_name() if device.type == "cuda" else cpu
    native = "native" if native_bfloat16(device) else "emulated"
    return (
        f"{where}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, torch {torch.__version__} "
        f"with {torch.get_num_threads()} threads; bfloat16 {native}, so dtype auto is {choose_dtype('auto', device)}"
    )


def seconds() -> float:
    """The clock; with one torch thread, of what that thread itself computes, which a busy machine shifts less."""
    import torch

    return time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()


def ratios(works: dict[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, float]:
    """Each work's measure ÷ the first work's, as the median over interleaved rounds (a noisy machine shifts both)."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()  # warm-up
    for _ in range(rounds):
        for name, work in works.items():
            taken[name].append(work())
    base = next(iter(works))
    return {
        name: statistics.median(value / first for value, first in zip(values, taken[base], strict=True))
        for name, values in taken.items()
    }


def report(name: str, value: float, target: str, met: bool, unit: str = "×") -> None:
    """One line of the result."""
    print(f"| {name} | {value:.2f} {unit} | {target} | {'yes' if met else 'NO'} |", flush=True)

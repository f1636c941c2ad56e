"""Capture against forward-only and against the one-example-at-a-time reference; peak memory against set size.

python -m benchmarks.capture --data GSM8K.jsonl   (rows with the columns question and answer)
"""

import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import describe, ratios, report


def main(
    data: Annotated[Path, typer.Option(help="GSM8K rows as JSONL")],
    limit: Annotated[int, typer.Option(help="examples of the timed runs")] = 16,
    batch_size: int = 8,
    dtype: str = "auto",
    memory_of: Annotated[int, typer.Option(hidden=True)] = 0,
    shared: Annotated[bool, typer.Option("--shared", hidden=True)] = False,
    only_processes: Annotated[
        bool, typer.Option("--only-processes", help="two processes beside one, and no more")
    ] = False,
) -> None:
    """Print the ratios."""
    import torch

    from spd_core.data import catalog, spans
    from spd_core.models import loading
    from spd_core.subspace import capture as gradients

    lm = loading.load("builtin", dtype=dtype)
    layers = loading.parse_layers("middle,last", lm.card.layers)
    found = catalog.find_capability("gsm8k", data)
    encoded = spans.encode_all(found.examples, found.settings, lm.tokenizer)
    if memory_of:
        rows = [dataclasses.replace(encoded.examples[i % len(encoded.examples)], id=str(i)) for i in range(memory_of)]
        gradients.capture_gradients(lm, spans.EncodedSet(tuple(rows)), layers, batch_size=batch_size)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    few = spans.EncodedSet(encoded.examples[:limit])
    if shared:
        _print_shared(lm, few, layers, batch_size)
        return
    if only_processes:
        print(describe())
        _report_processes(data, limit, batch_size, dtype)
        return
    batches = list(gradients.longest_first(few.examples, batch_size))

    def forward_only() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for batch in batches:
                gradients.batch_losses(lm, batch)
        return time.perf_counter() - start

    def capture() -> float:
        start = time.perf_counter()
        gradients.capture_gradients(lm, few, layers, batch_size=batch_size)
        return time.perf_counter() - start

    def one_at_a_time() -> float:
        """The reference: full logits, every site by itself kept as rows, gradients for the weights' graph too."""
        from tests.reference import gradient_rows

        start = time.perf_counter()
        lm.model.requires_grad_(True)
        for example in few.examples:
            for module in dict.fromkeys(site.module for site in lm.sites_at(layers)):
                gradient_rows(lm.model, example.ids, example.supervised, module)
                break  # one backward an example: the reference is not made slower than it must be
        lm.model.requires_grad_(False)
        lm.model.zero_grad(set_to_none=True)
        return time.perf_counter() - start

    print(describe())
    print(f"built-in model, {len(few.examples)} GSM8K examples, batches of {batch_size}, layers {layers}\n")
    print("| measure | ratio | target | met |\n|---|---|---|---|")
    found_ratios = ratios({"forward": forward_only, "capture": capture, "reference": one_at_a_time}, rounds=3)
    report("capture ÷ forward only", found_ratios["capture"], "≤ 1.7", found_ratios["capture"] <= 1.7)
    faster = found_ratios["reference"] / found_ratios["capture"]
    report("one example at a time with full logits ÷ capture", faster, "≥ 2", faster >= 2)
    peaks = {}
    for n in (50, 500):
        command = [sys.executable, "-m", "benchmarks.capture", "--data", str(data), "--memory-of", str(n)]
        done = subprocess.run([*command, "--dtype", dtype], check=True, capture_output=True, text=True)
        peaks[n] = json.loads(done.stdout.strip().splitlines()[-1])
    growth = peaks[500] / peaks[50]
    report("peak memory, 500 ÷ 50 examples", growth, "≤ 1.05", growth <= 1.05)
    _report_processes(data, limit, batch_size, dtype)


def _report_processes(data: Path, limit: int, batch_size: int, dtype: str, rounds: int = 3) -> None:
    """Two processes of one thread each beside one of two threads, on the same cores, launched in turns."""

    def launched(processes: int) -> float:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", "--"]
        asked = ["--data", str(data), "--limit", str(limit), "--batch-size", str(batch_size), "--dtype", dtype]
        done = subprocess.run(
            [sys.executable, *torchrun, "benchmarks.capture", *asked, "--shared"], check=True, capture_output=True,
            text=True, env={**os.environ, "OMP_NUM_THREADS": str(2 // processes), "OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
        return float(done.stdout.strip().splitlines()[-1])

    taken = [(launched(2), launched(1)) for _ in range(rounds)]
    ratio = statistics.median(two / one for two, one in taken)
    report("two processes of one thread ÷ one of two, capture", ratio, "≤ 1.05", ratio <= 1.05)


def _print_shared(lm: Any, encoded: Any, layers: tuple[int, ...], batch_size: int) -> None:
    """Seconds of a capture by all processes of this launch, printed by the first one; the second of two."""
    from spd_core.runs.parallel import together
    from spd_core.subspace import capture as gradients

    peers = together()
    for _ in range(2):
        peers.wait()
        start = time.perf_counter()
        gradients.capture_gradients(lm, encoded, layers, batch_size=batch_size, peers=peers)
        seconds = time.perf_counter() - start
    if peers.first:
        print(seconds)


if __name__ == "__main__":
    typer.run(main)

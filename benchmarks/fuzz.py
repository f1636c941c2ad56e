"""Gives every reader of users' files thousands of files that are made wrong, and looks what it does with them.

python -m benchmarks.fuzz [--inputs 10000] [--only capture] [--seed 0]

A reader returns a value, which is used, or raises an `SpdError` with a sentence that can be shown; all else is a fault:
another exception, a crash of the process, more than 5 s, or more than 1 GB. The inputs are those of `tests/fuzzing.py`,
the same for a seed. They are read in a child process, which is started anew behind each one that ends it.
"""

import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import psutil
import typer

from tests.fuzzing import Reader, changed, outcome_of, readers

SECONDS, BYTES = 5.0, 2**30


@dataclass
class Found:
    """What a reader did with its inputs.

    Attributes:
        faults: how often each came about, with the number of the first input.
    """

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)

    def take(self, number: int, fault: str) -> None:
        """Count a fault."""
        self.faults[fault] += 1
        self.first.setdefault(fault, number)


def main(inputs: int = 10_000, only: str = "", seed: int = 0) -> None:
    """Print, of each reader, how many inputs it was given and what was wrong; end with 1 when anything was."""
    began, wrong, total = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"SPD_HOME": f"{place}/empty", "OMP_NUM_THREADS": "1"}
        known = readers(Path(place) / "home")
        print("| reader | inputs | read | refused with a sentence | slowest | faults |")
        print("|---|---|---|---|---|---|")
        for name, reader in known.items():
            if only and name not in only.split(","):
                continue
            word, said = outcome_of(reader, reader.files, Path(place) / "whole" / name)  # imports what it needs, too
            if word != "read":
                raise RuntimeError(f"{name} does not read what is whole: {said}")
            found = _fuzzed(reader, inputs, seed, Path(place))
            total += inputs
            wrong += sum(found.faults.values())
            print(
                f"| {name} | {inputs:,} | {found.read:,} | {found.refused:,} | {1000 * found.slowest:.0f} ms "
                f"| {sum(found.faults.values())} |",
                flush=True,
            )
            for fault, count in found.faults.most_common(12):
                print(f"  {count} x (first: input {found.first[fault]}) {fault}", flush=True)
    print(f"\n{total:,} inputs in {(time.monotonic() - began) / 60:.1f} minutes, {wrong} faults")
    raise typer.Exit(int(wrong > 0))


def _fuzzed(reader: Reader, inputs: int, seed: int, place: Path) -> Found:
    found, number = Found(), 0
    while number < inputs:
        number = _carry_on(reader, number, inputs, seed, place, found)
    return found


def _carry_on(reader: Reader, start: int, inputs: int, seed: int, place: Path, found: Found) -> int:
    """Have a child read the inputs from one on; the number at which the next child begins."""
    ears, mouth = os.pipe()
    child = os.fork()
    if not child:
        os.close(ears)
        try:
            _read_all(reader, range(start, inputs), seed, place, mouth)
        except BaseException:  # the fuzzer's own mistake is told apart from a reader's
            import traceback

            traceback.print_exc()
            os._exit(99)
        os._exit(0)
    os.close(mouth)
    number, at_work = start, False
    with os.fdopen(ears, encoding="utf-8") as lines:
        for line in lines:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "begin":
                number, at_work = int(rest), True
            else:
                at_work = False
                taken, _, fault = rest.partition(" ")
                found.slowest = max(found.slowest, float(taken))
                found.read += word == "read"
                found.refused += word == "refused"
                if word == "fault":
                    found.take(number, fault)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == 99:
        raise RuntimeError(f"the fuzzer itself failed at input {number} of {reader.name}")
    if at_work:
        code = os.waitstatus_to_exitcode(status)
        said = f"more than {SECONDS:.0f} s" if code == -signal.SIGALRM else f"the process ended with {code}"
        found.take(number, said)
    return number + 1


def _read_all(reader: Reader, numbers: range, seed: int, place: Path, mouth: int) -> None:
    """In the child: read one after the other, and say so before and after each."""
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, _late)
    folder = place / "input"
    for number in numbers:
        noise = random.Random(f"{seed} {reader.name} {number}")
        files = changed(reader.files, reader.mutable, noise) if number else reader.files
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        os.write(mouth, f"begin {number}\n".encode())
        began = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        word, said = outcome_of(reader, files, folder)
        signal.setitimer(signal.ITIMER_REAL, 0)
        said = " ".join(said.split()) if word == "fault" else ""
        os.write(mouth, f"{word} {time.perf_counter() - began:.6f} {said}\n".encode("utf-8", "backslashreplace"))


def _late(_signal: int, _frame: FrameType | None) -> None:
    """A reader that hangs in Python or in a library is ended alike."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGALRM)


if __name__ == "__main__":
    typer.run(main)

"""Kills processes that save things, again and again at random moments, and looks whether anything was lost.

python -m benchmarks.kill [--kills 100] [--full-disks 100] [--seed 0]

One process after the other replaces a capture, a text, notes on directions, a label and a capability, adds rows to a
corpus and answers to an evaluation, as fast as it can, and says what was saved. It gets SIGKILL at a random moment, and
the next one goes on. After each kill every one of them is read by its own reader: it must be there and whole, and be
what was saved last or what was being saved. For a full disk the system refuses files to grow beyond a random size
(`RLIMIT_FSIZE`); then a save must say so, and leave what was there. Runs, with weights after a resume that must equal
those of an untouched run, are in `benchmarks/kills.py`.
"""

import os
import random
import resource
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import typer

NAME = "sums"
Save: TypeAlias = Callable[[int], None]
Number: TypeAlias = Callable[[], int]
"""Of what is there: the number that it was saved under. Raises where it is missing or damaged."""


def main(kills: int = 100, full_disks: int = 100, seed: int = 0) -> None:
    """Print what was lost; end with 1 when anything was."""
    noise, stages, lost = random.Random(seed), Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"SPD_HOME": home, "OMP_NUM_THREADS": "1"}
        works = _works()
        for save, _ in works.values():
            save(0)
        last, done = dict.fromkeys(works, 0), 0
        for _ in range(kills):
            saves, at, number = _killed(works, last, noise.uniform(0.0, 0.25))
            done += saves
            stages[at] += 1
            lost += _losses(works, last, at, number)
        print(f"| kills, by what was being saved | {', '.join(f'{name} {n}' for name, n in stages.most_common())} |")
        print(f"| saves that were said to be done | {done:,} |")
        print(f"| lost or damaged after a kill | {len(lost)} {'; '.join(lost[:5])} |")
        left, after = _left(Path(home)), _left_a_day_later(Path(home))
        print(f"| files and folders left by kills | {left}; {after} after the sweep a day later |", flush=True)
        refusals, more = _on_full_disks(works, last, full_disks, noise)
        print(
            f"| saves that a full disk refused, by what | {', '.join(f'{n} {c}' for n, c in refusals.most_common())} |"
        )
        print(f"| lost, damaged or not said | {len(more)} {'; '.join(more[:5])} |")
    raise typer.Exit(int(bool(lost or more or after)))


def _killed(works: "dict[str, tuple[Save, Number]]", last: dict[str, int], after: float) -> tuple[int, str, int]:
    """Save one thing after the other in a child until it is killed; `last` is then what was said to be done.

    Returns:
        how many saves were, and what was begun last, under which number.
    """
    ears, mouth = os.pipe()
    child = os.fork()
    if not child:
        number = max(last.values())
        while True:
            number += 1
            for name, (save, _) in works.items():
                os.write(mouth, f"begin {name} {number}\n".encode())
                save(number)
                os.write(mouth, f"done {name} {number}\n".encode())
    os.close(mouth)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done, at, begun = 0, next(iter(works)), 0
    with os.fdopen(ears) as lines:
        for line in lines:
            word, at, number = line.split()
            begun = int(number)
            if word == "done":
                last[at], done = begun, done + 1
    return done, at, begun


def _losses(works: "dict[str, tuple[Save, Number]]", last: dict[str, int], at: str, begun: int) -> list[str]:
    """What is missing, damaged, or neither the last that was saved nor the one that was being saved."""
    found = []
    for name, (_, number) in works.items():
        try:
            there = number()
        except Exception as error:
            found.append(f"{name}: {error!s:.200}")
            continue
        if there != last[name] and (name, there) != (at, begun):
            found.append(f"{name} is number {there}, and {last[name]} was saved")
        last[name] = there
    return found


def _left(home: Path) -> int:
    return len(list(home.rglob(".*.????????")))


def _left_a_day_later(home: Path) -> int:
    from spd_core.leftovers import DAY, sweep

    sweep(home, time.time() + 2 * DAY)
    return _left(home)


def _on_full_disks(
    works: "dict[str, tuple[Save, Number]]", last: dict[str, int], times: int, noise: random.Random
) -> tuple[Counter[str], list[str]]:
    """Save on a disk that refuses beyond a random size: a `StorageError`, or it was saved."""
    from spd_core.errors import StorageError

    refused, lost = Counter[str](), list[str]()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for _ in range(times):
        name = noise.choice(list(works))
        number, limit = max(last.values()) + 1, int(10 ** noise.uniform(0, 6))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            works[name][0](number)
            last[name] = number
        except StorageError as error:
            refused[name] += 1
            if "ree space" not in str(error):
                lost.append(f"{name} says {error!s:.100}, and not what to do")
        except Exception as error:
            lost.append(f"{name}: {type(error).__name__}: {error!s:.200}")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        lost += _losses(works, last, name, last[name])
    return refused, lost


# --- what is saved -------------------------------------------------------------------------------------------------


def _works() -> "dict[str, tuple[Save, Number]]":
    """How each thing is saved under a number, and how the number is read from what is there."""
    from spd_core.data.capability import read_capability
    from spd_core.data.catalog import saved_folder
    from spd_core.generation.comparison import RECORDED, load_comparison, read_comparison, save_comparison
    from spd_core.library.labels import read_labels, write_label
    from spd_core.library.things import Ref
    from spd_core.records import append_rows, cut_torn_line
    from spd_core.storage import spd_home, write_text
    from spd_core.subspace.direction_notes import note_on, read_notes, write_note
    from spd_core.subspace.store import RECORDED as CAPTURES
    from spd_core.subspace.store import captures_folder, load_capture, notes_in, open_capture, save_capture

    kept = load_capture(CAPTURES / "arithmetic").limited(2)
    text = read_comparison(RECORDED / "arithmetic-1.json")
    ref, site = Ref("capture", NAME), next(iter(kept.sites))
    capability = saved_folder() / f"{NAME}.jsonl"
    corpus = spd_home() / "corpora" / "spd-round-1.jsonl"
    read_row, row = _rows()

    def save_whole(n: int) -> None:
        record = kept.provenance.model_copy(update={"command": str(n)})
        save_capture(replace(kept, provenance=record), captures_folder() / NAME, overwrite=True)

    def add_row(n: int) -> None:
        cut_torn_line(corpus)
        append_rows(corpus, [row(n)])

    notes = notes_in(captures_folder() / NAME)
    rows = {"prompt": "1 + 1?", "answer": "2"}
    saves: dict[str, tuple[Save, Number]] = {
        "capture": (save_whole, lambda: int(open_capture(NAME).provenance.command)),
        "notes": (
            lambda n: write_note(notes, note_on(kept, site, 0, str(n), "a remark " * 100)),
            lambda: int(read_notes(notes)[0].name),
        ),
        "text": (
            lambda n: _none(save_comparison(text.model_copy(update={"id": NAME, "answer": str(n)}))),
            lambda: int(load_comparison(NAME).answer or ""),
        ),
        "label": (lambda n: write_label(ref, str(n), ("a", "b"), "c"), lambda: int(read_labels([ref])[ref].title)),
        "capability": (
            lambda n: write_text(capability, "".join(_line({**rows, "id": f"{n}-{i}"}) for i in range(50))),
            lambda: int(read_capability(capability).examples[49].id.partition("-")[0]),
        ),
        "corpus": (add_row, lambda: read_row(corpus)),
        "answers": _answers(),
    }
    return saves


def _none(_value: object) -> None:
    """For a save that returns where."""


def _line(row: dict[str, str]) -> str:
    import json

    return json.dumps(row) + "\n"


def _rows() -> "tuple[Callable[[Path], int], Callable[[int], Any]]":
    from spd_core.distill.corpus import CorpusRow, read_corpus

    def row(n: int) -> CorpusRow:
        common: dict[str, Any] = {"sample": 0, "prompt": "p" * 500, "special": False, "tokens": (1,), "finish": "eos"}
        return CorpusRow(number=n, id="a", completion="c" * 500, **common)

    return lambda path: read_corpus(path)[-1].number, row


def _answers() -> tuple[Save, Number]:
    from spd_core.evaluation.store import About, ItemRecord, ItemStore

    about = About(subject="s", set="t", template="q", scorer="exact", style="raw", max_new_tokens=8)

    def save(n: int) -> None:
        store = ItemStore(about)
        with store.writing():
            store.add([ItemRecord(id=f"{n}-{i}", prompt="p" * 300, gold="g") for i in range(3)])

    def number() -> int:
        return max(int(asked[0].partition("-")[0]) for asked in ItemStore(about).records())

    return save, number


if __name__ == "__main__":
    typer.run(main)

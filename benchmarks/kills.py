"""Kills a whole run again and again, also while it writes a checkpoint, and looks whether anything was lost.

python -m benchmarks.kills [--kills 100] [--in-window 30] [--full-disks 10] [--evaluations 30]

A run of two arms on a tiny model is carried out by the command `distill --run ID`, in processes that are forked from
one which has imported the libraries: a start takes milliseconds instead of seconds, so that the kills fall into the
work. Each gets SIGKILL at a random moment, or as soon as the folder is seen in which a checkpoint is being written;
then the run is resumed, until it is done, and its corpora and weights are compared with those of a run that nobody
has touched. So are evaluations, by the command `table`, whose answers are compared. For a full disk, the system
refuses, from a random moment on, files to grow beyond a size (`RLIMIT_FSIZE`).
"""

import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import typer

RECIPE = {
    "preset": "quick",
    "arms": ["psr", "spd"],
    "dtype": "float32",
    "capture": {"examples": None},
    "corpus": {"prompts": None, "held_out": 2, "max_new_tokens": 6, "batch_size": 3, "drop": []},
    "train": {"epochs": 6, "batch_size": 4, "learning_rate": 1e-3, "completions": 1},
}

EVALUATION = {
    "preset": "quick",
    "subjects": ["base", "projected", "projected-random", "complement"],
    "dtype": "float32",
    "capture": {"examples": None},
    "seeds": [1, 2],
    "batch_size": 2,
}


@dataclass
class Tally:
    """What has happened so far.

    Attributes:
        kills: by the stage that the run was in.
        in_window: of those, while a checkpoint was being written.
        lost: runs that could not be gone on with, or did not end.
        unequal: runs that ended with other weights or rows than the run that nobody has touched.
    """

    kills: Counter[str] = field(default_factory=Counter)
    in_window: int = 0
    runs: int = 0
    lost: list[str] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)


def main(kills: int = 100, in_window: int = 30, full_disks: int = 10, evaluations: int = 30, seed: int = 0) -> None:
    """Print what was lost."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as home:
        os.environ["SPD_HOME"] = home
        _import_everything()
        tiny, noise = _tiny(Path(home)), random.Random(seed)
        recipe = {**RECIPE, **tiny}
        expected, takes = _untouched(recipe)
        tally = Tally()
        while sum(tally.kills.values()) < kills or tally.in_window < in_window:
            _run_with_kills(recipe, expected, tally, noise, in_window, takes)
        print(f"| kills at random moments, of {tally.runs} runs | {sum(tally.kills.values())} |")
        print(f"| of those, while a checkpoint was being written | {tally.in_window} |")
        print(f"| by stage | {', '.join(f'{stage} {n}' for stage, n in tally.kills.most_common())} |")
        _say(tally)
        full = Tally()
        for _ in range(full_disks):
            _run_on_a_full_disk(recipe, expected, full, noise, takes)
        print(
            f"| runs that met a full disk, by stage | {', '.join(f'{stage} {n}' for stage, n in full.kills.items())} |"
        )
        _say(full)
        recipe, answered = {**EVALUATION, **tiny, "sets": [tiny["capability"]]}, Tally()
        expected, takes = _untouched(recipe)
        while sum(answered.kills.values()) < evaluations:
            _run_with_kills(recipe, expected, answered, noise, 0, takes)
        print(f"| kills of evaluations, {answered.runs} of them | {sum(answered.kills.values())} |")
        print(f"| by stage | {', '.join(f'{stage} {n}' for stage, n in answered.kills.most_common())} |")
        _say(answered)


def _say(tally: Tally) -> None:
    print(f"| lost | {len(tally.lost)} {'; '.join(tally.lost)} |")
    print(
        f"| with other weights, rows or answers in the end | {len(tally.unequal)} {'; '.join(tally.unequal)} |",
        flush=True,
    )


# --- runs --------------------------------------------------------------------------------------------------------


def _untouched(recipe: dict[str, object]) -> tuple[dict[str, bytes], float]:
    """What a run makes that nobody touches, and the seconds that it takes."""
    run, began = _new(recipe), time.monotonic()
    _carry_out(run)
    assert _made(run), f"{run} has made nothing"
    return _made(run), time.monotonic() - began


def _run_with_kills(
    recipe: dict[str, object],
    expected: dict[str, bytes],
    tally: Tally,
    noise: random.Random,
    in_window: int,
    takes: float,
) -> None:
    """One run, killed up to eight times on its way; untouched, one takes about so many seconds."""
    run = _new(recipe)
    tally.runs += 1
    for _ in range(8):
        aim = tally.in_window < in_window and noise.random() < 0.5
        if not _killed(run, tally, noise, None if aim else noise.uniform(0.0, 0.6 * takes)):
            break
    else:
        _carry_out(run)
    _judge(run, expected, tally)


def _killed(run: str, tally: Tally, noise: random.Random, after: float | None) -> bool:
    """Start or resume a run, and kill it after so many seconds, or (None) while it writes a checkpoint; false when it
    ended before that."""
    folder = _folder(run)
    job, began = _start(run), time.monotonic()
    while os.waitpid(job, os.WNOHANG) == (0, 0):
        if after is not None and time.monotonic() - began > after:
            break
        if after is None and _writing(folder):
            time.sleep(noise.uniform(0.0, 0.02))
            break
        time.sleep(0.0005)
    else:
        return False
    os.kill(job, signal.SIGKILL)
    os.waitpid(job, 0)
    tally.kills[_stage(run)] += 1
    tally.in_window += _writing(folder)
    return True


def _writing(folder: Path) -> bool:
    """Whether a checkpoint is being written: the folder aside is there."""
    return any(folder.glob("arms/*/round-*/checkpoints/.saving"))


def _run_on_a_full_disk(
    recipe: dict[str, object], expected: dict[str, bytes], tally: Tally, noise: random.Random, takes: float
) -> None:
    """One run whose files may not grow any more from a moment on, which then is resumed without the limit."""
    from spd_core.runs.folder import open_run

    run = _new(recipe)
    tally.runs += 1
    job = _start(run)
    time.sleep(noise.uniform(0.2, 0.8) * takes)
    resource.prlimit(job, resource.RLIMIT_FSIZE, (4_000, resource.RLIM_INFINITY))
    os.waitpid(job, 0)
    status = open_run(run).status()
    if status.state == "failed":
        tally.kills[_stage(run)] += 1
        if not ("Free space" in status.reason or "free space" in status.reason):
            tally.lost.append(f"{run} says {status.reason!r}, and not what to do")
    _carry_out(run)
    _judge(run, expected, tally)


def _judge(run: str, expected: dict[str, bytes], tally: Tally) -> None:
    from spd_core.runs.folder import open_run

    status = open_run(run).status()
    if status.state != "done":
        tally.lost.append(f"{run}: {status.state}, {status.reason}")
    elif _made(run) != expected:
        tally.unequal.append(run)


def _new(recipe: dict[str, object]) -> str:
    """A run that has nothing to find: answers are kept for all evaluations."""
    from spd_core.recipes.distill import recipe_from
    from spd_core.recipes.evaluation import evaluation_from
    from spd_core.runs import queue

    shutil.rmtree(_answers(), ignore_errors=True)
    return queue.create_here(evaluation_from(recipe) if "subjects" in recipe else recipe_from(recipe)).id


def _answers() -> Path:
    from spd_core.storage import spd_home

    return spd_home() / "evaluations"


def _folder(run: str) -> Path:
    from spd_core.storage import runs_folder

    return runs_folder() / run


def _made(run: str) -> dict[str, bytes]:
    """Weights and rows of a run, and answers in order, by their names."""
    folder = _folder(run)
    files = [*folder.glob("adapters/*/adapter_model.safetensors"), *folder.glob("corpora/*.jsonl")]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    answers = {path.parent.name: path.read_bytes() for path in _answers().glob("*/items.jsonl")}
    return found | {name: b"\n".join(sorted(rows.splitlines())) for name, rows in answers.items()}


def _stage(run: str) -> str:
    """What a run did last."""
    from spd_core.runs.folder import open_run
    from spd_core.runs.view import RunView

    view = RunView()
    view.take(open_run(run).events().events)
    return view.stage or "start"


# --- processes ---------------------------------------------------------------------------------------------------


def _carry_out(run: str) -> None:
    os.waitpid(_start(run), 0)


def _start(run: str) -> int:
    """The pid of a process that carries out a run as the command does."""
    log = _folder(run) / "log.txt"
    job = os.fork()
    if job:
        return job
    code = 1
    try:
        import threading

        from tqdm import tqdm

        tqdm.set_lock(threading.RLock())  # its own is shared with all forks: who is killed holding it stops all others
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        code = _as_the_command([_command(run), "--run", run])
    finally:
        os._exit(code)


def _command(run: str) -> str:
    from spd_core.recipes.evaluation import EvaluationRecipe
    from spd_core.runs.folder import open_run

    return "table" if isinstance(open_run(run).record.recipe, EvaluationRecipe) else "distill"


def _as_the_command(words: list[str]) -> int:
    import sys

    from spd_core.cli.main import main as command

    sys.argv = ["spd_core", *words]
    try:
        command()
    except SystemExit as end:
        return int(end.code or 0) if isinstance(end.code, int | None) else 1
    return 0


def _import_everything() -> None:
    """What a job imports, once; nothing is computed here, so that no thread is lost in the forks."""
    import datasets  # noqa: F401
    import peft  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401
    import trl  # noqa: F401
    from trl import SFTConfig, SFTTrainer  # noqa: F401

    import spd_core.distill.pipeline
    import spd_core.evaluation.fill  # noqa: F401


def _tiny(home: Path) -> dict[str, str]:
    """A capability of a few examples and a tiny model, as the tests have them."""
    from tests.tiny import byte_tokenizer, tiny_model

    work: Callable[[str], None] = tiny_model("llama").save_pretrained
    work(str(home / "tiny"))
    byte_tokenizer().save_pretrained(str(home / "tiny"))
    rows: list[dict[str, str]] = [{"capability": "counting", "template": "Q: {prompt}", "spans": "number"}]
    for split, n in (("calibration", 6), ("train", 14), ("heldout", 24)):
        rows += [
            {"id": f"{split}{i}", "split": split, "prompt": f"{split} {i} " + "more " * (i % 4), "answer": f"it is {i}"}
            for i in range(n)
        ]
    path = home / "counting.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"capability": str(path), "model": str(home / "tiny")}


if __name__ == "__main__":
    typer.run(main)

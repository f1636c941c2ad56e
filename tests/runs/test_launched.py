"""Two real processes, as torchrun starts them: what they make is what one makes, and what the end of one ends."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from spd_core.distill.corpus import read_corpus
from spd_core.errors import InputError
from spd_core.evaluation.cells import read_cell
from spd_core.runs import queue
from spd_core.runs.folder import Run, all_runs, open_run
from spd_core.runs.parallel import together
from spd_core.runs.record import Status
from spd_core.storage import runs_folder
from spd_core.subspace.store import load_capture
from spd_core.subspace.subspace import subspace_of
from tests import ROOT
from tests.shell import llama, process, write
from tests.waiting import LONG

__all__ = ["llama"]  # a fixture


def launched(*argv: object, count: int = 2, dies: str = "") -> subprocess.CompletedProcess[str]:
    """Carry out a command with several processes, of one thread each; `dies` says where the second one is killed."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    program = ["-m", "--", "tests.launched_command" if dies else "spd_core"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SPD_TEST_DIES": dies, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *torchrun, *program, *map(str, argv)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONG,
    )  # fmt: skip


def test_a_launch_that_would_divide_the_model_is_refused_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    assert together().count == 1
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # as accelerate launch --use_fsdp tells its processes
    with pytest.raises(InputError, match=r"FSDP .*each process has a whole copy.*docs/scale"):
        together()


@pytest.fixture
def sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A capability, and an empty SPD_HOME."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    rows = [{"prompt": f"{i} + 4" + " and 1" * (i % 3) + "?", "answer": f"It is {i + 4}", "split": split}
            for split in ("calibration", "train", "heldout") for i in range(7)]  # fmt: skip
    head = {"capability": "sums", "scorer": "number", "spans": "number", "template": "Q: {prompt}"}
    return write(tmp_path / "sums.jsonl", head, *rows)


def by_slurm(*argv: object) -> subprocess.CompletedProcess[str]:
    """The script for a cluster, on a machine that stands for one: `srun` and `scontrol` do what they are asked to."""
    with tempfile.TemporaryDirectory() as folder:
        for name, does in {"srun": 'shift; exec "$@"', "scontrol": "echo localhost"}.items():
            Path(folder, name).write_text(f"#!/bin/bash\n{does}\n")
            Path(folder, name).chmod(0o755)
        slurm = {"SLURM_JOB_NODELIST": "localhost", "SLURM_NNODES": "1", "SLURM_JOB_ID": str(os.getpid()),
                 "SLURM_CPUS_PER_TASK": "2", "SPD_PROCESSES": "2", "PYTHON": sys.executable}  # fmt: skip
        environment = {**os.environ, **slurm, "PATH": f"{folder}:{os.environ['PATH']}"}
        return subprocess.run(
            ["bash", str(ROOT / "assets" / "slurm" / "spd-lab.sbatch"), *map(str, argv)],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONG,
        )  # fmt: skip


def test_two_capture_what_one_captures(sums: Path, llama: Path, tmp_path: Path) -> None:
    asked = ["capture", "--capability", sums, "--model", llama, "--dtype", "float32", "--batch-size", 2, "--out"]
    for run, place in ((process, tmp_path / "one"), (by_slurm, tmp_path / "two")):
        done = run(*asked, place, "--json")
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads(done.stdout)["capture"] == place.name, "only the first one prints"
    one, two = load_capture(tmp_path / "one"), load_capture(tmp_path / "two")
    assert two.identity == one.identity
    assert two.examples == one.examples
    for site, basis in subspace_of(one).basis.items():
        other = subspace_of(two).basis[site]
        assert float(torch.linalg.svdvals(basis.double().T @ other.double()).min()) > 0.9999, site.label
        assert two.sites[site].nulls.keys() == one.sites[site].nulls.keys()
        assert two.sites[site].band == pytest.approx(one.sites[site].band, rel=1e-4, abs=1e-7)


def test_two_fill_a_table_as_one(sums: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "table.json"
    settings: dict[str, Any] = {
        "capability": str(sums), "model": str(llama), "dtype": "float32", "batch_size": 2,
        "subjects": ["base", "projected", "psr"], "sets": [{"capability": str(sums), "max_new_tokens": 4}],
        "corpus": {"max_new_tokens": 4, "batch_size": 2, "drop": [], "prompts": 6}, "capture": {"batch_size": 2},
        "train": {"epochs": 1, "batch_size": 4, "lora_dropout": 0.0},
    }  # fmt: skip
    recipe.write_text(json.dumps(settings))
    cells = {}
    for run in (process, launched):
        monkeypatch.setenv("SPD_HOME", str(tmp_path / run.__name__))
        done = run("table", recipe, "--json")
        assert done.returncode == 0, done.stderr[-2000:]
        made = open_run(json.loads(done.stdout)["run"])
        assert queue.state_of(made) == "done"
        assert len(all_runs()) == 2, "the table, and the one distillation that it needed"
        cells[run.__name__] = {
            subject: read_cell(made.folder, subject, 42, "sums") for subject in ("base", "projected", "psr")
        }
    for subject, (own, records) in cells["process"].items():
        other, shared = cells["launched"][subject]
        assert shared == records, subject
        assert (other.tokens, other.reused, other.about.set) == (own.tokens, own.reused, own.about.set)


def test_a_process_that_is_killed_ends_the_other_and_any_number_goes_on(
    sums: Path, llama: Path, tmp_path: Path
) -> None:
    """Killed when its first rows are on the disk and the other one waits for the rest; then in the middle of a step."""
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({
        "capability": str(sums), "model": str(llama), "dtype": "float32", "arms": ["psr"], "drift": False,
        "corpus": {"max_new_tokens": 4, "batch_size": 2, "drop": [], "held_out": 1},
        "train": {"epochs": 2, "batch_size": 2, "lora_dropout": 0.0, "learning_rate": 1e-2},
    }))  # fmt: skip
    one = process("distill", recipe, "--json")
    assert one.returncode == 0, one.stderr[-2000:]
    whole = open_run(json.loads(one.stdout)["run"])

    killed = launched("distill", recipe, dies="corpus")
    assert killed.returncode != 0
    (run,) = [found for found in all_runs() if isinstance(found, Run) and found.id != whole.id]
    first = _check_reason(run)
    parts = list((run.folder / "corpora").glob("*.part-1.jsonl"))
    assert len(parts) == 1
    kept = parts[0].read_text()
    assert len(kept.splitlines()) == 2

    killed = launched("distill", "--run", run.id, dies="training")
    assert killed.returncode != 0
    assert run.status().since > first.since, "it was gone on with"
    _check_reason(run)
    corpus = run.folder / "corpora" / "psr-round-1.jsonl"
    assert kept.splitlines()[0] in corpus.read_text(), "what the killed one wrote was not written again"
    assert read_corpus(corpus) == sorted(
        read_corpus(whole.folder / "corpora" / "psr-round-1.jsonl"), key=lambda row: row.number
    )

    done = process("distill", "--run", run.id, "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    assert queue.state_of(run) == "done"
    place = Path("adapters", "psr", "adapter_model.safetensors")
    alone, resumed = load_file(whole.folder / place), load_file(run.folder / place)
    for name, weight in alone.items():
        torch.testing.assert_close(resumed[name], weight, rtol=1e-3, atol=1e-5)


def _check_reason(run: Run) -> Status:
    status = run.status()
    assert status.state == "failed", status
    assert re.match(r"process 2 of 2 \(pid \d+\) is gone without a word \(killed, or out of memory\)", status.reason)
    assert "with any number of processes" in status.reason
    return status


def test_the_reason_of_any_process_is_the_reason_of_the_run(sums: Path, llama: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    settings = {"capability": str(sums), "model": str(llama), "dtype": "float32", "arms": ["psr"], "drift": False}
    recipe.write_text(json.dumps({**settings, "corpus": {"max_new_tokens": 4, "batch_size": 2}}))
    failed = launched("distill", recipe, dies="disk")
    assert failed.returncode != 0
    (name,) = (path.name for path in runs_folder().iterdir() if path.is_dir())
    status = open_run(name).status()
    assert (status.state, status.reason.partition(": ")[2]) == ("failed", "the disk of the second machine is full")
    assert re.match(r"process 2 of 2 \(pid \d+\): ", status.reason)

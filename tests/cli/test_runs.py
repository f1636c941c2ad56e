"""`python -m spd_core distill` and `runs`, with a real training of a tiny model."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spd_core.recipes.distill import Recipe
from spd_core.runs import processes, queue, states
from spd_core.runs.folder import all_runs, open_run
from tests import shell
from tests.shell import ROOT, Run, write
from tests.waiting import LONG, until

run, llama = shell.run, shell.llama
TRAIN = [{"prompt": f"{i} + 4?", "answer": f"It is {i + 4}", "spans": "number", "split": "train"} for i in range(1, 9)]
CALIBRATE = [{**row, "prompt": f"{i} + 5?", "split": "calibration"} for i, row in enumerate(TRAIN)]


@pytest.fixture
def config(tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe of a few seconds, and an empty SPD_HOME."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    return config_of(tmp_path, llama)


def config_of(folder: Path, model: Path, **more: Any) -> Path:
    write(folder / "sums.jsonl", *TRAIN, *CALIBRATE)
    settings = {
        "capability": str(folder / "sums.jsonl"), "model": str(model), "dtype": "float32", "arms": ["psr", "spd"],
        "corpus": {"prompts": 8, "held_out": 2, "max_new_tokens": 6},
        "train": {"epochs": 1, "batch_size": 2, "completions": 0}, **more,
    }  # fmt: skip
    path = folder / "config.json"
    path.write_text(json.dumps(settings))
    return path


def test_distill_trains_and_says_what_it_made(run: Run, config: Path) -> None:
    done = run("distill", config, "--title", "Mine", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    (made,) = all_runs()
    assert (found["run"], found["state"], list(found["arms"])) == (made.id, "done", ["psr", "spd"])
    for arm, numbers in found["arms"].items():
        assert numbers["adapter"] == str(Path(found["folder"]) / "adapters" / arm)
        assert (Path(numbers["adapter"]) / "adapter_model.safetensors").is_file()
        assert 1 <= numbers["rows"] <= 6
        assert numbers["steps"] == -(-numbers["rows"] // 2)
        assert numbers["held_out_loss"] > 0
    for words in ("Writing psr", "Writing spd", "Training psr", "Training spd"):
        assert words in done.err
    job = open_run(found["run"])
    kinds = [event.kind for event in job.events().events]
    assert (kinds.count("arm"), job.record.title, job.status().state) == (2, "Mine", "done")
    assert job.record.command.startswith("python -m spd_core distill ")
    listed = json.loads(run("runs", "--json").out)["runs"]
    assert [(row["run"], row["state"], row["title"]) for row in listed] == [(job.id, "done", "Mine")]
    assert run("runs").out.startswith(f"done      {job.id}  Mine")


def test_a_detached_job_is_killed_and_goes_on(run: Run, config: Path) -> None:
    queued = json.loads(run("distill", config, "--detach", "--json").out)
    job = open_run(queued["run"])

    def trains() -> bool:
        assert states.state_of(job) in ("starting", "running"), job.log()
        return any(event.kind == "progress" and event.stage == "train" for event in job.events().events)

    until(trains, job.log)
    status = job.status()
    assert status.job is not None
    os.kill(status.job.pid, signal.SIGKILL)
    until(lambda: states.state_of(job) != "running")
    assert json.loads(run("runs", "--resume", job.id, "--json").out)["state"] == "starting"
    until(lambda: states.state_of(job) not in ("starting", "running"), job.log)
    assert states.status_of(job).state == "done", job.log()
    assert {path.name for path in (job.folder / "adapters").iterdir()} == {"psr", "spd"}
    deleted = json.loads(run("runs", "--delete", job.id, "--json").out)
    assert (deleted["state"], all_runs()) == ("deleted", [])
    assert deleted["bytes"] > 64 * 1024


def test_ctrl_c_ends_after_a_step_and_the_run_goes_on(run: Run, tmp_path: Path, config: Path, llama: Path) -> None:
    config_of(tmp_path, llama, train={"epochs": 400, "batch_size": 2, "completions": 0}, arms=["psr"])
    command = [sys.executable, "-m", "spd_core", "distill", str(config)]
    shell_ = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def learns() -> bool:
        assert shell_.poll() is None, shell_.communicate()[1]
        return any(event.kind == "loss" for job in all_runs() for event in open_run(job.id).events().events)

    until(learns)
    shell_.send_signal(signal.SIGINT)
    out, err = shell_.communicate(timeout=LONG)
    (job,) = all_runs()
    assert shell_.returncode == 130, err
    assert f"To go on: python -m spd_core distill --run {job.id}" in err
    assert "state: stopped" in out
    assert open_run(job.id).status().reason == "stopped by Ctrl+C"


def test_wrong_settings_are_exit_2_and_leave_no_run(run: Run, config: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"capability": "arithmetic", "train": {"learn_rate": 1}}')
    for argv, said in (
        (["distill", tmp_path / "bad.json"], "train.learn_rate: Extra inputs are not permitted"),
        (["distill", tmp_path / "none.json"], "cannot read"),
        (["distill"], "name either a CONFIG.json, or --run ID"),
        (["distill", config, "--run", "x"], "name either a CONFIG.json, or --run ID"),
        (["distill", "--run", "x"], "no run 'x' on this machine"),
        (["distill", "--run", "../x"], "is not a name of a saved result"),
        (["distill", "--run", "x", "--detach"], "are of a new run"),
        (["distill", config, "--launcher", "srun"], "--launcher needs --detach"),
        (["distill", config, "--detach", "--launcher", "no-such"], "no such command here"),
        (["runs", "--stop", "x"], "no run 'x'"),
        (["runs", "--delete", "x"], "no run 'x'"),
        (["runs", "--stop", "x", "--delete", "y"], "at a time"),
    ):
        done = run(*argv)
        assert (done.code, said in done.err) == (2, True), done.err
    assert all_runs() == []
    assert run("runs").out.startswith("no run on this machine yet")


def test_a_failure_in_the_foreground_has_its_exit_code(run: Run, config: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(json.loads(config.read_text())["model"], tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"cut off")
    done = run("distill", config_of(tmp_path, broken))
    assert done.code == 3
    (job,) = all_runs()
    status = open_run(job.id).status()
    assert (status.state, status.exit_code) == ("failed", 3)
    assert status.reason in done.err


def test_a_stopped_run_in_the_queue_is_listed(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(queue, "start_next", list)
        job = queue.create(Recipe(capability="arithmetic"), "Later")
    assert json.loads(run("runs", "--stop", job.id, "--json").out)["state"] == "stopped"
    (all_runs()[0].id == job.id) and (job.folder / "status.json").write_text("{")
    assert run("runs").out.startswith(f"damaged   {job.id}")
    assert run("runs", "--delete", job.id).code == 0
    processes.reap()

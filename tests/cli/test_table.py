"""`python -m spd_core table`, on a tiny model."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spd_core.recipes.evaluation import evaluation_from
from spd_core.runs import queue
from spd_core.runs.folder import Run as RunFolder
from spd_core.runs.folder import all_runs, open_run
from tests import shell
from tests.shell import ROOT, Run, write
from tests.waiting import LONG, until

run, llama = shell.run, shell.llama


@pytest.fixture
def config(tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An evaluation of a second, and an empty SPD_HOME."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    rows = [{"prompt": f"{split} {i} + 4?", "answer": f"It is {i + 4}", "split": split}
            for split in ("calibration", "heldout") for i in range(6)]  # fmt: skip
    write(tmp_path / "sums.jsonl", {"capability": "sums", "scorer": "number", "spans": "number"}, *rows)
    return written(tmp_path, llama)


def written(folder: Path, model: Path, **more: Any) -> Path:
    settings = {
        "capability": str(folder / "sums.jsonl"), "model": str(model), "dtype": "float32",
        "subjects": ["base", "projected"], "sets": [{"capability": str(folder / "sums.jsonl"), "max_new_tokens": 4}],
        "batch_size": 2, **more,
    }  # fmt: skip
    path = folder / "config.json"
    path.write_text(json.dumps(settings))
    return path


def test_a_table_is_printed_and_kept(run: Run, config: Path) -> None:
    done = run("table", config, "--title", "Mine")
    assert done.code == 0, done.err
    assert done.out.startswith("| Arm | sums |")
    assert "### Claims" in done.out
    (made,) = all_runs()
    assert isinstance(made, RunFolder)
    assert (made.record.title, made.record.recipe.kind, made.status().state) == ("Mine", "evaluation", "done")
    assert f"run: {made.id}" in done.out
    assert "Answering projected sums" in done.err
    again = run("table", "--run", made.id, "--json")
    cells = json.loads(again.out)["cells"]
    assert [(cell["subject"], cell["n"]) for cell in cells] == [("Base", 6), ("Projected", 6)]


def test_a_damaged_cell_of_a_finished_run_is_answered_again(run: Run, config: Path) -> None:
    first = json.loads(run("table", config, "--json").out)
    path = Path(first["folder"]) / "cells" / "projected--42--sums.json"
    path.write_text(path.read_text()[:50])
    again = run("table", "--run", first["run"], "--json")
    assert f"damaged: projected, seed 42, on sums: {path} is damaged" in again.err
    assert "set aside in" in again.err
    strip = [{k: v for k, v in cell.items() if k != "seconds"} for cell in first["cells"]]
    assert [{k: v for k, v in cell.items() if k != "seconds"} for cell in json.loads(again.out)["cells"]] == strip
    assert (path.parent / "set-aside" / "projected--42--sums.1.json").read_text() == path.read_text()[:50]


def test_two_tables_are_compared_and_nothing_is_answered(run: Run, config: Path, llama: Path, tmp_path: Path) -> None:
    first = json.loads(run("table", config, "--json").out)["run"]
    sets = [{"capability": str(tmp_path / "sums.jsonl"), "max_new_tokens": 4, "limit": 4}]
    second = json.loads(run("table", written(tmp_path, llama, sets=sets), "--json").out)["run"]
    found = run("table", "--run", second, "--against", first)
    lines = found.out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Base on sums", "Projected on sums"]
    for line in lines:
        assert line.endswith("n = 4, p = 1; the same subject; on the 4 items that both have answered, of 6 and 4.")
    assert json.loads(run("table", "--run", second, "--against", first, "--json").out)["cells"] == lines
    assert run("table", config, "--against", first).code == 2
    assert len(all_runs()) == 2


def test_the_arms_of_a_distillation_are_evaluated_with_their_controls(
    run: Run, config: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"prompt": f"train {i} + 4?", "answer": f"It is {i + 4}", "split": "train"} for i in range(4)]
    with (tmp_path / "sums.jsonl").open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "capability": str(tmp_path / "sums.jsonl"), "model": str(llama), "dtype": "float32", "arms": ["spd", "ssd"],
        "corpus": {"max_new_tokens": 4, "drop": []}, "train": {"epochs": 1}, "drift": False,
    }  # fmt: skip
    made = json.loads(run("distill", write(tmp_path / "recipe.json", recipe), "--json").out)["run"]
    monkeypatch.setattr(queue, "start_next", lambda: [])
    found = json.loads(run("table", "--arms-of", made, "--detach", "--json").out)
    subjects = open_run(found["run"]).record.evaluation.subjects
    assert [one.name for one in subjects] == ["base", "spd", "ssd", "random", "full", "shuffled", "psr"]
    assert run("table", "--arms-of", found["run"]).code == 2, "an evaluation trains nothing"


def test_asking_again_only_reads(run: Run, config: Path) -> None:
    first = json.loads(run("table", config, "--json").out)
    second = json.loads(run("table", config, "--json").out)
    assert second["run"] != first["run"]
    strip = [{k: v for k, v in cell.items() if k != "seconds"} for cell in first["cells"]]
    assert [{k: v for k, v in cell.items() if k != "seconds"} for cell in second["cells"]] == strip
    events = open_run(second["run"]).events().events
    assert {event.reused for event in events if event.kind == "cell"} == {6}


def test_detached_it_waits_in_the_queue(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "start_next", lambda: [])
    found = json.loads(run("table", config, "--detach", "--json").out)
    assert found["state"] == "queued"
    assert open_run(found["run"]).record.command.endswith(f"-m spd_core table --run {found['run']}")


def test_commands_refuse_runs_of_the_other_kind(run: Run, config: Path) -> None:
    name = json.loads(run("table", config, "--json").out)["run"]
    refused = run("distill", "--run", name)
    assert (refused.code, refused.err) == (2, f"error: {name} is an evaluation and trains nothing; open it on the page "
                                              "Evaluation\n")  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "name one of a CONFIG.json, --run ID"),
        (["absent.json"], "cannot read absent.json"),
        (["--run", "absent"], "no run 'absent' on this machine"),
    ],
)
def test_wrong_calls(run: Run, config: Path, argv: list[str], said: str) -> None:
    done = run("table", *argv)
    assert done.code == 2
    assert said in done.err


def test_a_configuration_that_names_an_unknown_arm(run: Run, config: Path, tmp_path: Path, llama: Path) -> None:
    done = run("table", written(tmp_path, llama, subjects=["base", "sdp"]))
    assert done.code == 2
    assert "config.json: subjects: unknown arm 'sdp'; there are base, projected" in done.err
    assert all_runs() == []


def test_a_public_set_without_a_network_says_what_to_do(
    run: Run, config: Path, tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach the Hugging Face Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    done = run("table", written(tmp_path, llama, sets=["gsm8k"]))
    assert done.code == 2
    assert "cannot load openai/gsm8k from the hub: Couldn't reach the Hugging Face Hub; or give" in done.err
    (failed,) = all_runs()
    assert isinstance(failed, RunFolder)
    assert failed.status().state == "failed"


def test_ctrl_c_keeps_what_is_finished_and_it_goes_on(config: Path, tmp_path: Path, llama: Path) -> None:
    """In a process of its own, interrupted after the first batch."""
    sets = [{"capability": str(tmp_path / "sums.jsonl"), "max_new_tokens": 120}]
    path = written(tmp_path, llama, sets=sets, subjects=["base"], batch_size=1)
    process = subprocess.Popen([sys.executable, "-m", "spd_core", "table", str(path)], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    found = (tmp_path / "home").glob
    until(lambda: process.poll() is not None
          or any(path.stat().st_size for path in found("evaluations/*/items.jsonl")))  # fmt: skip
    (records,) = found("evaluations/*/items.jsonl")
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=LONG)
    if process.returncode == 0:
        pytest.skip("it was finished before the interruption arrived")
    assert process.returncode == 130, err
    assert "stopped; what was finished is kept. To go on: python -m spd_core table --run" in err
    kept = records.read_bytes()
    (made,) = all_runs()
    again = shell.process("table", "--run", made.id, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["state"] == "done"
    assert records.read_bytes().startswith(kept)


def test_a_record_of_a_run_without_a_kind_is_a_distillation(tmp_path: Path) -> None:
    """As runs were written before there were evaluations."""
    from spd_core.recipes.distill import Recipe
    from spd_core.runs.record import RunRecord

    record = RunRecord(id="r", created="c", recipe=Recipe(capability="arithmetic"), command="x", versions={})
    dumped = record.model_dump(mode="json")
    del dumped["recipe"]["kind"]
    assert RunRecord.model_validate(dumped) == record
    other = record.model_copy(update={"recipe": evaluation_from({"subjects": ["base"]})})
    assert RunRecord.model_validate_json(other.model_dump_json()) == other

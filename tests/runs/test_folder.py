"""What a run's directory holds, read back; and what is damaged, newer, or leads elsewhere."""

import errno
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from spd_core import storage
from spd_core.errors import InputError, StorageError
from spd_core.recipes.distill import Recipe
from spd_core.runs import folder, queue
from spd_core.runs.events import StageBegun, TrainingLoss
from spd_core.runs.folder import BALLAST_BYTES, Damaged, Run, all_runs, open_run
from spd_core.runs.record import Status
from tests.shell import ROOT

RECIPE = Recipe(capability="arithmetic", arms=("spd",))
BEGUN = StageBegun(time=1.0, stage="train", arm="spd")
LOSS = TrainingLoss(time=2.0, arm="spd", step=1, steps=9, epoch=0.1, loss=2.5)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that nobody starts."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setattr(queue, "start_next", list)
    return queue.create(RECIPE, "Mine")


# --- what is written and read back -------------------------------------------------------------------------------


def test_a_run_says_what_was_asked(run: Run, tmp_path: Path) -> None:
    assert run.folder == tmp_path / "runs" / run.id
    record = json.loads((run.folder / "run.json").read_text())
    assert (record["format"], record["id"], record["title"], record["launcher"]) == (1, run.id, "Mine", "local")
    assert record["command"] == f"{Path(sys.executable).name} -m spd_core distill --run {run.id}"
    assert record["recipe"]["arms"] == ["spd"]
    assert record["recipe"]["train"]["learning_rate"] == 1e-5
    assert {"torch", "transformers", "python"} <= record["versions"].keys()
    assert json.loads((run.folder / "status.json").read_text())["state"] == "queued"
    assert open_run(run.id) == run
    assert run.record.recipe == RECIPE


def test_a_file_is_recorded_with_its_whole_path(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sums.jsonl").write_text("{}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arithmetic").mkdir()  # the built-in one goes first
    assert queue.create(RECIPE).record.recipe == RECIPE
    for given in ("sums.jsonl", "./sums.jsonl"):
        made = queue.create(Recipe(capability=given, model="runs"))
        assert made.record.recipe.capability == str(tmp_path / "sums.jsonl")
        assert made.record.recipe.model == str(tmp_path / "runs")
        assert "-sums-" in made.id


def test_events_are_read_from_where_one_stopped(run: Run) -> None:
    assert run.events() == folder.Said((), 0)
    run.tell(BEGUN)
    first = run.events()
    assert (first.events, first.damaged) == ((BEGUN,), 0)
    run.tell(LOSS)
    second = run.events(first.offset)
    assert second.events == (LOSS,)
    assert second.offset == (run.folder / "events.jsonl").stat().st_size
    assert run.events(second.offset) == folder.Said((), second.offset)


def test_a_torn_line_waits_and_a_damaged_one_is_counted(run: Run) -> None:
    path = run.folder / "events.jsonl"
    run.tell(BEGUN)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind": "loss", "ti')
    said = run.events()
    assert (said.events, said.offset, said.damaged) == ((BEGUN,), len(whole), 0)
    run.tell(LOSS)  # the job was killed while it wrote, and goes on
    said = run.events(said.offset)
    assert (said.events, said.damaged) == ((LOSS,), 1)
    with path.open("ab") as file:
        file.write(b'{"kind": "dance"}\n\xff\n[]\n\n' + whole)
    said = run.events(said.offset)
    assert (said.events, said.damaged) == ((BEGUN,), 4)


def test_the_log_is_read_from_its_end(run: Run) -> None:
    assert run.log() == ""
    with run.open_log() as log:
        log.write("erste Zeile ä\nzweite\ndritte".encode())
    assert run.log() == "erste Zeile ä\nzweite\ndritte"
    assert run.log(limit=15) == "zweite\ndritte"
    with run.open_log() as log:
        log.write(b"\xff\n")
    assert run.log().endswith("dritte\ufffd\n")


def test_notes_and_rejected_rows_are_kept(run: Run) -> None:
    assert (run.notes(), run.rejected(), run.reviewed) == ("", {}, False)
    run.set_notes("gut – „ja“")
    run.set_rejected({"spd": {7, 2}, "psr": []})
    run.set_reviewed()
    again = open_run(run.id)
    assert (again.notes(), again.reviewed) == ("gut – „ja“", True)
    assert again.rejected() == {"spd": {2, 7}, "psr": set()}
    assert json.loads((run.folder / "rejected.json").read_text()) == {"psr": [], "spd": [2, 7]}
    for wrong in ("[1]", '{"spd": [-1]}', '{"spd": ["x"]}', "{"):
        (run.folder / "rejected.json").write_text(wrong)
        with pytest.raises(InputError, match="rejected.json is damaged"):
            run.rejected()


# --- damaged, newer, elsewhere -----------------------------------------------------------------------------------


def spoil(run: Run, name: str, change: dict[str, Any]) -> None:
    path = run.folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("run.json", None, "run.json is missing"),
        ("status.json", None, "status.json is missing"),
        ("run.json", "", "run.json is damaged"),
        ("run.json", '{"format": 1', "run.json is damaged"),
        ("run.json", "[]", "run.json is damaged"),
        ("run.json", "[" * 100_000, "run.json is damaged"),
        ("status.json", "\xff\x00", "status.json is damaged"),
        ("run.json", {"format": 2, "new": 1}, "newer SPD Lab .format 2.; update"),
        ("status.json", {"format": 3}, "newer SPD Lab .format 3.; update"),
        ("status.json", {"state": "flying"}, "status.json is damaged .state: "),
        ("run.json", {"recipe": {"capability": "x", "arms": ["best"]}}, "run.json is damaged .recipe.arms"),
        ("run.json", {"recipe": {"capability": "x", "arms": []}}, "name at least one"),
        ("run.json", {"id": "another"}, "holds the run 'another'"),
    ],
)
def test_one_damaged_run_does_not_hide_the_others(run: Run, name: str, content: Any, reason: str) -> None:
    broken = queue.create(RECIPE)
    if content is None:
        (broken.folder / name).unlink()
    elif isinstance(content, dict):
        spoil(broken, name, content)
    else:
        (broken.folder / name).write_text(content, "latin-1")
    with pytest.raises(InputError, match=reason):
        open_run(broken.id).status()
    damaged, whole = all_runs()
    assert isinstance(damaged, Damaged)
    assert damaged.id == broken.id
    assert whole == run
    assert queue.delete(damaged) >= 0
    assert all_runs() == [run]


def test_files_and_hidden_folders_beside_runs_are_none(run: Run) -> None:
    (run.folder.parent / "README").write_text("hello")
    (run.folder.parent / ".trash").mkdir()
    assert all_runs() == [run]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../runs", "/etc", "a/b", "x\0y", "a" * 300, ".lock", "nothing", "x" * 5000, "a..b", "ä"]
)
def test_names_that_are_no_run(run: Run, name: str) -> None:
    with pytest.raises(InputError):
        open_run(name)


def test_a_linked_run_is_shown_as_damaged(run: Run, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(run.folder, outside / run.id)
    shutil.rmtree(run.folder)
    run.folder.symlink_to(outside / run.id)
    (run.folder.parent / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="is a link to elsewhere"):
        open_run(run.id)
    assert {found.id for found in all_runs() if isinstance(found, Damaged)} == {run.id, "loop"}


def test_tags_are_kept_once_each_in_alphabetical_order(run: Run) -> None:
    assert run.tags() == ()
    run.set_tags(["zwei  Kerne", " paper", "Ärger", "paper "])
    assert open_run(run.id).tags() == ("paper", "zwei Kerne", "Ärger")
    run.set_tags([])
    assert run.tags() == ()


@pytest.mark.parametrize("tags", [["x" * 41], ["  "], [f"tag {i}" for i in range(21)]])
def test_senseless_tags_are_refused_and_the_others_stay(run: Run, tags: list[str]) -> None:
    run.set_tags(["mine"])
    with pytest.raises(InputError, match="choose another|take some away"):
        run.set_tags(tags)
    assert run.tags() == ("mine",)
    (run.folder / "tags.json").write_text("{")
    with pytest.raises(InputError, match="tags.json is damaged"):
        run.tags()


@pytest.mark.parametrize("name", ["status.json", "run.json", "events.jsonl", "log.txt", "notes.txt"])
def test_a_link_in_a_run_is_not_followed(run: Run, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (run.folder / name).unlink(missing_ok=True)
    (run.folder / name).symlink_to(secret)
    with pytest.raises(InputError, match=name):
        assert [open_run(run.id).status(), run.events(), run.log(), run.notes()] == "unreachable"
    for write in (lambda: run.tell(LOSS), run.open_log):
        with suppress(OSError, StorageError):
            write()
    run.set_notes("mine")
    run.write_status(Status(state="queued", since=0))
    assert secret.read_text() == "secret"


def test_a_pipe_does_not_block(run: Run) -> None:
    os.mkfifo(run.folder / "notes.txt")
    with pytest.raises(InputError, match="cannot read"):
        run.notes()


# --- a full disk -------------------------------------------------------------------------------------------------


def test_ballast_makes_room_for_the_last_word(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = run.folder / "ballast"
    run.load_ballast()
    assert ballast.stat().st_size == BALLAST_BYTES == 65536
    replace = os.replace

    def full(source: str, target: Path) -> None:
        if ballast.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(storage.os, "replace", full)
    run.write_status(Status(state="failed", since=0, reason="the disk is full"))
    assert (run.status().reason, ballast.exists()) == ("the disk is full", False)
    monkeypatch.setattr(storage.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space")))
    with pytest.raises(StorageError, match="No space"):
        run.write_status(Status(state="done", since=0))
    assert run.status().state == "failed"


SMALL_DISK = """
mount -t tmpfs -o size=1m none "$SPD_HOME" && exec "$0" -c '
import os, time
from spd_core.runs import processes, queue
from spd_core.runs.job import run_job
from spd_core.recipes.distill import Recipe
run = queue.create_here(Recipe(capability="x"))
def work(recipe, folder, **_):
    with open(folder / "big", "wb", buffering=0) as file:
        while True:
            file.write(bytes(512))  # until not even a small file fits
try:
    run_job(run, work)
except Exception as error:
    print(type(error).__name__, os.statvfs(run.folder).f_bfree > 0)
print(run.status().state, run.status().reason)
'
"""


def test_a_really_full_disk(tmp_path: Path) -> None:
    environment = {**os.environ, "SPD_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode:
        pytest.skip("no mount of one's own here")
    done = subprocess.run(["unshare", "-Urm", "bash", "-c", SMALL_DISK, sys.executable], env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert done.stdout.splitlines() == [
        "StorageError True",
        "failed the disk is full; free space, e.g. by deleting old runs, and resume; nothing is lost",
    ], done.stderr

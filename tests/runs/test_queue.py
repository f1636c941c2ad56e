"""The queue with real processes around pretended work (`pretended_job.py`): starting, stopping, killing, resuming."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from spd_core import storage
from spd_core.errors import InputError
from spd_core.recipes.distill import Recipe
from spd_core.runs import processes, queue, states
from spd_core.runs.folder import Damaged, Run, all_runs, open_run
from spd_core.runs.record import Status
from tests import pretended_job
from tests.shell import ROOT
from tests.waiting import LONG, until

RECIPE = Recipe(capability="arithmetic")
Make = Callable[[str], Run]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty SPD_HOME; whatever was started for its runs is ended after the test."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(processes, "job_command", pretended_job.command)
    yield tmp_path
    for path in (tmp_path / "runs").glob("[!.]*"):
        processes.end_all(path.name, [])


def make(title: str) -> Run:
    return queue.create(RECIPE, title)


def reaches(run: Run, state: str) -> None:
    until(lambda: states.state_of(run) == state, lambda: f"{run.status()} instead of {state}; log:\n{run.log()}")


def begun(run: Run) -> None:
    """Wait until the job has done its first step."""
    until((run.folder / "steps.txt").exists)


def go(run: Run) -> None:
    (run.folder / "go").touch()


def pid_of(run: Run) -> int:
    job = run.status().job
    assert job is not None
    return job.pid


def steps(run: Run) -> list[str]:
    return (run.folder / "steps.txt").read_text().split()


# --- the queue ---------------------------------------------------------------------------------------------------


def test_one_at_a_time_in_the_order_of_their_coming() -> None:
    first, second, third = make("steps"), make("steps"), make("steps")
    begun(first)
    assert [states.state_of(run) for run in (first, second, third)] == ["running", "queued", "queued"]
    assert [run.id for run in all_runs()] == [third.id, second.id, first.id]
    go(first)
    begun(second)  # the first job has started it: nobody else did
    assert [states.state_of(run) for run in (first, second, third)] == ["done", "running", "queued"]
    for run in (second, third):
        go(run)
    reaches(third, "done")
    assert steps(third) == ["0", "1", "2", "3"]
    assert [event.done for event in third.events().events if event.kind == "progress"] == [1, 2, 3, 4]


def test_spd_jobs_lets_more_run_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_JOBS", "2")
    first, second, third = make("steps"), make("steps"), make("steps")
    begun(first)
    begun(second)
    assert states.state_of(third) == "queued"
    for wrong in ("0", "two", "-1", "", "²"):
        monkeypatch.setenv("SPD_JOBS", wrong)
        with pytest.raises(InputError, match=f"SPD_JOBS={wrong!r}"):
            make("steps")
    assert len(all_runs()) == 3


SERVER = """
import sys, time
from spd_core.runs import processes, queue
from tests import pretended_job
start = processes.start
def slowly(*given):
    time.sleep(0.3)  # the others look at the queue meanwhile
    return start(*given)
processes.job_command, processes.start = pretended_job.command, slowly
print("ready", flush=True)
sys.stdin.read(1)
print(len(queue.start_next()))
"""


def test_a_class_has_one_queue(home: Path) -> None:
    """Whichever shelf a run lies on: one at a time, in the order of their coming; a job starts the next one, too."""
    shelves, runs = [home / "classroom" / name for name in "abc"], []
    for shelf in (shelves[1], shelves[0], shelves[1], shelves[2]):
        with storage.home_at(shelf):
            runs.append(make("steps"))
    try:
        for at, run in enumerate(runs):
            with storage.home_at(run.folder.parents[1]):
                begun(run)
                waiting = runs[at + 1 :]
                assert [states.state_of(one) for one in waiting] == ["queued"] * len(waiting)
                go(run)
                reaches(run, "done")
    finally:
        for run in runs:
            processes.end_all(run.id, [])


def test_two_servers_start_one_job(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(queue, "start_next", list)
        run = make("steps")
    servers = [subprocess.Popen([sys.executable, "-c", SERVER], cwd=ROOT, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE) for _ in range(4)]  # fmt: skip
    for server in servers:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
    for server in servers:
        server.stdin.write(b"x")  # type: ignore[union-attr]
        server.stdin.flush()  # type: ignore[union-attr]
    said = sorted(server.communicate(timeout=LONG)[0].strip() for server in servers)
    assert said == [b"0", b"0", b"0", b"1"]
    begun(run)
    go(run)
    reaches(run, "done")


def test_a_job_outlives_the_server_and_starts_the_next() -> None:
    server = subprocess.Popen([sys.executable, "-m", "tests.pretended_job", "serve", "steps", "quick"], cwd=ROOT,
                              stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert server.stdout is not None
    first, second = (open_run(server.stdout.readline().strip()) for _ in range(2))
    begun(first)
    server.kill()
    server.wait()
    server.stdout.close()
    assert os.getsid(pid_of(first)) == pid_of(first) != os.getsid(0)
    assert (states.state_of(first), states.state_of(second)) == ("running", "queued")
    go(first)
    reaches(first, "done")
    reaches(second, "done")


def test_the_servers_thread_starts_and_ends_jobs_until_it_is_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from app import main

    with monkeypatch.context() as patch:
        patch.setattr(queue, "start_next", list)
        run = make("deaf")
    monkeypatch.setattr(main, "SUPERVISION", 0.05)
    over = threading.Event()
    thread = threading.Thread(target=main.supervise, args=(over,))
    thread.start()
    try:
        reaches(run, "running")
        monkeypatch.setenv("SPD_JOBS", "none")
        until(lambda: "SPD_JOBS='none'" in caplog.text)  # said once; it lives on
        monkeypatch.delenv("SPD_JOBS")
        queue.stop(run)
        os.utime(run.folder / "CANCEL", (time.time() - 61,) * 2)
        reaches(run, "stopped")
        assert caplog.text.count("SPD_JOBS='none'") <= 2  # the message, and the error's last line
    finally:
        over.set()
        thread.join(LONG)
    assert not thread.is_alive()


def test_what_cannot_be_started_fails_and_lets_the_next_one_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(processes, "job_command", lambda *_: ["/nowhere/launch"])
        run = make("quick")
    assert states.state_of(run) == "failed"
    assert run.status().reason.startswith("cannot start: [Errno 2] No such file")
    queue.resume(run)
    reaches(run, "done")


# --- stopping ----------------------------------------------------------------------------------------------------


def test_a_stopped_job_goes_on_where_it_stood() -> None:
    run = make("steps")
    begun(run)
    assert queue.stop(run) == "running"
    reaches(run, "stopped")
    assert run.status().reason == "stopped on request"
    until(lambda: not run.asked_to_stop())  # the wish goes after the state is written
    queue.resume(run)
    go(run)
    reaches(run, "done")
    assert steps(run) == ["0", "1", "2", "3"]
    with pytest.raises(InputError, match=r"is done; to resume it, it must be lost or stopped or failed"):
        queue.resume(run)


def test_a_queued_run_is_taken_out_at_once() -> None:
    first, second = make("steps"), make("steps")
    assert (queue.stop(second), second.asked_to_stop()) == ("stopped", False)
    begun(first)
    go(first)
    reaches(first, "done")
    assert queue.start_next() == []
    assert (queue.stop(first), states.state_of(second)) == ("done", "stopped")


def test_sigterm_stops_like_a_request() -> None:
    run = make("steps")
    begun(run)
    os.kill(pid_of(run), signal.SIGTERM)
    reaches(run, "stopped")
    assert run.status().reason == "stopped by SIGTERM"


def test_a_deaf_job_is_killed_after_its_grace() -> None:
    run, waiting = make("deaf"), make("quick")
    until(lambda: run.status().job is not None)
    pid = pid_of(run)
    queue.stop(run)
    assert queue.enforce_stops(grace=60) == []
    os.utime(run.folder / "CANCEL", (time.time() - 61,) * 2)
    queue.stop(run)  # asking again does not prolong it
    assert [late.id for late in queue.enforce_stops(grace=60)] == [run.id]
    assert (states.state_of(run), psutil.pid_exists(pid)) == ("stopped", False)
    assert run.status().reason.startswith("killed 61 seconds after it was asked to stop")
    queue.start_next()
    reaches(waiting, "done")
    go(run)
    queue.resume(run)
    reaches(run, "done")


def test_killing_reaches_children_in_sessions_of_their_own(tmp_path: Path) -> None:
    run = make("steps")
    begun(run)
    environment = processes.job_environment("local", run.id)
    rank = subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True)
    bystander = subprocess.Popen(["sleep", "600"], env={**environment, "SPD_RUN": run.id + "x"})
    try:
        queue.kill(run)
        assert rank.wait(LONG) == -signal.SIGKILL
        assert bystander.poll() is None
        assert run.status().reason == "killed on request"
    finally:
        bystander.kill()
        bystander.wait()


# --- lost --------------------------------------------------------------------------------------------------------


def test_a_killed_job_is_lost_and_resumes() -> None:
    run = make("steps")
    begun(run)
    os.kill(pid_of(run), signal.SIGKILL)
    reaches(run, "lost")
    assert "gone without a last word" in states.status_of(run).reason
    assert json.loads((run.folder / "status.json").read_text())["state"] == "running"
    go(run)
    queue.resume(run)
    reaches(run, "done")
    assert steps(run) == ["0", "1", "2", "3"]


def test_a_lost_job_does_not_hold_up_the_queue() -> None:
    run, waiting = make("steps"), make("quick")
    begun(run)
    os.kill(pid_of(run), signal.SIGKILL)
    until(lambda: bool(queue.start_next()))
    reaches(waiting, "done")


def test_another_process_with_the_pid_is_not_the_job() -> None:
    run = make("steps")
    begun(run)
    status = run.status()
    assert status.job is not None
    assert abs(status.job.born - psutil.Process(status.job.pid).create_time()) < 0.01
    forged = status.job.model_copy(update={"born": status.job.born - 60})
    run.write_status(status.model_copy(update={"job": forged}))
    assert states.state_of(run) == "lost"
    run.write_status(status)
    assert states.state_of(run) == "running"


def test_a_job_on_another_machine_is_lost_when_its_heart_is_silent() -> None:
    run = make("steps")
    begun(run)
    status = run.status()
    assert status.job is not None
    until(lambda: time.time() - run.last_beat() < 10)  # the job itself shows that it works
    far = status.job.model_copy(update={"host": "elsewhere"})
    run.write_status(status.model_copy(update={"job": far, "launcher": far, "since": time.time() - 500}))
    assert states.state_of(run) == "running"
    with pytest.raises(InputError, match="runs on elsewhere; end it there"):
        queue.kill(run)
    processes.end_all(run.id, [])
    for silence, state in ((100, "running"), (121, "lost")):
        os.utime(run.folder / "heartbeat", (time.time() - silence,) * 2)
        assert states.state_of(run) == state


def test_a_second_process_on_the_same_run_is_refused() -> None:
    run = make("steps")
    begun(run)
    second = subprocess.run(pretended_job.command("", run.id), cwd=ROOT, capture_output=True, text=True)
    assert second.returncode == 1
    assert f"another process (pid {pid_of(run)} on" in second.stderr
    assert states.state_of(run) == "running"


# --- failing, review, deleting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "code", "reason"),
    [
        ("input", 2, "rank 9 exceeds 8; choose less"),
        ("training", 7, "the loss is nan"),
        ("odd", 1, "unexpected ValueError: seven is odd; the log has the details"),
        ("memory", 4, "out of memory; close other programs and resume"),
        ("full", 6, "the disk is full; free space"),
    ],
)
def test_a_failure_says_why(title: str, code: int, reason: str) -> None:
    run, following = make(title), make("quick")
    reaches(run, "failed")
    assert (run.status().exit_code, run.status().reason[: len(reason)]) == (code, reason)
    until(lambda: "Traceback" in run.log())
    reaches(following, "done")


def test_review_waits_until_it_is_approved() -> None:
    run, following = make("review"), make("quick")
    reaches(run, "review")
    reaches(following, "done")
    queue.approve(run)
    reaches(run, "done")
    with pytest.raises(InputError, match="to approve it, it must be review"):
        queue.approve(run)


def test_deleting_frees_bytes_and_follows_no_link(tmp_path: Path) -> None:
    run = make("steps")
    begun(run)
    with pytest.raises(InputError, match="is running; stop it first"):
        queue.delete(run)
    queue.kill(run)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("x" * 1000)
    (run.folder / "link").symlink_to(outside)
    (run.folder / "big").write_bytes(b"0" * 100_000)
    freed = queue.delete(run)
    assert 100_000 + 64 * 1024 < freed < 200_000
    assert not run.folder.exists()
    assert (outside / "mine").read_text() == "x" * 1000
    with pytest.raises(InputError, match="it was deleted already"):
        queue.delete(run)


def test_a_damaged_directory_and_a_link_can_be_deleted(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "away").symlink_to(tmp_path / "outside")
    found = all_runs()
    assert all(isinstance(run, Damaged) for run in found)
    for run in found:
        queue.delete(run)
    assert (all_runs(), (tmp_path / "outside").is_dir()) == ([], True)
    with pytest.raises(InputError, match="no run '../outside'"):
        queue.delete(Damaged("../outside", ""))


# --- the command of a job ----------------------------------------------------------------------------------------


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("launcher", "words"),
    [
        ("local", [Path(sys.executable).name]),
        ("accelerate launch --num_processes 2", ["accelerate", "launch", "--num_processes", "2"]),
        ("env -u 'A B'", ["env", "-u", "A B", Path(sys.executable).name]),
    ],
)
def test_launchers_come_first(real: None, launcher: str, words: list[str]) -> None:
    assert processes.job_command(launcher, "r") == [*words, "-m", "spd_core", "distill", "--run", "r"]


@pytest.mark.parametrize("words", [["env", "torchrun"], [sys.executable, "-m", "torch.distributed.run"]])
def test_torchs_launchers_leave_the_options_alone(real: None, words: list[str]) -> None:
    command = processes.job_command(" ".join(words), "r")
    assert command == [*words, "-m", "--", "spd_core", "distill", "--run", "r"]


def test_a_launcher_that_ends_at_once_leaves_its_reason_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(processes, "job_command", lambda *_: [sys.executable, "-c", "exit('no such option')"])
        run = make("quick")
    reaches(run, "lost")
    assert "ended before the work began; the log says why" in states.status_of(run).reason
    assert run.log() == "no such option\n"


@pytest.mark.parametrize("launcher", ["", "  ", "no-such-launcher x", "srun 'open", "/nowhere/srun"])
def test_a_launcher_that_is_not_here_is_refused(real: None, launcher: str) -> None:
    with pytest.raises(InputError, match="launcher"):
        processes.job_command(launcher, "r")


def test_a_jobs_environment(real: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = len(os.sched_getaffinity(0))
    own = processes.job_environment("local", "r")
    assert (own["OMP_NUM_THREADS"], own["OMP_WAIT_POLICY"]) == (str(max(1, cores - 1)), "PASSIVE")
    assert (own["PATH"].split(":")[0], own["PYTHONPATH"].split(":")[0]) == (str(Path(sys.executable).parent), str(ROOT))
    assert "OMP_NUM_THREADS" not in processes.job_environment("torchrun", "r")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert processes.job_environment("local", "r")["OMP_NUM_THREADS"] == "7"
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "x")
    assert not {"RANK", "MASTER_ADDR"} & processes.job_environment("torchrun", "r").keys()


def test_a_status_without_a_process_is_lost() -> None:
    run = make("quick")
    reaches(run, "done")
    run.write_status(Status(state="running", since=0))
    assert states.state_of(run) == "lost"

"""Jobs: stopped, forgotten, failed, and at the end of the process."""

import gc
import subprocess
import sys
import time
import weakref
from types import SimpleNamespace

import pytest

from app.jobs import job as job_module
from app.jobs.job import Job
from spd_core.errors import CaptureError
from tests import ROOT
from tests.waiting import LONG, until


def forever(job: Job[int, int]) -> int:
    steps = 0
    while not job.stopping():
        steps += 1
        job.news = steps
        time.sleep(0.005)
    return steps


def test_a_stopped_job_keeps_what_it_has() -> None:
    job = Job(forever).start()
    until(lambda: job.news)
    assert job.running
    job.stop()
    job.join(LONG)
    assert not job.running
    assert job.result == job.news


def test_a_job_that_has_ended_holds_nothing_but_its_result() -> None:
    class Analysis: ...

    asked = Analysis()
    alive = weakref.ref(asked)
    job: Job[int, None] = Job(lambda _, asked=asked: id(asked)).start()
    del asked
    job.join(LONG)
    gc.collect()
    assert job.result
    assert alive() is None


def test_a_job_nobody_looks_at_stops_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(job_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    watched, forgotten = Job(forever, idle_limit=10).start(), Job(forever, idle_limit=10).start()
    for now[0] in (6, 12):
        watched.seen()
    forgotten.join(LONG)
    assert not forgotten.running
    assert watched.running
    now[0] = 23
    watched.join(LONG)
    assert not watched.running
    assert watched.result


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (CaptureError("stopped before its first batch"), "stopped before its first batch"),
        (MemoryError(), "memory ran out; choose a smaller batch size"),
        (ZeroDivisionError("division by zero"), "unexpected ZeroDivisionError: division by zero"),
    ],
)
def test_a_failed_job_says_why(error: Exception, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    def work(job: Job[None, None]) -> None:
        raise error

    job = Job(work).start()
    job.join(LONG)
    assert job.error.startswith(shown)
    assert job.result is None
    assert bool(caplog.records) == isinstance(error, ZeroDivisionError), "only the unexpected goes to the log"


@pytest.mark.slow
def test_threads_inside_the_engine_do_not_break_the_exit() -> None:
    code = (
        "import time, torch\nfrom app.jobs.job import Job\n"
        "def work(job):\n    while not job.stopping(): torch.ones(400, 400) @ torch.ones(400, 400)\n"
        "Job(work).start(); time.sleep(0.3)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr


def test_what_fails_because_the_process_ends_is_no_line_in_the_log() -> None:
    code = (
        "import time\nfrom app.jobs.job import Job\n"
        "def work(job):\n    while not job.stopping(): time.sleep(0.01)\n    raise RuntimeError('at shutdown')\n"
        "Job(work).start()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert (done.returncode, done.stderr) == (0, "")


def test_jobs_of_sessions_that_are_not_open_are_left_alone() -> None:
    jobs = [Job(forever) for _ in range(3)]
    for job, owner in zip(jobs, ("open", "reloaded", ""), strict=True):
        job.owner = owner
        job.start()
    found = job_module.left_alone(lambda owner: owner == "open")
    for job in jobs:
        job.stop()
        job.join(LONG)
    assert found == [jobs[1]]
    assert job_module.left_alone(lambda owner: False) == [], "none of them runs any more"

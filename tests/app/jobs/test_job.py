"""Jobs: stopped, forgotten, failed, and at the end of the process."""

import gc
import subprocess
import sys
import time
import weakref

import pytest

from app.jobs.job import Job
from spd_core.errors import CaptureError
from tests import ROOT


def forever(job: Job[int, int]) -> int:
    steps = 0
    while not job.stopping():
        steps += 1
        job.news = steps
        time.sleep(0.005)
    return steps


def test_a_stopped_job_keeps_what_it_has() -> None:
    job = Job(forever).start()
    while not job.news:
        time.sleep(0.005)
    assert job.running
    job.stop()
    job.join(5)
    assert not job.running
    assert job.result == job.news


def test_a_job_that_has_ended_holds_nothing_but_its_result() -> None:
    class Analysis: ...

    asked = Analysis()
    alive = weakref.ref(asked)
    job: Job[int, None] = Job(lambda _, asked=asked: id(asked)).start()
    del asked
    job.join(10)
    gc.collect()
    assert job.result
    assert alive() is None


def test_a_job_nobody_looks_at_stops_itself() -> None:
    watched, forgotten = Job(forever, idle_limit=0.2).start(), Job(forever, idle_limit=0.2).start()
    for _ in range(20):
        watched.seen()
        time.sleep(0.02)
    assert watched.running
    forgotten.join(5)
    assert not forgotten.running
    watched.stop()
    watched.join(5)


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
    job.join(5)
    assert job.error.startswith(shown)
    assert job.result is None
    assert bool(caplog.records) == isinstance(error, ZeroDivisionError), "only the unexpected goes to the log"


def test_threads_inside_the_engine_do_not_break_the_exit() -> None:
    code = (
        "import time, torch\nfrom app.jobs.job import Job\n"
        "def work(job):\n    while not job.stopping(): torch.ones(400, 400) @ torch.ones(400, 400)\n"
        "Job(work).start(); time.sleep(0.3)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

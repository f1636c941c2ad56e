"""Parts of the front end without a browser: jobs, tokens, escaping, and what the first paint imports."""

import gc
import subprocess
import sys
import time
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.jobs import models
from app.jobs.models import Job
from app.side_by_side import history
from app.ui import session, tokens
from app.ui.widgets import plain, ranges, told_apart
from spd_core.data.spans import Encoded
from spd_core.errors import CaptureError, InputError
from spd_core.generation import comparison
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
    monkeypatch.setattr(models, "time", SimpleNamespace(monotonic=lambda: now[0]))
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
        "import time, torch\nfrom app.jobs.models import Job\n"
        "def work(job):\n    while not job.stopping(): torch.ones(400, 400) @ torch.ones(400, 400)\n"
        "Job(work).start(); time.sleep(0.3)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr


def test_the_first_paint_imports_nothing_heavy() -> None:
    code = (
        "import sys\nimport app.attributions.live, app.attributions.recorded, app.home.importer, app.home.pickers\n"
        "import app.side_by_side.lanes, app.side_by_side.results, app.spectrum.charts, app.spectrum.parts\n"
        "import app.ui.header\n"
        "print([name for name in ('torch', 'transformers', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_supervised_tokens_are_marked_and_all_are_escaped() -> None:
    text = "<img src=x> 1\n"
    encoded = Encoded("id", text, (0, 5, 6, 7), ((0, 0), (0, 11), (11, 13), (13, 14)), (2,))
    shown = tokens.strip(encoded)
    assert "<img" not in shown
    assert "&lt;img·src=x&gt;" in shown
    assert shown.count('class="tk on"') == shown.count("tabindex") == 1
    assert '<span class="tk on" tabindex="0" title="token 2: the loss is taken here">·1</span>' in shown
    assert "↵\n" in shown
    assert "4 tokens, 1 of them under the loss" in shown


def test_plain_leaves_no_markdown() -> None:
    for mark in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~":
        assert plain(f"a{mark}b") == f"a\\{mark}b"
    assert plain("one\ntwo") == "one  \ntwo"


@pytest.mark.parametrize(
    "text",
    ["see https://a.b/c", "WWW.a.b", "me@a.b", "a -> b", "a <- b", "a <-> b", "x >= 2", "x <= 2", "x ~= 2", "a -- b"],
)
def test_plain_makes_no_link_and_no_typography(text: str) -> None:
    """Streamlit does both to text whose every character is escaped."""
    shown = plain(text).replace("\\", "")
    assert "\u2060" in shown
    assert shown.replace("\u2060", "") == text


def test_plain_is_one_paragraph() -> None:
    assert plain("one\n\n    two\n \t\nthree").split("  \n") == ["one", "\u00a0", "    two", "\u00a0", "three"]
    assert "\u2060" not in plain("choose another --out, x->y, http and a@b")


def test_a_result_deleted_between_two_looks_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "find", lambda name: tmp_path / name)
    with pytest.raises(InputError, match="'gone' was deleted"):
        history.open_result("gone")


def test_runs_of_layers_are_drawn_together() -> None:
    assert ranges([15, 29]) == "15, 29"
    assert ranges([0, 1, 2, 3, 7, 8]) == "0–3, 7, 8"


def test_values_from_a_link_are_brought_into_range() -> None:
    assert session.clamped(999, 1, 256) == 256
    assert session.clamped(None, 1, 256) == 1
    assert session.clamped("3", 1, 9) == 3


def test_options_of_one_label_are_told_apart() -> None:
    told = told_apart(["a-0000001", "b-0000002", "c-0000003"], lambda name: "same" if name[0] < "c" else "other")
    labels = [told(name) for name in ("a-0000001", "b-0000002", "c-0000003")]
    assert labels == ["same · 0000001", "same · 0000002", "other"]

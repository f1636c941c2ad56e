"""A capture as a job: a stop is heard while examples are read, and again while spectra are computed."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.jobs import capturing
from app.jobs.capturing import CaptureNews
from app.jobs.job import Job
from app.jobs.models import ModelKey
from app.jobs.requests import CaptureRequest
from spd_core.subspace import pipeline
from spd_core.subspace.analysis import Analysis
from tests.subspace.test_pipeline import SETTINGS, sums
from tests.waiting import LONG

KEY = ModelKey("tiny", None, "float32")


def captured(
    lm: Any, monkeypatch: pytest.MonkeyPatch, stop_at: Callable[[str, int], bool]
) -> Job[Analysis, CaptureNews]:
    """A capture of two layers that is asked to stop when a progress (what it does, how much is done) says so."""

    def work(job: Job[Analysis, CaptureNews]) -> Analysis:
        telling = capturing._telling

        def watched(*args: Any, **options: Any) -> Any:
            tell = telling(*args, **options)

            def told(at: Any) -> None:
                tell(at)
                if stop_at(at.what, int(at.done)):
                    job.stop()

            return told

        monkeypatch.setattr(capturing, "_telling", watched)
        store: Any = SimpleNamespace(get=lambda key, tell: lm)
        return capturing.capture(job, CaptureRequest(KEY, sums(), SETTINGS, "raw"), store)

    job = Job(work).start()
    job.join(LONG)
    assert not job.error
    return job


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))


def test_a_stop_while_spectra_are_computed(tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    job = captured(tiny_lm("llama"), monkeypatch, lambda what, done: what.startswith("Computing") and done == 0)
    assert job.result is not None
    assert job.result.layers == [1], "the layer at which it was is finished"
    assert job.news is not None
    assert (job.news.sites, job.news.sites_done, job.news.done, job.news.total) == (4, 1, 7, 7)


def test_a_stop_of_the_examples_is_none_of_the_spectra(
    tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    analysed = []
    monkeypatch.setattr(
        pipeline, "_analyse", lambda *given, own=pipeline._analyse: analysed.append(given) or own(*given)
    )
    job = captured(tiny_lm("llama"), monkeypatch, lambda what, done: what.startswith("Capturing") and done == 3)
    assert job.result is not None
    assert job.result.provenance.examples_used == 3
    assert job.result.layers == [1, 2]
    assert len(analysed) == 4
    assert not job.stop_asked

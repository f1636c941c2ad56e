"""Captures gradients, and their nulls, on a background thread.

Pages import this module only inside functions, since it brings torch along.
"""

import time
from dataclasses import dataclass
from typing import Any

from app.jobs.job import Job
from app.jobs.models import ModelKey, ModelStore
from app.jobs.requests import CaptureRequest
from spd_core.progress import Progress, Tell
from spd_core.storage import new_name
from spd_core.subspace import pipeline
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.store import place_of, save_capture


@dataclass(frozen=True)
class CaptureNews:
    """Where a capture stands.

    Attributes:
        loss: mean −log p of the last batch, in nats.
        seconds: since the first batch began.
    """

    done: int
    total: int
    loss: float
    seconds: float

    @property
    def speed(self) -> float:
        """Examples a second."""
        return self.done / self.seconds

    @property
    def remaining(self) -> float:
        """Expected seconds to the end; batches go from the longest examples to the shortest, so it is less."""
        return (self.total - self.done) / self.speed


def capture(job: Job[Analysis, CaptureNews], request: CaptureRequest, store: ModelStore) -> Analysis:
    """Load the model if needed, capture its gradients on the examples, and save the analysis.

    Raises:
        SpdError: the model cannot be loaded, no example survives, or a gradient is not finite.
    """
    lm = store.get(request.model, job.tell)
    job.progress(0.0, "Capturing gradients")
    analysis = pipeline.capture(
        lm,
        request.capability,
        request.settings,
        request.style,
        name=new_name(request.capability.name),
        tell=_telling(job),
        stop=job.stopping,
    )
    _save(job, analysis)
    return analysis


def capture_nulls(job: Job[Analysis, CaptureNews], analysis: Analysis, key: ModelKey, store: ModelStore) -> Analysis:
    """Capture the null spectra of an analysis, and save it with them.

    Raises:
        SpdError: the model cannot be loaded, or it was stopped.
    """
    lm = store.get(key, job.tell)
    job.progress(0.0, "Capturing the nulls")
    analysis = pipeline.with_nulls(lm, analysis, tell=_telling(job, "Capturing the nulls"), stop=job.stopping)
    _save(job, analysis)
    return analysis


def _telling(job: Job[Any, CaptureNews], doing: str = "") -> Tell:
    started = time.monotonic()

    def tell(at: Progress) -> None:
        if at.loss is not None:
            job.news = CaptureNews(int(at.done), int(at.total), at.loss, time.monotonic() - started)
        job.progress(at.share, doing or at.what)

    return tell


def _save(job: Job[Any, Any], analysis: Analysis) -> None:
    job.saving(lambda: save_capture(analysis, place_of(analysis.name), overwrite=True))

"""Captures gradients, and their nulls, on a background thread.

Pages import this module only inside functions, since it brings torch along.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.jobs.job import Job
from app.jobs.models import ModelKey, ModelStore
from app.jobs.requests import CaptureRequest
from spd_core.storage import new_name
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.capture import Progress
from spd_core.subspace.pipeline import StudySettings, study, with_nulls
from spd_core.subspace.store import captures_folder, save_analysis


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
    """Load the model if needed, study the capability, and save the analysis.

    Raises:
        SpdError: the model cannot be loaded, no example survives, or a gradient is not finite.
    """
    lm = store.get(request.model, job.progress)
    job.progress(0.0, "Capturing gradients")
    settings = StudySettings(
        request.layers, request.loss, request.style, request.examples, request.batch_size, request.center
    )
    analysis = study(
        lm,
        request.capability,
        settings,
        name=new_name(request.capability.name),
        on_batch=_telling(job, "Capturing gradients"),
        doing=lambda share, site: job.progress(share, f"Computing the spectrum of {site}"),
        stop=job.stopping,
    )
    _save(job, analysis)
    return analysis


def capture_nulls(job: Job[Analysis, CaptureNews], analysis: Analysis, key: ModelKey, store: ModelStore) -> Analysis:
    """Capture the null spectra of an analysis, and save it with them.

    Raises:
        SpdError: the model cannot be loaded, or it was stopped.
    """
    lm = store.get(key, job.progress)
    job.progress(0.0, "Capturing the nulls")
    analysis = with_nulls(lm, analysis, on_batch=_telling(job, "Capturing the nulls"), stop=job.stopping)
    _save(job, analysis)
    return analysis


def _telling(job: Job[Any, CaptureNews], doing: str) -> Callable[[Progress], None]:
    started = time.monotonic()

    def tell(progress: Progress) -> None:
        job.news = CaptureNews(progress.done, progress.total, progress.loss, time.monotonic() - started)
        job.progress(progress.done / progress.total, doing)

    return tell


def _save(job: Job[Any, Any], analysis: Analysis) -> None:
    job.saving(lambda: save_analysis(analysis, captures_folder() / analysis.name, overwrite=True))

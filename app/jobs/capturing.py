"""Captures gradients, and their nulls, on a background thread.

Pages import this module only inside functions, since it brings torch along.
"""

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

from app.jobs.job import Job
from app.jobs.models import ModelKey, ModelStore
from app.jobs.requests import CaptureRequest
from spd_core.models.families import parse_layers
from spd_core.progress import Progress, Tell
from spd_core.storage import new_name
from spd_core.subspace import pipeline
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.store import place_of, save_capture


@dataclass(frozen=True)
class CaptureNews:
    """Where a capture stands.

    Attributes:
        done, total: examples.
        loss: mean −log p of the last batch, in nats.
        seconds: since the first batch began, until the last one ended.
        sites: whose spectra are computed after the examples; `sites_done` of them are, None before the first begins.
        spectra_seconds: that these took.
    """

    done: int
    total: int
    loss: float
    seconds: float
    sites: int = 0
    sites_done: int | None = None
    spectra_seconds: float = 0.0

    @property
    def speed(self) -> float:
        """Examples a second."""
        return self.done / self.seconds

    @property
    def remaining(self) -> float:
        """Expected seconds to the end; batches go from the longest examples to the shortest, so it is less."""
        return (self.total - self.done) / self.speed

    @property
    def spectra_remaining(self) -> float | None:
        """Expected seconds until all spectra are there; None until the first one is."""
        if not self.sites_done:
            return None
        return self.spectra_seconds / self.sites_done * (self.sites - self.sites_done)


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
        tell=_telling(job, sites=2 * len(parse_layers(request.settings.layers, lm.card.layers))),
        stop=job.stopping,
        stop_spectra=job.stopping,
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


def _telling(job: Job[Any, CaptureNews], doing: str = "", sites: int = 0) -> Tell:
    """Tells a job of batches, and of spectra where `sites` says how many there will be."""
    started = time.monotonic()

    def tell(at: Progress) -> None:
        nonlocal started
        news, now = job.news, time.monotonic()
        if at.loss is not None:
            job.news = CaptureNews(int(at.done), int(at.total), at.loss, now - started, sites)
        elif sites and news is not None:
            if news.sites_done is None:
                started = now
                if news.done < news.total:
                    job.go_on()  # the stop has ended the capture; the spectra of what there is can be stopped as well
            job.news = dataclasses.replace(news, sites_done=int(at.done), spectra_seconds=now - started)
        job.progress(at.share, doing or at.what)

    return tell


def _save(job: Job[Any, Any], analysis: Analysis) -> None:
    job.saving(lambda: save_capture(analysis, place_of(analysis.name), overwrite=True))

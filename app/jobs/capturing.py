"""What runs on background threads: read a model's configuration, and capture.

Pages import this module only inside functions, since it brings torch along.
"""

import functools
import time
from dataclasses import dataclass
from typing import Any

from app.jobs.models import COMPUTING, Job, ModelKey, ModelStore
from app.jobs.requests import Request
from spd_core.models import loading
from spd_core.models.device import MemoryEstimate, available_memory, choose_device
from spd_core.models.families import ModelCard, card_of
from spd_core.progress import Progress, Tell
from spd_core.recipes.capture import CaptureSettings
from spd_core.recipes.distill import Recipe
from spd_core.storage import new_name
from spd_core.subspace import pipeline
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.store import captures_folder, save_capture

# --- before loading ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is known of a model before a weight is read."""

    card: ModelCard
    config: Any
    tokenizer: Any


def prepare(job: Job[Prepared, None], name: str, revision: str | None) -> Prepared:
    """Configuration and tokenizer of a model; converts the built-in one on first use.

    Raises:
        SpdError: not found, or not supported.
    """
    source = loading.resolve(name, job.tell)
    job.progress(0.98, "Reading the configuration and the tokenizer")
    config = loading.read_config(source, revision)
    return Prepared(card_of(config, name), config, loading.load_tokenizer(source, revision))


@functools.lru_cache(maxsize=32)
def estimate(prepared: Prepared, dtype: str, layers: tuple[int, ...], batch_size: int) -> MemoryEstimate:
    """Bytes for loading, capturing and generating with these settings."""
    with COMPUTING:
        return loading.estimate(prepared.config, dtype, layers, batch_size=batch_size)


@functools.lru_cache(maxsize=32)
def distillation_memory(prepared: Prepared, recipe: Recipe, tokens: int) -> int:
    """Peak bytes of a distillation whose rows have up to `tokens` tokens: of writing or training, and its process."""
    with COMPUTING:
        training = loading.estimate(
            prepared.config, recipe.dtype, (0,), batch_size=recipe.train.batch_size, tokens=tokens, supervised=tokens
        )
        writing = loading.estimate(
            prepared.config, recipe.dtype, (0,), rows=recipe.corpus.batch_size, tokens=tokens,
            new_tokens=recipe.corpus.max_new_tokens,
        )  # fmt: skip
    return max(training.capture, writing.generation) + _ENGINE_BYTES


_ENGINE_BYTES = 700 * 2**20
"""torch, transformers, peft and TRL in a process of their own."""


def free_memory() -> int:
    """Free bytes where models are loaded."""
    return available_memory(choose_device())


def fitting_batch(prepared: Prepared, dtype: str, layers: tuple[int, ...], batch_size: int) -> int | None:
    """The largest smaller batch size whose capture fits the free memory; None when not even one example does."""
    smaller = (size for size in (32, 16, 8, 4, 2, 1) if size < batch_size)
    return next((size for size in smaller if estimate(prepared, dtype, layers, size).capture < free_memory()), None)


# --- capture -------------------------------------------------------------------------------------------------


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


def capture(job: Job[Analysis, CaptureNews], request: Request, store: ModelStore) -> Analysis:
    """Load the model if needed, study the capability, and save the analysis.

    Raises:
        SpdError: the model cannot be loaded, no example survives, or a gradient is not finite.
    """
    lm = store.get(request.model, job.tell)
    job.progress(0.0, "Capturing gradients")
    settings = CaptureSettings(
        layers=",".join(map(str, request.layers)),
        loss=request.loss,
        examples=request.examples,
        batch_size=request.batch_size,
        center=request.center,
    )
    analysis = pipeline.capture(
        lm,
        request.capability,
        settings,
        request.style,
        name=new_name(request.capability.name),
        tell=_telling(job),
        stop=job.stopping,
    )
    _save(job, analysis)
    return analysis


def nulls(job: Job[Analysis, CaptureNews], analysis: Analysis, key: ModelKey, store: ModelStore) -> Analysis:
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
    job.saving(lambda: save_capture(analysis, captures_folder() / analysis.name, overwrite=True))

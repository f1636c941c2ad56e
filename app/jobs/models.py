"""The one loaded model of all sessions, and what is known of models before they are loaded.

Imports the engine where it computes: the first paint comes before torch.
"""

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.jobs.job import COMPUTING, Job
from spd_core.imports import collected_never
from spd_core.progress import Tell
from spd_core.recipes.distill import Recipe

if TYPE_CHECKING:
    from spd_core.models.device import MemoryEstimate
    from spd_core.models.families import ModelCard
    from spd_core.models.loading import LanguageModel


@dataclass(frozen=True)
class ModelKey:
    """Which model a session means; sessions keep this and never the model, so that memory can be freed."""

    name: str
    revision: str | None = None
    dtype: str = "auto"


class ModelStore:
    """Holds one loaded model for all sessions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: ModelKey | None = None
        self._lm: LanguageModel | None = None

    def get(self, key: ModelKey, tell: Tell) -> "LanguageModel":
        """The model of `key`, loaded when it is not the one at hand; others wait meanwhile.

        Raises:
            SpdError: it cannot be loaded.
        """
        from spd_core.models import loading

        with self._lock:
            if self._lm is None or not self._serves(key):
                self._lm = self._key = None  # free the old one before the new one comes
                self._lm = loading.load(key.name, key.revision, key.dtype, tell)
                self._key = key
            return self._lm

    def _serves(self, key: ModelKey) -> bool:
        """Whether the model at hand is what `key` would load: `auto` may be the dtype it has."""
        from spd_core.models.device import choose_dtype

        lm, at_hand = self._lm, self._key
        if lm is None or at_hand is None or key.name != lm.name:
            return False
        same_revision = key.revision in (at_hand.revision, lm.revision)
        return same_revision and choose_dtype(key.dtype, lm.device) == lm.dtype

    @property
    def resident(self) -> "LanguageModel | None":
        """The model in memory, if any."""
        return self._lm

    def unload(self) -> None:
        """Forget the model; its memory is free when no job uses it any more."""
        with self._lock:
            self._lm = self._key = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is known of a model before a weight is read."""

    card: "ModelCard"
    config: Any
    tokenizer: Any


@dataclass
class Shared:
    """One for the server."""

    models: ModelStore = field(default_factory=ModelStore)
    prepared: "dict[tuple[str, str | None], Job[Prepared, None]]" = field(default_factory=dict)


@st.cache_resource(show_spinner=False)
def shared() -> Shared:
    """What all sessions share."""
    return Shared()


# --- before loading ------------------------------------------------------------------------------------------


def preparation(name: str, revision: str | None, delay: float = 0.4) -> Job[Prepared, None]:
    """Read what a model is (configuration and tokenizer, no weights) in the background; once for all sessions.

    It also warms the engine up, `delay` seconds from now: importing torch would hold up a page that is being drawn.
    """
    known, key = shared().prepared, (name, revision)
    with _PREPARING:
        job = (
            known.pop(key, None)
            or Job[Any, None](lambda job: _prepare(job, name, revision, delay), computes=False).start()
        )
        known[key] = job  # the last one used stands last
        for oldest in list(known)[:-MOST_PREPARED]:
            del known[oldest]
    return job


MOST_PREPARED = 8
"""Models whose configuration and tokenizer are kept; a tokenizer can take 100 MB."""
_PREPARING = threading.Lock()
_ENGINE = threading.Lock()


def import_engine() -> None:
    """Import torch and transformers, one thread at a time: transformers fails when two enter it at first."""
    with _ENGINE:
        _engine()


@contextmanager
def no_import_meanwhile() -> Iterator[None]:
    """Have nobody import torch within the block; one that is under way is waited for.

    scipy asks torch for its tensors as soon as torch has a name, which is before it has them.
    """
    if _engine.cache_info().currsize:
        yield
    else:
        with _ENGINE:
            yield


@functools.cache
def _engine() -> None:
    with collected_never():
        import torch  # noqa: F401
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache  # noqa: F401


def forget_preparation(name: str, revision: str | None) -> None:
    """Read again next time, e.g. after a network error."""
    shared().prepared.pop((name, revision), None)


def _prepare(job: Job[Prepared, None], name: str, revision: str | None, delay: float) -> Prepared:
    job.progress(0.0, "Starting the engine")
    time.sleep(delay)
    import_engine()
    return prepare(job, name, revision)


def prepare(job: Job[Prepared, None], name: str, revision: str | None) -> Prepared:
    """Configuration and tokenizer of a model; converts the built-in one on first use.

    Raises:
        SpdError: not found, or not supported.
    """
    from spd_core.models import loading
    from spd_core.models.families import card_of

    source = loading.resolve(name, job.tell)
    job.progress(0.98, "Reading the configuration and the tokenizer")
    config = loading.read_config(source, revision)
    return Prepared(card_of(config, name), config, loading.load_tokenizer(source, revision))


# --- what will fit -------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=32)
def estimate_of(prepared: Prepared, dtype: str, layers: tuple[int, ...], batch_size: int) -> "MemoryEstimate":
    """Bytes for loading, capturing and generating with these settings."""
    from spd_core.models import loading

    with COMPUTING:
        return loading.estimate_model(prepared.config, dtype, layers, batch_size=batch_size)


@functools.lru_cache(maxsize=32)
def distillation_memory(prepared: Prepared, recipe: Recipe, tokens: int) -> int:
    """Peak bytes of a distillation whose rows have up to `tokens` tokens: of writing or training, and its process."""
    from spd_core.distill.memory import memory_of

    with COMPUTING:
        return memory_of(prepared.config, recipe, tokens)


def model_bytes(prepared: Prepared, dtype: str) -> int:
    """Bytes of a model's weights in a number format."""
    return estimate_of(prepared, dtype, (0,), 1).load


def free_memory() -> int:
    """Free bytes where models are loaded."""
    from spd_core.models.device import available_memory, choose_device

    return available_memory(choose_device())


def fitting_batch_size(prepared: Prepared, dtype: str, layers: tuple[int, ...], batch_size: int) -> int | None:
    """The largest smaller batch size whose capture fits the free memory; None when not even one example does."""
    smaller = (size for size in (32, 16, 8, 4, 2, 1) if size < batch_size)
    fits = (size for size in smaller if estimate_of(prepared, dtype, layers, size).capture < free_memory())
    return next(fits, None)

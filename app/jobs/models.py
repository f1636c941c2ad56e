"""What all sessions share: one loaded model, what is known of models before loading, and working threads.

Imports no engine module that computes: the first paint comes before torch.
"""

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import streamlit as st

from spd_core.errors import InputError, SpdError, StorageError
from spd_core.progress import Progress, Tell
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.store import changed_at, open_capture

if TYPE_CHECKING:
    from app.jobs.capturing import Prepared
    from spd_core.models.loading import LanguageModel

Result = TypeVar("Result")
News = TypeVar("News")
_LOG = logging.getLogger(__name__)
IDLE_LIMIT = 120.0
"""Seconds without a page that looks on before a job stops itself; browsers slow the timers of hidden tabs to 60 s."""


class Job(Generic[Result, News]):
    """Work on a thread of its own, which pages look at: what it is doing, its news, its result or its error.

    The work never calls Streamlit. It asks `stopping()` where it can stop, and keeps what it has.

    Attributes:
        phase: what it is doing now, for people.
        share: how far the phase is, 0 to 1.
        news: the latest that the work has to show; replaced as a whole.
        result: what the work returned.
        error: why it failed, fit for a screen.
        notice: what the user should know although it succeeded.
        computes: it uses a model, so that others have to take turns with it.
    """

    def __init__(
        self, work: Callable[["Job[Result, News]"], Result], *, idle_limit: float = IDLE_LIMIT, computes: bool = True
    ) -> None:
        self.phase, self.share = "Starting", 0.0
        self.news: News | None = None
        self.result: Result | None = None
        self.error = self.notice = ""
        self.started = self._seen = time.monotonic()
        self.ended: float | None = None
        self._work, self._idle_limit, self.computes = work, idle_limit, computes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "Job[Result, News]":
        """Begin; returns itself."""
        with _LIVE_LOCK:
            _LIVE.add(self)
        self._thread.start()
        return self

    @property
    def running(self) -> bool:
        """Whether it has neither returned nor failed."""
        return self.ended is None

    @property
    def elapsed(self) -> float:
        """Seconds since it was made, until it ended."""
        return (self.ended or time.monotonic()) - self.started

    def progress(self, share: float, doing: str) -> None:
        """Say what is being done, and how far it is."""
        self.share, self.phase = share, doing

    def tell(self, at: Progress) -> None:
        """Take the engine's progress over; where it does not say what it does, the phase stays."""
        self.progress(at.share, at.what or self.phase)

    def saving(self, save: Callable[[], object]) -> None:
        """Save what the work made; when the disk refuses, it stays usable in this session, and the page says so."""
        try:
            save()
        except StorageError as error:
            self.notice = f"not saved, and gone when this page is reloaded: {error}"

    def seen(self) -> None:
        """A page looks on: the heartbeat that keeps the work going."""
        self._seen = time.monotonic()

    def stop(self) -> None:
        """Ask the work to end and keep what it has."""
        self._stop.set()

    @property
    def stop_asked(self) -> bool:
        """Whether somebody has asked it to stop."""
        return self._stop.is_set()

    def stopping(self) -> bool:
        """Whether to end now: somebody asked, or no page has looked for a while (its tab is closed)."""
        return self.stop_asked or time.monotonic() - self._seen > self._idle_limit

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread."""
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self.result = self._work(self)
        except SpdError as error:
            self.error = str(error)
        except Exception as error:  # the thread's edge: nobody above could show it
            self.error = _explained(error)
        finally:
            self.ended = time.monotonic()
            del self._work  # and what it holds, such as a whole analysis: sessions keep their last jobs


def _explained(error: Exception) -> str:
    """A message for an error that is not ours: memory with its remedy, else its type, with the details in the log."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory ran out; choose a smaller batch size, fewer layers, or a smaller model"
    _LOG.error("a background job failed", exc_info=error)
    return f"unexpected {type(error).__name__}: {error}; the server's log has the details"


COMPUTING = threading.Lock()
"""Held while a page's own thread is inside torch for longer than a blink; the exit waits for it."""

_LIVE: "weakref.WeakSet[Job[Any, Any]]" = weakref.WeakSet()
_LIVE_LOCK = threading.Lock()


def _running() -> "list[Job[Any, Any]]":
    with _LIVE_LOCK:
        return [job for job in _LIVE if job.running]


@atexit.register
def _stop_all() -> None:
    """A thread that is inside torch when the interpreter ends aborts the process: stop and wait."""
    running = _running()
    for job in running:
        job.stop()
    for job in running:
        job.join(10)
    COMPUTING.acquire(timeout=10)  # for good: no page shall enter torch any more


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
        from spd_core.models import loading as models

        with self._lock:
            if self._lm is None or not self._serves(key):
                self._lm = self._key = None  # free the old one before the new one comes
                self._lm = models.load(key.name, key.revision, key.dtype, tell)
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


def others_at_work(own: "Job[Any, Any] | None" = None) -> int:
    """How many other jobs, of any tab, are using a model now."""
    return sum(job.computes and job is not own for job in _running())


# --- saved analyses ------------------------------------------------------------------------------------------


def load_saved(name: str) -> Analysis:
    """A saved or recorded analysis; kept in memory while it is among the last few.

    Raises:
        InputError: no analysis of that name, or its files are damaged.
    """
    try:
        return _loaded(name, changed_at(name))
    except FileNotFoundError as error:  # another tab deletes it at this moment
        raise InputError(f"the capture {name!r} was deleted; choose another") from error


@st.cache_resource(max_entries=8, show_spinner=False)
def _loaded(name: str, stamp: int) -> Analysis:
    return open_capture(name)


@dataclass
class Shared:
    """One for the server."""

    models: ModelStore = field(default_factory=ModelStore)
    prepared: "dict[tuple[str, str | None], Job[Prepared, None]]" = field(default_factory=dict)


@st.cache_resource(show_spinner=False)
def shared() -> Shared:
    """What all sessions share."""
    return Shared()


def preparation(name: str, revision: str | None, delay: float = 0.4) -> "Job[Prepared, None]":
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
        import torch  # noqa: F401
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache  # noqa: F401


def forget_preparation(name: str, revision: str | None) -> None:
    """Read again next time, e.g. after a network error."""
    shared().prepared.pop((name, revision), None)


def _prepare(job: "Job[Prepared, None]", name: str, revision: str | None, delay: float) -> "Prepared":
    job.progress(0.0, "Starting the engine")
    time.sleep(delay)
    import_engine()
    from app.jobs import capturing

    return capturing.prepare(job, name, revision)

"""Work on a thread of its own that pages look at, and who is at work now. Knows neither models nor pages."""

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from spd_core.errors import SpdError, StorageError
from spd_core.progress import Progress
from spd_core.storage import home_at, spd_home

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
        owner: the session that started it, and `key`, under which that session keeps it.
        home: the folder of results of who made it, which the work has for its own, too.
    """

    def __init__(
        self, work: Callable[["Job[Result, News]"], Result], *, idle_limit: float = IDLE_LIMIT, computes: bool = True
    ) -> None:
        self.phase, self.share = "Starting", 0.0
        self.news: News | None = None
        self.result: Result | None = None
        self.error = self.notice = ""
        self.owner = self.key = ""
        self.started = self._seen = time.monotonic()
        self.ended: float | None = None
        self._work, self._idle_limit, self.computes = work, idle_limit, computes
        self.home = spd_home()
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

    def go_on(self) -> None:
        """What was asked to stop has stopped: what follows can be stopped on its own."""
        self._stop.clear()

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
            with home_at(self.home):
                self.result = self._work(self)
        except SpdError as error:
            self.error = str(error)
        except Exception as error:  # the thread's edge: nobody above could show it
            self.error = _explained(error) if not _EXITING.is_set() else "the app was stopped meanwhile"
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

_EXITING = threading.Event()
"""The process ends: what threads import or start then fails, and is nobody's concern."""

_LIVE: "weakref.WeakSet[Job[Any, Any]]" = weakref.WeakSet()
_LIVE_LOCK = threading.Lock()


def _running() -> "list[Job[Any, Any]]":
    with _LIVE_LOCK:
        return [job for job in _LIVE if job.running]


@atexit.register
def _stop_all() -> None:
    """A thread that is inside torch when the interpreter ends aborts the process: stop and wait."""
    _EXITING.set()
    running = _running()
    for job in running:
        job.stop()
    for job in running:
        job.join(10)
    COMPUTING.acquire(timeout=10)  # for good: no page shall enter torch any more


def left_alone(is_open: Callable[[str], bool]) -> "list[Job[Any, Any]]":
    """Running jobs whose session is not open any more: its page was reloaded, or closed."""
    return [job for job in _running() if job.owner and not is_open(job.owner)]


def others_at_work(own: "Job[Any, Any] | None" = None) -> int:
    """How many other jobs, of any tab, are using a model now."""
    return sum(job.computes and job is not own for job in _running())

"""Every session-state and URL key in one place, and what a session has in hand.

Keys under "in the URL" are widget keys bound to query parameters of the same name. A prompt, a path or a model's
name is never one of them: opening a link must not send, load or reveal anything.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import streamlit as st

from app.resources import Job, shared

if TYPE_CHECKING:
    from app.captured import Captured, Request
    from app.jobs import CaptureNews, WriteRequest, Written

Number = TypeVar("Number", int, float)

_PAGES = Path(__file__).resolve().parents[1] / "pages"
HOME, SPECTRUM, SIDE_BY_SIDE = _PAGES / "home.py", _PAGES / "spectrum.py", _PAGES / "side_by_side.py"

# In the URL: Home
CAPABILITY, LOSS, STYLE = "capability", "loss", "style"
EXAMPLES, LAYERS, BATCH, CENTRE = "examples", "layers", "batch", "centre"
# In the URL: Spectrum, Side by side
RANK = "rank"
STRENGTH, CHOICE, TEMPERATURE, TOP_P, NEW_TOKENS, SEED = "alpha", "choice", "temperature", "top_p", "new_tokens", "seed"

# For the session only
MODEL_SOURCE, MODEL_NAME, REVISION, DTYPE = "model_source", "model_name", "revision", "dtype"
CAPABILITY_PATH, CAPABILITY_UPLOAD, PREVIEW = "capability_path", "capability_upload", "preview"
LAYERS_SHOWN, PRESET, PROMPT = "layers_shown", "preset", "prompt"
_CAPTURE_JOB, _CAPTURED, _CHOSEN_RANK, _WRITE_JOB = "capture_job", "captured", "chosen_rank", "write_job"


def capture_job() -> "Job[Captured, CaptureNews] | None":
    """The capture that this session started last."""
    return cast("Job[Captured, CaptureNews] | None", st.session_state.get(_CAPTURE_JOB))


def write_job() -> "Job[Written, Written] | None":
    """The generation that this session started last."""
    return cast("Job[Written, Written] | None", st.session_state.get(_WRITE_JOB))


def captured() -> "Captured | None":
    """The capture in hand: the last one that succeeded, kept until the next does."""
    job, before = capture_job(), cast("Captured | None", st.session_state.get(_CAPTURED))
    if job is None or job.result is None or job.result is before:
        return before
    if before is not None and before.d_kv != job.result.d_kv:  # a rank means nothing on another width
        st.session_state.pop(_CHOSEN_RANK, None)
        st.session_state.pop(RANK, None)
    st.session_state[_CAPTURED] = job.result
    return job.result


def start_capture(request: "Request") -> None:
    """Start capturing in the background; one at a time for a session."""
    _start(_CAPTURE_JOB, "capture", request)


def start_writing(request: "WriteRequest") -> None:
    """Start writing both lanes in the background; one at a time for a session."""
    _start(_WRITE_JOB, "write", request)


def _start(key: str, name: str, request: Any) -> None:
    """Run `jobs.NAME(job, request, models)` on a thread, unless this session's last one of its kind still runs."""
    running = st.session_state.get(key)
    if running is not None and running.running:
        return
    store = shared().models

    def work(job: "Job[Any, Any]") -> Any:
        from app import jobs  # torch comes along: on the job's thread, never on a page's

        return getattr(jobs, name)(job, request, store)

    st.session_state[key] = Job(work).start()


def choose_rank(rank: int) -> None:
    """Remember the rank for all pages."""
    st.session_state[_CHOSEN_RANK] = rank


def chosen_rank(d_kv: int) -> int:
    """The rank in force; d_kv // 2 (the paper's) until another is chosen."""
    return clamped(st.session_state.get(_CHOSEN_RANK, d_kv // 2), 1, d_kv)


def clamped(value: Any, low: Number, high: Number) -> Number:
    """A widget's value inside its range: limits are kept by the browser, and a link can say anything."""
    return min(max(type(low)(value if value is not None else low), low), high)

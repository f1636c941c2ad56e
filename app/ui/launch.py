"""Starts a session's jobs. The work brings torch along: it is imported on the job's thread, never on a page's."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app import classroom
from app.jobs.job import Job, left_alone
from app.jobs.models import import_engine, shared
from app.jobs.turns import Turns
from app.ui import session
from spd_core.errors import InputError
from spd_core.storage import spd_home

if TYPE_CHECKING:
    from pathlib import Path

    from app.jobs.marking import Corpus
    from app.jobs.requests import CaptureRequest, EffectsRequest, RepeatRequest, WriteRequest
    from spd_core.data.capability import Capability
    from spd_core.distill.corpus import CorpusRow
    from spd_core.generation.comparison import Comparison
    from spd_core.intervention.cards import AdapterCard
    from spd_core.library.things import Ref
    from spd_core.subspace.analysis import Analysis


def start_capture(request: "CaptureRequest") -> None:
    """Start capturing in the background; one at a time for a session."""

    def work(job: "Job[Any, Any]") -> Any:
        from app.jobs import capturing

        return capturing.capture(job, request, store)

    store = shared().models
    start(session.CAPTURE_JOB, work, refused=refused_capture(request))


def refused_capture(request: "CaptureRequest") -> str:
    """Why this server does not capture that; empty where it does."""
    known = len(request.capability.split("calibration").examples)
    examples, layers = min(request.settings.examples or known, known), request.settings.layers.split(",")
    return classroom.too_large_a_capture(examples, len(layers))


def start_nulls(analysis: "Analysis") -> None:
    """Start capturing the null spectra of an analysis in the background."""

    def work(job: "Job[Any, Any]") -> Any:
        from app.jobs import capturing

        return capturing.capture_nulls(job, analysis, key, store)

    key, store = session.model_key(analysis), shared().models
    start(session.NULLS_JOB, work)


def start_contrast(analysis: "Analysis", others: "Sequence[Analysis]") -> None:
    """Start making a contrast of captures in the background; no engine is needed."""

    def work(job: "Job[Any, Any]") -> Any:
        from app.jobs import contrasting

        return contrasting.make(job, analysis, others)

    start(session.CONTRAST_JOB, work, engine=False)


def start_effects(request: "EffectsRequest") -> None:
    """Start projecting each site of an analysis alone in the background."""

    def work(job: "Job[Any, Any]") -> Any:
        from app.jobs import probing

        return probing.effects(job, request, key, store)

    key, store = session.model_key(request.analysis), shared().models
    start(session.EFFECTS_JOB, work)


def start_writing(request: "WriteRequest") -> None:
    """Start writing all lanes of a request in the background."""

    def work(job: "Job[Any, Any]") -> Any:
        from app.jobs import writing

        return writing.write(job, request, store)

    store = shared().models
    start(session.WRITE_JOB, work, refused=refused_writing(request))


def refused_writing(request: "WriteRequest", times: int = 1) -> str:
    """Why this server does not write that so often; empty where it does."""
    tokens = len(request.specs) * request.sampling.max_new_tokens * times
    return classroom.too_long_a_text(request.prompt) or classroom.too_many_tokens(tokens)


def start_reading(written: "Comparison", request: "WriteRequest") -> None:
    """Start reading the texts of a comparison in the background; `request` holds its analyses and model."""

    def work(job: "Job[Any, Any]") -> Any:
        from app.jobs import writing

        return writing.read_texts(job, written, request, store)

    store = shared().models
    start(session.WRITE_JOB, work)


def start_repeating(asked: "RepeatRequest") -> None:
    """Start writing the lanes of a result over prompts and seeds in the background."""

    def work(job: "Job[Any, Any]") -> Any:
        from app.jobs import repeating

        return repeating.repeat(job, asked, store)

    store = shared().models
    start(session.REPEAT_JOB, work, refused=refused_writing(asked.request, asked.prompts * asked.seeds))


def start(key: str, work: "Callable[[Job[Any, Any]], Any]", *, engine: bool = True, refused: str = "") -> None:
    """Run `work(job)` on a thread and keep the job under `key`, unless the last one there still runs.

    Args:
        engine: the work asks a model, or torch; others take turns with it.
        refused: why it is not done on this server; the job then ends with that.
    """
    running = st.session_state.get(key)
    if running is not None and running.running:
        return

    def allowed(job: "Job[Any, Any]") -> Any:
        if refused:
            raise InputError(refused)
        if not classroom.is_classroom() or not engine:
            return with_engine(job) if engine else work(job)
        with _turns().turn(str(job.home), lambda before: job.progress(0.0, _place(before)), job.stopping):
            return with_engine(job)

    def with_engine(job: "Job[Any, Any]") -> Any:
        job.progress(0.0, "Starting the engine")
        import_engine()
        return work(job)

    job = Job(allowed, computes=engine)
    job.owner, job.key = _own_id(), key
    st.session_state[key] = job.start()


@st.cache_resource(show_spinner=False)
def _turns() -> Turns:
    """The queue of a class: a step of two jobs at once takes longer than one after the other, and more memory."""
    return Turns()


def _place(before: int) -> str:
    return f"Waiting for its turn: {before} before you"


def take_over() -> None:
    """On a session's first run: have the jobs of sessions that are not open any more, as after a reload."""
    if session.TAKEN_OVER in st.session_state or not runtime.exists():
        return
    st.session_state[session.TAKEN_OVER] = True
    for job in left_alone(runtime.get_instance().is_active_session):
        if job.home == spd_home():  # in a class, that of the same browser
            st.session_state[job.key] = job
            job.owner = _own_id()


def _own_id() -> str:
    """This session, among those of the server."""
    context = get_script_run_ctx()
    return context.session_id if context is not None else ""


def start_merging(card: "AdapterCard", target: "Path") -> None:
    """Start writing a merged checkpoint in the background."""

    def work(job: "Job[Any, Any]") -> Any:
        from app.jobs import merging

        return merging.merge(job, card, target, store)

    store = shared().models
    start(session.EXPORT_JOB, work, refused=classroom.not_here("no checkpoints are written"))


def start_folding(analysis: "Analysis", rank: str, target: "Path") -> None:
    """Start writing a checkpoint with a capture's subspace folded in, in the background."""

    def work(job: "Job[Any, Any]") -> Any:
        from app.jobs import merging

        return merging.fold(job, analysis, rank, target, store)

    store = shared().models
    start(session.EXPORT_JOB, work, refused=classroom.not_here("no checkpoints are written"))


def start_replay(what: str, target: "Sequence[Ref] | Path | BinaryIO") -> None:
    """Start computing the numbers of things, or of a bundle, anew in the background; `what` names them for the page."""

    def work(job: "Job[Any, Any]") -> Any:
        from app.jobs import replaying

        return replaying.replay_again(job, what, target, store)

    store = shared().models
    start(session.REPLAY_JOB, work)


def start_marking(corpora: "Mapping[Corpus, Sequence[CorpusRow]]", known: "Capability") -> None:
    """Start running the tests of what arms have written; no engine is needed, and nobody has to wait for it."""
    from app.jobs import marking

    running = session.job(session.MARKS_JOB)
    if running is None or not running.running:
        st.session_state[session.MARKS_JOB] = Job(lambda job: marking.mark(job, corpora, known), computes=False).start()

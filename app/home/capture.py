"""Capturing on Home: the method in a picture that leads on, the running capture, and what came of it."""

from typing import TYPE_CHECKING

import streamlit as st

from app.home.picture import method_html
from app.jobs.requests import CaptureRequest
from app.ui import progress, session
from app.ui.estimates import time_in_words
from app.ui.recorded_texts import recorded_for
from app.ui.widgets import counted, ranges, tokens_link
from spd_core.glossary import meaning

if TYPE_CHECKING:
    from app.jobs.capturing import CaptureNews
    from spd_core.subspace.analysis import Analysis


def welcome(analysis: "Analysis") -> None:
    """What to look at first, and the method in one picture with the numbers of this capture: open on a first visit, and
    there to be called back."""
    first_steps(analysis)
    with st.expander(
        "How it works, with the numbers of this capture", expanded=analysis.recorded, icon=":material/school:"
    ):
        at = session.selection(analysis)
        rank = session.chosen_rank(analysis.d_kv)
        recorded = recorded_for(analysis.name)
        st.html(method_html(analysis, analysis.site(at.layer, at.kind), at.example, rank, recorded))
        st.page_link(session.LESSON, label="Go through it step by step", icon=":material/arrow_forward:")


def first_steps(analysis: "Analysis") -> None:
    """One thing to press, and two to look at then; none needs a model."""
    here = "Start here: see" if analysis.recorded else "See"
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(f"{here} what projecting does to a text", type="primary", icon=":material/splitscreen_right:"):
            st.switch_page(session.SIDE_BY_SIDE)
        st.page_link(session.SPECTRUM, label="How many directions matter", icon=":material/arrow_forward:")
        tokens_link("Which tokens make a direction")


def running_capture() -> None:
    """The running capture, ticking."""
    job = session.job(session.CAPTURE_JOB)
    if job is None:
        return

    def numbers() -> None:
        news: CaptureNews | None = job.news
        if news is None:
            st.markdown(f"{job.elapsed:.0f} s so far; the first numbers come with the first batch.")
        else:
            st.markdown(_spectra_in_words(news) if news.sites_done is not None else _batches_in_words(news))

    progress.show_progress(job, "Stop capturing", stopping="Stopping after this step…", more=numbers)


def _batches_in_words(news: "CaptureNews") -> str:
    return (
        f"**{news.done} of {news.total}** examples · {news.speed:.1f} examples/s · at most {news.remaining:.0f} s to "
        f"go, then the spectra of {counted(news.sites, 'site')} · loss of the last batch **{news.loss:.2f} nats**"
    )


def _spectra_in_words(news: "CaptureNews") -> str:
    done, left = news.sites_done or 0, news.spectra_remaining
    return (
        f"**{news.done} of {news.total}** examples · the spectra of **{done} of {news.sites}** sites"
        f"{'' if left is None else f' · about {left:.0f} s to go'}. Stop, and the layers that are finished are kept."
    )


def say_capture_time(request: CaptureRequest, analysis: "Analysis") -> None:
    """How long the capture may take, going by the active one; nothing where that is of another model."""
    seconds = expected_seconds(request, analysis)
    if seconds is not None:
        where = " on another machine" if analysis.recorded else ""
        source = f"The active capture took {analysis.provenance.seconds or 0:.1f} s{where}."
        st.markdown(f":small[{time_in_words(seconds, request.model.name)}]", help=source)


def expected_seconds(request: CaptureRequest, analysis: "Analysis") -> float | None:
    """Seconds that the active capture took, times how many more examples and layers are asked for; None where it is
    of another model, or was not timed. With fewer of them it takes no longer than that."""
    record = analysis.provenance
    if record.model != request.model.name or not record.seconds or record.left_out is not None:
        return None
    calibration = len(request.capability.split("calibration").examples)
    examples = min(request.settings.examples or calibration, calibration) / record.examples_used
    layers = len(request.settings.layers.split(",")) / len(record.layers)
    return record.seconds * max(1.0, examples) * max(1.0, layers)


def _layers_left_out(analysis: "Analysis") -> int:
    """How many layers this session's capture lacks because it was stopped."""
    job = session.job(session.CAPTURE_JOB)
    if job is None or job.result is None or job.result.name != analysis.name or job.news is None:
        return 0
    return int(job.news.sites) // 2 - len(analysis.layers)


def capture_summary(analysis: "Analysis", now: CaptureRequest | None) -> None:
    """What was captured, and what was left out."""
    record = analysis.provenance
    left_out = _layers_left_out(analysis)
    if now is not None and not now.matches(analysis) and left_out <= 0:
        st.info("Settings have changed since this capture; it stays until you capture again.", icon=":material/edit:")
    if record.examples_used + len(record.skipped) < record.examples_requested:
        st.info(f"Stopped early: what {record.examples_used} examples gave is kept.", icon=":material/stop_circle:")
    if left_out > 0:
        kept = f"layers {ranges(analysis.layers)} are kept, and {counted(left_out, 'layer')} left out"
        st.info(f"Stopped before all spectra were computed: {kept}.", icon=":material/stop_circle:")
    left, right = st.columns(2, wrap=False)
    left.markdown(
        f"Examples used: **{record.examples_used} of {record.examples_requested}**  \n"
        f"Time: **{record.seconds or 0:.1f} s**  \nMean loss: **{record.mean_loss:.2f} nats**",
        help=f"**Loss**: {meaning('loss')} **Nat**: {meaning('nat')}",
    )
    right.markdown(
        f"Tokens (gradient rows): **{record.tokens:,}**  \nLoss tokens: **{record.supervised_tokens:,}**",
        help=f"**Gradient**: {meaning('gradient')} **Loss tokens**: {meaning('loss tokens')}",
    )
    if record.skipped:
        with st.expander(f"{len(record.skipped)} skipped, and why"):
            st.text("\n".join(f"{name}: {reason}" for name, reason in record.skipped.items()))

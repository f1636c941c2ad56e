"""Fragments that several pages repeat: header with what is in hand, errors, provenance, empty pages."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from app import session

if TYPE_CHECKING:
    from app.captured import Captured

_STYLE = Path(__file__).with_name("style.css")


def plain(text: str) -> str:
    """Text of a user, a file or a model so that Streamlit's markdown shows it as it is, and fetches nothing."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text).replace("\n", "  \n")


def small(markdown: str) -> None:
    """A smaller line in the full text colour: `st.caption` is too faint for a projector."""
    st.markdown(f":small[{markdown}]")


def counted(n: int, what: str) -> str:
    """`1 token`, `2 tokens`."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def signed(value: float) -> str:
    """Two decimals with a true minus sign."""
    return f"{value:.2f}".replace("-", "−")


def header(title: str, question: str) -> None:
    """Page title and the question that the page answers."""
    st.html(_STYLE)
    st.title(title, anchor=False)
    st.markdown(question)


def in_hand() -> None:
    """What the session has in hand; while a capture runs, how far it is (ticking, which also keeps it alive)."""
    running = session.capture_job()
    live = running is not None and running.running

    @st.fragment(run_every=1.0 if live else None)
    def strip() -> None:
        job = session.capture_job()
        if job is not None and job.running:
            job.seen()
            small(f"A capture is running: {plain(job.phase)}, {job.share:.0%}")
        elif live:
            st.rerun()  # a whole run, so that the page takes up the result and the ticking ends
        else:
            captured = session.captured()
            if captured:
                small(f"In hand: {describe(captured)}")

    strip()


def ranges(numbers: list[int]) -> str:
    """`3, 7–9`: ascending numbers, runs of three and more drawn together."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def describe(captured: "Captured") -> str:
    """Model, capability and subspace in one line, escaped."""
    request = captured.request
    return (
        f"**{plain(model_name(captured))}** · capability **{plain(request.capability.name)}** "
        f"({counted(captured.capture.used, 'example')}, {request.loss} loss, {request.style} prompts) · "
        f"layers {ranges(captured.layers)} · rank {session.chosen_rank(captured.d_kv)} of {captured.d_kv}"
    )


def model_name(captured: "Captured") -> str:
    """model@revision; the built-in model's revision carries its name."""
    name, revision = captured.request.model.name, captured.revision
    return revision if name == "builtin" else f"{name}@{revision}"


def provenance(captured: "Captured", *more: str) -> None:
    """One line under a result: what made it."""
    request = captured.request
    facts = (
        f"{model_name(captured)}, {captured.dtype} on {captured.device}",
        f"{request.capability.name} ({request.capability.fingerprint[:12]})",
        counted(captured.capture.used, "example"),
        f"{request.loss} loss, {request.style} prompts, batch size {request.batch_size}",
        f"layers {ranges(captured.layers)}, {'centred' if request.center else 'not centred'}",
        *more,
    )
    small(f"Provenance: {plain(' · '.join(facts))}")


def failure(what: str, message: str) -> None:
    """An error with its remedy; what was there before stays."""
    st.error(f"**{what}** {plain(message)}", icon=":material/error:")


def empty(what: str) -> None:
    """Say what to click when there is nothing to show yet, and end the page."""
    st.info(f"{what} Go to **Home**, choose a capability and press **Capture gradients**.")
    st.page_link(session.HOME, label="Go to Home", icon=":material/home:")
    st.stop()


def is_dark() -> bool:
    """Whether the browser shows the dark theme."""
    return st.context.theme.type == "dark"

"""Home: choose a model and a capability, see which tokens carry the loss, and capture the gradients."""

import streamlit as st

from app import pickers, session
from app.request import Request
from app.resources import preparation
from app.shell import header, queue_note
from app.widgets import failure, plain, provenance
from spd_core.analysis import Analysis
from spd_core.errors import InputError


def progress() -> None:
    """The running capture, ticking."""
    job = session.capture_job()

    @st.fragment(run_every=0.4)
    def ticking() -> None:
        if job is None or not job.running:
            st.rerun()
        job.seen()
        st.progress(min(job.share, 1.0), text=plain(job.phase))
        queue_note(job)
        news = job.news
        if news is None:
            st.markdown(f"{job.elapsed:.0f} s so far; the first numbers come with the first batch.")
        else:
            st.markdown(
                f"**{news.done} of {news.total}** examples · {news.speed:.1f} examples/s · at most "
                f"{news.remaining:.0f} s to go · loss of the last batch **{news.loss:.2f} nats**"
            )
        label = "Stopping after this batch…" if job.stop_asked else "Stop capturing"
        st.button(label, on_click=job.stop, disabled=job.stop_asked, icon=":material/stop_circle:")

    ticking()


def summary(analysis: Analysis, now: Request | None) -> None:
    """What was captured, and what was left out."""
    record = analysis.provenance
    if now is not None and not now.made(analysis):
        st.info("Settings have changed since this capture; it stays until you capture again.", icon=":material/edit:")
    if record.examples_used + len(record.skipped) < record.examples_requested:
        st.info(f"Stopped early: what {record.examples_used} examples gave is kept.", icon=":material/stop_circle:")
    left, right = st.columns(2, wrap=False)
    left.markdown(
        f"Examples used: **{record.examples_used} of {record.examples_requested}**  \n"
        f"Mean loss: **{record.mean_loss:.2f} nats**  \nTime: **{record.seconds or 0:.1f} s**"
    )
    right.markdown(
        f"Tokens (gradient rows): **{record.tokens:,}**  \nTokens under the loss: **{record.supervised_tokens:,}**"
    )
    if record.skipped:
        with st.expander(f"{len(record.skipped)} skipped, and why"):
            st.text("\n".join(f"{name}: {reason}" for name, reason in record.skipped.items()))


analysis = header(
    "SPD Lab",
    "Which directions inside a language model carry a capability? Capture the gradients of its answers, then look.",
)
left, right = st.columns(2, gap="large")
wide = st.container()
with left:
    st.subheader("1 · Model", anchor=False)
    key = pickers.pick_model()
    card = st.container()
with right:
    st.subheader("2 · Capability", anchor=False)
    capability = pickers.pick_capability(wide)
    loss, style = pickers.pick_loss(capability)
left, right = st.columns(2, gap="large")
with left:
    st.subheader("3 · Which tokens carry the loss", anchor=False)
    mask = st.container()
with right:
    st.subheader("4 · Capture", anchor=False)
    examples, layers_text, batch, center = pickers.pick_capture_settings(capability)
    below = st.container()

with card:
    prepared = pickers.wait_for(preparation(key.name, key.revision), key) if key else None
    if prepared:
        pickers.model_card(prepared)
request: Request | None = None
if key and prepared and capability:
    with mask:
        pickers.preview(prepared, capability, loss, style)
    try:
        from spd_core.families import parse_layers

        layers = parse_layers(layers_text, prepared.card.layers)
        request = Request(key, capability, loss, style, examples, layers, batch, center)
        with card:
            pickers.memory(prepared, key.dtype, layers, batch)
    except InputError as error:
        with below:
            failure("These layers cannot be used:", str(error))
else:
    mask.markdown("One example appears here as soon as the model's tokenizer is read and a capability is chosen.")

job = session.capture_job()
with below:
    if job is not None and job.running:
        progress()
    else:
        with st.container(horizontal=True, vertical_alignment="center"):
            pressed = st.button("Capture gradients", type="primary", shortcut="Ctrl+Enter", disabled=request is None)
            if analysis:
                st.page_link(session.SPECTRUM, label="See the spectrum", icon=":material/arrow_forward:")
        if pressed and request:
            session.start_capture(request)
            st.rerun()
        if job is not None and job.error:
            failure("The capture failed:", job.error)
        if job is not None and job.notice:
            st.warning(f"The capture is {plain(job.notice)}", icon=":material/save:")
    if analysis:
        summary(analysis, request)
if analysis:
    provenance(analysis)

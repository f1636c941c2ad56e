"""Home: choose a model and a capability, see which tokens carry the loss, and capture the gradients."""

import streamlit as st

from app.home import pickers
from app.home.capture import capture_summary, running_capture, say_capture_time, welcome
from app.jobs.models import preparation
from app.jobs.requests import CaptureRequest
from app.ui import launch, session
from app.ui.header import header
from app.ui.widgets import escaped, failure, provenance
from spd_core.errors import InputError
from spd_core.models.families import parse_layers
from spd_core.recipes.capture import CaptureSettings

analysis = header(
    "SPD Lab",
    "Self-Policy Distillation: find the directions inside a language model that carry a capability, then read what it "
    "writes with those alone.",
    shows=(session.CAPTURE_JOB,),
)
if analysis:
    welcome(analysis)
st.header("Capture your own" if analysis else "Capture the first one", anchor=False)
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
left.subheader("3 · Which tokens carry the loss", anchor=False)
mask = left.container()
with right:
    st.subheader("4 · Capture", anchor=False)
    examples, layers_text, batch, center, told = pickers.pick_capture_settings(capability)
    below = st.container()

with card:
    prepared = pickers.wait_for(preparation(key.name, key.revision), key) if key else None
    if prepared:
        pickers.model_card(prepared)
request: CaptureRequest | None = None
if key and prepared and capability:
    with mask:
        pickers.loss_mask_preview(prepared, capability, loss, style)
    try:
        layers = parse_layers(layers_text, prepared.card.layers)
        settings = CaptureSettings(
            layers=",".join(map(str, layers)), loss=loss, examples=examples, batch_size=batch, center=center
        )
        wanted = CaptureRequest(key, capability, settings, style)
        if refused := launch.refused_capture(wanted):
            raise InputError(refused)
        request = wanted
        with card:
            pickers.memory_estimate(prepared, key.dtype, layers, batch)
    except InputError as error:
        for place in (below, told):
            with place:
                failure("These layers cannot be used:", str(error))
else:
    mask.markdown("One example appears here as soon as the model's tokenizer is read and a capability is chosen.")

job = session.job(session.CAPTURE_JOB)
with below:
    if job is not None and job.running:
        running_capture()
    else:
        with st.container(horizontal=True, vertical_alignment="center"):
            pressed = st.button("Capture gradients", type="primary", shortcut="Ctrl+Enter", disabled=request is None)
            if analysis:
                st.page_link(session.SPECTRUM, label="See the spectrum", icon=":material/arrow_forward:")
        if request and analysis:
            say_capture_time(request, analysis)
        if pressed and request:
            launch.start_capture(request)
            st.rerun()
        if job is not None and job.error:
            failure("The capture failed:", job.error)
        if job is not None and job.notice:
            st.warning(f"The capture is {escaped(job.notice)}", icon=":material/save:")
    if analysis:
        capture_summary(analysis, request)
if analysis:
    provenance(analysis)

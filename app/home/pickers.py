"""Choosing a model, a capability and settings: widgets, the model card, and the preview of the loss mask."""

from typing import Any, cast, get_args

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.classroom import is_classroom
from app.home import examples, importer, packaged
from app.home.recent import recent_models, remember
from app.jobs.job import Job
from app.jobs.models import ModelKey, Prepared, estimate_of, fitting_batch_size, forget_preparation, free_memory
from app.ui import session, tokens
from app.ui.widgets import caption, counted, escaped, failure, gib
from spd_core.data.capability import Capability, Loss, Style, builtin_names
from spd_core.data.catalog import read_named, saved_capabilities
from spd_core.errors import InputError, SpdError
from spd_core.glossary import meaning
from spd_core.models.packaged import PACKAGED

BUILT_IN, ELSEWHERE, RECENT = "Built-in", "Hub id or folder", "Recent"
OWN_FILE = "your own file"
_LOSS_HELP = (
    "**aligned**: only the tokens that decide whether the answer is correct. **full**: every answer token (a control; "
    "the paper finds it clearly worse). **solution**: the reference code, for capabilities with tests."
)
_STYLE_HELP = "**raw**: a plain question-and-answer template. **chat**: the model's own chat template."


# --- model ---------------------------------------------------------------------------------------------------


def pick_model() -> ModelKey | None:
    """The chosen model; None while none is given, or it may not be used yet. A class has the built-in one."""
    if is_classroom():
        return ModelKey(packaged.only_built_in(), None, "auto")
    row = st.container(horizontal=True, vertical_alignment="center")
    recent = {f"{name} @ {revision}" if revision else name: (name, revision) for name, revision in recent_models()}
    source = row.segmented_control(
        "Where the model comes from",
        (BUILT_IN, ELSEWHERE, RECENT) if recent else (BUILT_IN, ELSEWHERE),
        default=BUILT_IN,
        required=True,
        key=session.MODEL_SOURCE,
        persist_state="session",
        label_visibility="collapsed",
    )
    name: str | None = packaged.pick_packaged() if source == BUILT_IN else None
    revision: str | None = None
    if source == ELSEWHERE:
        name = st.text_input(
            "Hub id or local folder", key=session.MODEL_NAME, persist_state="session", placeholder="org/model"
        )
    if source == RECENT and recent:
        chosen = st.selectbox("Recent models", recent, key=session.MODEL_RECENT, persist_state="session")
        name, revision = recent.get(chosen or "", next(iter(recent.values())))
    with row.popover("Advanced", icon=":material/tune:"):
        if source == ELSEWHERE:
            revision = st.text_input(
                "Revision",
                key=session.REVISION,
                persist_state="session",
                placeholder="the newest",
                help="Branch, tag or commit on the hub; a folder has none.",
            )
        dtype = st.selectbox(
            "Number format of the weights",
            ("auto", "float32", "bfloat16"),
            key=session.DTYPE,
            persist_state="session",
            help="auto: bfloat16 where the hardware multiplies it, else float32.",
        )
    name = (name or "").strip()
    return ModelKey(name, (revision or "").strip() or None, dtype) if name else None


def wait_for(job: Job[Prepared, None], key: ModelKey) -> Prepared | None:
    """What is known of the model, or its progress (ticking) or its error."""
    if job.result is not None:
        if key.name not in PACKAGED:
            remember(key.name, key.revision)
        return job.result
    if job.error:
        failure("This model cannot be used:", job.error)
        st.button("Try again", on_click=forget_preparation, args=(key.name, key.revision))
        return None

    @st.fragment(run_every=0.5)
    def ticking() -> None:
        if not job.running:
            st.rerun()
        st.progress(min(job.share, 1.0), text=f"{escaped(job.phase)} ({job.elapsed:.0f} s)")

    ticking()
    return None


def model_card(prepared: Prepared) -> None:
    """What the configuration says, and where keys are read."""
    card = prepared.card
    rows = {
        "Family": card.model_type,
        "Layers": card.layers,
        "Query heads": card.heads,
        "KV heads × head_dim": f"{card.kv_heads} × {card.head_dim}",
        "Positions": card.positions,
        "Norm": card.norm,
        "Context": f"{card.context:,} tokens",
        "d_kv": card.d_kv,
    }
    items = [f"{label}: **{escaped(str(value))}**" for label, value in rows.items()]
    helps = (None, f"**d_kv**: {meaning('d_kv')}")
    for column, part, told in zip(st.columns((2, 3), wrap=False), (items[:4], items[4:]), helps, strict=True):
        column.markdown("  \n".join(part), help=told)
    caption(f"Keys are read {escaped(card.key_is_read)}; values at the output of theirs.")


def memory_estimate(prepared: Prepared, dtype: str, layers: tuple[int, ...], batch_size: int) -> None:
    """Estimated peak memory against what is free, before anything is loaded; smaller settings when it does not fit."""
    needed, free = estimate_of(prepared, dtype, layers, batch_size), free_memory()
    parts = (("load", needed.load), ("capture", needed.capture), ("generate", needed.generation))
    listed = " · ".join(f"{what} **{gib(size)}**" for what, size in parts)
    caption(f"Memory, estimated: {listed}. Free now: **{gib(free)}**.")
    if needed.capture > free:
        smaller = fitting_batch_size(prepared, dtype, layers, batch_size)
        remedy = f"batch size {smaller} fits" if smaller else "choose a smaller model, or fewer and later layers"
        st.warning(f"Capturing may not fit: {remedy}.", icon=":material/memory:")


# --- capability ----------------------------------------------------------------------------------------------


def pick_capability(wide: Any) -> Capability | None:
    """The chosen capability with its title and counts; its examples, or the form of an import, go into `wide`."""
    names = (*builtin_names(), *saved_capabilities())
    name = st.selectbox(
        "Capability",
        names if is_classroom() else (*names, OWN_FILE),
        key=session.CAPABILITY,
        bind="query-params",
        label_visibility="collapsed",
    )
    imported = name not in names
    try:
        if imported:
            file = importer.pick_capability_file()
            with wide:
                capability = importer.import_form(*file) if file else None
        else:
            capability = read_named(name)
    except InputError as error:
        failure("This capability file cannot be used:", str(error))
        return None
    if capability is None:
        return None
    settings = capability.settings
    st.markdown(f"**{escaped(settings.title or capability.name)}** {escaped(settings.description)}")
    caption(examples.counts(capability))
    view = examples.pick_view()
    with wide:
        examples.panel(capability, view, imported)
    if not capability.split("calibration").examples:
        failure("Nothing to capture:", 'no example is in the calibration split; leave out "split", or set it.')
        return None
    return capability


def pick_loss(capability: Capability | None) -> tuple[Loss, Style]:
    """Which tokens count, and how prompts are put."""
    code = capability is not None and any(example.tests for example in capability.examples)
    losses = ("aligned", "full", "solution") if code else ("aligned", "full")
    left, right = st.columns(2)
    loss = left.segmented_control(
        "Loss on", losses, default="aligned", required=True, key=session.LOSS, bind="query-params", help=_LOSS_HELP
    )
    style = right.segmented_control(
        "Prompt format",
        ("raw", "chat"),
        default="raw",
        required=True,
        key=session.STYLE,
        bind="query-params",
        help=_STYLE_HELP,
    )
    return (
        cast(Loss, loss if loss in losses else "aligned"),
        cast(Style, style if style in get_args(Style) else "raw"),
    )


def loss_mask_preview(prepared: Prepared, capability: Capability, loss: Loss, style: Style) -> None:
    """One calibration example as tokens, those under the loss marked."""
    from spd_core.data.spans import encode, longest_example

    examples = capability.split("calibration").examples
    left, right = st.columns((1, 3), vertical_alignment="center")
    number = left.number_input(
        "Example", 1, len(examples), key=session.PREVIEW, persist_state="session", label_visibility="collapsed"
    )
    example = examples[session.clamped(number, 1, len(examples)) - 1]
    try:
        encoded = encode(
            example, capability.settings, prepared.tokenizer, style, loss, longest_example(prepared.card.context)
        )
    except SpdError as error:
        failure("No preview:", str(error))
        return
    if isinstance(encoded, str):
        st.warning(f"{escaped(example.id)} will be skipped: {escaped(encoded)}", icon=":material/skip_next:")
        return
    right.markdown(
        f"Example {number}: **{len(encoded.supervised)} of {len(encoded.ids)} tokens** carry the loss (framed, bold, "
        "underlined). :small[· is a space, ↵ a line break.]"
    )
    st.html(tokens.loss_mask_html(encoded))


# --- capture -------------------------------------------------------------------------------------------------


PRESETS: dict[str, dict[str, Any]] = {
    "Paper": {session.EXAMPLES: 50, session.LAYERS: "middle,last", session.CENTRE: True},
    "Quick": {session.EXAMPLES: 12, session.LAYERS: "middle,last", session.CENTRE: True},
    "All layers": {session.EXAMPLES: 50, session.LAYERS: "all", session.CENTRE: True},
}


def _pick_preset() -> None:
    """Presets before knobs. Drawn after the knobs, since a link sets those: which preset they amount to is shown."""
    state = st.session_state
    matching = (name for name, values in PRESETS.items() if all(state[key] == value for key, value in values.items()))
    state[session.CAPTURE_PRESET] = next(matching, None)
    st.segmented_control(
        "Presets",
        PRESETS,
        key=session.CAPTURE_PRESET,
        on_change=_apply_preset,
        label_visibility="collapsed",
        help="Paper: 50 examples, the middle and the last layer. Quick: 12 examples. All layers: 50 examples.",
    )


def _apply_preset() -> None:
    st.session_state.update(PRESETS.get(st.session_state[session.CAPTURE_PRESET], {}))


def pick_capture_settings(
    capability: Capability | None,
) -> tuple[int, str, int, bool, DeltaGenerator]:
    """Number of examples, layers (text), batch size, centre: presets first, the knobs folded away.

    The last is a place among the knobs for what is wrong with them: while they are open, they hide the page.
    """
    row = st.container(horizontal=True, vertical_alignment="center")
    presets = row.container(width="content")
    with row.popover("Settings", icon=":material/tune:"):
        examples, layers, batch, center = _pick_knobs(capability)
        told = st.container()
    with presets:
        _pick_preset()
    spaced = escaped(layers.replace(",", ", "))
    row.markdown(f":small[{counted(examples, 'example')}, layers {spaced}, batch size {batch}]")
    return examples, layers, batch, center, told


def _pick_knobs(capability: Capability | None) -> tuple[int, str, int, bool]:
    most = max(len(capability.split("calibration").examples), 1) if capability else 50
    examples = st.number_input(
        "Calibration examples",
        1,
        value=50,
        key=session.EXAMPLES,
        bind="query-params",
        help=f"The first ones of the file, which has {most}. The paper uses 50.",
    )
    layers = st.text_input(
        "Layers",
        "middle,last",
        key=session.LAYERS,
        bind="query-params",
        help="middle, last, all, or indices from 0 such as 3,7",
    )
    batch = st.number_input(
        "Batch size",
        1,
        256,
        8,
        key=session.BATCH,
        bind="query-params",
        help="Examples at once: speed and memory, never the result.",
    )
    center = st.toggle(
        "Centre the gradients",
        True,
        key=session.CENTRE,
        bind="query-params",
        help="Subtract the mean gradient before the decomposition.",
    )
    return session.clamped(examples, 1, most), layers or "", session.clamped(batch, 1, 256), bool(center)

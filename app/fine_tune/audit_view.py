"""Audits of a training by OmniOPD: its steps, a rollout of one, a chunk of that beside what the teacher wrote."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app.fine_tune import audit_charts, audit_text
from app.fine_tune.audit_files import AuditedTraining, Looked
from app.ui import links, session
from app.ui.tables import table_html, to_csv
from app.ui.tokens import token_strip
from app.ui.verdict import draw_verdict
from app.ui.widgets import caption, chart, download, escaped, failure, is_dark
from spd_core.distill.audits import Audit
from spd_core.errors import InputError
from spd_core.records import to_lines


def panel(trainings: Sequence[AuditedTraining]) -> None:
    """Everything of one of these trainings; which, where there are several, is chosen."""
    links.take_linked(*session.AUDIT)
    training = _pick_training(trainings)
    try:
        looked = training.looked()
    except InputError as error:
        failure("The audits cannot be read:", str(error))
        return
    if not looked.audits:
        caption("The first step of this arm is being written; its audits appear here when it is learned from.")
        return
    draw_verdict(looked.verdict)
    left, right = st.columns((2, 3), gap="medium")
    with right:
        audit = _pick_rollout(looked)
        at = _chosen_chunk(audit)
        _strip(training, looked, audit, at)
    with left:
        _steps(looked, audit.step)
    _chunk(training, audit, at)
    _take_away(training, looked, audit)
    values = {session.AUDIT_STEP: audit.step, session.AUDIT_PROMPT: audit.number, session.AUDIT_CHUNK: at + 1}
    chosen = {key: str(value) for key, value in values.items() if st.session_state.get(key) is not None}
    links.write_linked(chosen | ({session.AUDIT_OF: training.key} if len(trainings) > 1 else {}))


def _choose(**values: Any) -> None:
    """Remember what is read; for callbacks."""
    names = {
        "of": session.AUDIT_OF,
        "step": session.AUDIT_STEP,
        "prompt": session.AUDIT_PROMPT,
        "chunk": session.AUDIT_CHUNK,
    }
    st.session_state.update({names[name]: value for name, value in values.items()})


def _number(key: str) -> int | None:
    """What was chosen, or what the link says, if it is a number."""
    text = str(st.session_state.get(key, ""))
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _widget(name: str) -> str:
    return f"{session.AUDIT_WIDGETS}_{name}"


# --- what is read ------------------------------------------------------------------------------------------------


def _pick_training(trainings: Sequence[AuditedTraining]) -> AuditedTraining:
    known = {one.key: one for one in trainings}
    key = st.session_state.get(session.AUDIT_OF)
    key = key if key in known else trainings[0].key
    if len(trainings) > 1:
        widget = _widget("of")
        st.session_state[widget] = key
        st.segmented_control(
            "Arm",
            list(known),
            required=True,
            key=widget,
            on_change=lambda: _choose(of=st.session_state[widget]),
            format_func=lambda one: known[one].title,
            label_visibility="collapsed",
        )
    return known[key]


def _pick_rollout(looked: Looked) -> Audit:
    """The step by a slider, and one of its rollouts; the last step until one is chosen, and a rollout with chunks."""
    steps = [one.step for one in looked.steps]
    wanted = _number(session.AUDIT_STEP)
    step = steps[-1] if wanted is None else min(steps, key=lambda one: abs(one - wanted))
    left, right = st.columns((2, 3), gap="medium", vertical_alignment="bottom")
    if len(steps) > 1:
        with left:
            _step_slider(step, steps)
    rollouts = {audit.number: audit for audit in looked.at(step)}
    number = _number(session.AUDIT_PROMPT)
    if number not in rollouts:
        number = next((one for one, audit in rollouts.items() if audit.chunks), next(iter(rollouts)))
    widget, at_first = _widget("prompt"), number
    st.session_state[widget] = number

    def choose() -> None:  # the browser also sends what it showed, where a new step has other prompts
        if st.session_state[widget] in rollouts and st.session_state[widget] != at_first:
            _choose(prompt=st.session_state[widget])

    right.selectbox(
        f"Rollout of step {step}",
        list(rollouts),
        key=widget,
        on_change=choose,
        format_func=_titles(rollouts).__getitem__,
        help="What the student wrote on a prompt at this step.",
    )
    return rollouts[number]


def _step_slider(step: int, steps: Sequence[int]) -> None:
    widget = _widget("step")
    st.session_state[widget] = step
    st.slider(
        "Optimizer step",
        steps[0],
        steps[-1],
        key=widget,
        on_change=lambda: _choose(step=st.session_state[widget]),
        help="A click on a point of the chart chooses its step, too.",
    )


def _titles(rollouts: Mapping[int, Audit]) -> dict[int, str]:
    return {number: f"{number + 1}. {audit_text.rollout_title(audit)}" for number, audit in rollouts.items()}


def _chosen_chunk(audit: Audit) -> int:
    """The chunk that is read, 0-based; the first until another is chosen."""
    wanted = _number(session.AUDIT_CHUNK)
    return min(max((wanted or 1) - 1, 0), max(len(audit.chunks) - 1, 0))


# --- what is drawn -----------------------------------------------------------------------------------------------


def _steps(looked: Looked, step: int) -> None:
    figure = audit_charts.over_steps(looked.steps, step, is_dark())
    chart(
        figure,
        key="chart_audits",
        alt=audit_charts.steps_alt(looked.steps),
        pick=lambda picked: _choose(step=int(picked[0] if isinstance(picked, list) else picked)),
    )


def _strip(training: AuditedTraining, looked: Looked, audit: Audit, at: int) -> None:
    """What the student wrote, coloured; a click on a chunk chooses it."""
    tokens = training.chunks.chunk_tokens

    def pick(token: int) -> None:
        chunk = audit_text.chunk_at(audit, token, tokens)
        if chunk is not None:
            _choose(chunk=chunk + 1)

    data = audit_text.rollout_strip(audit, tokens, looked.most, at if audit.chunks else None)
    token_strip(data, key=f"audit_strip_{training.file}_{audit.step}_{audit.number}", on_pick=pick)
    if len(audit.chunks) > 1:
        widget = _widget("chunk")
        st.session_state[widget] = at
        st.segmented_control(
            "Chunk",
            range(len(audit.chunks)),
            required=True,
            key=widget,
            on_change=lambda: _choose(chunk=st.session_state[widget] + 1),
            format_func=lambda one: f"Chunk {one + 1}",
            label_visibility="collapsed",
        )
    caption(
        "**How to read this:** the deeper the colour, the more open the choice was for the student. Chunks are framed: "
        "each begins where it was least sure, and there the teacher wrote on, without seeing the chunk."
        if training.chunks.select == "entropy"
        else "**How to read this:** the deeper the colour, the more open the choice was for the student. Chunks are "
        "framed: they begin anywhere, and there the teacher wrote on, without seeing the chunk."
    )


def _chunk(training: AuditedTraining, audit: Audit, at: int) -> None:
    if not audit.chunks:
        caption(
            f"This rollout has {len(audit.tokens)} tokens, and a chunk {training.chunks.chunk_tokens}: nothing of it "
            "was put to the teacher. Only the divergence from the untouched model was trained on."
        )
        return
    chunk = audit.chunks[at]
    st.html(audit_text.chunk_html(chunk, at + 1))
    st.markdown(f"**{escaped(audit_text.weight_in_words(chunk, training.chunks.prior))}**")
    caption(
        "**How to read this:** φ is 1 where a continuation is the chunk letter by letter; shaded letters are the "
        "chunk's own, in its order. The weight π̂ is how strongly the student learns its own chunk: mostly what the "
        "teacher says as well, and a little of how sure it was itself (π̄)."
    )


def _take_away(training: AuditedTraining, looked: Looked, audit: Audit) -> None:
    """Tables and files."""
    with st.expander("As tables", key=session.AUDIT_TABLES_OPEN, on_change="rerun") as folded:
        if folded.open:
            st.html(table_html(audit_text.step_rows(looked.steps), "Means of the audits of each step"))
            if audit.chunks:
                st.html(table_html(audit_text.chunk_rows(audit), "Chunks of this rollout"))
            rows = audit_text.audited_tokens(audit, training.chunks.chunk_tokens)
            st.html(table_html(rows, "Tokens of this rollout", compact=True))
    with st.container(horizontal=True):
        download("Steps as CSV", lambda: to_csv(audit_text.step_rows(looked.steps)), f"{training.file}-audits.csv")
        name = f"{training.file}-step-{audit.step}-prompt-{audit.number + 1}.jsonl"
        download("This rollout as JSON lines", lambda: to_lines([audit]).encode(), name)

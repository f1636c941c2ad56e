"""Side by side: what does projecting do to the text?"""

from typing import TYPE_CHECKING

import streamlit as st

from app import pickers, session
from app.shell import header
from app.widgets import counted, empty, failure, plain, provenance, ranges, signed, small

if TYPE_CHECKING:
    from app.jobs import WriteRequest, Written
    from spd_core.analysis import Analysis

_FINISH = {"": "writing…", "eos": "ended by itself", "length": "reached the limit", "stopped": "stopped"}
_OWN = "Write your own"


def pick_prompt(captured: "Analysis") -> str:
    """The prompt: held-out examples as presets, or the user's own."""
    heldout = {example.id: example for example in captured.capability.split("heldout").examples}

    def take() -> None:
        chosen = heldout.get(st.session_state[session.PRESET])
        st.session_state[session.PROMPT] = chosen.prompt if chosen else ""

    if st.session_state.get(session.PRESET) not in (_OWN, *heldout):  # the first visit, or another capability
        st.session_state[session.PRESET] = next(iter(heldout), _OWN)
        take()
    preset = st.selectbox(
        "Held-out example", (_OWN, *heldout), key=session.PRESET, persist_state="session", on_change=take,
        format_func=lambda name: heldout[name].prompt.splitlines()[0][:90] if name in heldout else name,
    )  # fmt: skip
    prompt = st.text_area("Prompt", key=session.PROMPT, persist_state="session", height="content") or ""
    chosen = heldout.get(preset)
    if chosen is not None and chosen.prompt == prompt:
        if "\n" in chosen.answer:
            st.expander("Correct answer").code(chosen.answer, language=None, wrap_lines=True)
        else:
            st.text(f"Correct answer: {chosen.answer}")
    return prompt


def lanes() -> None:
    """Both completions, ticking while they are written."""
    job = session.write_job()
    live = job is not None and job.running

    @st.fragment(run_every=0.2 if live else None)
    def ticking() -> None:
        if job is None:
            return
        job.seen()
        if live and not job.running:
            st.rerun()
        if job.error:
            failure("Nothing was written:", job.error)
        written = job.result or job.news
        if written is None:
            small(f"{plain(job.phase)}…" if job.running else "")
            return
        for column, name, lane in zip(st.columns(2), ("Raw", "Projected"), written.lanes, strict=True):
            with column.container(border=True):
                st.subheader(name, anchor=False)
                st.code(lane.text or "…", language=None, wrap_lines=True)  # as it is: st.text trims and dedents
                speed = lane.tokens / max(lane.seconds, 1e-9)
                small(f"{_FINISH[lane.finish]} · {counted(lane.tokens, 'token')}, {speed:.1f} a second · "
                      f"mean log-probability {signed(lane.mean_logprob)} nats")  # fmt: skip

    ticking()


def explain(request: "WriteRequest", written: "Written | None") -> None:
    """What was done to whom, in plain words, and what made it."""
    if written is None:
        return
    made = written.request
    if made != request:
        st.info("Settings have changed since this was written; it stays until you generate again.",
                icon=":material/edit:")  # fmt: skip
    low, high = written.ranks
    luck = (
        "**Shared randomness:** both sides see the same noise at each step, so with the same probabilities they would "
        "write the same text."
        if made.temperature
        else "**Greedy:** each side takes its most probable token; no luck."
    )
    st.markdown(
        f"**What is projected:** keys and values of layers {ranges(made.captured.layers)}, into "
        f"{low if low == high else f'{low} to {high}'} of {made.captured.d_kv} directions, with strength "
        f"{made.strength:g}, at every token of the prompt and of the completion. {luck}"
    )
    with st.expander("What the model read"):
        st.code(written.read, language=None, wrap_lines=True)
    how = f"temperature {made.temperature:g}, top-p {made.top_p:g}" if made.temperature else "greedy"
    provenance(made.captured, f"rank {made.rank}, strength {made.strength:g}", how,
               f"seed {made.seed}, at most {made.new_tokens} tokens", f"{written.seconds:.1f} s")  # fmt: skip


captured = header("Side by side", "What does projecting do to the text?")
if captured is None:
    empty("A raw and a projected completion appear here, side by side.")
else:
    from app.jobs import WriteRequest

    left, right = st.columns((3, 2), gap="large")
    with left:
        prompt = pick_prompt(captured)
    job = session.write_job()
    with right:
        request = WriteRequest(
            captured,
            session.chosen_rank(captured.d_kv),
            prompt=prompt,
            key=session.model_key(captured),
            **pickers.pick_sampling(),
        )
        if job is not None and job.running:
            st.button("Stop generating", on_click=job.stop, icon=":material/stop_circle:")
        elif st.button("Generate", type="primary", shortcut="Ctrl+Enter"):
            session.start_writing(request)
            st.rerun()
    lanes()
    explain(request, job.result or job.news if job else None)

"""Widgets for what all lanes share: the prompt, and how tokens are drawn."""

from typing import TYPE_CHECKING, Any, cast, get_args

import streamlit as st

from app.side_by_side.filling import SOURCES
from app.side_by_side.history import follow_example
from app.side_by_side.lanes import (
    LANES,
    MOST_LANES,
    SWEEP,
)
from app.ui import session
from app.ui.widgets import caption, escaped
from spd_core.generation.comparison import PromptStyle
from spd_core.recipes.lanes import Sampling
from spd_core.text import opening, shown

if TYPE_CHECKING:
    from spd_core.data.capability import Example
    from spd_core.subspace.analysis import Analysis

_STYLES = {"raw": "template", "chat": "chat", "exact": "as it is"}


# --- the prompt ----------------------------------------------------------------------------------------------


def pick_task(analysis: "Analysis") -> "Example | None":
    """In one row: where the prompt comes from, and the example."""
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    source = row.segmented_control(
        "Prompt from",
        tuple(SOURCES),
        default="held-out",
        required=True,
        key=session.PROMPT_FROM,
        width="content",
        bind="query-params",
        help="Held-out examples took no part in the capture; calibration examples did.",
    )
    split = SOURCES.get(source or "", "heldout")
    examples = {e.id: e for e in analysis.capability.split(cast(Any, split)).examples} if split else {}
    with row:
        return _pick_example(examples, analysis)


def pick_mode() -> tuple[PromptStyle, str]:
    """How the prompt is put, and whether lanes or a sweep are written."""
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    mode = row.segmented_control(
        "Mode",
        (LANES, SWEEP),
        default=LANES,
        required=True,
        key=session.MODE,
        bind="query-params",
        persist_state="session",
        width="content",
        help=f"**{LANES}**: up to {MOST_LANES} lanes in one batch. **{SWEEP}**: every rank with every strength.",
    )
    style = row.segmented_control(
        "Prompt format",
        tuple(_STYLES),
        default="raw",
        required=True,
        key=session.PROMPT_STYLE,
        bind="query-params",
        persist_state="session",
        format_func=lambda name: _STYLES.get(name, "template"),
        width="content",
        help="**template**: the capability's own. **chat**: the model's chat template. **as it is**: only your text.",
    )
    return cast(PromptStyle, style if style in get_args(PromptStyle) else "raw"), mode or LANES


def _pick_example(examples: "dict[str, Example]", analysis: "Analysis") -> "Example | None":
    """One of the examples. Calibration texts are part of the selection: they follow other pages, and lead them."""
    state = st.session_state
    places = {example.id: at for at, example in enumerate(analysis.examples)}

    def take() -> None:
        state[session.PROMPT] = examples[state[session.PRESET]].prompt
        follow_example(analysis, state[session.PROMPT])
        if state[session.PRESET] in places:
            session.select(example=places[state[session.PRESET]], token=0)
            state[session.FOLLOWED] = places[state[session.PRESET]]

    if not examples:
        state[session.FOLLOWED] = None
        return None
    at = session.selection(analysis).example
    selected = analysis.examples[at].id if analysis.examples else ""
    follows = at if selected in examples else -1
    known = state.get(session.PRESET) in examples
    if not known or state.get(session.FOLLOWED) != follows:  # other examples, or one was chosen on another page
        if selected in examples or not known:
            state[session.PRESET] = selected if selected in examples else next(iter(examples))
        state[session.PROMPT] = examples[state[session.PRESET]].prompt
        state[session.FOLLOWED] = follows
    preset = st.selectbox(
        "Example",
        tuple(examples),
        key=session.PRESET,
        persist_state="session",
        on_change=take,
        width="stretch",
        format_func=lambda name: opening(examples[name].prompt, 90),
    )
    return examples.get(preset)


def pick_prompt(example: "Example | None") -> tuple[str, str | None]:
    """The prompt, and the correct answer when it is the example's."""
    prompt = (
        st.text_area(
            "Prompt",
            key=session.PROMPT,
            persist_state="session",
            height=80,
            label_visibility="collapsed",
            placeholder="Write your own prompt",
        )
        or ""
    )
    answer = example.answer if example is not None and example.prompt == prompt else None
    if answer is not None and "\n" in answer:
        st.expander("Correct answer").code(shown(answer), language=None, wrap_lines=True)
    elif answer is not None:
        caption(f"Correct answer: **{escaped(shown(answer))}**")
    return prompt, answer


# --- sampling ------------------------------------------------------------------------------------------------


def pick_sampling() -> Sampling:
    """How tokens are drawn."""
    choice = st.segmented_control(
        "Next token",
        ("sample", "greedy"),
        default="sample",
        required=True,
        key=session.CHOICE,
        bind="query-params",
        persist_state="session",
        help="greedy: always the most probable token.",
    )
    greedy = choice == "greedy"
    temperature, top_p = _pick_chance(greedy)
    tokens = st.number_input(
        "Max new tokens", 1, 2048, 128, key=session.NEW_TOKENS, bind="query-params", persist_state="session"
    )
    seed = st.number_input(
        "Seed",
        0,
        2**31 - 1,
        0,
        key=session.SEED,
        bind="query-params",
        persist_state="session",
        help="The same seed writes the same text again.",
    )
    same = st.toggle(
        "Shared randomness",
        True,
        key=session.SAME_NOISE,
        bind="query-params",
        persist_state="session",
        disabled=greedy,
        help="On: all lanes draw with the same random numbers, so their texts differ only where their probabilities "
        "differ enough. Off: each lane draws its own.",
    )
    return Sampling(
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=session.clamped(tokens, 1, 2048),
        seed=session.clamped(seed, 0, 2**31 - 1),
        shared_randomness=bool(same),
    )


def _pick_chance(greedy: bool) -> tuple[float, float]:
    """Temperature, 0 where the most probable token is always taken, and top-p."""
    temperature = st.number_input(
        "Temperature",
        0.05,
        5.0,
        0.7,
        0.05,
        key=session.TEMPERATURE,
        bind="query-params",
        persist_state="session",
        disabled=greedy,
        help="Below 1 likely tokens become likelier, above 1 unlikely ones.",
    )
    top_p = st.number_input(
        "Top-p",
        0.01,
        1.0,
        0.9,
        0.05,
        key=session.TOP_P,
        bind="query-params",
        persist_state="session",
        disabled=greedy,
        help="Only the likeliest tokens that have this probability together can be drawn; 1 leaves all.",
    )
    return (0.0 if greedy else session.clamped(temperature, 0.05, 5.0)), session.clamped(top_p, 0.01, 1.0)

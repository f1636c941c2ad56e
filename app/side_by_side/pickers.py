"""The widgets of Side by side: prompt, lanes, sweep and sampling. What they mean is in `side_by_side/lanes.py`."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast, get_args

import streamlit as st

from app.side_by_side.lanes import (
    COMPLEMENT,
    KEYS,
    KINDS,
    LANES,
    MOST_LANES,
    RANDOM,
    SWEEP,
    VALUES,
    chosen_specs,
    parse_ranks,
    parse_strengths,
    sweep_grid,
)
from app.ui import header, session
from app.ui.widgets import caption, distinct_labels, escaped, failure
from spd_core.generation import report
from spd_core.generation.comparison import Comparison, PromptStyle
from spd_core.generation.report import shown
from spd_core.intervention.cards import AdapterCard, finished_adapters
from spd_core.recipes.lanes import Grid, LaneSpec
from spd_core.recipes.sampling import Sampling

if TYPE_CHECKING:
    from spd_core.data.capability import Example
    from spd_core.subspace.analysis import Analysis

_STYLES = {"raw": "template", "chat": "chat", "exact": "as it is"}
_SOURCES = {"held-out": "heldout", "calibration": "calibration", "your own": ""}


# --- the prompt ----------------------------------------------------------------------------------------------


def pick_task(analysis: "Analysis") -> "tuple[Example | None, PromptStyle, str]":
    """In one row: the example whose prompt is taken, how the prompt is put, and what to write."""
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    source = row.segmented_control(
        "Prompt from", tuple(_SOURCES), default="held-out", required=True, key=session.PROMPT_FROM, width="content",
        bind="query-params", help="Held-out examples took no part in the capture; calibration examples did.",
    )  # fmt: skip
    split = _SOURCES.get(source or "", "heldout")
    examples = {e.id: e for e in analysis.capability.split(cast(Any, split)).examples} if split else {}
    with row:
        example = _pick_example(examples, analysis)
    style = row.segmented_control(
        "Put as", tuple(_STYLES), default="raw", required=True, key=session.PROMPT_STYLE, bind="query-params",
        format_func=lambda name: _STYLES.get(name, "template"), width="content",
        help="**template**: the capability's own. **chat**: the model's chat template. **as it is**: only your text.",
    )  # fmt: skip
    mode = row.segmented_control(
        "What to write", (LANES, SWEEP), default=LANES, required=True, key=session.MODE, bind="query-params",
        width="content", help=f"**{LANES}**: up to {MOST_LANES} lanes in one batch. **{SWEEP}**: every rank with every "
        "strength.",
    )  # fmt: skip
    return example, cast(PromptStyle, style if style in get_args(PromptStyle) else "raw"), mode or LANES


def _pick_example(examples: "dict[str, Example]", analysis: "Analysis") -> "Example | None":
    """One of the examples. Calibration texts are part of the selection: they follow other pages, and lead them."""
    state = st.session_state
    places = {example.id: at for at, example in enumerate(analysis.examples)}

    def take() -> None:
        state[session.PROMPT] = examples[state[session.PRESET]].prompt
        if state[session.PRESET] in places:
            session.select(example=places[state[session.PRESET]], token=0)
            state[session.FOLLOWED] = places[state[session.PRESET]]

    if not examples:
        state[session.FOLLOWED] = None
        return None
    at = session.selection(analysis).example
    selected = analysis.examples[at].id
    follows = at if selected in examples else -1
    known = state.get(session.PRESET) in examples
    if not known or state.get(session.FOLLOWED) != follows:  # other examples, or one was chosen on another page
        if selected in examples or not known:
            state[session.PRESET] = selected if selected in examples else next(iter(examples))
        state[session.PROMPT] = examples[state[session.PRESET]].prompt
        state[session.FOLLOWED] = follows
    preset = st.selectbox(
        "Example", tuple(examples), key=session.PRESET, persist_state="session", on_change=take, width="stretch",
        format_func=lambda name: report.opening(examples[name].prompt, 90),
    )  # fmt: skip
    return examples.get(preset)


def pick_prompt(example: "Example | None") -> tuple[str, str | None]:
    """The prompt, and the correct answer when it is the example's."""
    prompt = st.text_area(
        "Prompt", key=session.PROMPT, persist_state="session", height=110, label_visibility="collapsed",
        placeholder="Write your own prompt",
    ) or ""  # fmt: skip
    answer = example.answer if example is not None and example.prompt == prompt else None
    if answer is not None and "\n" in answer:
        st.expander("Correct answer").code(shown(answer), language=None, wrap_lines=True)
    elif answer is not None:
        caption(f"Correct answer: **{escaped(shown(answer))}**")
    return prompt, answer


# --- lanes ---------------------------------------------------------------------------------------------------


def pick_base(analysis: "Analysis") -> LaneSpec:
    """The projected lane: rank, strength, keys and values, layers."""
    d_kv = analysis.d_kv
    rank = st.number_input(
        f"Rank, 1 to {d_kv}", 1, d_kv, session.chosen_rank(d_kv), help="How many directions of each site are kept."
    )
    if rank != session.chosen_rank(d_kv):
        session.choose_rank(int(rank))
    strength = st.slider(
        "Strength α", 0.0, 1.0, 1.0, 0.05, key=session.STRENGTH, bind="query-params",
        help="K + α(K P − K), and the same for V: 0 leaves the model alone, 1 is the paper's hard projection.",
    )  # fmt: skip
    kinds = st.segmented_control(
        "Project", tuple(KINDS), default="keys and values", required=True, key=session.PROJECTS, bind="query-params"
    )
    chosen = st.multiselect(
        "Layers", analysis.layers, key=session.LANE_LAYERS, persist_state="session", placeholder="all captured layers"
    )
    layers = tuple(sorted(set(chosen) & set(analysis.layers))) or None
    return LaneSpec(
        rank=str(session.clamped(rank, 1, d_kv)), strength=session.clamped(strength, 0.0, 1.0),
        kinds=KINDS.get(kinds or "", ("key", "value")), layers=layers,
    )  # fmt: skip


def pick_specs(analysis: "Analysis", base: LaneSpec) -> tuple[LaneSpec, ...]:
    """All lanes of the comparison.

    Raises:
        InputError: a rank or strength that cannot be, or too many lanes.
    """
    row = st.container(horizontal=True, vertical_alignment="bottom")
    more = row.pills(
        "Raw, projected, and", (COMPLEMENT, RANDOM, KEYS, VALUES), selection_mode="multi", key=session.MORE_LANES,
        bind="query-params",
        help="**complement**: everything but the subspace. **random subspace**: one of equal rank, drawn evenly from "
        "all: a difference that it makes too is no evidence for the capability.",
    )  # fmt: skip
    with row.popover("More lanes", icon=":material/add:", help="Other ranks, strengths and capabilities"):
        ranks = st.text_input("Other ranks", key=session.MORE_RANKS, bind="query-params", placeholder="such as 24, 48")
        strengths = st.text_input(
            "Other strengths", key=session.MORE_STRENGTHS, bind="query-params", placeholder="such as 0.25, 0.5"
        )
        names = [name for name in session.analysis_names() if name != analysis.name]
        others = st.multiselect(
            "Other captures", names, key=session.OTHER_CAPTURES, persist_state="session",
            format_func=distinct_labels(names, header.capture_label),
            placeholder="none" if names else "there is no other one",
        )  # fmt: skip
        seed = st.number_input("Seed of the random subspace", 0, 2**31 - 1, 0, key=session.RANDOM_SEED,
                               bind="query-params", disabled=RANDOM not in (more or []),
                               help="The same seed draws the same subspace again.")  # fmt: skip
    chosen_lanes = chosen_specs(
        base, more or [], parse_ranks(ranks or "", analysis.d_kv), parse_strengths(strengths or ""),
        [name for name in others if name in names], pick_distilled(analysis),
    )  # fmt: skip
    drawn = session.clamped(seed, 0, 2**31 - 1)
    return tuple(spec.model_copy(update={"seed": drawn}) if spec.kind == "random" else spec for spec in chosen_lanes)


def pick_distilled(analysis: "Analysis") -> list[str]:
    """`run/arm` of the fine-tuned models that write, too: of those that the analysis' own model was tuned to."""
    state = st.session_state
    cards, label = distilled_models(analysis)
    known = {**{ref: ref for ref in cards}, **{label(ref): ref for ref in cards}}
    linked = st.query_params.get_all(session.DISTILLED)  # labels, as the widget writes them, or `run/arm`
    if any(text in cards for text in linked):
        state[session.DISTILLED] = [known[text] for text in linked if text in known]
    state[session.LOST_MODELS] = [text for text in linked if text not in known] or state.get(session.LOST_MODELS)
    chosen = st.multiselect(
        "Distilled models", tuple(cards), key=session.DISTILLED, bind="query-params", format_func=label,
        on_change=state.pop, args=(session.LOST_MODELS, None),
        placeholder="none" if cards else "train one on Fine-tune",
        help="This model, fine-tuned on text of its own. They come from the page **Fine-tune**; those of the same base "
        "and revision can write beside the untouched one, with the same noise.",
    )  # fmt: skip
    if state[session.LOST_MODELS]:
        failure("Some distilled models that the link names are not here:",
                f"{', '.join(map(shown, state[session.LOST_MODELS]))}. They were deleted, were trained on another "
                "machine, or on another model than this capture's; choose among those above.")  # fmt: skip
    return chosen


def distilled_models(analysis: "Analysis") -> tuple[dict[str, AdapterCard], Callable[[str], str]]:
    """Fine-tuned models that fit an analysis, by `run/arm`, and what to call each, which is what a link holds."""
    record = analysis.provenance
    cards = {
        card.ref: card for card in finished_adapters() if (card.base, card.revision) == (record.model, record.revision)
    }
    return cards, distinct_labels(tuple(cards), lambda ref: _tuned(cards[ref]))


def _tuned(card: AdapterCard) -> str:
    """What to call an adapter in a picker: arm, capability, and when it was trained."""
    try:
        when = f"{datetime.fromisoformat(card.created):%d %b %Y, %H:%M}"
    except ValueError:
        when = card.created
    return " · ".join(part for part in (card.label, card.capability, when) if part)


def pick_grid(analysis: "Analysis") -> Grid:
    """The grid of a sweep.

    Raises:
        InputError: a rank or strength that cannot be, or too many cells.
    """
    d_kv = analysis.d_kv
    usual = ", ".join(str(max(d_kv * part // 8, 1)) for part in (1, 2, 4, 6))
    left, right = st.columns(2)
    ranks = left.text_input("Ranks", usual, key=session.SWEEP_RANKS, bind="query-params")
    strengths = right.text_input("Strengths", "0.25, 0.5, 0.75, 1", key=session.SWEEP_STRENGTHS, bind="query-params")
    grid = sweep_grid(parse_ranks(ranks or "", d_kv), parse_strengths(strengths or ""))
    caption(f"{len(grid.ranks) * len(grid.strengths)} cells and raw, eight at a time")
    return grid


def open_others(specs: tuple[LaneSpec, ...]) -> "dict[str, Analysis]":
    """The analyses that lanes name; raises `InputError` when one cannot be opened."""
    return {spec.analysis: session.open_analysis(spec.analysis) for spec in specs if spec.analysis}


def pick_sampling() -> Sampling:
    """How tokens are drawn."""
    choice = st.segmented_control(
        "Next token", ("sample", "greedy"), default="sample", required=True, key=session.CHOICE,
        bind="query-params", help="greedy: always the most probable token.",
    )  # fmt: skip
    greedy = choice == "greedy"
    temperature = st.number_input(
        "Temperature", 0.05, 5.0, 0.7, 0.05, key=session.TEMPERATURE, bind="query-params", disabled=greedy,
        help="Below 1 likely tokens become likelier, above 1 unlikely ones.",
    )  # fmt: skip
    top_p = st.number_input(
        "Top-p", 0.01, 1.0, 0.9, 0.05, key=session.TOP_P, bind="query-params", disabled=greedy,
        help="Only the likeliest tokens that have this probability together can be drawn; 1 leaves all.",
    )  # fmt: skip
    tokens = st.number_input("Most new tokens", 1, 2048, 128, key=session.NEW_TOKENS, bind="query-params")
    seed = st.number_input(
        "Seed", 0, 2**31 - 1, 0, key=session.SEED, bind="query-params", help="The same seed writes the same text again."
    )
    same = st.toggle("Shared randomness", True, key=session.SAME_NOISE, bind="query-params", disabled=greedy,
                     help="On: a difference between lanes is never luck. Off: each lane draws its own.")  # fmt: skip
    return Sampling(
        temperature=0.0 if greedy else session.clamped(temperature, 0.05, 5.0),
        top_p=session.clamped(top_p, 0.01, 1.0),
        max_new_tokens=session.clamped(tokens, 1, 2048),
        seed=session.clamped(seed, 0, 2**31 - 1),
        shared_randomness=bool(same),
    )


def lane_in_words(base: LaneSpec, sweep: bool) -> str:
    """The projected lane in a few words, escaped; a sweep has its own ranks and strengths."""
    kinds = " and ".join(f"{kind}s" for kind in base.kinds)
    layers = "" if base.layers is None else f", layers {', '.join(map(str, base.layers))}"
    return escaped(("" if sweep else f"rank {base.rank}, α {base.strength:g}, ") + kinds + layers)


def take_cell(spec: LaneSpec) -> None:
    """Have a sweep's rank and strength as those of the projected lane, and write lanes next."""
    session.choose_rank(int(spec.rank))
    st.session_state[session.STRENGTH] = session.clamped(spec.strength, 0.0, 1.0)
    st.session_state[session.MODE] = LANES


def take_settings(comparison: Comparison) -> None:
    """Have the prompt and the sampling of a result in the widgets."""
    sampling = comparison.sampling
    values = {
        session.PROMPT_FROM: "your own", session.PROMPT: comparison.prompt,
        session.PROMPT_STYLE: comparison.prompt_style, session.CHOICE: "greedy" if sampling.greedy else "sample",
        session.TOP_P: sampling.top_p, session.NEW_TOKENS: sampling.max_new_tokens, session.SEED: sampling.seed,
        session.SAME_NOISE: sampling.shared_randomness,
    }  # fmt: skip
    if not sampling.greedy:
        values[session.TEMPERATURE] = sampling.temperature
    st.session_state.update(values)

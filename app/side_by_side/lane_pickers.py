"""Widgets for lanes: the projected one, others beside it, fine-tuned models, a sweep. What they mean: `lanes.py`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from app.runs.adapters import adapter_label, former_label
from app.side_by_side.lanes import (
    COMPLEMENT,
    KEYS,
    KINDS,
    LANES,
    RANDOM,
    VALUES,
    chosen_specs,
    parse_ranks,
    parse_strengths,
    sweep_grid,
)
from app.side_by_side.mixing_desk import pick_mix
from app.ui import header, session
from app.ui.widgets import caption, distinct_labels, escaped, failure
from spd_core.intervention.cards import AdapterCard, finished_adapters
from spd_core.recipes.lanes import Grid, LaneSpec
from spd_core.text import shown

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis


def pick_base(analysis: "Analysis", sweep: bool) -> LaneSpec:
    """The projected lane: rank, strength, keys and values, layers; a sweep has ranks and strengths of its own."""
    d_kv = analysis.d_kv
    rank = st.number_input(
        f"Rank, 1 to {d_kv}", 1, d_kv, session.chosen_rank(d_kv), disabled=sweep,
        help="How many directions of each site are kept.",
    )  # fmt: skip
    if rank != session.chosen_rank(d_kv):
        session.choose_rank(int(rank))
    strength = st.slider(
        "Strength α",
        0.0,
        1.0,
        1.0,
        0.05,
        key=session.STRENGTH,
        bind="query-params",
        persist_state="session",
        disabled=sweep,
        help="K + α(K P − K), and the same for V: 0 leaves the model alone, 1 is the paper's hard projection.",
    )
    kinds = st.segmented_control(
        "Project",
        tuple(KINDS),
        default="keys and values",
        required=True,
        key=session.PROJECTS,
        bind="query-params",
        persist_state="session",
    )
    chosen = st.multiselect(
        "Layers", analysis.layers, key=session.LANE_LAYERS, persist_state="session", placeholder="all captured layers"
    )
    layers = tuple(sorted(set(chosen) & set(analysis.layers))) or None
    return LaneSpec(
        rank=str(session.clamped(rank, 1, d_kv)),
        strength=session.clamped(strength, 0.0, 1.0),
        kinds=KINDS.get(kinds or "", ("key", "value")),
        layers=layers,
    )


def pick_specs(analysis: "Analysis", base: LaneSpec) -> tuple[LaneSpec, ...]:
    """All lanes of the comparison.

    Raises:
        InputError: a rank or strength that cannot be, or too many lanes.
    """
    row = st.container(horizontal=True, vertical_alignment="bottom")
    more = row.pills(
        "Lanes",
        (COMPLEMENT, RANDOM, KEYS, VALUES),
        selection_mode="multi",
        key=session.MORE_LANES,
        bind="query-params",
        persist_state="session",
        help="**complement**: everything but the subspace. **random subspace**: one of equal rank, drawn evenly from "
        "all: a difference that it makes too is no evidence for the capability.",
    )
    with row.popover("More lanes", icon=":material/add:", help="Other ranks, strengths and capabilities"):
        ranks = st.text_input(
            "Other ranks",
            key=session.MORE_RANKS,
            bind="query-params",
            persist_state="session",
            placeholder="such as 24, 48",
        )
        strengths = st.text_input(
            "Other strengths",
            key=session.MORE_STRENGTHS,
            bind="query-params",
            persist_state="session",
            placeholder="such as 0.25, 0.5",
        )
        names = [name for name in session.analysis_names() if name != analysis.name]
        others = st.multiselect(
            "Other captures",
            names,
            key=session.OTHER_CAPTURES,
            persist_state="session",
            format_func=distinct_labels(names, header.capture_label),
            placeholder="none" if names else "there is no other one",
        )
        seed = st.number_input(
            "Seed of the random subspace",
            0,
            2**31 - 1,
            0,
            key=session.RANDOM_SEED,
            bind="query-params",
            persist_state="session",
            disabled=RANDOM not in (more or []),
            help="The same seed draws the same subspace again.",
        )
    mixed = pick_mix(analysis, int(base.rank))
    chosen_lanes = chosen_specs(
        base,
        more or [],
        parse_ranks(ranks or "", analysis.d_kv),
        parse_strengths(strengths or ""),
        [name for name in others if name in names],
        pick_distilled(analysis),
        mixed,
    )
    drawn = session.clamped(seed, 0, 2**31 - 1)
    return tuple(spec.model_copy(update={"seed": drawn}) if spec.of == "random" else spec for spec in chosen_lanes)


def pick_distilled(analysis: "Analysis") -> list[str]:
    """`run/arm` of the fine-tuned models that write, too: of those that the analysis' own model was tuned to."""
    state = st.session_state
    cards, label = distilled_models(analysis)
    former = distinct_labels(tuple(cards), lambda ref: former_label(cards[ref]))
    otherwise = {**{former(ref): ref for ref in cards}, **{ref: ref for ref in cards}}
    known = {**otherwise, **{label(ref): ref for ref in cards}}
    linked = st.query_params.get_all(session.DISTILLED)  # labels, as the widget writes them or once did, or `run/arm`
    if any(text in otherwise for text in linked):
        state[session.DISTILLED] = [known[text] for text in linked if text in known]
    state[session.LOST_MODELS] = [text for text in linked if text not in known] or state.get(session.LOST_MODELS)
    chosen = st.multiselect(
        "Distilled models",
        tuple(cards),
        key=session.DISTILLED,
        bind="query-params",
        persist_state="session",
        format_func=label,
        on_change=state.pop,
        args=(session.LOST_MODELS, None),
        placeholder="none" if cards else "train one on Fine-tune",
        help="This model, fine-tuned on text of its own. They come from the page **Fine-tune**; those of the same base "
        "and revision can write beside the untouched one, with the same noise.",
    )
    if state[session.LOST_MODELS]:
        failure(
            "Some distilled models that the link names are not here:",
            f"{', '.join(map(shown, state[session.LOST_MODELS]))}. They were deleted, were trained on another "
            "machine, or on another model than this capture's; choose among those above.",
        )
    return chosen


def distilled_models(analysis: "Analysis") -> tuple[dict[str, AdapterCard], Callable[[str], str]]:
    """Fine-tuned models that fit an analysis, by `run/arm`, and what to call each, which is what a link holds."""
    record = analysis.provenance
    cards = {
        card.ref: card for card in finished_adapters() if (card.base, card.revision) == (record.model, record.revision)
    }
    return cards, distinct_labels(tuple(cards), lambda ref: adapter_label(ref, cards[ref]))


def pick_grid(analysis: "Analysis") -> Grid:
    """The grid of a sweep.

    Raises:
        InputError: a rank or strength that cannot be, or too many cells.
    """
    d_kv = analysis.d_kv
    usual = ", ".join(str(max(d_kv * part // 8, 1)) for part in (1, 2, 4, 6))
    left, right = st.columns(2)
    ranks = left.text_input("Ranks", usual, key=session.SWEEP_RANKS, bind="query-params", persist_state="session")
    strengths = right.text_input(
        "Strengths", "0.25, 0.5, 0.75, 1", key=session.SWEEP_STRENGTHS, bind="query-params", persist_state="session"
    )
    grid = sweep_grid(parse_ranks(ranks or "", d_kv), parse_strengths(strengths or ""))
    caption(f"{len(grid.ranks) * len(grid.strengths)} cells and raw, eight at a time")
    return grid


def open_others(specs: tuple[LaneSpec, ...]) -> "dict[str, Analysis]":
    """The analyses that lanes name; raises `InputError` when one cannot be opened."""
    return {spec.capture: session.open_analysis(spec.capture) for spec in specs if spec.capture}


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

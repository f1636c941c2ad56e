"""Fills the form of Side by side with what made a result, so that what stands above a result is what wrote it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import streamlit as st

from app.side_by_side.lanes import COMPLEMENT, KEYS, KINDS, LANES, RANDOM, SWEEP, VALUES, resolved_rank
from app.ui import session
from spd_core.generation.comparison import Comparison
from spd_core.recipes.gains import gains_text
from spd_core.recipes.lanes import LaneSpec

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis

SOURCES = {"held-out": "heldout", "calibration": "calibration", "your own": ""}
"""Where a prompt comes from, and the split of the capability's examples."""


_IN_A_LINK = (
    session.PROMPT_FROM, session.PROMPT_STYLE, session.MODE, session.CHOICE, session.TEMPERATURE, session.TOP_P,
    session.NEW_TOKENS, session.SEED, session.SAME_NOISE, session.STRENGTH, session.PROJECTS, session.MORE_LANES,
    session.MORE_RANKS, session.MORE_STRENGTHS, session.DISTILLED, session.SWEEP_RANKS, session.SWEEP_STRENGTHS,
    session.RANDOM_SEED, session.MIX, session.MIX_CONTROL,
)  # fmt: skip


def is_untouched() -> bool:
    """Whether nobody has said anything yet of what is to be written: no link, no other page, no hand."""
    said = {session.PROMPT, session.PROMPT_FROM, session.DISTILLED, session.MIX} & {*st.session_state}
    return not said and not {*_IN_A_LINK} & {*st.query_params}


def fill_form(comparison: Comparison, analysis: "Analysis") -> None:
    """Have a result's prompt, sampling, lanes or sweep in the widgets, as far as they can say it."""
    fill_prompt(comparison, analysis)
    sampling = comparison.sampling
    values = {
        session.PROMPT_STYLE: comparison.prompt_style,
        session.CHOICE: "greedy" if sampling.greedy else "sample",
        session.TOP_P: sampling.top_p,
        session.NEW_TOKENS: sampling.max_new_tokens,
        session.SAME_NOISE: sampling.shared_randomness,
        session.MODE: SWEEP if comparison.grid else LANES,
    }
    if not sampling.greedy:
        values[session.TEMPERATURE] = sampling.temperature
    specs = [lane.spec for lane in comparison.lanes]
    if comparison.grid is None:
        rank = next((spec.rank for spec in specs if spec.projects and not spec.adapter), "")
        if (directions := resolved_rank(rank, analysis.d_kv)) is not None:
            session.choose_rank(directions)
        values |= lane_widgets(specs)
    else:
        values |= _projection(specs[-1]) | {
            session.SWEEP_RANKS: ", ".join(comparison.grid.ranks),
            session.SWEEP_STRENGTHS: ", ".join(f"{strength:g}" for strength in comparison.grid.strengths),
        }
    st.session_state.update(values)


def fill_prompt(comparison: Comparison, analysis: "Analysis") -> None:
    """Its seed, and the example whose prompt it is, so that its answer is known; else a prompt of one's own."""
    st.session_state[session.SEED] = comparison.sampling.seed
    state, places = st.session_state, {example.id: at for at, example in enumerate(analysis.examples)}
    state[session.PROMPT] = comparison.prompt
    for source, split in SOURCES.items():
        examples = analysis.capability.split(cast(Any, split)).examples if split else ()
        example = next((one for one in examples if one.prompt == comparison.prompt), None)
        if example is None:
            continue
        state[session.PROMPT_FROM], state[session.PRESET] = source, example.id
        if example.id in places:
            session.select(example=places[example.id], token=0)
        at = session.selection(analysis).example
        selected = analysis.examples[at].id if analysis.examples else ""
        state[session.FOLLOWED] = at if selected in {one.id for one in examples} else -1
        return
    state[session.PROMPT_FROM], state[session.FOLLOWED] = "your own", None


def lane_widgets(specs: Sequence[LaneSpec]) -> dict[str, Any]:
    """What the widgets say so that these lanes are written, and no more than Side by side always has; lanes that they
    have no words for are left out."""
    own = [spec for spec in specs if spec.projects and not spec.adapter and not spec.gains]
    base = next((spec for spec in own if _plain(spec)), own[0] if own else None)
    values: dict[str, Any] = {
        session.MORE_LANES: [],
        session.MORE_RANKS: "",
        session.MORE_STRENGTHS: "",
        session.OTHER_CAPTURES: [],
        session.DISTILLED: [spec.adapter for spec in specs if spec.adapter],
        **_mix([spec for spec in specs if spec.mixed and not spec.adapter and not spec.capture]),
    }
    if base is None:
        return values
    alike = [spec for spec in own if _plain(spec)]
    drawn = next((spec for spec in own if spec.of == "random"), None)
    values[session.MORE_LANES] = [
        *([COMPLEMENT] if any(spec.complement for spec in own) else []),
        *([RANDOM] if drawn else []),
        *(name for name in (KEYS, VALUES) if any(spec.kinds == KINDS[name] != base.kinds for spec in alike)),
    ]
    values[session.MORE_RANKS] = ", ".join(spec.rank for spec in alike if spec.rank != base.rank)
    values[session.MORE_STRENGTHS] = ", ".join(f"{spec.strength:g}" for spec in alike if spec.strength != base.strength)
    values[session.OTHER_CAPTURES] = [spec.capture for spec in own if spec.capture]
    seeded = next((spec for spec in specs if spec.of == "random"), base)
    return values | _projection(base) | {session.RANDOM_SEED: seeded.seed}


def _mix(mixed: Sequence[LaneSpec]) -> dict[str, Any]:
    """The gains of the mixed lane, and whether the same ones on random directions stand beside it."""
    drawn = next((spec for spec in mixed if spec.of == "random"), None)
    return {
        session.MIX: gains_text(mixed[0].gains) if mixed else "",
        session.MIX_CONTROL: drawn is not None,
        **({session.RANDOM_SEED: drawn.seed} if drawn else {}),
    }


def _plain(spec: LaneSpec) -> bool:
    return spec.of == "capability" and not spec.complement and not spec.capture


def _projection(spec: LaneSpec) -> dict[str, Any]:
    """Strength, keys and values, layers of the projected lane."""
    return {
        session.STRENGTH: session.clamped(spec.strength, 0.0, 1.0),
        session.PROJECTS: next(name for name, kinds in KINDS.items() if set(kinds) == set(spec.kinds)),
        session.LANE_LAYERS: list(spec.layers or ()),
    }

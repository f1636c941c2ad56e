"""Whether Side by side has written what an evaluation has scored: said above the result of an item opened there."""

from dataclasses import dataclass
from typing import cast

import streamlit as st

from app.ui import session
from app.ui.widgets import caption, escaped
from spd_core.generation.comparison import Comparison, LaneText
from spd_core.recipes.lanes import LaneSpec
from spd_core.text import opening


@dataclass(frozen=True)
class Scored:
    """What an item's subject wrote when it was scored.

    Attributes:
        who: the subject, as people call it.
        spec: the lane that writes like it, relative to the capture that is opened; its rank in directions.
        prompt: as the model read it.
        model, dtype: that answered.
        link: query parameters that lead back to the item.
    """

    who: str
    spec: LaneSpec
    prompt: str
    completion: str
    model: str
    dtype: str
    link: dict[str, str]


def agreement_panel(result: Comparison) -> None:
    """Of an item that was opened from an evaluation: whether its text came out again, why not, and the way back."""
    scored = cast("Scored | None", st.session_state.get(session.SCORED_TEXT))
    if scored is None or result.recorded or result.prompt != scored.prompt:
        return
    same, said = compared(scored, result)
    with st.container(horizontal=True, vertical_alignment="center"):
        (st.success if same else st.warning)(
            escaped(said), icon=":material/check_circle:" if same else ":material/difference:", width="stretch"
        )
        if st.button("Back to the item", icon=":material/arrow_back:"):
            st.switch_page(session.EVALUATION, query_params=scored.link)
    if not same:
        caption(f"In the table: {escaped(opening(scored.completion.strip(), 300)) or '∅ (nothing)'}")


def compared(scored: Scored, result: Comparison) -> tuple[bool, str]:
    """Whether a result holds the text that was scored, and the sentence about it."""
    lane = next((one for one in result.lanes if _writes_like(one, scored.spec)), None)
    if lane is None:
        return False, f"Not compared with the table: the lane of {scored.who} was changed, or is not among these."
    if lane.text == scored.completion:
        return True, f"{lane.label}: the same text as in the table ✓, letter for letter, in {result.dtype}."
    return False, f"{lane.label}: not the same text as in the table, {_why(scored, result, lane)}"


def _writes_like(lane: LaneText, spec: LaneSpec) -> bool:
    """Whether a lane is made as the subject was; of a projection, its strength and everything that says where to."""
    mine = lane.spec
    if (mine.of, mine.adapter, mine.capture) != (spec.of, spec.adapter, spec.capture):
        return False
    if not spec.projects:
        return True
    drawn = (mine.seed == spec.seed) if spec.of == "random" else True
    fields = ("complement", "kinds", "layers", "gains", "rank", "strength")
    return drawn and all(getattr(mine, name) == getattr(spec, name) for name in fields)


def _why(scored: Scored, result: Comparison, lane: LaneText) -> str:
    """What is known to differ; else where the texts differ first."""
    if result.sampling.temperature > 0:
        return "which was written greedily: choose greedy under Sampling."
    if result.model != scored.model:
        return f"which {scored.model} wrote; this is of {result.model}."
    if result.dtype != scored.dtype:
        return (
            f"which was written in {scored.dtype}, this in {result.dtype} on {result.device}: they round differently."
        )
    if lane.text.startswith(scored.completion) or scored.completion.startswith(lane.text):
        return "only of another length: see Max new tokens under Sampling."
    at = next((i for i, (a, b) in enumerate(zip(lane.text, scored.completion, strict=False)) if a != b), 0)
    return (
        "though capture, adapter, model and number format are the same. They differ from character "
        f"{at + 1} on; this was written on {result.device}: another device, or a batch of another size, rounds "
        "differently, and a close choice can turn."
    )

"""The one door for "open in Side by side": trained adapters, or an item of an evaluation that is asked again there.

Whatever Side by side could not write as the table did is refused or said; nothing is opened that only looks alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.side_by_side.agreement import Scored
from app.side_by_side.filling import lane_widgets
from app.side_by_side.lane_pickers import distilled_models
from app.side_by_side.lanes import LANES, MOST_LANES, resolved_rank
from app.side_by_side.which_capture import capture_for
from app.ui import session
from spd_core.errors import InputError
from spd_core.evaluation.cells import Cell
from spd_core.evaluation.store import ItemRecord
from spd_core.intervention.cards import AdapterCard
from spd_core.models.families import BUILTIN, Kind
from spd_core.recipes.evaluation import EvaluationRecipe, Subject
from spd_core.recipes.gains import SiteGains, gains_text
from spd_core.recipes.lanes import LaneSpec
from spd_core.subspace.store import recorded_captures

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis

_TOKENS = 64  # most new tokens where the table has none written


def open_adapters(cards: Sequence[AdapterCard]) -> None:
    """Turn to Side by side with a lane for each of these adapters, as far as they are of one model with the capture."""
    capture = cards[0].capability
    if cards[0].base == BUILTIN and capture in recorded_captures():  # its prompts, and the same model
        session.take_in_hand(capture)
    analysis = session.in_hand()
    fitting, label = distilled_models(analysis) if analysis is not None else ({}, str)
    chosen = [label(card.ref) for card in cards if card.ref in fitting]
    if not chosen:
        st.warning(
            "Side by side writes with the model of the active capture, and these were trained on another one: "
            "capture a capability on it on Home first.",
            icon=":material/warning:",
        )
        return
    st.session_state.pop(session.DISTILLED, None)  # the link says it
    st.switch_page(session.SIDE_BY_SIDE, query_params={session.DISTILLED: chosen[: MOST_LANES - 2]})


def open_mixed(layer: int, kind: Kind, direction: int) -> None:
    """Turn to Side by side with a lane from which one direction (counted from 1) is removed, and its desk open."""
    state = st.session_state
    muted = SiteGains(layer=layer, kind=kind, directions=((direction, 0.0),))
    for key in (session.MIX_READ, session.DESK_SITE):  # the link says it
        state.pop(key, None)
    state.update({session.MODE: LANES, session.SETTINGS_OPEN: True, session.DESK_OPEN: True})
    st.switch_page(session.SIDE_BY_SIDE, query_params={session.MIX: gains_text([muted])})


# --- an item of an evaluation ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opening:
    """Where to go, and with what.

    Attributes:
        capture: name or reference of the capture to have in hand.
        rank: to keep of each site; None leaves it.
        values: of widgets there, by their keys.
        notes: what will be otherwise than in the table, a sentence each.
        scored: what was scored, to be compared with what is written there; None of likelihoods.
    """

    capture: str
    rank: int | None
    values: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    scored: Scored | None = None


def how_to_open(
    recipe: EvaluationRecipe,
    subject: Subject,
    cell: Cell,
    record: ItemRecord,
    link: Mapping[str, str] | None = None,
    beside: Sequence[str] = (),
) -> Opening:
    """How to ask a subject an item again: with the capture and the adapter that answered, and no others.

    Args:
        link: query parameters of the page Evaluation that lead back to the item.
        beside: captures of the same table: subjects that project nothing are opened with one of these, too.

    Raises:
        InputError: Side by side cannot, or what answered is gone; the message says why, and what can be done.
    """
    if subject.kind == "checkpoint":
        raise InputError(
            "Side by side writes with the model of a capture, and this subject is a checkpoint of its "
            "own: capture a capability on that checkpoint on Home, then paste the prompt"
        )
    analysis, notes = capture_for(recipe, subject, cell, beside)
    rank = _rank(subject.rank or recipe.capture.rank, analysis.d_kv) if subject.kind == "projected" else None
    adapter = _adapter(cell, analysis) if subject.kind == "distilled" else ""
    spec = _spec(recipe, subject, cell, rank, adapter)
    values = _asked(cell, record) | lane_widgets([spec])
    if cell.about.scorer == "nll":
        notes = (*notes, "The table only reads the reference answer; Side by side writes one.")
    by_harness = cell.about.scorer.startswith("harness:")
    if by_harness:
        notes = (*notes, "lm-evaluation-harness weighs the options or writes by its own rules; Side by side writes on.")
    if cell.about.style == "chat":
        notes = (*notes, "A tokenizer that adds a start token of its own reads it twice before a chat prompt.")
    scored = None
    if cell.about.scorer != "nll" and not by_harness:
        back = dict(link or {})
        scored = Scored(subject.title, spec, record.prompt, record.completion, cell.model, cell.dtype, back)
    return Opening(analysis.name, rank, values, notes, scored)


def open_item(found: Opening) -> None:
    """Turn to Side by side with it."""
    session.take_in_hand(found.capture)
    if found.rank is not None:
        session.choose_rank(found.rank)
    st.session_state.update(found.values)
    st.session_state[session.SCORED_TEXT] = found.scored
    st.switch_page(session.SIDE_BY_SIDE, query_params={session.CAPTURE: found.capture})  # None would be refused


# --- what is asked -----------------------------------------------------------------------------------------------


def _asked(cell: Cell, record: ItemRecord) -> dict[str, Any]:
    """The prompt exactly as the model read it, and greedy, as in the table."""
    tokens = _TOKENS if cell.about.scorer == "nll" else min(cell.about.max_new_tokens, 2048)
    return {
        session.PROMPT: record.prompt,
        session.PROMPT_FROM: "your own",
        session.PROMPT_STYLE: "exact",
        session.CHOICE: "greedy",
        session.NEW_TOKENS: tokens,
        session.MODE: LANES,
    }


def _rank(rule: str, d_kv: int) -> int:
    rank = resolved_rank(rule, d_kv)
    if rank is None:
        raise InputError(f"its rank rule {rule} gives each site a rank of its own, and Side by side has one for all")
    return rank


def _spec(recipe: EvaluationRecipe, subject: Subject, cell: Cell, rank: int | None, adapter: str) -> LaneSpec:
    """The lane of the subject, as Side by side has it beside the capture in hand: whatever gradients that capture is
    of, its subspace is the capability's there."""
    spec = recipe.lane(subject, cell.seed)
    of = "random" if spec.of == "random" else "capability" if spec.projects else "none"
    own: dict[str, Any] = {"of": of, "capture": "", "adapter": adapter}
    own |= {"rank": str(rank)} if rank is not None else {}
    own |= {"kinds": ("key", "value"), "layers": None} if spec.mixed else {}  # its gains say where
    return spec.model_copy(update=own)


def _adapter(cell: Cell, analysis: "Analysis") -> str:
    """`run/arm` of the very adapter that answered, whatever was trained since."""
    from spd_core.evaluation.subjects import adapter_that_answered  # brings torch along

    fitting, _ = distilled_models(analysis)
    found = adapter_that_answered(cell)
    if found not in fitting:
        raise InputError(
            "the adapter that answered is no longer on this machine (deleted, or trained again), or is of another "
            "model than the capture; train the arm again on Fine-tune, and evaluate it again"
        )
    return found

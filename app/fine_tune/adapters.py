"""What a run has trained: its adapters in a table, one click from their evaluation and Side by side; their export."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from app.runs.checkpoints import export_adapter_here, show_checkpoint
from app.runs.proposing import open_evaluation, show_evaluation
from app.side_by_side.opening import open_adapters
from app.ui import session
from app.ui.tables import table_html
from app.ui.widgets import duration, failure
from spd_core.errors import InputError
from spd_core.evaluation.budgets import budget_of
from spd_core.evaluation.proposals import evaluation_of, why_by_name
from spd_core.intervention.cards import CARD, AdapterCard, finished_adapters, read_card
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.folder import recorded_runs
from spd_core.runs.record import Status
from spd_core.runs.states import LIVE
from spd_core.runs.view import Curve, RunView

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from spd_core.runs.folder import Run


def adapters_table(run: "Run", view: RunView) -> None:
    """What is trained already."""
    if cards := _cards(run):
        rows = [_row(card, view) for card in cards]
        told = [name for name in rows[0] if any(row[name] for row in rows)]  # on-policy arms have no held-out loss
        st.html(table_html([{name: row[name] for name in told} for row in rows], "Trained adapters", compact=True))


def adapter_actions(run: "Run", status: Status, row: "DeltaGenerator") -> None:
    """Buttons in `row`: what to do with what is trained already."""
    cards = _cards(run)
    if not cards:
        return
    if run.recorded:
        _recorded_answers(row)
        return
    _evaluate(run, status, cards, row)
    if row.button(
        "Compare side by side",
        icon=":material/splitscreen_right:",
        help="Raw, and each distilled model in a lane of its own, on the same prompt with the same noise",
    ):
        open_adapters(cards)
    _export(cards, row)


def _recorded_answers(row: "DeltaGenerator") -> None:
    """The way to what the recorded arms have answered, since none of them is here to answer anything else."""
    table = next((one for one in recorded_runs() if isinstance(one.record.recipe, EvaluationRecipe)), None)
    if table is not None and row.button("See how they answered", type="primary", icon=":material/fact_check:"):
        show_evaluation(table.id)


def _cards(run: "Run") -> list[AdapterCard]:
    """Cards of what is trained, in the order of the arms."""
    arms = run.record.distillation.arms
    if run.recorded:
        folders = [run.folder / "adapters" / arm for arm in arms]
        return [read_card(folder) for folder in folders if (folder / CARD).is_file()]
    return [card for arm in arms for card in finished_adapters() if card.ref == f"{run.id}/{arm}"]


def _row(card: AdapterCard, view: RunView) -> dict[str, str]:
    key = (str(card.arm), card.rounds)
    done, curve = view.done.get(key), view.curves.get(key, Curve())
    return {
        "Arm": card.label,
        "Held-out loss (nats)": from_to([loss for _, _, loss in curve.held_out] or [card.held_out_loss]),
        **({"Right answers": _right(curve)} if any(one.scored for one in view.curves.values()) else {}),
        "Train loss": from_to([loss for _, _, loss in curve.epoch_means()] or [card.train_loss]),
        "Rows": str(card.rows),
        "Tokens written": "" if (budget := budget_of(card)) is None else budget.in_short,
        "Steps": f"{card.steps} of {card.planned}" + _why_fewer(card),
        "Time": "" if done is None else duration(done.seconds),
    }


def _why_fewer(card: AdapterCard) -> str:
    """What stands beside fewer steps than were planned."""
    if not card.finished:
        return ", stopped"
    return ", ended early" if card.steps < card.planned else ""


def from_to(losses: Sequence[float | None]) -> str:
    """`2.510 → 2.140`: the first and the last loss of a training."""
    known = [loss for loss in losses if loss is not None]
    if not known:
        return ""
    first, last = f"{known[0]:.3f}", f"{known[-1]:.3f}"
    return last if len(known) == 1 else f"{first} → {last}"


def _right(curve: Curve) -> str:
    """`3 → 4 of 8`: before the training, and at its end."""
    if not curve.scored:
        return ""
    (_, _, first, _), (_, _, last, n) = curve.scored[0], curve.scored[-1]
    return f"{last} of {n}" if len(curve.scored) == 1 else f"{first} → {last} of {n}"


def _evaluate(run: "Run", status: Status, cards: Sequence[AdapterCard], row: "DeltaGenerator") -> None:
    """The door to the evaluation of what has finished, with the controls that its claims need."""
    if status.state in LIVE or not any(card.finished for card in cards):
        return
    if row.button(
        "Evaluate these arms",
        type="primary" if status.state == "done" else "secondary",  # else to resume comes first
        icon=":material/fact_check:",
        help="Fills the form of Evaluation: the base, these arms, and every control that a claim needs. You see what "
        "it costs there; nothing starts before you press its button.",
    ):
        try:
            recipe, without = evaluation_of(run), why_by_name(run)
        except InputError as error:
            failure("These arms cannot be evaluated:", str(error))
            return
        open_evaluation(recipe, without)


# --- export --------------------------------------------------------------------------------------------------


def _export(cards: list[AdapterCard], row: "DeltaGenerator") -> None:
    with row.popover("Export", icon=":material/ios_share:"):
        labels = {card.ref: card.label for card in cards}
        ref = st.selectbox("Adapter", tuple(labels), format_func=labels.__getitem__, key=session.EXPORT_ARM)
        export_adapter_here(next((card for card in cards if card.ref == ref), cards[0]))
    show_checkpoint()

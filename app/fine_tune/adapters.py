"""What a run has trained: its adapters in a table, one click from Side by side, and their export."""

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.side_by_side.opening import open_adapters
from app.ui import launch, progress, session
from app.ui.tables import table_html
from app.ui.widgets import caption, download, escaped, failure
from spd_core.intervention.cards import AdapterCard, adapter_folder, finished_adapters
from spd_core.recipes.distill import ARMS
from spd_core.runs.view import RunView
from spd_core.storage import spd_home

if TYPE_CHECKING:
    from spd_core.runs.folder import Run


def adapters_panel(run: "Run", view: RunView) -> None:
    """The table of what is trained already, and what to do with it."""
    arms = run.record.distillation.arms
    cards = [card for arm in arms for card in finished_adapters() if card.ref == f"{run.id}/{arm}"]
    if not cards:
        return
    st.html(table_html([_row(card, view) for card in cards], "Trained adapters"))
    row = st.container(horizontal=True, vertical_alignment="bottom")
    if row.button(
        "Compare side by side",
        type="primary",
        icon=":material/splitscreen_right:",
        help="Raw, and each distilled model in a lane of its own, on the same prompt with the same noise",
    ):
        open_adapters(cards)
    _export(cards, row)


def _row(card: AdapterCard, view: RunView) -> dict[str, str]:
    done = view.done.get((str(card.arm), card.rounds))
    return {
        "Arm": card.label,
        "Rows": str(card.rows),
        "Steps": f"{card.steps} of {card.planned}" + ("" if card.finished else ", stopped"),
        "Train loss": "" if card.train_loss is None else f"{card.train_loss:.3f} nats",
        "Held-out loss": "" if card.held_out_loss is None else f"{card.held_out_loss:.3f} nats",
        "Time": "" if done is None else f"{done.seconds:.0f} s",
        "What it isolates": ARMS[card.arm].isolates if card.arm else "",
    }


# --- export --------------------------------------------------------------------------------------------------


def _export(cards: list[AdapterCard], row: Any) -> None:
    with row.popover("Export", icon=":material/ios_share:"):
        labels = {card.ref: card.label for card in cards}
        ref = st.selectbox("Adapter", tuple(labels), format_func=labels.__getitem__, key=session.EXPORT_ARM)
        card = next((card for card in cards if card.ref == ref), cards[0])
        folder = adapter_folder(card.ref)
        download(
            "Adapter (peft, zip)",
            lambda: zip_of(folder),
            f"{card.run}-{card.arm}.zip",
            help="LoRA weights with their card, as peft loads them",
        )
        target = spd_home() / "exports" / f"{card.run}-{card.arm}"
        if st.button(
            "Write the merged checkpoint",
            help="The whole model with the adapter in its weights: "
            "transformers and any engine of this architecture loads it",
        ):
            launch.start_merging(card, target)
            st.rerun()
        caption(f"It goes to {escaped(str(target))}")
    job = session.job(session.EXPORT_JOB)
    if job is not None and job.running:
        progress.show_progress(job, "Stop writing")
    elif job is not None and job.error:
        failure("The checkpoint was not written:", job.error)
    elif job is not None and job.result is not None:
        st.success(f"The merged checkpoint lies in {escaped(str(job.result))}", icon=":material/check_circle:")


def zip_of(folder: Path) -> bytes:
    """All files of a folder as a zip archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return made.getvalue()

"""What is made of an adapter or a subspace for other tools: peft's files, a merged or a folded checkpoint, and then."""

import io
import shlex
import zipfile
from pathlib import Path

import streamlit as st

from app.ui import launch, progress, session
from app.ui.widgets import caption, download, escaped, failure
from spd_core.intervention.cards import AdapterCard, adapter_folder, portable_files
from spd_core.intervention.model_cards import gguf_command, repo_name, upload_command
from spd_core.storage import spd_home
from spd_core.subspace.analysis import Analysis

_ANY_ENGINE = "transformers and any engine of this architecture loads it"


def export_adapter_here(card: AdapterCard) -> None:
    """An adapter by itself, as a zip; and the button that writes the whole model with it merged in."""
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
        help=f"The whole model with the adapter in its weights: {_ANY_ENGINE}",
    ):
        launch.start_merging(card, target)
        st.rerun()
    caption(f"It goes to {escaped(str(target))}")


def export_folded_here(analysis: Analysis) -> None:
    """The button that writes the model with a capture's subspace folded into its weights, at a rank of one's choice."""
    rank = st.text_input("Rank", "half", key=session.FOLDED_RANK, help="half, energy:0.9, or a number of directions")
    rule = rank.strip() or "half"
    target = spd_home() / "exports" / f"{analysis.name}-folded-{rule.replace(':', '-')}"
    if st.button(
        "Write the folded checkpoint",
        help=f"The whole model, whose keys and values stay inside this subspace: {_ANY_ENGINE}",
    ):
        launch.start_folding(analysis, rule, target)
        st.rerun()
    caption(f"It goes to {escaped(str(target))}")


def show_checkpoint() -> None:
    """How far a checkpoint is that is being written; where it lies, and what can be done with it next."""
    job = session.job(session.EXPORT_JOB)
    if job is not None and job.running:
        progress.show_progress(job, "Stop writing")
    elif job is not None and job.error:
        failure("The checkpoint was not written:", job.error)
    elif job is not None and job.result is not None:
        st.success(f"The checkpoint lies in {escaped(str(job.result))}", icon=":material/check_circle:")
        place = shlex.quote(str(job.result))
        caption("To serve it with vLLM; to a hub; and into a GGUF file with llama.cpp's converter:")
        serve = f"vllm serve {place} --generation-config vllm"
        commands = (serve, upload_command(repo_name(job.result.name), place), gguf_command(place))
        st.code("\n".join(commands), language=None, wrap_lines=True)


def zip_of(folder: Path) -> bytes:
    """An adapter's files as a zip archive, without a path of this machine in any of them."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in portable_files(folder).items():
            archive.writestr(name, content)
    return made.getvalue()

"""The README that hubs show of an adapter or a checkpoint: metadata that they accept, facts, and the next commands.

Every name in it is text alone (see `text.plain_markdown`), and no path of this machine stands in it.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spd_core.models.identity import on_the_hub, public_name
from spd_core.models.packaged import PACKAGED
from spd_core.recipes.distill import ARMS
from spd_core.templates import FOLDER
from spd_core.text import plain_markdown, shown

if TYPE_CHECKING:
    from spd_core.intervention.cards import AdapterCard

TAGS = ["self-policy-distillation", "spd-lab"]


def readme_of_adapter(card: "AdapterCard") -> str:
    """The model card of an adapter's folder."""
    hub, _ = on_the_hub(card.base, card.revision)
    facts = {
        "Base": base_in_words(card.base, card.revision, card.dtype),
        **_terms(card.base),
        "Arm": ARMS[card.arm].label if card.arm is not None else "none",
        "Capability": card.capability_name or "none",
        "Data": _data(card),
        "Subspace (sha256)": card.subspace or "none: written without projection",
        "Corpus (sha256)": card.corpus,
        **({_wrote(card): card.writer} if card.writer else {}),
        **({"Rollouts": card.rollouts} if card.rollouts else {}),
        "Trained": f"{card.rows} rows, {card.steps} of {card.planned} steps, rounds: {card.rounds}",
        "Learning rate": f"{card.settings.learning_rate:g}{f', {card.schedule}' if card.schedule else ''}",
        "LoRA": _lora(card),
        "Loss": _losses(card),
        "Command": card.command,
        "Versions": ", ".join(f"{name} {version}" for name, version in card.versions.items()),
    }
    data = {"base_model": hub, "base_model_relation": "adapter", "library_name": "peft", "tags": ["lora", *TAGS]}
    data |= _licence(card.base)
    return _filled("adapter_card.md", data, facts, name=upload_name(card), hub=bool(hub))


def readme_of_checkpoint(base: str, revision: str, dtype: str, did: str, facts: Mapping[str, str], name: str) -> str:
    """The model card of a checkpoint that was written here.

    Args:
        base, revision: of the model that something was folded or merged into.
        did: what was done to it, in words.
        name: suggested for a hub.
    """
    hub, _ = on_the_hub(base, revision)
    data = {"base_model": hub, "base_model_relation": "finetune", "library_name": "transformers",
            "pipeline_tag": "text-generation", "tags": TAGS, **_licence(base)}  # fmt: skip
    said = {"Base": base_in_words(base, revision, dtype), **_terms(base), "In its weights": did, **facts}
    return _filled("checkpoint_card.md", data, said, name=name)


def _licence(base: str) -> dict[str, str]:
    """A packaged model's, which what is made of it keeps; of others it is not known here."""
    return {"license": PACKAGED[base].licence} if base in PACKAGED else {}


def _terms(base: str) -> dict[str, str]:
    """What a packaged model's terms want to be said of what is made of it."""
    notice = PACKAGED[base].notice if base in PACKAGED else ""
    return {"Terms": f"{notice}. This is a modified version."} if notice else {}


def _filled(template: str, data: Mapping[str, Any], facts: Mapping[str, str], **values: Any) -> str:
    from huggingface_hub import ModelCard, ModelCardData

    known = dict(data) if data["base_model"] else {n: v for n, v in data.items() if not n.startswith("base_model")}
    plain = {name: plain_markdown(shown(value)) for name, value in facts.items() if value}
    path = str(FOLDER / template)
    written = ModelCard.from_template(ModelCardData(**known), template_path=path, facts=plain, **values)
    return f"{str(written).rstrip()}\n"


# --- facts -------------------------------------------------------------------------------------------------------


def base_in_words(base: str, revision: str, dtype: str) -> str:
    """The base as anybody can find it: a hub id with its commit, or a folder's name with the hash of what it holds."""
    hub, commit = on_the_hub(base, revision)
    if base in PACKAGED and hub:
        return f"{hub}, unpacked from the GGUF with sha256 {PACKAGED[base].sha256}, {dtype}"
    return f"{public_name(base, revision)}, revision {commit or revision}, {dtype}"


def _wrote(card: "AdapterCard") -> str:
    """What an engine wrote of it."""
    return "Corpus by" if card.arm is None or ARMS[card.arm].method == "sft" else "Teacher's text by"


def _data(card: "AdapterCard") -> str:
    found = card.data
    if found is None:
        return ""
    written = f"{found.prompts} {found.split} prompts of {found.name}, sha256 {found.fingerprint}"
    apart = f", {found.held_out} of them held out" if found.held_out else ""
    captured = f"; captured from {found.examples} examples, sha256 {found.calibration}" if found.calibration else ""
    return written + apart + captured


def _lora(card: "AdapterCard") -> str:
    own = card.settings
    return f"r {own.lora_r}, alpha {own.lora_alpha}, dropout {own.lora_dropout:g}, on {', '.join(own.lora_targets)}"


def _losses(card: "AdapterCard") -> str:
    told = {"train": card.train_loss, "held out": card.held_out_loss}
    return ", ".join(f"{name} {value:.4f} nats" for name, value in told.items() if value is not None)


# --- the next commands -------------------------------------------------------------------------------------------


def upload_name(card: "AdapterCard") -> str:
    """A name for a hub: base, capability and arm, of signs that every hub takes."""
    words = (short_name_of(card.base, card.revision), card.capability_name, str(card.arm or "lora"))
    return repo_name("-".join(word for word in words if word))


def short_name_of(name: str, revision: str) -> str:
    """A model's name without whose it is or where it lies."""
    return (on_the_hub(name, revision)[0] or name).rpartition("/")[2]


def repo_name(text: str) -> str:
    """Any text as the name of a repository on a hub: letters, digits, dashes and dots, at most 96."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text)[:96].strip("-.").replace("..", ".") or "spd"


def upload_command(name: str, folder: str = ".") -> str:
    """What publishes a folder, once `hf auth login` is done."""
    return f"hf upload YOUR-NAME/{name} {folder}"


def gguf_command(folder: str = ".") -> str:
    """What makes a GGUF file of a checkpoint, with the converter that comes with llama.cpp."""
    return f"python LLAMA.CPP/convert_hf_to_gguf.py {folder} --outfile model.gguf --outtype f16"

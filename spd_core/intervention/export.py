"""Writes checkpoints for other tools: folded and merged models as ordinary safetensors that need nothing of SPD Lab."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spd_core.data.seen import Seen, all_seen, seen_by_model, write_seen
from spd_core.errors import InputError
from spd_core.intervention.adapters import Adapter, merged
from spd_core.intervention.cards import portable_files
from spd_core.intervention.model_cards import readme_of_checkpoint, repo_name, short_name_of, upload_name
from spd_core.intervention.projection import Lane, folded
from spd_core.models.identity import EXPORTED, public_name
from spd_core.models.loading import LanguageModel
from spd_core.models.terms import notices
from spd_core.recipes.distill import ARMS
from spd_core.recipes.gains import gains_fact, gains_in_words
from spd_core.storage import command_line, new_folder, storage_errors, to_json, versions, write_text


def export_folded(lm: LanguageModel, lane: Lane, folder: Path, overwrite: bool = False) -> None:
    """Save the model with the lane's projection folded into its weights (after its adapter), and its tokenizer.

    `AutoModelForCausalLM.from_pretrained(folder)` loads it; logits equal the projected lane's within float
    tolerance. Beside the weights, `spd_export.json` says what was folded, and `seen.json` which prompts it knows. The
    model in memory is left as it was.

    Raises:
        InputError: a raw lane has nothing to fold.
        ModelError: quantized weights, or a subspace or adapter of another model.
        StorageError: the folder is there, or the disk refuses.
    """
    if lane.subspace is None:
        raise InputError("a raw lane has nothing to fold; give a subspace")
    record = {
        "folded": {
            "strength": lane.strength,
            "kinds": list(lane.kinds),
            "layers": sorted({site.layer for site in lane.maps(lm)}),
            "complement": lane.complement,
            **gains_fact(lane.gains),
        },
        "subspace": {**lane.subspace.provenance.model_dump(mode="json"), "model": public_name(lm.name, lm.revision)},
        **({} if lane.adapter is None else _merged(lane.adapter)),
    }
    origin = lane.subspace.provenance
    name = repo_name(f"{short_name_of(lm.name, lm.revision)}-{origin.capability}-folded")
    did = _changed(lane, origin.capability)
    ranks = ", ".join(map(str, sorted(set(origin.ranks.values()))))
    facts = {"Captured from": f"{origin.examples_used} examples, sha256 {origin.fingerprint}, ranks {ranks}"}
    with new_folder(folder, overwrite) as temporary, folded(lm, lane):
        _save(lm, temporary, {**record, "command": command_line()}, lane)
        _write_readme(lm, did, facts, name, temporary)


def _changed(lane: Lane, capability: str) -> str:
    projected = f"projected into the subspace of {capability}, strength {lane.strength:g}"
    mixed = f"mixed by direction of {capability}: {gains_in_words(lane.gains)}"
    done = [*([projected] if lane.strength != 0 or not lane.gains else []), *([mixed] if lane.gains else [])]
    return f"its keys and values {'; '.join(done)}"


def export_merged(lm: LanguageModel, adapter: Adapter, folder: Path, overwrite: bool = False) -> None:
    """Save the model with an adapter merged into its weights, and its tokenizer.

    `AutoModelForCausalLM.from_pretrained(folder)` loads it; logits equal the distilled lane's within float
    tolerance. Beside the weights, `spd_export.json` says what was merged, and `seen.json` which prompts it knows. The
    model in memory is left as it was.

    Raises:
        ModelError: quantized weights, or an adapter of another model.
        StorageError: the folder is there, or the disk refuses.
    """
    card = adapter.card
    command = f"python -m spd_core export --adapter {card.ref if card.run else 'ADAPTER'} --out {folder.name}"
    arm = ARMS[card.arm].label if card.arm is not None else "a LoRA"
    did = f"the adapter of {arm}, trained on {card.rows} rows of {card.capability_name or 'its own text'}"
    facts = {"Adapter (sha256)": adapter.fingerprint, "Trained by": card.command, "Written by": command}
    with new_folder(folder, overwrite) as temporary, merged(lm, adapter):
        _save(lm, temporary, {**_merged(adapter), "command": command}, Lane(adapter=adapter))
        _write_readme(lm, did, facts, repo_name(f"{upload_name(card)}-merged"), temporary)


def save_as_lane(lm: LanguageModel, lane: Lane, folder: Path) -> None:
    """Weights and tokenizer of the model as a lane is, for an engine that serves it for a while; errors as above.

    An older folder is replaced. It lacks what an export says of itself: nobody but the engine reads it.
    """
    with new_folder(folder, overwrite=True) as temporary, folded(lm, lane):
        lm.model.save_pretrained(temporary)
        lm.tokenizer.save_pretrained(temporary)


def export_adapter(adapter: Path, folder: Path, overwrite: bool = False) -> None:
    """Copy an adapter's folder as it may leave this machine: what peft loads, its card, and a README for hubs.

    Raises:
        InputError: the card is missing or damaged.
        StorageError: the folder is there, or the disk refuses.
    """
    files = portable_files(adapter)
    with new_folder(folder, overwrite) as temporary, storage_errors(folder):
        for name, content in files.items():
            (temporary / name).write_bytes(content)


def _merged(adapter: Adapter) -> dict[str, Any]:
    return {"merged": {"fingerprint": adapter.fingerprint, "card": adapter.card.portable().model_dump(mode="json")}}


def _save(lm: LanguageModel, folder: Path, record: Mapping[str, Any], lane: Lane) -> None:
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    for name, text in notices(lm.name).items():
        write_text(folder / name, text)
    facts = {"dtype": str(lm.dtype).removeprefix("torch."), "versions": versions()}
    write_text(folder / EXPORTED, to_json({**record, **facts}))
    write_seen(all_seen((seen_before(lm.name), lane.seen)), folder)


def _write_readme(lm: LanguageModel, did: str, facts: Mapping[str, str], name: str, folder: Path) -> None:
    dtype = str(lm.dtype).removeprefix("torch.")
    write_text(folder / "README.md", readme_of_checkpoint(lm.name, lm.revision, dtype, did, facts, name))


def seen_before(name: str) -> Seen | None:
    """What a base has seen before anything was done to it here: nothing, unless it is such a checkpoint itself."""
    written = (Path(name).expanduser() / EXPORTED).is_file()
    return seen_by_model(name) if written else Seen()

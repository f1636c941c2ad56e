"""Writes checkpoints for other tools: folded and merged models as ordinary safetensors that need nothing of SPD Lab."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spd_core.data.seen import Seen, all_seen, seen_by_model, write_seen
from spd_core.errors import InputError
from spd_core.intervention.adapters import Adapter, merged
from spd_core.intervention.projection import Lane, folded
from spd_core.models.identity import EXPORTED
from spd_core.models.loading import LanguageModel
from spd_core.storage import command_line, new_folder, to_json, versions, write_text


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
        },
        "subspace": lane.subspace.provenance.model_dump(mode="json"),
        **({} if lane.adapter is None else _merged(lane.adapter)),
    }
    with new_folder(folder, overwrite) as temporary, folded(lm, lane):
        _save(lm, temporary, record, lane)


def export_merged(lm: LanguageModel, adapter: Adapter, folder: Path, overwrite: bool = False) -> None:
    """Save the model with an adapter merged into its weights, and its tokenizer.

    `AutoModelForCausalLM.from_pretrained(folder)` loads it; logits equal the distilled lane's within float
    tolerance. Beside the weights, `spd_export.json` says what was merged, and `seen.json` which prompts it knows. The
    model in memory is left as it was.

    Raises:
        ModelError: quantized weights, or an adapter of another model.
        StorageError: the folder is there, or the disk refuses.
    """
    with new_folder(folder, overwrite) as temporary, merged(lm, adapter):
        _save(lm, temporary, _merged(adapter), Lane(adapter=adapter))


def _merged(adapter: Adapter) -> dict[str, Any]:
    return {"merged": {"fingerprint": adapter.fingerprint, "card": adapter.card.model_dump(mode="json")}}


def _save(lm: LanguageModel, folder: Path, record: Mapping[str, Any], lane: Lane) -> None:
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    facts = {"dtype": str(lm.dtype).removeprefix("torch."), "versions": versions(), "command": command_line()}
    write_text(folder / EXPORTED, to_json({**record, **facts}))
    write_seen(all_seen((seen_before(lm.name), lane.seen)), folder)


def seen_before(name: str) -> Seen | None:
    """What a base has seen before anything was done to it here: nothing, unless it is such a checkpoint itself."""
    written = (Path(name).expanduser() / EXPORTED).is_file()
    return seen_by_model(name) if written else Seen()

"""Writes checkpoints for other tools: the folded model as ordinary safetensors that need nothing of SPD Lab."""

from pathlib import Path

from spd_core.errors import InputError
from spd_core.models import LanguageModel
from spd_core.projection import Lane, folded
from spd_core.storage import command_line, new_folder, to_json, versions, write_text


def export_folded(lm: LanguageModel, lane: Lane, folder: Path, overwrite: bool = False) -> None:
    """Save the model with the lane's projection folded into its weights, and its tokenizer.

    `AutoModelForCausalLM.from_pretrained(folder)` loads it; logits equal the projected lane's within float
    tolerance. `spd_export.json` beside the weights says what was folded. The model in memory is left as it was.

    Raises:
        InputError: a raw lane has nothing to fold.
        ModelError: quantized weights, or a subspace of another model.
        StorageError: the folder is there, or the disk refuses.
    """
    if lane.subspace is None:
        raise InputError("a raw lane has nothing to fold; give a subspace")
    with new_folder(folder, overwrite) as temporary, folded(lm, lane):
        lm.model.save_pretrained(temporary)
        lm.tokenizer.save_pretrained(temporary)
        record = {
            "folded": {
                "strength": lane.strength,
                "kinds": list(lane.kinds),
                "layers": sorted({site.layer for site in lane.maps(lm)}),
                "complement": lane.complement,
            },
            "subspace": lane.subspace.provenance.model_dump(mode="json"),
            "dtype": str(lm.dtype).removeprefix("torch."),
            "versions": versions(),
            "command": command_line(),
        }
        write_text(temporary / "spd_export.json", to_json(record))

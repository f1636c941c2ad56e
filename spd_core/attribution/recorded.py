"""Logit lenses, causal checks and right texts that come with a recorded capture, and are looked at without its model.

    probes.json  checks.safetensors

Imports no torch. What records them is `cli/demo_probes.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, TypeAdapter
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from spd_core.attribution.results import CausalCheck, Lens, check_of
from spd_core.data.capability import BUILTIN_FOLDER
from spd_core.errors import InputError
from spd_core.models.families import Site
from spd_core.records import Record, read_record
from spd_core.storage import child, new_folder, write_text
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.spectrum import Floats

RECORD, TENSORS, LENSES = "probes.json", "checks.safetensors", "lenses.json"
RECORDED_PROBES = BUILTIN_FOLDER.parent / "demo" / "probes"
"""Where those lie that come with SPD Lab; a folder for each capture, by its name."""
_REMEDY = "install SPD Lab anew, or compute it with the model"
_LENSES = TypeAdapter(dict[str, tuple[Lens, ...]])


class ProbeSettings(Record):
    """How they were computed.

    Attributes:
        capture: identity of the capture whose directions they are of.
        model: its revision.
        recorded: the day, as 2026-11-28.
        seed: of the first random direction of the checks.
        examples: ids of the calibration texts that were scored, in the order of the passes.
        seconds: that one check took.
        right: share of the loss tokens of each calibration text that the model gets right, by the text's id.
    """

    format: int = 1
    capture: str
    model: str
    dtype: str
    device: str
    recorded: str
    seed: int
    examples: tuple[str, ...]
    seconds: float
    command: str
    versions: dict[str, str]
    right: dict[str, float] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RecordedProbes:
    """What is recorded of one capture.

    Attributes:
        lenses: of the leading directions, the first one first, by the name of the value site.
        passes: [directions, 3 + 2 · draws, n] log p of every loss token in each pass of the causal check, by the name
            of the site, of the leading directions.
    """

    settings: ProbeSettings
    lenses: Mapping[str, tuple[Lens, ...]]
    passes: Mapping[str, Floats]

    def lens(self, site: Site, direction: int) -> Lens | None:
        """That of a direction (0-based), if it is recorded."""
        found = self.lenses.get(site.name, ())
        return found[direction] if direction < len(found) else None

    def check(self, analysis: Analysis, site: Site, direction: int) -> CausalCheck | None:
        """That of a direction (0-based) on the calibration texts, if it is recorded."""
        found = self.passes.get(site.name, ())
        if direction >= len(found):
            return None
        texts = {example.id: example for example in analysis.examples}
        examples = [texts[name] for name in self.settings.examples]
        return check_of(np.asarray(found[direction], np.float64), examples, len(examples))

    def checked(self, analysis: Analysis) -> dict[Site, int]:
        """How many leading directions have a check, by site."""
        return {site: len(self.passes[site.name]) for site in analysis.sites if site.name in self.passes}


def save_probes(probes: RecordedProbes, folder: Path) -> None:
    """Write them into a new folder, in place of what was there; raises `StorageError` when the disk refuses."""
    with new_folder(folder, overwrite=True) as temporary:
        save_file({name: np.asarray(found, np.float32) for name, found in probes.passes.items()}, temporary / TENSORS)
        write_text(temporary / LENSES, _LENSES.dump_json(dict(probes.lenses)).decode() + "\n")
        settings = json.dumps(probes.settings.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
        write_text(temporary / RECORD, settings + "\n")


def read_probes(folder: Path) -> RecordedProbes:
    """Read what `save_probes` has written.

    Raises:
        InputError: a file is missing or damaged, or they do not fit each other.
    """
    settings = read_record(ProbeSettings, folder / RECORD, remedy=_REMEDY)
    try:
        lenses = _LENSES.validate_json((folder / LENSES).read_bytes())
        return RecordedProbes(settings, lenses, load_file(folder / TENSORS))
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{folder} holds no recorded lenses and checks ({error}); {_REMEDY}") from error


def probes_of(analysis: Analysis) -> RecordedProbes | None:
    """What is recorded of a capture that comes with SPD Lab; None of any other one, and of one that was captured anew.

    Raises:
        InputError: its files are damaged.
    """
    if not analysis.recorded or not (RECORDED_PROBES / analysis.name).is_dir():
        return None
    found = read_probes(child(RECORDED_PROBES, analysis.name))
    return found if found.settings.capture == analysis.identity else None

"""Writes the bundle of recorded results that the app opens on: real captures of the built-in capabilities."""

from collections.abc import Callable
from pathlib import Path

from spd_core.analysis import save_analysis
from spd_core.capability import builtin_names, read_builtin
from spd_core.families import parse_layers
from spd_core.models import LanguageModel
from spd_core.storage import command_line, new_folder, to_json, versions, write_text
from spd_core.study import StudySettings, study, with_nulls

DIRECTIONS = 16
"""Directions of which the bundle keeps every token's coordinates; more would not fit its 15 MB."""


def write_demo(
    lm: LanguageModel, out: Path, progress: Callable[[float, str], None], overwrite: bool = False
) -> dict[str, str]:
    """Capture every built-in capability with the app's default settings, and save what came of it in a new folder.

    Returns:
        the folder of each capture by capability.

    Raises:
        StorageError: the folder is there and `overwrite` is false, or the disk refuses.
    """
    settings = StudySettings(parse_layers("middle,last", lm.card.layers))
    names = builtin_names()
    with new_folder(out, overwrite) as folder:
        for at, name in enumerate(names):
            progress(at / len(names), "Capturing")
            analysis = with_nulls(lm, study(lm, read_builtin(name), settings, name=name))
            save_analysis(analysis.limited(DIRECTIONS), folder / "captures" / name)
        record = {"command": command_line(), "model": lm.revision, "versions": versions()}
        write_text(folder / "demo.json", to_json(record))
    progress(1.0, "Capturing")
    return {name: str(out / "captures" / name) for name in names}

"""Writes the recorded results that the app opens on: real captures of the built-in capabilities, texts written inside
their subspaces, and the same over prompts and seeds. The recorded run and table are in `demo_runs.py`."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from spd_core.data.capability import builtin_names, read_builtin
from spd_core.evaluation.opening_sample import telling_prompt
from spd_core.evaluation.repeating import repeat_lanes
from spd_core.evaluation.repeats import Repeat, read_repeat, save_repeat
from spd_core.generation import comparison
from spd_core.generation.compare import compare
from spd_core.models.loading import LanguageModel
from spd_core.progress import Progress, Tell
from spd_core.recipes.capture import CaptureSettings
from spd_core.recipes.lanes import RAW, LaneSpec, Sampling
from spd_core.storage import command_line, new_folder, to_json, versions, write_text
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.pipeline import capture, with_nulls
from spd_core.subspace.store import save_capture

DIRECTIONS = 16
"""Directions of which the bundle keeps every token's coordinates; more would not fit its 15 MB."""
PROMPTS = 4
"""Held-out prompts of each capability that are written on: the first ones, not the nicest ones; and, where these show
nothing, the first one that does (`opening_sample.py`)."""
LANES = (RAW, LaneSpec(), LaneSpec(of="random"))
SAMPLING = Sampling(max_new_tokens=64)


def write_demo(
    lm: LanguageModel,
    out: Path,
    tell: Tell,
    *,
    overwrite: bool = False,
    names: Sequence[str] | None = None,
) -> dict[str, str]:
    """Capture built-in capabilities with the app's default settings, write texts, and save all in a new folder.

    Runs that were recorded in `out` stay there.

    Args:
        names: of the capabilities; None takes all of them.

    Returns:
        the folder of each capture by capability.

    Raises:
        StorageError: the folder is there and `overwrite` is false, or the disk refuses.
    """
    settings = CaptureSettings(examples=50)
    names = builtin_names() if names is None else names
    with new_folder(out, overwrite) as folder:
        for at, name in enumerate(names):
            tell(Progress(at / len(names), 1, "Recording"))
            analysis = with_nulls(lm, capture(lm, read_builtin(name), settings, name=name))
            save_capture(analysis.limited(DIRECTIONS), folder / "captures" / name)
            tell(Progress((at + 0.5) / len(names), 1, "Recording"))
            repeat = record_repeat(lm, analysis, folder / "repeats")
            for number in recorded_prompts(read_repeat(repeat)):
                record_text(lm, analysis, number, folder / "texts")
        record = {"command": command_line(), "model": lm.revision, "versions": versions()}
        write_text(folder / "demo.json", to_json(record))
        if (out / "runs").is_dir():
            shutil.copytree(out / "runs", folder / "runs")
    tell(Progress(1.0, 1, "Recording"))
    return {name: str(out / "captures" / name) for name in names}


def recorded_prompts(repeat: Repeat) -> list[int]:
    """Numbers of the held-out prompts that are written on, from 1: the first ones, and the one to open on."""
    telling = telling_prompt(repeat)
    return sorted({*range(1, PROMPTS + 1), *([] if telling is None else [telling + 1])})


def record_text(lm: LanguageModel, analysis: Analysis, number: int, folder: Path) -> Path:
    """What the lanes write on a held-out prompt, read token by token."""
    example = analysis.capability.split("heldout").examples[number - 1]
    written = compare(lm, analysis, example.prompt, LANES, SAMPLING, answer=example.answer)
    return comparison.save_comparison(written.model_copy(update={"id": f"{analysis.name}-{number}"}), folder)


def record_repeat(lm: LanguageModel, analysis: Analysis, folder: Path) -> Path:
    """The same lanes over the first held-out prompts and seeds, as many as Side by side proposes."""
    first = analysis.capability.split("heldout").examples[0].prompt
    made = repeat_lanes(lm, analysis, first, LANES, SAMPLING)
    return save_repeat(made.model_copy(update={"id": analysis.name}), folder)

"""A training by OmniOPD that comes with SPD Lab: what was audited in it, and how it was set. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path

from spd_core.data.capability import BUILTIN_FOLDER
from spd_core.distill.audits import AUDITS, Audit, read_audits
from spd_core.errors import InputError
from spd_core.recipes.on_policy import ChunkSettings
from spd_core.records import Record, read_record, to_lines
from spd_core.storage import new_folder, to_json, write_text

RECORD = "training.json"
RECORDED_AUDITS = BUILTIN_FOLDER.parent / "demo" / "audits"
"""Where it lies; a folder for each, by the capability's name."""
_REMEDY = "install SPD Lab anew"


class RecordedSettings(Record):
    """How it was trained.

    Attributes:
        model: its revision.
        teacher: who wrote beside the student, in words.
        prompts, epochs, batch_size, learning_rate, max_new_tokens: of the training.
        recorded: the day, as 2026-11-29.
    """

    format: int = 1
    capability: str
    model: str
    dtype: str
    device: str
    arm: str
    teacher: str
    prompts: int
    epochs: int
    batch_size: int
    learning_rate: float
    max_new_tokens: int
    seed: int
    chunks: ChunkSettings
    recorded: str
    command: str
    versions: dict[str, str]


@dataclass(frozen=True)
class RecordedTraining:
    """What is kept of it."""

    settings: RecordedSettings
    audits: tuple[Audit, ...]


def recorded_audits() -> list[str]:
    """Names of those that come with SPD Lab."""
    return sorted(path.parent.name for path in RECORDED_AUDITS.glob(f"*/{RECORD}"))


def save_recorded_training(found: RecordedTraining, folder: Path) -> None:
    """Write it into a new folder, in place of what was there; raises `StorageError` when the disk refuses."""
    with new_folder(folder, overwrite=True) as temporary:
        write_text(temporary / AUDITS, to_lines(found.audits))
        write_text(temporary / RECORD, to_json(found.settings.model_dump(mode="json")))


def read_recorded_training(folder: Path) -> RecordedTraining:
    """Read what `save_recorded_training` has written.

    Raises:
        InputError: a file is missing or damaged.
    """
    settings = read_record(RecordedSettings, folder / RECORD, remedy=_REMEDY)
    audits = read_audits(folder / AUDITS)
    if not audits:
        raise InputError(f"{folder} holds no audits; {_REMEDY}")
    return RecordedTraining(settings, tuple(audits))

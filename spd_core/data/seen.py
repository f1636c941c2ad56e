"""Prompts that a model was calibrated or trained on: what tells a held-out item from one that it knows.

Hashes alone are kept, in a small file beside adapters and checkpoints: they travel without showing anybody's prompts.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from spd_core.errors import InputError
from spd_core.records import Record, read_record
from spd_core.storage import to_json, write_text

SEEN = "seen.json"


class Seen(Record):
    """Hashes of bare prompts (see `prompt_hash`), sorted.

    Attributes:
        calibrated: a subspace was captured from them, or they chose the epoch that was kept.
        trained: a row that was written on them was trained on.
    """

    format: int = 1
    calibrated: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()

    @staticmethod
    def of(calibrated: Iterable[str] = (), trained: Iterable[str] = ()) -> "Seen":
        """From the prompts themselves."""
        return Seen(calibrated=_sorted(map(prompt_hash, calibrated)), trained=_sorted(map(prompt_hash, trained)))

    def count(self, prompts: Iterable[str]) -> int:
        """How many of some prompts are among them."""
        return sum(self.marks(prompts))

    def marks(self, prompts: Iterable[str]) -> list[bool]:
        """Of each prompt, whether it is among them."""
        known = {*self.calibrated, *self.trained}
        return [prompt_hash(prompt) in known for prompt in prompts]


def prompt_hash(prompt: str) -> str:
    """The start of the sha256 of a prompt as its example has it, without a template; all blanks count alike."""
    return hashlib.sha256(" ".join(prompt.split()).encode()).hexdigest()[:16]


def all_seen(parts: Iterable[Seen | None]) -> Seen | None:
    """What the parts of a model have seen together; None where it is not known of one of them."""
    known = []
    for part in parts:
        if part is None:
            return None
        known.append(part)
    return Seen(
        calibrated=_sorted(one for part in known for one in part.calibrated),
        trained=_sorted(one for part in known for one in part.trained),
    )


def _sorted(hashes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(hashes)))


def read_seen(folder: Path) -> Seen | None:
    """What lies beside an adapter or a checkpoint; None where nothing does.

    Raises:
        InputError: it is damaged, or of a newer format.
    """
    if not (folder / SEEN).is_file():
        return None
    return read_record(Seen, folder / SEEN, remedy="copy the folder again, or delete this file: it is not known then")


def write_seen(seen: Seen | None, folder: Path) -> None:
    """Put it beside an adapter or a checkpoint; nothing where it is not known.

    Raises:
        StorageError: the disk refuses.
    """
    if seen is not None:
        write_text(folder / SEEN, to_json(seen.model_dump(mode="json")))


def seen_by_model(name: str) -> Seen | None:
    """What a model in a folder has seen beyond the training that it came with; None where it is not known.

    Nothing of that kind is known of any model that was not written by SPD Lab, and of its checkpoints of before
    December 2026.
    """
    folder = Path(name).expanduser()
    try:
        return read_seen(folder) if folder.is_dir() else None
    except InputError:  # damaged: nobody knows
        return None

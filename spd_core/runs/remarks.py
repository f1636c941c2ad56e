"""What people say of a run: notes, tags, rows nobody shall train on, and that they have looked. Imports no torch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from spd_core.errors import InputError
from spd_core.records import first_error
from spd_core.storage import ASSETS, read_bytes, to_json, write_text

RECORDED = ASSETS / "demo" / "runs"
"""Runs that come with SPD Lab, to be looked at before anything is trained; nothing is written there."""
STUDIES = ASSETS / "studies"
"""Plans of studies, each with the runs that were recorded of it in `<name>/runs`."""

MOST_TAGS, LONGEST_TAG = 20, 40
"""Of one run, and in characters."""
_NOTES, _TAGS, _REJECTED, _REVIEWED = "notes.txt", "tags.json", "rejected.json", "reviewed"
_LABELS: TypeAdapter[tuple[str, ...]] = TypeAdapter(tuple[str, ...])
_REJECTIONS: TypeAdapter[dict[str, frozenset[NonNegativeInt]]] = TypeAdapter(dict[str, frozenset[NonNegativeInt]])


def recorded_folders() -> list[Path]:
    """Where recorded runs lie: those of the demo first, then those of each study."""
    return [RECORDED, *sorted(STUDIES.glob("*/runs"))]


@dataclass(frozen=True)
class Remarks:
    """What lies in a run's folder beside what its job writes."""

    folder: Path

    @property
    def recorded(self) -> bool:
        """Whether it comes with SPD Lab, and is only read."""
        return self.folder.parent in recorded_folders()

    def refuse_recorded(self) -> None:
        """Called before anything of it is changed.

        Raises:
            InputError: it comes with SPD Lab.
        """
        if self.recorded:
            raise InputError(
                f"{self.folder.name} is a recorded run, which comes with SPD Lab and stays as it is; "
                "start a run of your own with its settings"
            )

    def notes(self) -> str:
        """What somebody wrote about the run.

        Raises:
            InputError: the file cannot be read.
        """
        return read_bytes(self.folder / _NOTES, missing_ok=True).decode("utf-8", "replace")

    def set_notes(self, text: str) -> None:
        """Replace the notes; `StorageError` when the disk refuses, `InputError` of a recorded run."""
        self.refuse_recorded()
        write_text(self.folder / _NOTES, text)

    def tags(self) -> tuple[str, ...]:
        """Words by which somebody finds the run again, in alphabetical order.

        Raises:
            InputError: the file is damaged.
        """
        text = read_bytes(self.folder / _TAGS, missing_ok=True) or b"[]"
        try:
            return _LABELS.validate_json(text)
        except ValidationError as error:
            raise InputError(
                f"{self.folder / _TAGS} is damaged ({first_error(error)}); delete it, and tag again"
            ) from error

    def set_tags(self, tags: Collection[str]) -> None:
        """Replace them; each once, without spaces around it.

        Raises:
            InputError: a tag is empty or too long, or there are too many; or the run is recorded.
            StorageError: the disk refuses.
        """
        self.refuse_recorded()
        words = sorted({" ".join(tag.split()) for tag in tags}, key=str.casefold)
        for word in words:
            if not 0 < len(word) <= LONGEST_TAG:
                raise InputError(f"the tag {word!r} is not 1 to {LONGEST_TAG} characters long; choose another")
        if len(words) > MOST_TAGS:
            raise InputError(f"{len(words)} tags; a run has at most {MOST_TAGS}, take some away")
        write_text(self.folder / _TAGS, to_json(words))

    def rejected(self) -> dict[str, frozenset[int]]:
        """Numbers of the rows that somebody took out, by the name of the corpus.

        Raises:
            InputError: the file is damaged.
        """
        text = read_bytes(self.folder / _REJECTED, missing_ok=True) or b"{}"
        try:
            return _REJECTIONS.validate_json(text)
        except ValidationError as error:
            raise InputError(
                f"{self.folder / _REJECTED} is damaged ({first_error(error)}); delete it, and reject again"
            ) from error

    def set_rejected(self, rows: Mapping[str, Collection[int]]) -> None:
        """Replace them.

        Raises:
            InputError: the run is recorded.
            StorageError: the disk refuses.
        """
        self.refuse_recorded()
        write_text(self.folder / _REJECTED, to_json({name: sorted(numbers) for name, numbers in rows.items()}))

    @property
    def reviewed(self) -> bool:
        """Whether somebody has looked at the corpus and let the run go on."""
        return (self.folder / _REVIEWED).exists()

    def set_reviewed(self) -> None:
        """Let it go on; errors as above."""
        self.refuse_recorded()
        write_text(self.folder / _REVIEWED, "")

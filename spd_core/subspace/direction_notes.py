"""What people call a direction, and what they remark on it: one file, `notes.json`. Imports no torch.

Where the file of a capture lies is `store.notes_in`. A note belongs to a direction and not to a number: it holds the
vector, and counts where the capture's direction of that number still lies along it. So it outlives new nulls, another
rank and a capture that came out nearly the same, and says nothing of another one that took the capture's place.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
from pydantic import Field

from spd_core.errors import InputError
from spd_core.models.families import Kind, Site
from spd_core.records import Record, read_record
from spd_core.storage import exclusive, spd_home, storage_errors, write_text
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.spectrum import Floats
from spd_core.text import shown

NOTES = "notes.json"
LONGEST_NAME, LONGEST_REMARK, MOST_NOTES = 60, 2000, 1000
"""In characters; and of one capture."""
FORMAT = 1
SAME = 0.99
"""|cos| of two vectors from which on they are one direction, whichever way it points."""
DirectionPlace: TypeAlias = tuple[int, str, int]
"""Layer, kind, and 0-based number of a direction."""
_REMEDY = "delete it, and write the notes again"
_Coordinate: TypeAlias = Annotated[float, Field(ge=-1e6, le=1e6)]


class DirectionNote(Record):
    """A name and a remark; either may be empty.

    Attributes:
        direction: counted from 1.
        vector: [d_kv] the direction, to four decimals.
    """

    layer: int
    kind: Kind
    direction: int
    name: str
    remark: str
    vector: tuple[_Coordinate, ...]

    @property
    def place(self) -> DirectionPlace:
        """Where it was written."""
        return self.layer, self.kind, self.direction - 1

    def lies_along(self, vector: Floats) -> bool:
        """Whether a unit vector `[d_kv]` is its direction."""
        own = np.asarray(self.vector)
        return len(own) == len(vector) and bool(abs(own @ vector) >= SAME * np.linalg.norm(own))


class NotesFile(Record):
    """The notes of one capture."""

    format: int = FORMAT
    notes: tuple[DirectionNote, ...] = ()


def note_on(analysis: Analysis, site: Site, direction: int, name: str, remark: str) -> DirectionNote:
    """A note on a direction (0-based); the name on one line, both without control characters.

    Raises:
        InputError: the name or the remark is too long.
    """
    name, remark = " ".join(shown(name).split()), shown(remark).strip()
    for what, text, most in (("name", name, LONGEST_NAME), ("remark", remark, LONGEST_REMARK)):
        if len(text) > most:
            raise InputError(f"the {what} has {len(text):,} characters, and at most {most:,} are kept; shorten it")
    vector = tuple(np.round(analysis.sites[site].vectors[:, direction].astype(float), 4).tolist())
    return DirectionNote(
        layer=site.layer, kind=site.kind, direction=direction + 1, name=name, remark=remark, vector=vector
    )


def notes_on(analysis: Analysis, notes: Iterable[DirectionNote]) -> dict[DirectionPlace, DirectionNote]:
    """The notes that are on directions of this capture, by their places."""
    sites = {(site.layer, site.kind): found.vectors for site, found in analysis.sites.items()}
    found = {}
    for note in notes:
        vectors = sites.get((note.layer, note.kind))
        if vectors is None or not 0 < note.direction <= vectors.shape[1]:
            continue
        if note.lies_along(vectors[:, note.direction - 1]):
            found[note.place] = note
    return found


def notes_with(notes: Iterable[DirectionNote], words: str) -> list[DirectionNote]:
    """The notes that hold every one of some words, in name or remark, whatever their case; by layer, and so on."""
    wanted = words.casefold().split()
    texts = {note: f"{note.name}\n{note.remark}".casefold() for note in notes}
    hits = [note for note, text in texts.items() if all(word in text for word in wanted)]
    return sorted(hits, key=lambda note: note.place)


# --- the file ----------------------------------------------------------------------------------------------------


def read_notes(path: Path) -> tuple[DirectionNote, ...]:
    """All notes in a file; none where there is no file.

    Raises:
        InputError: it is damaged, or of a newer version.
    """
    if not path.exists():
        return ()
    return read_record(NotesFile, path, newest=FORMAT, remedy=_REMEDY).notes


def write_note(path: Path, note: DirectionNote) -> None:
    """Put a note into a file in place of the one on the same direction; one without any words takes that away.

    Raises:
        InputError: the file is damaged, or is full.
        StorageError: the disk refuses.
    """
    with writing_notes():
        others = [one for one in read_notes(path) if not _on_same(one, note)]
        notes = [*others, note] if note.name or note.remark else others
        if len(notes) > MOST_NOTES:
            raise InputError(f"this capture has {MOST_NOTES:,} notes, the most that are kept; take some away")
        found = NotesFile(notes=tuple(sorted(notes, key=lambda one: one.place)))
        write_text(path, found.model_dump_json() + "\n")


def _on_same(one: DirectionNote, other: DirectionNote) -> bool:
    vector = np.asarray(other.vector)
    return one.place == other.place and one.lies_along(vector / np.linalg.norm(vector))


@contextmanager
def writing_notes() -> Iterator[None]:
    """Nobody else on this machine changes notes, or replaces a capture that has some, meanwhile."""
    folder = spd_home() / "notes"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / ".lock"):
        yield

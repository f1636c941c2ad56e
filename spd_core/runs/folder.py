"""A run is a directory that explains itself: what was asked, how it stands, what it said, what it made.

Reads and writes the files. Knows nothing of processes, and imports no torch: pages read it, too.

    SPD_HOME/runs/<id>/
        run.json  status.json  events.jsonl  log.txt  notes.txt  tags.json  rejected.json  reviewed  CANCEL
        corpora/<name>-round-<n>.jsonl  captures/  arms/  adapters/<arm>/

Recorded runs, which come with SPD Lab, look the same and are only read: they stand in no queue and no list of
`all_runs`, and what they made is no adapter or rate of this machine.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import Field, TypeAdapter, ValidationError

from spd_core.errors import InputError, StorageError
from spd_core.records import read_record
from spd_core.runs.events import AnyEvent
from spd_core.runs.record import RunRecord, Status
from spd_core.runs.remarks import Remarks, recorded_folders
from spd_core.storage import append_to, child, modified, read_bytes, runs_folder, storage_errors, to_json, write_text

_RECORD, STATUS, _EVENTS, _LOG, _CANCEL = "run.json", "status.json", "events.jsonl", "log.txt", "CANCEL"
_BALLAST, _HEARTBEAT = "ballast", "heartbeat"
BALLAST_BYTES = 64 * 1024
_ANY_EVENT: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="kind")])


@dataclass(frozen=True)
class Said:
    """Events of a run from some place in its file.

    Attributes:
        offset: where to read on, in bytes; a line that is still being written is left for then.
        damaged: lines that are no event that this version knows.
    """

    events: tuple[AnyEvent, ...]
    offset: int
    damaged: int = 0


@dataclass(frozen=True)
class Damaged:
    """A directory among the runs that holds no run that can be read, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Run(Remarks):
    """One run: its record, and the directory that holds the rest."""

    record: RunRecord

    @property
    def id(self) -> str:
        """Its name; names sort by time."""
        return self.record.id

    # --- how it stands ---------------------------------------------------------------------------------------

    def status(self) -> Status:
        """What was written last; `states.status_of` also looks whether the process is still there.

        Raises:
            InputError: it is missing, damaged, or of a newer format.
        """
        return read_record(Status, self.folder / STATUS)

    def write_status(self, status: Status) -> None:
        """Replace the status. On a full disk the ballast makes room, once.

        Raises:
            InputError: the run is recorded.
            StorageError: the disk refuses nevertheless.
        """
        self.refuse_recorded()
        try:
            write_status(self.folder, status)
        except StorageError:
            (self.folder / _BALLAST).unlink(missing_ok=True)
            write_status(self.folder, status)

    def load_ballast(self) -> None:
        """Put a file on the disk that can be given up, so that the last status finds room; errors as above."""
        if not (self.folder / _BALLAST).exists():
            write_text(self.folder / _BALLAST, "ballast " * (BALLAST_BYTES // 8))

    def beat(self) -> None:
        """Show that the process works."""
        with suppress(OSError):  # a full disk ends the run elsewhere, with a reason
            (self.folder / _HEARTBEAT).touch()

    def last_beat(self) -> float:
        """When it did so last, in seconds since the epoch; 0 if never."""
        return modified(self.folder / _HEARTBEAT)

    # --- being asked to stop ---------------------------------------------------------------------------------

    def ask_to_stop(self) -> None:
        """Leave the sign that the job looks for at every step; asking again does not prolong its grace.

        Raises:
            StorageError: the disk refuses.
        """
        if not self.asked_to_stop():
            with storage_errors(self.folder / _CANCEL):
                (self.folder / _CANCEL).touch()

    def asked_to_stop(self) -> bool:
        """Whether the sign is there."""
        return os.path.exists(self.folder / _CANCEL)

    def asked_at(self) -> float:
        """When the job was asked to stop, in seconds since the epoch; 0 if it was not."""
        return modified(self.folder / _CANCEL)

    def forget_stop(self) -> None:
        """Take the sign away."""
        (self.folder / _CANCEL).unlink(missing_ok=True)

    # --- what it says ----------------------------------------------------------------------------------------

    def tell(self, event: AnyEvent) -> None:
        """Add an event, behind whatever a crash has torn off.

        Raises:
            StorageError: the disk refuses.
        """
        with storage_errors(self.folder / _EVENTS), append_to(self.folder / _EVENTS) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            torn = end > 0 and file.read(1) != b"\n"
            file.write(b"\n" * torn + event.model_dump_json().encode() + b"\n")

    def events(self, offset: int = 0) -> Said:
        """Events from an offset on.

        Raises:
            InputError: the file cannot be read.
        """
        whole, end, _torn = read_bytes(self.folder / _EVENTS, offset, missing_ok=True).rpartition(b"\n")
        found: list[AnyEvent] = []
        damaged = 0
        for line in whole.split(b"\n") if end else []:
            try:
                found.append(_ANY_EVENT.validate_json(line))
            except ValidationError:
                damaged += 1
        return Said(tuple(found), offset + len(whole) + len(end), damaged)

    def log(self, limit: int = 20_000) -> str:
        """The last `limit` bytes of what the job printed, from the start of a line.

        Raises:
            InputError: the file cannot be read.
        """
        written = read_bytes(self.folder / _LOG, missing_ok=True)
        tail = written[-limit:]
        return (tail if tail == written else tail.partition(b"\n")[2]).decode("utf-8", "replace")

    def open_log(self) -> BinaryIO:
        """The log, to be added to; `OSError` when the disk refuses."""
        return append_to(self.folder / _LOG)


def write_record(folder: Path, record: RunRecord) -> None:
    """Write the record into a new run's folder.

    Raises:
        StorageError: the disk refuses.
    """
    write_text(folder / _RECORD, to_json(record.model_dump(mode="json")), overwrite=False)


def write_status(folder: Path, status: Status) -> None:
    """Write the status into a run's folder, whole or not at all.

    Raises:
        StorageError: the disk refuses.
    """
    write_text(folder / STATUS, to_json(status.model_dump(mode="json")))


def open_run(id: str) -> Run:
    """A run by its name: one of this machine, or a recorded one.

    Raises:
        InputError: a name that could lead elsewhere, nothing of that name, or a damaged or newer run.
    """
    folder = runs_folder() / id
    if os.path.islink(folder):
        raise InputError(
            f"the run {id!r} is a link to elsewhere, or no name; delete it, and move the folder itself here"
        )
    folder = child(runs_folder(), id)
    if not folder.is_dir():
        folder = next((found for place in recorded_folders() if (found := child(place, id)).is_dir()), folder)
    if not folder.is_dir():
        raise InputError(f"no run {id!r} on this machine; `python -m spd_core runs` lists those there are")
    record = read_record(RunRecord, folder / _RECORD)
    if record.id != id:
        raise InputError(f"{folder} holds the run {record.id!r}; give the folder its name back, or delete it")
    return Run(folder, record)


def all_runs() -> list[Run | Damaged]:
    """All runs on this machine, newest first; recorded ones are not among them.

    Raises:
        InputError: the folder of runs cannot be read.
    """
    found: list[Run | Damaged] = []
    for name in sorted(names(), reverse=True):
        try:
            run = open_run(name)
            run.status()
            found.append(run)
        except InputError as error:
            if os.path.lexists(runs_folder() / name):  # or it was deleted meanwhile
                found.append(Damaged(name, str(error)))
    return found


def recorded_runs() -> list[Run]:
    """The runs that come with SPD Lab, those of the demo first; damaged ones are left out."""
    return [run for folder in recorded_folders() for run in runs_in(folder)]


def runs_in(folder: Path) -> list[Run]:
    """The runs that are recorded in a folder, newest first; damaged ones are left out."""
    found = []
    for path in sorted(folder.glob(f"*/{_RECORD}"), reverse=True):
        with suppress(InputError):
            found.append(Run(path.parent, read_record(RunRecord, path)))
    return found


def names() -> list[str]:
    """Names of what may be runs: directories, and links that pretend to be.

    Raises:
        InputError: the folder of runs cannot be read.
    """
    try:
        with os.scandir(runs_folder()) as entries:
            return [e.name for e in entries if not e.name.startswith(".") and (e.is_symlink() or e.is_dir())]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot read {runs_folder()}: {error.strerror}; give yourself access to it") from error


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder; links are not followed."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):  # temporary files come and go
                total += os.lstat(os.path.join(place, name)).st_size
    return total

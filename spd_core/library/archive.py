"""A zip that anybody may have made: what it claims is checked before anything is unpacked, and while it is.

Nothing in it is run. It knows nothing of what the files mean; `incoming.py` does. Imports no torch.
"""

import hashlib
import os
import re
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pydantic import Field, ValidationError

from spd_core.errors import InputError
from spd_core.library.notebook import NOTEBOOK
from spd_core.library.things import owner_of_file
from spd_core.records import Record, first_error, json_object, refuse_newer
from spd_core.storage import free_space
from spd_core.text import shown

MANIFEST = "manifest.json"
BUNDLE_FORMAT = 1
MOST_ENTRIES, MOST_BYTES, LONGEST_MANIFEST = 20_000, 64 * 2**30, 32 * 2**20
"""Files in a bundle; bytes of all of them unpacked; bytes of the manifest."""
MOST_TIMES, ALWAYS_FINE = 200, 2**20
"""How many times smaller a file may be packed than it is; bytes up to which that does not matter."""
_PIECE = 2**20
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_UNREADABLE = (BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error)


class BundledFile(Record):
    """A file of a bundle: its length in bytes, and its sha256."""

    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class BundledThing(Record):
    """A thing of a bundle.

    Attributes:
        thing: `kind:name`.
        stands_on: the same of what it was made of, in the bundle or not.
        device, dtype: of the numbers in it; empty where it has none or does not say.
        files: by their names, which are those of the zip.
    """

    thing: str = Field(max_length=300)
    title: str = Field(max_length=500)
    made: str = Field(max_length=40)
    model: str = Field(default="", max_length=500)
    device: str = Field(default="", max_length=200)
    dtype: str = Field(default="", max_length=40)
    stands_on: tuple[str, ...] = ()
    files: dict[str, BundledFile] = Field(min_length=1)


class Manifest(Record):
    """What a bundle says of itself.

    Attributes:
        spd_lab: version that wrote it; `versions` of what it computes with.
        chosen: the things that somebody asked for; the others are what these stand on.
        notebook: that reruns the analysis of a capture; read by people, neither kept nor run by an import.
    """

    format: int = BUNDLE_FORMAT
    spd_lab: str = Field(max_length=40)
    versions: dict[str, str]
    machine: str = Field(max_length=300)
    created: str = Field(max_length=40)
    chosen: tuple[str, ...]
    things: tuple[BundledThing, ...] = Field(min_length=1)
    notebook: BundledFile | None = Field(default=None, exclude_if=lambda one: one is None)

    @property
    def files(self) -> dict[str, BundledFile]:
        """All files of all things."""
        return {name: file for one in self.things for name, file in one.files.items()}


@contextmanager
def opened_bundle(source: Path | BinaryIO) -> Iterator[tuple[ZipFile, Manifest]]:
    """A bundle whose names, sizes and manifest are in order; what its files hold is not looked at yet.

    Raises:
        InputError: it is no bundle, or one that is made to do harm; the message says by which file.
    """
    try:
        with ZipFile(source) as archive:
            entries = _checked_entries(archive.infolist())
            yield archive, _manifest(archive, entries)
    except OSError as error:
        raise InputError(f"cannot read the bundle: {error.strerror or error}; choose another file") from error
    except _UNREADABLE as error:
        raise InputError(f"this is no whole zip file ({first_error(error)}); export the bundle again") from error


def _checked_entries(entries: list[ZipInfo]) -> dict[str, ZipInfo]:
    """The entries by their names; raises `InputError` for what no bundle has."""
    if len(entries) > MOST_ENTRIES:
        raise InputError(f"{len(entries):,} files in it; a bundle has at most {MOST_ENTRIES:,}: export fewer things")
    found: dict[str, ZipInfo] = {}
    folded: dict[str, str] = {}
    for entry in entries:
        name = entry.filename
        if reason := _wrong_with(entry):
            raise InputError(f"the bundle was not imported: {shown(entry.orig_filename)[:200]!r} {reason}")
        if name.casefold() in folded:
            other = folded[name.casefold()]
            said = "is in it twice" if other == name else f"and {other!r} differ by capital letters alone"
            raise InputError(f"the bundle was not imported: {name!r} {said}")
        found[name], folded[name.casefold()] = entry, name
    total = sum(entry.file_size for entry in entries)
    if total > MOST_BYTES:
        raise InputError(f"unpacked it would have {total:,} bytes; a bundle has at most {MOST_BYTES:,}")
    if total > free_space():
        raise InputError(f"unpacked it needs {total:,} bytes, and {free_space():,} are free; make room and try again")
    return found


def _wrong_with(entry: ZipInfo) -> str:
    """Why an entry is none that SPD Lab writes; empty where nothing is wrong. Decided by what the zip claims."""
    name, mode = entry.filename, entry.external_attr >> 16
    if entry.orig_filename != name or "\0" in entry.orig_filename:
        return "has a name that reads in two ways"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "is no plain file (a link, a folder or a device)"
    if name not in (MANIFEST, NOTEBOOK) and owner_of_file(name) is None:
        return "is no file that a bundle can hold: only captures, texts, runs and the like, in their own formats"
    if any(_RESERVED.fullmatch(part) or part.endswith(".") for part in name.split("/")):
        return "has a name that some systems reserve"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return f"is packed by method {entry.compress_type}, which bundles do not use"
    if entry.file_size > max(ALWAYS_FINE, MOST_TIMES * entry.compress_size):
        return f"would swell from {entry.compress_size:,} to {entry.file_size:,} bytes"
    return ""


def _manifest(archive: ZipFile, entries: Mapping[str, ZipInfo]) -> Manifest:
    """The manifest; raises `InputError` where there is none, or it does not list what is there."""
    entry = entries.get(MANIFEST)
    if entry is None:
        raise InputError(f"this zip has no {MANIFEST}: SPD Lab did not write it; export a bundle from the library")
    if entry.file_size > LONGEST_MANIFEST:
        raise InputError(f"its {MANIFEST} has {entry.file_size:,} bytes, at most {LONGEST_MANIFEST:,} are read")
    try:
        with archive.open(entry) as file:
            record = json_object(file.read(LONGEST_MANIFEST + 1).decode())
        refuse_newer(record, BUNDLE_FORMAT, "the bundle")
        manifest = Manifest.model_validate(record)
    except (ValidationError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"its {MANIFEST} is damaged ({first_error(error)}); export the bundle again") from error
    _check_lists(manifest, entries)
    return manifest


def _check_lists(manifest: Manifest, entries: Mapping[str, ZipInfo]) -> None:
    """Raise `InputError` where the manifest and the zip do not name the same files of the same sizes, each once."""
    names = [name for one in manifest.things for name in one.files] + [NOTEBOOK] * (manifest.notebook is not None)
    listed, held = set(names), set(entries) - {MANIFEST}
    if len(names) != len(listed) or len({one.thing for one in manifest.things}) != len(manifest.things):
        raise InputError(f"its {MANIFEST} names a thing or a file twice; export the bundle again")
    for name in sorted(listed ^ held):
        said = "is not in it" if name in listed else f"is in it, and not in its {MANIFEST}"
        raise InputError(f"the bundle was not imported: {name!r} {said}")
    for name, file in _checked_files(manifest).items():
        if entries[name].file_size != file.size:
            raise InputError(f"the bundle was not imported: {name!r} has not the size that its {MANIFEST} says")


def _checked_files(manifest: Manifest) -> dict[str, BundledFile]:
    return manifest.files if manifest.notebook is None else {**manifest.files, NOTEBOOK: manifest.notebook}


def unpack_checked(archive: ZipFile, manifest: Manifest, folder: Path) -> None:
    """Write the files of all things into an empty folder, each as long and with the sum that the manifest says; the
    notebook is looked at alone.

    Raises:
        InputError: one is longer, shorter, or another.
        OSError: the disk refuses.
    """
    for name, file in _checked_files(manifest).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with (
            archive.open(name) as packed,
            Path(os.devnull).open("wb") if name == NOTEBOOK else target.open("xb") as out,
        ):
            while piece := packed.read(_PIECE):
                size += len(piece)
                if size > file.size:
                    break
                digest.update(piece)
                out.write(piece)
        if size != file.size or digest.hexdigest() != file.sha256:
            raise InputError(f"the bundle was not imported: {name!r} is not what its {MANIFEST} says (sha256); copy "
                             "the bundle again")  # fmt: skip

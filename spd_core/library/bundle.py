"""Writes bundles: chosen things with all that they stand on, as one zip of the files on disk and a manifest.

    manifest.json  captures/<name>/…  texts/<id>.json  repeats/<id>.json  runs/<run>/…  evaluations/<sum>/…
    capabilities/<name>.jsonl  notebook.ipynb

A run's record leaves without what is of this machine alone: the command that carried it out, its launcher, and the
processes that worked on it. All else is byte for byte what lies here. Imports no torch.
"""

import hashlib
import os
import platform
import tempfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from spd_core import __version__
from spd_core.errors import InputError
from spd_core.library.archive import MANIFEST, BundledFile, BundledThing, Manifest
from spd_core.library.notebook import NOTEBOOK, notebook_of
from spd_core.library.shelf import Shelf, read_shelf
from spd_core.library.things import Ref, Thing, place_of_thing, thing_files
from spd_core.records import read_record
from spd_core.runs.processes import LOCAL
from spd_core.runs.queue import COMMANDS
from spd_core.runs.record import RunRecord, Status
from spd_core.storage import new_name, refuse_existing, spd_home, storage_errors, to_json, versions
from spd_core.subspace.store import load_capture

FINAL = ("done", "stopped", "failed", "lost")
"""States of a run that can be handed on: nobody works on it."""
_PIECE = 2**20
_BIG = 2**31 - 1  # from here on a zip needs longer fields


def bundles_folder() -> Path:
    """Where bundles are written unless somebody says otherwise."""
    return spd_home() / "exports"


def write_bundle(refs: Iterable[Ref], path: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write things, and all that they stand on, into a zip.

    Args:
        path: of the zip; by default a new one in `bundles_folder`.

    Returns:
        where it is.

    Raises:
        InputError: nothing was chosen, one is not here or damaged, or a run still works.
        StorageError: the file is there and `overwrite` is false, or the disk refuses.
    """
    chosen = list(dict.fromkeys(refs))
    shelf = read_shelf()
    things = bundled_things(shelf, chosen)
    target = path or bundles_folder() / f"{new_name(chosen[0].name.replace('/', '-'))}.zip"
    refuse_existing(target, overwrite)
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                _write(file, things, chosen)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return target


def bundle_bytes(refs: Iterable[Ref]) -> bytes:
    """The same zip in memory; it is written beside the exports, and taken away again.

    Raises:
        InputError, StorageError: as `write_bundle`.
    """
    path = write_bundle(refs, bundles_folder() / f"{new_name('download')}.zip")
    try:
        return path.read_bytes()
    finally:
        path.unlink()


def bundled_things(shelf: Shelf, chosen: Iterable[Ref]) -> list[Thing]:
    """What a bundle of some things would hold, the chosen ones first; raises `InputError` as `write_bundle`."""
    wanted = list(chosen)
    if not wanted:
        raise InputError("nothing is chosen; choose at least one thing to hand on")
    refs = shelf.needed_by(wanted)
    things = [shelf.things[ref] for ref in (*wanted, *(ref for ref in refs if ref not in wanted))]
    for thing in things:
        if thing.problem:
            raise InputError(f"{thing.ref} cannot be handed on: {thing.problem}")
        if thing.state and thing.state not in FINAL:
            raise InputError(f"{thing.ref} is {thing.state}; stop it, or wait until it is done, then export it")
    return things


def _write(file: BinaryIO, things: Sequence[Thing], chosen: Iterable[Ref]) -> None:
    with ZipFile(file, "w") as archive:
        bundled = tuple(_add(archive, thing) for thing in things)
        manifest = Manifest(
            spd_lab=__version__,
            versions=versions(),
            machine=f"{platform.system()} {platform.machine()}",
            created=datetime.now().isoformat(timespec="seconds"),
            chosen=tuple(map(str, chosen)),
            things=bundled,
            notebook=_add_notebook(archive, things),
        )
        archive.writestr(_entry(MANIFEST), to_json(manifest.model_dump(mode="json")))


def _add_notebook(archive: ZipFile, things: Iterable[Thing]) -> BundledFile | None:
    """The notebook of the first capture; None where there is none that kept its examples."""
    found = next((load_capture(place_of_thing(one.ref)) for one in things if one.ref.kind == "capture"), None)
    if found is None or not found.examples:
        return None
    content = notebook_of(found).encode()
    archive.writestr(_entry(NOTEBOOK), content)
    return BundledFile(size=len(content), sha256=hashlib.sha256(content).hexdigest())


def _add(archive: ZipFile, thing: Thing) -> BundledThing:
    files = {name: _pack(archive, name, path) for name, path in thing_files(thing.ref).items()}
    return BundledThing(
        thing=str(thing.ref),
        title=thing.title[:500],
        made=thing.made,
        model=thing.model,
        device=thing.device,
        dtype=thing.dtype,
        stands_on=tuple(map(str, thing.stands_on)),
        files=files,
    )


def _entry(name: str) -> ZipInfo:
    """Without a time: two bundles of the same files differ in their manifest alone."""
    entry = ZipInfo(name)
    entry.compress_type = ZIP_STORED if name.endswith(".safetensors") else ZIP_DEFLATED  # numbers hardly get smaller
    entry.external_attr = 0o644 << 16
    return entry


def _pack(archive: ZipFile, name: str, path: Path) -> BundledFile:
    """Add a file, piece by piece; size and sum are of what was added, whoever writes in it meanwhile."""
    portable = portable_record(name, path)
    if portable is not None:
        archive.writestr(_entry(name), portable)
        return BundledFile(size=len(portable), sha256=hashlib.sha256(portable).hexdigest())
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as source, archive.open(_entry(name), "w", force_zip64=path.stat().st_size > _BIG) as out:
        while piece := source.read(_PIECE):
            out.write(piece)
            digest.update(piece)
            size += len(piece)
    return BundledFile(size=size, sha256=digest.hexdigest())


def portable_record(name: str, path: Path) -> bytes | None:
    """A run's record or status as it may leave, by its name in the bundle; None of any other file.

    Raises:
        InputError: it is damaged.
    """
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != "runs":
        return None
    if parts[2] == "run.json":
        record = read_record(RunRecord, path)
        return _as_file(record.model_copy(update={"command": command_of(record), "launcher": LOCAL}))
    if parts[2] == "status.json":
        return _as_file(read_record(Status, path).model_copy(update={"launcher": None, "job": None}))
    return None


def command_of(record: RunRecord) -> str:
    """What carries out such a run anywhere; the only command that a record of a bundle may have."""
    return f"python -m spd_core {COMMANDS[record.recipe.kind]} recipe.json"


def _as_file(record: RunRecord | Status) -> bytes:
    return to_json(record.model_dump(mode="json")).encode()

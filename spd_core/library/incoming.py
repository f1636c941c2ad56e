"""Brings in bundles: everything is checked before one byte is kept, and what is kept comes at once.

A bundle is unpacked beside where its things will lie, each thing is opened by its own reader there, and only then
moved. Nothing of it is run, and no program of it can come along: see `archive.py` for names and sizes.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias
from zipfile import BadZipFile

from spd_core.errors import InputError
from spd_core.evaluation.store import ItemRecord, ItemStore
from spd_core.library.archive import BundledThing, Manifest, opened_bundle, unpack_checked
from spd_core.library.bundle import portable_record
from spd_core.library.inspection import answers_in, check_thing
from spd_core.library.things import DEPTH, REMARKS, Ref, home_of, owner_of_file, ref_from, thing_files
from spd_core.runs.queue import locked
from spd_core.storage import private_home, spd_home, storage_errors, to_disk

Arrives: TypeAlias = Literal["new", "here", "adds", "refused"]


@dataclass(frozen=True)
class Arrival:
    """What becomes of one thing of a bundle.

    Attributes:
        arrives: it is new; it is here already, with the same content; it adds answers to those that are here; or
            another one of its name is here, and nothing of the bundle can be brought in.
        said: the same in a sentence.
    """

    ref: Ref
    title: str
    size: int
    arrives: Arrives
    said: str


@dataclass(frozen=True)
class Findings:
    """What a bundle holds, and what becomes of each thing."""

    manifest: Manifest
    arrivals: tuple[Arrival, ...]

    @property
    def refused(self) -> tuple[Arrival, ...]:
        """Those that stand in the way."""
        return tuple(one for one in self.arrivals if one.arrives == "refused")

    def count(self, arrives: Arrives) -> int:
        """How many things arrive so."""
        return sum(one.arrives == arrives for one in self.arrivals)


def check_bundle(source: Path | BinaryIO) -> Findings:
    """Look at a bundle, all its files included; nothing is kept.

    Raises:
        InputError: it is damaged, or made to do harm; the message names the file and the reason.
        StorageError: the disk refuses.
    """
    with unpacked(source) as (findings, _folder):
        return findings


def import_bundle(source: Path | BinaryIO) -> Findings:
    """Bring in all things of a bundle that are not here yet, or none of them.

    Returns:
        what was done.

    Raises:
        InputError: as `check_bundle`, or another thing of the same name is here.
        StorageError: the disk refuses; what was there is unchanged.
    """
    with unpacked(source) as (findings, folder), locked():
        if findings.refused:
            raise InputError(f"nothing was imported: {findings.refused[0].said}")
        new = [one.ref for one in findings.arrivals if one.arrives == "new"]
        with storage_errors(spd_home()):
            to_disk(folder)
            _move_in(folder, sorted(new, key=lambda ref: DEPTH.index(ref.kind)))
        for one in findings.arrivals:
            if one.arrives == "adds":
                _add_answers(folder, one.ref)
        return findings


@contextmanager
def unpacked(source: Path | BinaryIO) -> Iterator[tuple[Findings, Path]]:
    """A bundle in a folder of its own on the disk of `SPD_HOME`, checked, until the block ends; raises as above."""
    home = private_home()
    with opened_bundle(source) as (archive, manifest):
        folder = Path(tempfile.mkdtemp(dir=home, prefix=".import-"))
        try:
            with storage_errors(folder):
                try:
                    unpack_checked(archive, manifest, folder)
                except (BadZipFile, EOFError) as error:
                    raise InputError(f"the bundle is damaged ({error}); copy it again") from error
            for one in manifest.things:
                _check(one, folder)
            yield Findings(manifest, tuple(_arrival(one, folder) for one in manifest.things)), folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _check(one: BundledThing, folder: Path) -> None:
    ref = ref_from(one.thing)
    wanted = Ref("run", ref.name) if ref.kind == "evaluation" else ref
    for name in one.files:
        if owner_of_file(name) != wanted:
            raise InputError(f"the bundle was not imported: {name!r} is no file of {ref}")
    try:
        check_thing(ref, folder, set(one.files))
    except InputError as error:
        said = str(error).replace(f"{folder}/", "")
        raise InputError(f"the bundle was not imported: {ref} cannot be opened: {said}") from error


# --- beside what is here -----------------------------------------------------------------------------------------


def _arrival(one: BundledThing, folder: Path) -> Arrival:
    ref = ref_from(one.thing)
    arrives, said = _beside(ref, one, folder)
    return Arrival(ref, one.title, sum(file.size for file in one.files.values()), arrives, said)


def _beside(ref: Ref, one: BundledThing, folder: Path) -> tuple[Arrives, str]:
    try:
        own = thing_files(ref)
    except InputError:
        own = {}
    if ref.kind == "answers" and own:
        more = len(_missing_answers(folder, ref))
        return ("adds", f"{more} answers are new") if more else ("here", "these answers are here already")
    if own and _sums(own) == {name: file.sha256 for name, file in one.files.items() if not REMARKS.fullmatch(name)}:
        return "here", "it is here already, with the same content"
    if home_of(ref).exists() or home_of(ref).is_symlink():
        return "refused", f"another {ref.kind} {ref.name} is here already; rename or delete one of them first"
    return "new", "it will be brought in"


def _sums(files: dict[str, Path]) -> dict[str, str]:
    """sha256 of files as a bundle would have them, but of those that people write in."""
    found = {}
    for name, path in files.items():
        if not REMARKS.fullmatch(name):
            portable = portable_record(name, path)
            found[name] = hashlib.sha256(path.read_bytes() if portable is None else portable).hexdigest()
    return found


def _missing_answers(folder: Path, ref: Ref) -> list[ItemRecord]:
    about, came = answers_in(folder / "evaluations" / ref.name)
    known = ItemStore(about).by_key()
    return [record for record in came if record.key not in known]


def _add_answers(folder: Path, ref: Ref) -> None:
    about, _ = answers_in(folder / "evaluations" / ref.name)
    store = ItemStore(about)
    with store.writing():
        store.add(_missing_answers(folder, ref))


# --- moving in ---------------------------------------------------------------------------------------------------


def _move_in(folder: Path, refs: list[Ref]) -> None:
    """Rename each thing to its place; where one cannot be, those before it are taken back."""
    moved: list[tuple[Path, Path]] = []
    try:
        for ref in refs:
            target = home_of(ref)
            source = folder / target.relative_to(spd_home())
            if any(target.is_relative_to(there) for _, there in moved):
                continue  # an adapter came with its run's folder
            if target.exists():
                raise InputError(f"nothing was imported: {ref} came here meanwhile; try again")
            target.parent.mkdir(parents=True, exist_ok=True)
            _rename(source, target)
            moved.append((source, target))
    except BaseException:
        for source, target in reversed(moved):
            source.parent.mkdir(parents=True, exist_ok=True)
            os.rename(target, source)
        raise


_rename: Callable[[Path, Path], None] = os.rename

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
from spd_core.library.renaming import RENAMED, another_name, follow, place_in, rename_in
from spd_core.library.things import DEPTH, REMARKS, Ref, home_of, owner_of_file, ref_from, thing_files
from spd_core.runs.queue import locked
from spd_core.storage import private_home, spd_home, storage_errors, to_disk

Arrives: TypeAlias = Literal["new", "here", "adds", "refused"]
_MOST_OF_A_NAME = 99
"""Things of one name and another content, with a number after it."""


@dataclass(frozen=True)
class Arrival:
    """What becomes of one thing of a bundle.

    Attributes:
        ref: as it will be called here: where another one has its name, it gets a number.
        arrives: it is new; it is here already, with the same content; it adds answers to those that are here; or it
            would take another one's place, and nothing of the bundle can be brought in.
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
        InputError: as `check_bundle`, or another adapter is here in the place of one.
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
            yield Findings(manifest, _arrivals(manifest, folder)), folder
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


def _arrivals(manifest: Manifest, folder: Path) -> tuple[Arrival, ...]:
    """What becomes of each thing, in the order of the manifest; a name that is taken is changed in `folder`."""
    renames: dict[Ref, Ref] = {}
    found: dict[str, Arrival] = {}
    for one in sorted(manifest.things, key=lambda one: DEPTH.index(ref_from(one.thing).kind)):
        found[one.thing] = _arrival(one, folder, renames)
    return tuple(found[one.thing] for one in manifest.things)


def _arrival(one: BundledThing, folder: Path, renames: dict[Ref, Ref]) -> Arrival:
    ref = ref_from(one.thing)
    if ref.kind == "adapter":  # it lies in the folder of its run
        run, _, arm = ref.name.partition("/")
        ref = Ref("adapter", f"{renames.get(Ref('run', run), Ref('run', run)).name}/{arm}")
    followed = follow(folder, ref, renames)
    first, number = ref, 1
    arrives, said = _beside(ref, folder)
    while arrives == "refused" and ref.kind in RENAMED and number < _MOST_OF_A_NAME:
        number += 1
        old, ref = ref, another_name(first, number)
        rename_in(folder, old, ref)
        mine = {first: ref, **({Ref("run", first.name): Ref("run", ref.name)} if ref.kind == "evaluation" else {})}
        renames |= mine
        follow(folder, ref, mine)  # a run's own captures and adapters name it
        arrives, said = _beside(ref, folder)
    if (ref != first or followed) and arrives != "refused":
        check_thing(ref, folder, set(_files_in(folder, ref)))
    if ref != first:
        said = f"another {ref.kind} {first.name} is here: this one " + (
            f"comes in as {ref.name}, and what refers to it follows" if arrives == "new" else f"is here as {ref.name}"
        )
    return Arrival(ref, one.title, sum(file.size for file in one.files.values()), arrives, said)


def _beside(ref: Ref, folder: Path) -> tuple[Arrives, str]:
    try:
        own = thing_files(ref)
    except InputError:
        own = {}
    if ref.kind == "answers" and own:
        more = len(_missing_answers(folder, ref))
        return ("adds", f"{more} answers are new") if more else ("here", "these answers are here already")
    if own and _sums(own) == _sums(_files_in(folder, ref)):
        return "here", "it is here already, with the same content"
    if home_of(ref).exists() or home_of(ref).is_symlink():
        return "refused", f"another {ref.kind} {ref.name} is here already; rename or delete one of them first"
    return "new", "it will be brought in"


def _files_in(folder: Path, ref: Ref) -> dict[str, Path]:
    """The files of a thing in an unpacked bundle by their names, whatever they are called there by now."""
    place, wanted = place_in(folder, ref), Ref("run", ref.name) if ref.kind == "evaluation" else ref
    paths = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path for name, path in named.items() if owner_of_file(name) == wanted}


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

"""Things and exports that were deleted, and can be brought back until the trash is emptied. Imports no torch.

SPD_HOME/trash/<name>/trashed.json  captures/…  runs/…      laid out as SPD_HOME itself
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from spd_core.errors import InputError
from spd_core.library.bundle import bundles_folder
from spd_core.library.things import DEPTH, Thing, home_of
from spd_core.records import Record, read_record
from spd_core.runs.folder import open_run, size_of
from spd_core.runs.queue import locked
from spd_core.runs.states import LIVE, state_of
from spd_core.storage import (
    child,
    modified,
    new_name,
    private_home,
    remove_folder,
    spd_home,
    storage_errors,
    to_json,
    write_text,
)

_RECORD = "trashed.json"


class TrashedThing(Record):
    """A deleted thing: `kind:name`, what it was called, and where it lay below `SPD_HOME`."""

    thing: str
    title: str
    place: str


class Trashed(Record):
    """What was deleted at once."""

    format: int = 1
    name: str
    deleted: str
    things: tuple[TrashedThing, ...]


def trash_folder() -> Path:
    """Where deleted things wait."""
    return spd_home() / "trash"


def move_to_trash(things: Iterable[Thing]) -> Trashed:
    """Delete things so that they can be brought back; a run takes its adapters along.

    Raises:
        InputError: nothing is given, one comes with SPD Lab, is not here, or is a run that works or waits.
        StorageError: the disk refuses; what was moved is put back.
    """
    chosen = sorted(things, key=lambda one: DEPTH.index(one.ref.kind), reverse=True)
    if not chosen:
        raise InputError("nothing is chosen; choose what to delete")
    private_home()
    with locked():
        for one in chosen:
            _refuse(one)
        found = tuple(
            TrashedThing(thing=str(one.ref), title=one.title, place=home_of(one.ref).relative_to(spd_home()).as_posix())
            for one in chosen
        )
        return _moved(chosen[0].ref.name, found)


def exports_to_trash(names: Iterable[str]) -> Trashed:
    """Delete what was exported, by its names in the folder of exports, so that it can be brought back.

    Raises:
        InputError: nothing is named, one is not there, or a name that could lead elsewhere.
        StorageError: the disk refuses; what was moved is put back.
    """
    chosen = list(names)
    if not chosen:
        raise InputError("nothing is chosen; choose what to delete")
    private_home()
    with locked():
        for name in chosen:
            if not child(bundles_folder(), name).exists():
                raise InputError(f"no export {name!r} is here any more; nothing was deleted")
        return _moved(
            chosen[0], tuple(TrashedThing(thing="export", title=name, place=f"exports/{name}") for name in chosen)
        )


def _moved(name: str, found: tuple[TrashedThing, ...]) -> Trashed:
    trashed = Trashed(
        name=new_name(name.replace("/", "-")), deleted=datetime.now().isoformat(timespec="seconds"), things=found
    )
    trash = trash_folder() / trashed.name
    write_text(trash / _RECORD, to_json(trashed.model_dump(mode="json")))
    try:
        _move_all([(spd_home() / one.place, trash / one.place) for one in found])
    except BaseException:
        remove_folder(trash)
        raise
    return trashed


def exports() -> dict[str, int]:
    """Names of what was exported, with their sizes in bytes: bundles and checkpoints, the newest first."""
    found = list(bundles_folder().glob("[!.]*"))
    found.sort(key=modified, reverse=True)
    return {path.name: size_of(path) if path.is_dir() else path.stat().st_size for path in found}


def _refuse(one: Thing) -> None:
    place = home_of(one.ref)
    if one.recorded or not place.exists() or place.is_symlink():
        why = "comes with SPD Lab, and stays" if one.recorded else "is not here any more, or is a link"
        raise InputError(f"{one.ref} {why}; nothing was deleted")
    run = one.ref.name.partition("/")[0] if one.ref.kind in ("run", "evaluation", "adapter") else ""
    if run and not one.problem:
        state = state_of(open_run(run))
        if state in LIVE:
            raise InputError(f"{run} is {state}; stop it first, then delete it")


def _move_all(moves: list[tuple[Path, Path]]) -> None:
    done: list[tuple[Path, Path]] = []
    with storage_errors(spd_home()):
        try:
            for source, target in moves:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(source, target)
                done.append((source, target))
        except BaseException:
            for source, target in reversed(done):
                os.rename(target, source)
            raise


def trashed_things() -> list[Trashed]:
    """What can be brought back, the newest first; damaged records are left out."""
    found = []
    for path in sorted(trash_folder().glob(f"[!.]*/{_RECORD}"), reverse=True):
        with suppress(InputError):
            found.append(read_record(Trashed, path, remedy="empty the trash"))
    return found


def restore(name: str) -> Trashed:
    """Bring back what was deleted at once.

    Raises:
        InputError: it is not in the trash, or something else lies in its place by now.
        StorageError: the disk refuses.
    """
    folder = child(trash_folder(), name)
    with locked():
        found = read_record(Trashed, folder / _RECORD, remedy="it was brought back already, or the trash was emptied")
        back = [(folder / one.place, spd_home() / one.place) for one in reversed(found.things)]
        for one, (_, target) in zip(reversed(found.things), back, strict=True):
            if target.exists() or not target.resolve().is_relative_to(spd_home().resolve()):
                raise InputError(f"another {one.thing} is here by now; delete or rename it, then bring this one back")
        _move_all(back)
        remove_folder(folder)
        return found


def trash_size() -> int:
    """Bytes that emptying the trash frees."""
    return size_of(trash_folder())


def empty_trash() -> int:
    """Delete for good what is in the trash; returns the bytes that are free again.

    Raises:
        StorageError: the disk refuses.
    """
    size = trash_size()
    with locked():
        if trash_folder().is_dir():
            remove_folder(trash_folder())
    return size

"""Finds a capability by its name, wherever it comes from, and saves one's own."""

import os
import re
from dataclasses import replace
from pathlib import Path

from spd_core.data.capability import BUILTIN_FOLDER, Capability, Split, builtin_names, read_builtin, read_capability
from spd_core.data.public import PUBLIC_SETS, read_public
from spd_core.errors import InputError, StorageError
from spd_core.storage import child, spd_home, write_text

_STUDIES = BUILTIN_FOLDER.parent / "studies"
"""Sets of studies, which are found by their names and offered nowhere."""


def saved_folder() -> Path:
    """Where the user's own capabilities are kept."""
    return spd_home() / "capabilities"


def saved_capabilities() -> list[str]:
    """Names of the user's own capabilities."""
    return sorted({path.stem for path in saved_folder().glob("[!.]*.jsonl")} - {*builtin_names(), *PUBLIC_SETS})


def read_named(name: str) -> Capability:
    """A capability that comes with SPD Lab, for all or for a study, or that the user has saved.

    Raises:
        InputError: no capability of that name, or a damaged file.
    """
    if path := _of_a_study(name):
        return read_capability(path)
    if name in saved_capabilities():
        return read_capability(child(saved_folder(), f"{name}.jsonl"))
    return read_builtin(name)


def _of_a_study(name: str) -> Path | None:
    """The file of a set that comes along for a study."""
    path = _STUDIES / f"{name}.jsonl"
    return path if re.fullmatch(r"[\w-]{1,60}", name) and path.is_file() else None


def find_capability(name: str, data: Path | None = None, split: Split = "calibration") -> Capability:
    """One split of the capability that a user names.

    A built-in or saved name, a public data set (from the hub, or from `data`), or the path of a capability file. A
    name that is none of them, with `data`, reads `data` as a capability file.

    Raises:
        InputError: nothing of that name, an unreadable file, or a split without examples.
    """
    if name in PUBLIC_SETS:
        return read_public(name, data, split)
    found = _own(name, data)
    chosen = found.split(split)
    if not chosen.examples:
        raise InputError(f'{found.name} has no {split} examples; mark some with "split": "{split}"')
    return chosen


def file_changed(name: str, data: str = "") -> float:
    """When the file was changed that a name is read from; 0 where there is none, or only the hub has it."""
    own = f"{name}.jsonl"
    for path in (Path(data or name).expanduser(), saved_folder() / own, BUILTIN_FOLDER / own):
        if path.is_file():
            return path.stat().st_mtime
    return 0.0


def find_whole(name: str, data: Path | None = None) -> Capability:
    """All splits of the capability that a user names; of a public data set the calibration split alone.

    Raises:
        InputError: as `find_capability`.
    """
    if name in PUBLIC_SETS:
        return read_public(name, data)
    find_capability(name, data)  # refuses what has nothing to capture
    return _own(name, data)


def held_out_prompts(name: str) -> list[str]:
    """Prompts that are kept for evaluation; none where the capability has no such split, or cannot be found."""
    try:
        return [example.prompt for example in find_capability(name, split="heldout").examples]
    except InputError:
        return []


def _own(name: str, data: Path | None) -> Capability:
    if data is not None:
        return read_capability(data)
    if name in builtin_names() or not (name.endswith(".jsonl") or os.path.exists(name)):
        try:
            return read_named(name)
        except InputError as error:
            raise InputError(f"{error}; public data sets: {', '.join(PUBLIC_SETS)}") from None
    return read_capability(Path(name))


def suggested_name(text: str) -> str:
    """A name to save under, made of any text."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:60] or "mine"


def save_capability(capability: Capability, name: str, overwrite: bool = False) -> Path:
    """Write a capability below `SPD_HOME` under `name`, which also becomes its own.

    Raises:
        InputError: a name that is taken by SPD Lab itself or is none, or no example to save.
        StorageError: the name is in use and `overwrite` is false, or the disk refuses.
    """
    if name.lower() in (*builtin_names(), *PUBLIC_SETS) or _of_a_study(name):
        raise InputError(f"{name} comes with SPD Lab and stays as it is; choose another name, such as {name}-mine")
    path = child(saved_folder(), f"{name}.jsonl")
    if not capability.examples:
        raise InputError(f"{name} has no example to save; add a row")
    if path.exists() and not overwrite:
        raise StorageError(f"{name} is saved already; choose another name, or replace it")
    settings = capability.settings.model_copy(update={"capability": name})
    write_text(path, replace(capability, settings=settings).to_jsonl())
    return path

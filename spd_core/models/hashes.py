"""What a file holds, as a hash that is remembered: tens of gigabytes of weights are read once."""

import functools
import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from spd_core.errors import StorageError
from spd_core.storage import shared_home, to_json, write_text

_KEPT = 500
"""Hashes of files that are remembered."""


def file_hash(path: Path) -> str:
    """sha256 of a file, remembered by its path, size and time of change, in `SPD_HOME` too.

    Raises:
        OSError: it cannot be read.
    """
    whole = path.resolve()
    found = whole.stat()
    return _remembered(str(whole), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=_KEPT)
def _remembered(path: str, size: int, changed: int) -> str:
    known, key = _read_known(), [path, size, changed]
    for entry in known:
        if entry[:3] == key:
            return str(entry[3])
    found = sha256_of(Path(path))
    others = [entry for entry in known if entry[0] != path]
    with suppress(StorageError):  # it is only remembered for this process, then
        write_text(_known(), to_json([*others[1 - _KEPT :], [*key, found]]))
    return found


def sha256_of(path: Path) -> str:
    """sha256 of a file, read now and not remembered; raises as `file_hash`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _known() -> Path:
    return shared_home() / "hashes.json"


def _read_known() -> list[list[Any]]:
    try:
        found = json.loads(_known().read_text("utf-8"))
        return [entry for entry in found if isinstance(entry, list) and len(entry) == 4]
    except (OSError, ValueError, TypeError):
        return []

"""What processes that were killed have left in `SPD_HOME`: half-written files and folders, and results moved aside.

Every such name says what it was to become and which process was at work (see `storage.aside_name`). What belongs to a
process that lives is left alone, and so is what is younger than a day: its process may be one of another machine.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from spd_core.storage import BEFORE, modified

DAY = 24 * 3600.0
_FOLDERS = ("captures", "capabilities", "evaluations", "exports", "library", "notes", "repeats", "runs", "texts")
_TEMPORARY = re.compile(r"\.(?P<name>.+?)(?:\.(?P<pid>\d+))?(?:\.(?P<kind>old|before))?\.[a-z0-9_]{8}")
_IMPORT = re.compile(r"\.import-[a-z0-9_]{8}")


def sweep(home: Path, now: float | None = None) -> list[Path]:
    """Bring back what a killed process had moved aside and not replaced, and remove what is left of others.

    Args:
        now: seconds since the epoch.

    Returns:
        what is not there any more under its old name. What the disk refuses stays, and is tried again next time.
    """
    moment, gone = time.time() if now is None else now, []
    for path in (*_temporary(home), *(path for path in _inside(home) if _IMPORT.fullmatch(path.name))):
        with suppress(OSError):
            if _brought_back(path) or (_is_over(path, moment) and _removed(path)):
                gone.append(path)
    return gone


def _temporary(home: Path) -> Iterator[Path]:
    """Whatever has a name of something that is being written; links are not followed."""
    for name in _FOLDERS:
        for place, folders, files in os.walk(home / name):
            found = [entry for entry in (*folders, *files) if _TEMPORARY.fullmatch(entry)]
            folders[:] = [folder for folder in folders if folder not in found]
            yield from (Path(place) / entry for entry in found)


def _inside(home: Path) -> list[Path]:
    try:
        return list(home.iterdir())
    except OSError:
        return []


def _brought_back(path: Path) -> bool:
    """Whether it was a result that had been moved aside, in whose place nothing had come."""
    found = _TEMPORARY.fullmatch(path.name)
    if found is None or found["kind"] != BEFORE or _lives(found["pid"]):
        return False
    place, kept = path.with_name(found["name"]), path / found["name"]
    if os.path.lexists(place) or not kept.is_dir():
        return False
    kept.rename(place)
    path.rmdir()
    return True


def _is_over(path: Path, now: float) -> bool:
    """Whether nobody can be at work on it any more."""
    found = _TEMPORARY.fullmatch(path.name)
    if found is not None and _lives(found["pid"]):
        return False
    if found is not None and found["pid"] is None and not _replaced(path, found):
        return False
    places = [path, *(Path(place) / name for place, _, names in os.walk(path) for name in (".", *names))]
    return now - max(map(modified, places)) > DAY


def _replaced(path: Path, found: re.Match[str]) -> bool:
    """Of an older version, which did not say who was at work, nor whether it was replaced or deleted: whether it is no
    only copy, and nobody's else."""
    whole = found["kind"] is None or os.path.lexists(path.with_name(found["name"]))
    return whole and "exports" not in path.parts  # where files of others have such names, too


def _lives(pid: str | None) -> bool:
    import psutil

    return pid is not None and psutil.pid_exists(int(pid))


def _removed(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return True

"""Puts bytes on disk: atomically, with provenance, below `SPD_HOME`. Knows nothing of what they mean."""

import json
import os
import platform
import re
import secrets
import shlex
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError

from spd_core.errors import InputError, StorageError
from spd_core.exchange import exchanged

ROOT = Path(__file__).resolve().parents[1]
"""The folder that this package lies in."""
ASSETS = next((path for path in (ROOT / "spd_core" / "assets", ROOT / "assets") if path.is_dir()), ROOT / "assets")
"""What comes along: capabilities, recorded results; inside the package where it was installed as a wheel."""
_ENDLESS = 1e9  # seconds
_OURS = {"captures", "capabilities", "classroom", "evaluations", "exports", "library", "models", "notes", "repeats"}
_OURS |= {"hashes.json", "recent-models.json", "runs", "terms", "texts", "trash"}
os.umask(_UMASK := os.umask(0))  # what new files lack by the user's wish: it can only be asked by setting it
_VERSIONED = ("torch", "transformers", "safetensors", "tokenizers", "numpy")


def spd_home() -> Path:
    """The folder for results: `shared_home`, but for those who have one of their own (`home_at`, `give_homes`)."""
    return _HOME.get() or _homes[0]() or shared_home()


def shared_home() -> Path:
    """The folder for converted models, and for the results of who has no folder of his own: `SPD_HOME`, or
    `~/.spd-lab`."""
    return Path(os.environ.get("SPD_HOME") or Path.home() / ".spd-lab").expanduser()


@contextmanager
def home_at(home: Path) -> Iterator[None]:
    """Have `spd_home` be this folder within the block, on this thread."""
    token = _HOME.set(home)
    try:
        yield
    finally:
        _HOME.reset(token)


def give_homes(find: Callable[[], Path | None]) -> None:
    """Have `find` say whose folder `spd_home` is, for whoever asks on a thread outside `home_at`; None: the shared."""
    _homes[0] = find


def homes_beside() -> list[Path]:
    """The folders of results that share a queue of runs with `spd_home`: itself, and in a class those beside it."""
    home = spd_home()
    return sorted(home.parent.glob("*/")) or [home] if home.parent.name == SHELVES else [home]


SHELVES = "classroom"
"""The folder of a class in `shared_home`: each browser's results, in a folder of their own."""
_HOME: ContextVar[Path | None] = ContextVar("home", default=None)
_homes: list[Callable[[], Path | None]] = [lambda: None]


def private_home() -> Path:
    """`SPD_HOME`, made where it is missing, and readable by its owner alone.

    A folder that holds other things than results stays as it is: `SPD_HOME=/tmp` must not lock out everybody else.

    Raises:
        StorageError: the disk refuses.
    """
    home = shared_home()
    with storage_errors(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = home.stat()
        alone = all(entry.name in _OURS or entry.name.startswith(".") for entry in os.scandir(home))
        shared = found.st_mode & stat.S_ISVTX  # as /tmp is, which may hold nothing yet
        if found.st_mode & 0o077 and found.st_uid == os.getuid() and alone and not shared:
            home.chmod(0o700)
    return home


def runs_folder() -> Path:
    """Where runs are kept."""
    return spd_home() / "runs"


def free_space() -> int:
    """Free bytes where results are kept."""
    home = spd_home()
    return shutil.disk_usage(next(path for path in (home, *home.absolute().parents) if path.exists())).free


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def child(root: Path, name: str) -> Path:
    """The file or folder `name` directly inside `root`.

    Raises:
        InputError: a name that could lead elsewhere (a path, `..`, a link).
    """
    path = root / name
    if not _NAME.fullmatch(name) or ".." in name or path.resolve().parent != root.resolve():
        raise InputError(f"{name!r} is not a name of a saved result: letters, digits, dots, dashes, at most 80")
    return path


def remove_file(path: Path, missing: str) -> None:
    """Delete one file.

    Raises:
        InputError: `missing`, where it is not there.
        StorageError: the disk refuses.
    """
    try:
        path.unlink()
    except FileNotFoundError as error:
        raise InputError(missing) from error
    except OSError as error:
        raise StorageError(f"cannot delete {path}: {error.strerror}; check who may write there") from error


def versions() -> dict[str, str]:
    """Versions that a result depends on, for provenance."""
    found = {"python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # an optional part of the stack: say so rather than hide it
            found[name] = "not installed"
    return found


def command_line() -> str:
    """The command that is running, as one could type it again."""
    if Path(sys.argv[0]).name == "__main__.py":
        return shlex.join(["python", "-m", "spd_core", *sys.argv[1:]])
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def new_name(what: str = "") -> str:
    """A name for `child` that sorts by time, to the millisecond; `what` is worked into it."""
    now = datetime.now()
    slug = re.sub(r"[^A-Za-z0-9]+", "-", what)[:40].strip("-")
    unique = f"{now.microsecond // 1000:03x}{secrets.token_hex(2)}"
    return "-".join(part for part in (f"{now:%Y%m%d-%H%M%S}", slug, unique) if part)


def to_json(value: Any) -> str:
    """Sorted, indented JSON that ends in a newline: diffs stay readable."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise `StorageError` when `path` is there and may not be replaced."""
    if path.exists() and not overwrite:
        raise StorageError(f"{path} already exists; choose another --out, or add --overwrite to replace it")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a `StorageError` that names the path and the remedy."""
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors wraps "no space left" in an error of its own
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(
            f"cannot write {path}: {reason}; what was there is unchanged. Free space or choose another folder"
        ) from error


BEFORE = "before"
"""Kind of the name of what was moved aside, to be replaced."""


def aside_name(path: Path, kind: str = "") -> str:
    """How the name begins of what is being written, replaced or deleted at `path`: it says by which process."""
    return f".{path.name}.{os.getpid()}.{f'{kind}.' if kind else ''}"


def write_text(path: Path, text: str, overwrite: bool = True) -> None:
    """Write a whole file or leave the old one as it was (temporary file beside it, fsync, rename).

    Raises:
        StorageError: the file is there and `overwrite` is false, or the disk refuses.
    """
    refuse_existing(path, overwrite)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=aside_name(path))
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_UMASK)  # mkstemp makes it private
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def new_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block succeeds, and vanishes when it does not.

    An older folder at `path` stays until the new one is complete.

    Raises:
        StorageError: `path` is there and `overwrite` is false, or the disk refuses.
    """
    refuse_existing(path, overwrite)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=aside_name(path)))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_UMASK)  # mkdtemp makes it private, and safetensors its files
            for written in temporary.rglob("*"):
                written.chmod((0o777 if written.is_dir() else 0o666) & ~_UMASK)
            to_disk(temporary)
            _swap_in(temporary, path)
            sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _swap_in(new: Path, path: Path) -> None:
    """Rename `new` to `path`. An older `path` takes the name of `new` in the same step; where the system cannot, it is
    moved aside first, put back when the rename fails, and brought back (see `leftovers.sweep`) after a kill."""
    if not path.exists():
        new.rename(path)
        return
    if exchanged(new, path):
        return
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=aside_name(path, BEFORE)))
    old = aside / path.name
    try:
        path.rename(old)
        new.rename(path)
    except BaseException:
        if old.exists():
            old.rename(path)
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)


def to_disk(folder: Path) -> None:
    """Wait until all files of a folder are on the disk: a name that outlives a power cut without them is worth nothing.

    Raises:
        OSError: the disk refuses.
    """
    for path in (*folder.rglob("*"), folder):
        if not path.is_symlink():
            sync(path)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; `OSError` when it refuses."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_temporary(folder: Path) -> None:
    """Remove what killed processes have left of files and folders that were being written; nobody may write there now.

    Raises:
        StorageError: the disk refuses.
    """
    with storage_errors(folder):
        for path in [path for path in folder.rglob(".*") if path.is_dir() or path.is_file()]:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Delete a saved folder; renamed aside first, so that nobody finds half of it.

    Raises:
        StorageError: the disk refuses.
    """
    with storage_errors(path):
        aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=aside_name(path)))
        try:
            path.rename(aside / path.name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)  # empty when the rename failed, and else out of sight


@contextmanager
def exclusive(path: Path, stop: Callable[[], bool] | None = None, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file at `path` alone, among processes and threads; its folder must be there.

    The system lets go of the lock when the process dies. Programs that are started meanwhile do not inherit it. The
    file stays: who deletes a lock file lets two in.

    Args:
        stop: asked while another holds it; true ends the waiting.
        wait: false: one attempt.

    Yields:
        Whether it is held; false where `stop` or `wait` ended the waiting.

    Raises:
        StorageError: the disk refuses, the folder is gone, or a link lies at `path`.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, fallback_to_soft=False, preserve_lock_file=True)  # a soft lock would outlive its process
    # An endless wait in the thread that has the lock is refused as a deadlock, which one that `stop` can end is not.
    timeout = -1 if stop is None else _ENDLESS
    held = True
    with storage_errors(path):
        path.parent.stat()  # filelock would make the folder of a run that was deleted
        try:
            lock.acquire(timeout, blocking=wait, cancel_check=stop)
        except Timeout:
            held = False
    try:
        yield held
    finally:
        if held:
            lock.release()


# --- files that others may have made ----------------------------------------------------------------------------


def refuse_pipe(path: Path) -> None:
    """Raise `InputError` for what may never end or never begin: a pipe, a device."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path} is a pipe or a device, which may have no end; save its content as a file first")


def read_bytes(
    path: Path, offset: int = 0, *, missing_ok: bool = False, remedy: str = "delete the run, and start it again"
) -> bytes:
    """A file's bytes from an offset on. A link is refused, and a pipe does not block.

    Raises:
        InputError: it is missing, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            file.seek(offset)
            return file.read() or b""
    except FileNotFoundError as error:
        if missing_ok:
            return b""
        raise InputError(f"{path} is missing; {remedy}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; {remedy}") from error


def append_to(path: Path) -> BinaryIO:
    """A file to add to. A link is refused: what it leads to is not the run's.

    Raises:
        OSError: the disk refuses.
    """
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    return os.fdopen(handle, "ab+")


def modified(path: Path) -> float:
    """When a file was changed last, in seconds since the epoch; 0 if it is not there."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0

"""Which model it is: one hash of what a folder holds, for captures, adapters, records of answers and checkpoints.

Packaged models are known by the checksum of their GGUF, a hub's by its commit.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

from spd_core.models.hashes import file_hash
from spd_core.models.packaged import PACKAGED

EXPORTED = "spd_export.json"
"""In a checkpoint that SPD Lab has written: what went into its weights."""
_OF_A_MODEL = ("*.safetensors", "*.json", "*.jinja", "*.model")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)


def revision_of(name: str, source: str, model: Any) -> str:
    """What a loaded model is known by: `content:` and the start of its folder's hash, or a commit.

    Args:
        name: as the user has it; `source` is where it was loaded from (see `loading.resolve`).
    """
    if name in PACKAGED:
        return PACKAGED[name].revision
    if Path(source).is_dir():
        return f"content:{content_hash(Path(source))[:16]}"
    return str(getattr(model.config, "_commit_hash", None) or "unknown")


def pinned(name: str, revision: str) -> str | None:
    """What `loading.load` takes to get this revision again: a hub's commit; None for folders and packaged models."""
    return None if name in PACKAGED or ":" in revision or revision == "unknown" else revision


def on_the_hub(name: str, revision: str) -> tuple[str, str | None]:
    """Under which hub id and commit others find a model; an empty id where they do not: a folder, or a merged model."""
    if "+" in revision:
        return "", None
    if name in PACKAGED:
        return PACKAGED[name].hub, None
    if ":" in revision or not _HUB_ID.fullmatch(name):
        return "", None
    return name, pinned(name, revision)


def public_name(name: str, revision: str) -> str:
    """What others call a model: as `loading.load` takes it, but of a folder the name alone, not where it lies here."""
    return name if name in PACKAGED or on_the_hub(name, revision)[0] else Path(name).name


def same_revision(recorded: str, name: str, revision: str, made_on: str = "") -> bool:
    """Whether something was made with the model that is loaded as `name` at `revision`.

    Until November 2026 a folder was known by a sample of its weights, which cannot tell a model from its folded copy.
    Such records are taken at their word, but never for a checkpoint that SPD Lab has written, nor where the folder that
    they were made on is still there and holds another model.

    Args:
        made_on: the name that the record gives its model.
    """
    if recorded == revision:
        return True
    (old, *merged), (new, *now) = recorded.split("+"), revision.split("+")  # adapters that are merged into it
    folder = Path(name).expanduser()
    if merged != now or not old.startswith("sha256:") or not new.startswith("content:") or not folder.is_dir():
        return False
    if content_of(made_on or name) not in ("", content_hash(folder)):
        return False
    return not (folder / EXPORTED).exists() and old == f"sha256:{sampled_checksum(folder)[:16]}"


def content_of(name: str) -> str:
    """`content_hash` where a model's name is a folder; empty elsewhere."""
    folder = Path(name).expanduser()
    return content_hash(folder) if folder.is_dir() else ""


def content_hash(folder: Path) -> str:
    """sha256 of all files of a model's folder: names, sizes, bytes (each file is read once, see `file_hash`)."""
    files = sorted(path.resolve() for end in _OF_A_MODEL for path in folder.glob(end))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}:{path.stat().st_size}:{file_hash(path)}".encode())
    return digest.hexdigest()


def sampled_checksum(folder: Path, pieces: int = 64, size: int = 65536) -> str:
    """What folders were known by until November 2026: a sha256 over the configuration, the size of every safetensors
    file and `pieces` evenly spaced parts of it.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        length = path.stat().st_size
        digest.update(f"{path.name}:{length}".encode())
        with path.open("rb") as file:
            for piece in range(pieces):
                file.seek(length * piece // pieces)
                digest.update(file.read(size))
    return digest.hexdigest()

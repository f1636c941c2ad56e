"""Remembers on disk which models were looked at last: names and revisions, nothing else."""

import json
import logging
from pathlib import Path

from spd_core.errors import StorageError
from spd_core.storage import spd_home, to_json, write_text

MOST = 8
Recent = tuple[str, str | None]
"""Name and revision of a model."""
_LOG = logging.getLogger(__name__)


def _file() -> Path:
    return spd_home() / "recent-models.json"


def recent_models() -> list[Recent]:
    """The last models, the newest first; none, with a line in the log, when the file is damaged."""
    try:
        return [_entry(item) for item in json.loads(_file().read_text("utf-8"))][:MOST]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        _LOG.warning("the list of recent models is ignored: %s: %s", type(error).__name__, error)
        return []


def _entry(item: dict[str, str | None]) -> Recent:
    name, revision = item["name"], item["revision"]
    if not (isinstance(name, str) and name) or not isinstance(revision, str | None):
        raise ValueError("an entry is not a name with a revision")
    return name, revision


def remember(name: str, revision: str | None) -> None:
    """Put a model first in the list; a disk that refuses costs a line in the log, never the page."""
    before = recent_models()
    if before[:1] == [(name, revision)]:
        return
    now = [(name, revision), *(entry for entry in before if entry != (name, revision))][:MOST]
    try:
        write_text(_file(), to_json([{"name": name, "revision": revision} for name, revision in now]))
    except StorageError as error:
        _LOG.warning("the list of recent models is not written: %s", error)

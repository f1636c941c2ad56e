"""What people write on things: a title, tags and a note. Kept in one file beside the things, as most are no folders.

Tags and notes of a run are the run's own, which its page shows, too (`runs/remarks.py`). Imports no torch.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from spd_core.errors import InputError
from spd_core.library.things import Ref, ref_from
from spd_core.records import Record, read_record
from spd_core.runs.folder import open_run
from spd_core.runs.remarks import LONGEST_TAG, MOST_TAGS
from spd_core.storage import exclusive, private_home, spd_home, to_json, write_text
from spd_core.text import shown

LONGEST_TITLE, LONGEST_NOTE = 120, 4000
"""In characters."""
_RUNS = ("run", "evaluation")


class Label(Record):
    """What is written on one thing; all may be empty."""

    title: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""


class LabelsFile(Record):
    """All labels, by `kind:name`."""

    format: int = 1
    labels: dict[str, Label] = Field(default_factory=dict)


def _file() -> Path:
    return spd_home() / "library" / "labels.json"


def _read() -> dict[str, Label]:
    if not _file().exists():
        return {}
    return read_record(LabelsFile, _file(), remedy="delete it, and write titles, tags and notes again").labels


def read_labels(refs: Collection[Ref]) -> dict[Ref, Label]:
    """Labels of some things; those on which nothing is written are left out.

    Raises:
        InputError: the file is damaged.
    """
    known = {ref_from(name): label for name, label in _read().items()}
    found = {}
    for ref in refs:
        label = known.get(ref, Label())
        if ref.kind in _RUNS:
            with suppress(InputError):  # a damaged run, which the list says by itself
                run = open_run(ref.name)
                label = label.model_copy(update={"tags": run.tags(), "note": run.notes()})
        if label != Label():
            found[ref] = label
    return found


def write_label(ref: Ref, title: str, tags: Collection[str], note: str) -> None:
    """Replace what is written on a thing.

    Raises:
        InputError: a title, tag or note is too long, or the file is damaged.
        StorageError: the disk refuses.
    """
    label = Label(title=" ".join(shown(title).split()), tags=_tags(tags), note=shown(note).strip())
    for what, text, most in (("title", label.title, LONGEST_TITLE), ("note", label.note, LONGEST_NOTE)):
        if len(text) > most:
            raise InputError(f"the {what} has {len(text):,} characters, and at most {most:,} are kept; shorten it")
    if ref.kind in _RUNS:
        run = open_run(ref.name)
        run.set_tags(label.tags)
        run.set_notes(label.note)
        label = Label(title=label.title)
    private_home()
    _file().parent.mkdir(exist_ok=True)
    with exclusive(_file().with_name(".lock")):
        others = {name: one for name, one in _read().items() if name != str(ref)}
        kept: Mapping[str, Label] = others if label == Label() else {**others, str(ref): label}
        write_text(_file(), to_json(LabelsFile(labels=dict(kept)).model_dump(mode="json")))


def _tags(tags: Collection[str]) -> tuple[str, ...]:
    words = sorted({" ".join(shown(tag).split()) for tag in tags} - {""}, key=str.casefold)
    for word in words:
        if len(word) > LONGEST_TAG:
            raise InputError(f"the tag {word!r:.60} is longer than {LONGEST_TAG} characters; choose another")
    if len(words) > MOST_TAGS:
        raise InputError(f"{len(words)} tags; a thing has at most {MOST_TAGS}, take some away")
    return tuple(words)

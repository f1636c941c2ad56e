"""Gives a thing of an unpacked bundle another name, and has what refers to it in that bundle follow. Imports no torch.

Answers have no name to be changed, and an adapter has that of its run. Whoever calls this has checked the things, and
checks what was changed again.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from spd_core.library.things import Ref, home_of
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.records import read_record
from spd_core.runs.record import RunRecord
from spd_core.storage import spd_home, write_text

Renames: TypeAlias = Mapping[Ref, Ref]
RENAMED = ("capture", "text", "repeat", "run", "evaluation", "capability")
"""Kinds whose things can come in under another name."""
_OF_CAPTURES, _OF_RUNS = ("analysis", "capture", "captures"), ("adapter", "ref", "run")
"""Fields that name a capture (`NAME`, or `RUN/NAME`); an adapter or its run."""
_OF_CAPABILITIES = ("capability", "without")
"""Fields of recipes that name a capability."""


def another_name(ref: Ref, number: int) -> Ref:
    """The thing with a number after its name, as long as names may be."""
    return Ref(ref.kind, f"{ref.name[: 78 - len(str(number))]}-{number}")


def place_in(folder: Path, ref: Ref) -> Path:
    """Where a thing lies in a folder that is laid out as `SPD_HOME`."""
    return folder / home_of(ref).relative_to(spd_home())


def rename_in(folder: Path, old: Ref, new: Ref) -> None:
    """Move a thing in an unpacked bundle, and write its new name into it.

    Raises:
        StorageError: the disk refuses.
    """
    target = place_in(folder, new)
    os.rename(place_in(folder, old), target)
    if old.kind in ("text", "repeat"):
        _rewrite(target, lambda record: {**record, "id": new.name})
    if old.kind in ("run", "evaluation"):
        _rewrite(target / "run.json", lambda record: {**record, "id": new.name})


def follow(folder: Path, ref: Ref, renames: Renames) -> bool:
    """Have the references in a thing follow renamed ones; whether there were any.

    Raises:
        InputError: a run's record is damaged.
        StorageError: the disk refuses.
    """
    place = place_in(folder, ref)
    if ref.kind == "answers" or not renames:
        return False
    before = _subjects(place) if ref.kind == "evaluation" else []
    files = [place] if place.is_file() else sorted(place.rglob("*.json"))
    records = [path for path in files if path.suffix == ".json"]  # rows of examples and corpora refer to nothing
    changed = [_rewrite(path, lambda record: _followed(record, renames)) for path in records]
    if ref.kind == "evaluation" and before != (now := _subjects(place)):
        _rename_subjects(place, dict(zip(before, now, strict=True)))
    return any(changed)


def _rewrite(path: Path, change: Callable[[Any], Any]) -> bool:
    record = json.loads(path.read_text("utf-8"))
    changed = change(record)
    if changed == record:
        return False
    write_text(path, json.dumps(changed, sort_keys=True, ensure_ascii=False) + "\n")
    return True


def _followed(value: Any, renames: Renames, field: str = "") -> Any:
    """A record with references renamed, all the way down."""
    if isinstance(value, dict):
        return {name: _followed(inner, renames, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_followed(inner, renames, field) for inner in value]
    return _name(value, renames, field) if isinstance(value, str) else value


def _name(name: str, renames: Renames, field: str) -> str:
    first, slash, rest = name.partition("/")
    if field in _OF_CAPTURES and not slash and Ref("capture", name) in renames:
        return renames[Ref("capture", name)].name
    if field in (*_OF_RUNS, *_OF_CAPTURES) and Ref("run", first) in renames and (slash or field == "run"):
        return f"{renames[Ref('run', first)].name}{slash}{rest}"
    if field in _OF_CAPABILITIES and Ref("capability", name) in renames:
        return renames[Ref("capability", name)].name
    return name


# --- subjects of evaluations are called as what they answer with -------------------------------------------------


def _subjects(place: Path) -> list[str]:
    recipe = read_record(RunRecord, place / "run.json", remedy="export it again").recipe
    return [subject.name for subject in recipe.subjects] if isinstance(recipe, EvaluationRecipe) else []


def _rename_subjects(place: Path, names: Mapping[str, str]) -> None:
    """Cells and events of subjects that are called otherwise now; tables are made anew of the cells."""
    for path in sorted((place / "cells").glob("*.json*")):
        subject, _, rest = path.name.partition("--")
        new = path.with_name(f"{names.get(subject, subject)}--{rest}")
        os.rename(path, new)
        if new.suffix == ".json":
            _rewrite(new, lambda cell: {**cell, "subject": names.get(cell["subject"], cell["subject"])})
    events = place / "events.jsonl"
    told = [json.loads(line) for line in events.read_text("utf-8").splitlines()] if events.is_file() else []
    lines = [{**one, "arm": names.get(one.get("arm", ""), one.get("arm", ""))} for one in told]
    if told:
        write_text(events, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines))
    for name in ("table.csv", "table.md"):
        (place / name).unlink(missing_ok=True)

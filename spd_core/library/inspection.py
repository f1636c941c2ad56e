"""Opens what lies in an unpacked bundle, each thing by the reader of its kind: what cannot be opened does not come in.

A run may wait for nobody and name no program: a record of one is what a queue would carry out.
"""

import json
from collections.abc import Callable
from pathlib import Path

from spd_core.data.capability import read_capability
from spd_core.data.seen import read_seen
from spd_core.distill.audits import AUDITS, read_audits
from spd_core.distill.corpus import read_corpus
from spd_core.errors import InputError
from spd_core.evaluation.cells import Cell
from spd_core.evaluation.repeats import read_repeat
from spd_core.evaluation.store import About, ItemRecord
from spd_core.generation.comparison import read_comparison
from spd_core.intervention.cards import CARD, RECIPE, read_card
from spd_core.library.bundle import FINAL, command_of
from spd_core.library.things import Ref
from spd_core.recipes.distill import recipe_from
from spd_core.recipes.presets import read_settings
from spd_core.records import first_error, read_record, read_rows
from spd_core.runs.folder import Run
from spd_core.runs.processes import LOCAL
from spd_core.runs.record import RunRecord, Status
from spd_core.storage import read_bytes
from spd_core.subspace.direction_notes import read_notes
from spd_core.subspace.store import is_capture, load_capture

_REMEDY = "export it again"


def check_thing(ref: Ref, home: Path, names: set[str]) -> None:
    """Open all files of a thing.

    Args:
        home: a folder that is laid out as `SPD_HOME`.
        names: of its files, below `home`.

    Raises:
        InputError: one is missing, damaged, of a newer format, or of another thing.
    """
    for name in names:
        if not name.endswith(".safetensors"):
            _check_text(home / name)
    _CHECKS[ref.kind](ref, home)


def _check_text(path: Path) -> None:
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text ({error.reason}); {_REMEDY}") from error


def _capture(ref: Ref, home: Path) -> None:
    _capture_in(home / "captures" / ref.name)


def _capture_in(folder: Path) -> None:
    load_capture(folder)
    read_notes(folder / "notes.json")


def _text(ref: Ref, home: Path) -> None:
    read_comparison(home / "texts" / f"{ref.name}.json")


def _repeat(ref: Ref, home: Path) -> None:
    path = home / "repeats" / f"{ref.name}.json"
    if read_repeat(path).id != ref.name:
        raise InputError(f"{path} is another repeat; {_REMEDY}")


def _capability(ref: Ref, home: Path) -> None:
    read_capability(home / "capabilities" / f"{ref.name}.jsonl")


def answers_in(folder: Path) -> tuple[About, list[ItemRecord]]:
    """Records of answers and what they are about, in their order.

    Raises:
        InputError: they are damaged, or about something else than their folder's name says.
    """
    about = read_record(About, folder / "about.json", remedy=_REMEDY)
    if about.key != folder.name:
        raise InputError(f"{folder} holds answers to something else than its name says; {_REMEDY}")
    return about, read_rows(ItemRecord, folder / "items.jsonl", "answers")


def _answers(ref: Ref, home: Path) -> None:
    answers_in(home / "evaluations" / ref.name)


def _adapter(ref: Ref, home: Path) -> None:
    run, _, arm = ref.name.partition("/")
    folder = home / "runs" / run / "adapters" / arm
    card = read_card(folder)
    if (card.run, card.arm) != (run, arm):
        raise InputError(f"{folder / CARD} is of the adapter {card.ref!r}; {_REMEDY}")
    read_seen(folder)
    if (folder / RECIPE).is_file():
        read_settings(folder / RECIPE, recipe_from)  # as a shell takes it: a preset, and what differs from it
    if (folder / "adapter_config.json").is_file() or (folder / "adapter_model.safetensors").is_file():
        from spd_core.intervention.adapters import load_adapter  # torch: only where there are weights

        load_adapter(folder)


# --- runs ----------------------------------------------------------------------------------------------------------


def _run(ref: Ref, home: Path) -> None:
    folder = home / "runs" / ref.name
    record = read_record(RunRecord, folder / "run.json", remedy=_REMEDY)
    kind = "evaluation" if record.recipe.kind == "evaluation" else "run"
    if (kind, record.id) != tuple(ref):
        raise InputError(f"{folder} holds the {kind} {record.id!r}; {_REMEDY}")
    if (record.launcher, record.command) != (LOCAL, command_of(record)):
        raise InputError(f"{folder / 'run.json'} names a program to be started, {record.command!r:.80}; {_REMEDY}")
    status = read_record(Status, folder / "status.json", remedy=_REMEDY)
    if status.state not in FINAL or status.job is not None or status.launcher is not None:
        raise InputError(f"{folder / 'status.json'} says {status.state!r}, and runs in bundles are over; {_REMEDY}")
    run = Run(folder, record)
    if damaged := run.events().damaged:
        raise InputError(f"{damaged} lines of {folder / 'events.jsonl'} are no events of this version; {_REMEDY}")
    run.tags(), run.rejected(), run.notes()
    _check_parts(folder)


def _check_parts(folder: Path) -> None:
    for path in sorted((folder / "corpora").glob("*.jsonl")):
        read_corpus(path)
    for path in sorted(folder.glob(f"arms/*/round-*/{AUDITS}")):
        read_audits(path)
    for place in sorted((folder / "captures").glob("*")):
        if not is_capture(place):
            raise InputError(f"{place} holds no capture; {_REMEDY}")
        _capture_in(place)
    for path in sorted((folder / "cells").iterdir()) if (folder / "cells").is_dir() else ():
        if path.suffix == ".json":
            read_record(Cell, path, newest=3, remedy=_REMEDY)
        else:
            read_rows(ItemRecord, path, "items")
    try:
        sources = json.loads(read_bytes(folder / "sources.json", missing_ok=True) or b"{}")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{folder / 'sources.json'} is damaged ({first_error(error)}); {_REMEDY}") from error
    if not isinstance(sources, dict):
        raise InputError(f"{folder / 'sources.json'} is damaged; {_REMEDY}")


_CHECKS: dict[str, Callable[[Ref, Path], None]] = {
    "capture": _capture,
    "text": _text,
    "repeat": _repeat,
    "capability": _capability,
    "answers": _answers,
    "adapter": _adapter,
    "run": _run,
    "evaluation": _run,
}

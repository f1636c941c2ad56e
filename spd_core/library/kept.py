"""Reads what lies in `SPD_HOME`, and what comes with SPD Lab, as things of the library. Imports no torch.

A thing is read once, and known again by the time when its file was changed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from spd_core.data.capability import builtin_names, read_capability
from spd_core.data.catalog import saved_capabilities, saved_folder
from spd_core.data.public import PUBLIC_SETS
from spd_core.errors import InputError
from spd_core.evaluation.cells import Cell
from spd_core.evaluation.repeats import RECORDED_REPEATS, read_repeat, repeat_files
from spd_core.evaluation.store import About
from spd_core.generation.comparison import RECORDED as RECORDED_TEXTS
from spd_core.generation.comparison import (
    LaneText,
    WrittenRecord,
    find_comparison,
    read_comparison,
    recorded_ids,
    saved_ids,
)
from spd_core.intervention.cards import CARD, read_card
from spd_core.library.things import Ref, Thing, ThingKind, capture_ref
from spd_core.models.packaged import PACKAGED
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.records import read_record
from spd_core.runs.folder import Damaged, Run, all_runs, recorded_runs, size_of
from spd_core.runs.states import state_of
from spd_core.storage import runs_folder, spd_home
from spd_core.subspace.analysis import Provenance
from spd_core.subspace.store import RECORDED as RECORDED_CAPTURES
from spd_core.subspace.store import find_capture, load_capture, recorded_captures, saved_captures
from spd_core.text import opening


def all_things() -> Iterator[Thing]:
    """Everything, in no order.

    Raises:
        InputError: the folder of runs cannot be read.
    """
    for things in (_captures, _texts, _repeats, _runs, _answers, _capabilities):
        yield from things()


def _thing(kind: ThingKind, name: str, path: Path, read: Callable[[Path], Thing], *, recorded: bool) -> Iterator[Thing]:
    """What is read of a file or folder; damaged, it is a thing with a problem. One that is being deleted is none."""
    try:
        size = size_of(path) if path.is_dir() else path.stat().st_size
        yield replace(read(path), size=size, recorded=recorded)
    except FileNotFoundError:
        return
    except InputError as error:
        if path.exists():
            yield Thing(Ref(kind, name), name, _changed(path), size, recorded=recorded, problem=str(error))


def _changed(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).isoformat(timespec="seconds")


def _newest(folder: Path) -> int:
    """When a file directly in a folder was changed last, in nanoseconds since the epoch."""
    return max((path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()), default=0)


# --- captures ----------------------------------------------------------------------------------------------------


def _captures() -> Iterator[Thing]:
    own = saved_captures()
    for name in (*own, *(name for name in recorded_captures() if name not in own)):
        folder = find_capture(name)
        yield from _thing("capture", name, folder, _read_capture, recorded=folder.parent == RECORDED_CAPTURES)


def _read_capture(folder: Path) -> Thing:
    return _capture_at(folder, _newest(folder))


@lru_cache(maxsize=1000)
def _capture_at(folder: Path, _changed_at: int) -> Thing:
    analysis = load_capture(folder)
    record, layers = analysis.provenance, len(analysis.layers)
    made_of = record.left_out
    what = f"{record.capability}, {record.loss} loss, {layers} layer{'s' * (layers != 1)}"
    if made_of is not None:
        what = f"Contrast: {made_of.capability} without {', '.join(made_of.others)}"
    stands_on = () if made_of is None else (made_of.capture, *made_of.captures)
    return Thing(
        Ref("capture", folder.name),
        what,
        _changed(folder),
        0,
        model_of(record),
        tuple(capture_ref(name) for name in stands_on if name),
        dtype=record.dtype,
        device=record.device,
    )


def model_of(record: Provenance) -> str:
    """Name and revision of a capture's model, in words."""
    return _model(record.model, record.revision)


def _model(name: str, revision: str | None) -> str:
    if name in PACKAGED:
        return revision if revision and "@" in revision else PACKAGED[name].revision
    return f"{Path(name).name if name.startswith(('/', '~', '.')) else name}@{revision or 'newest'}"


# --- texts -------------------------------------------------------------------------------------------------------


def _texts() -> Iterator[Thing]:
    for name in saved_ids():
        path = find_comparison(name)
        recorded = name in recorded_ids() and path.parent == RECORDED_TEXTS
        yield from _thing("text", name, path, _read_text, recorded=recorded)


def _read_text(path: Path) -> Thing:
    return _text_at(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4000)
def _text_at(path: Path, _changed_at: int) -> Thing:
    found = read_comparison(path)
    what = "sweep" if found.grid else f"{len(found.lanes)} lane{'s' * (len(found.lanes) != 1)}"
    title = f"{opening(found.prompt, 60)} ({found.capability}, {what})"
    stands_on = _of_lanes(found.analysis, found.lanes)
    return _written(Ref("text", path.stem), title, found, stands_on)


def _written(ref: Ref, title: str, found: WrittenRecord, stands_on: tuple[Ref, ...]) -> Thing:
    model = _model(found.model, found.revision)
    return Thing(ref, title, found.created, 0, model, stands_on, dtype=found.dtype, device=found.device)


def _of_lanes(capture: str, lanes: Iterable[LaneText]) -> tuple[Ref, ...]:
    named = [capture_ref(name) for name in (capture, *(lane.spec.capture for lane in lanes)) if name]
    tuned = [Ref("adapter", lane.spec.adapter) for lane in lanes if lane.spec.adapter]
    return tuple(dict.fromkeys((*named, *tuned)))


def _repeats() -> Iterator[Thing]:
    seen = set[str]()
    for path in repeat_files():
        if path.stem not in seen:
            seen.add(path.stem)
            yield from _thing("repeat", path.stem, path, _read_repeat, recorded=path.parent == RECORDED_REPEATS)


def _read_repeat(path: Path) -> Thing:
    return _repeat_at(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1000)
def _repeat_at(path: Path, _changed_at: int) -> Thing:
    found = read_repeat(path)
    title = f"{found.capability}: {len(found.prompts)} prompts × {len(found.seeds)} seeds, {len(found.lanes)} lanes"
    stands_on = _of_lanes(found.analysis, found.lanes)
    return _written(Ref("repeat", path.stem), title, found, stands_on)


# --- runs and their adapters ---------------------------------------------------------------------------------------


def _runs() -> Iterator[Thing]:
    own = all_runs()
    for run in (*own, *(run for run in recorded_runs() if run.id not in [one.id for one in own])):
        if isinstance(run, Damaged):
            folder = runs_folder() / run.id
            if folder.exists():
                yield Thing(Ref("run", run.id), run.id, _changed(folder), size_of(folder), problem=run.reason)
            continue
        recorded = run.folder.parent != runs_folder()
        yield _run(run, recorded)
        for card in sorted((run.folder / "adapters").glob(f"[!.]*/{CARD}")):
            name = f"{run.id}/{card.parent.name}"
            yield from _thing("adapter", name, card.parent, _read_adapter, recorded=recorded)


def _run(run: Run, recorded: bool) -> Thing:
    recipe, folder = run.record.recipe, run.folder
    own = size_of(folder) - (0 if isinstance(recipe, EvaluationRecipe) else size_of(folder / "adapters"))
    title = run.record.title or Path(recipe.capability).stem
    if isinstance(recipe, EvaluationRecipe):
        kind: ThingKind = "evaluation"
        title = f"{title}: {len(recipe.subjects)} subjects on {', '.join(one.name for one in recipe.sets)}"
        stands_on: tuple[Ref, ...] = ()
        problem = ""
        try:
            stands_on = _of_evaluation(run, recipe)
        except InputError as error:
            problem = str(error)
    else:
        kind, problem, stands_on = "run", "", _of_recipe(recipe)
        title = f"{title}: {', '.join(recipe.arms)}"
    model = _model(recipe.model, recipe.revision)
    state = state_of(run)
    return Thing(Ref(kind, run.id), title, run.record.created, own, model, stands_on, recorded, state, problem)


def _of_recipe(recipe: Recipe) -> tuple[Ref, ...]:
    return tuple(_capability_refs((recipe.capability, *recipe.capture.without)))


def _capability_refs(names: Iterable[str]) -> Iterator[Ref]:
    """Those of one's own: built-in and public ones are everywhere."""
    for name in dict.fromkeys(names):
        if name not in (*builtin_names(), *PUBLIC_SETS) and name in saved_capabilities():
            yield Ref("capability", name)


def _of_evaluation(run: Run, recipe: EvaluationRecipe) -> tuple[Ref, ...]:
    captures = [
        subject.capture for subject in recipe.subjects if subject.capture and not Path(subject.capture).is_dir()
    ]
    adapters = [subject.adapter for subject in recipe.subjects if subject.adapter]
    answers = []
    for path in sorted((run.folder / "cells").glob("[!.]*.json")):
        cell = _cell_at(path, path.stat().st_mtime_ns)
        captures += [cell.capture] if cell.capture else []
        adapters += [cell.adapter] if cell.adapter else []
        answers += [cell.about.key] if cell.items else []
    whole = [capture_ref(name) for name in captures if not name.startswith("/")]  # a folder elsewhere is no thing
    named = (*whole, *(Ref("adapter", name) for name in adapters), *(Ref("answers", key) for key in answers))
    sets = _capability_refs((recipe.capability, *(one.capability for one in recipe.sets), *recipe.capture.without))
    return tuple(ref for ref in dict.fromkeys((*named, *sets)) if ref != Ref("run", run.id))


@lru_cache(maxsize=4000)
def _cell_at(path: Path, _changed_at: int) -> Cell:
    return read_record(Cell, path, newest=3, remedy=f"answer it again: table --run {path.parent.parent.name}")


def _read_adapter(folder: Path) -> Thing:
    card = read_card(folder)
    run = folder.parent.parent.name
    title = f"{card.label} on {card.capability_name}, {card.rows:,} rows, {card.steps:,} steps"
    ref, stands_on = Ref("adapter", f"{run}/{folder.name}"), (Ref("run", run),)
    return Thing(ref, title, card.created, 0, _model(card.base, card.revision), stands_on, dtype=card.dtype)


# --- answers and capabilities --------------------------------------------------------------------------------------


def _answers() -> Iterator[Thing]:
    for path in sorted((spd_home() / "evaluations").glob("[!.]*/about.json")):
        yield from _thing("answers", path.parent.name, path.parent, _read_answers, recorded=False)


def _read_answers(folder: Path) -> Thing:
    about = read_record(About, folder / "about.json", remedy="delete it; evaluations answer again what they need")
    title = f"Answers to {about.set}, subject {about.subject[:12]}"
    return Thing(Ref("answers", folder.name), title, _changed(folder / "about.json"), 0)


def _capabilities() -> Iterator[Thing]:
    for name in saved_capabilities():
        yield from _thing("capability", name, saved_folder() / f"{name}.jsonl", _read_capability, recorded=False)


def _read_capability(path: Path) -> Thing:
    found = read_capability(path)
    title = f"{found.name}: {len(found.examples):,} examples"
    return Thing(Ref("capability", path.stem), title, _changed(path), 0)

"""Counts an evaluation anew from its items: values, intervals, what is read out of each answer. Imports no torch."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from spd_core.data.capability import Example, Settings
from spd_core.errors import InputError
from spd_core.evaluation.cells import Cell, cell_path
from spd_core.evaluation.scoring import score
from spd_core.evaluation.statistics import estimate, paired
from spd_core.evaluation.store import About, ItemRecord
from spd_core.library.inspection import answers_in
from spd_core.library.replay_place import Replaying
from spd_core.library.replay_report import OF_A_MEAN, ReplayRow, exact_row, not_replayed, number_row
from spd_core.library.things import Ref
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.records import read_record, read_rows
from spd_core.runs.events import CellDone
from spd_core.runs.folder import Run
from spd_core.sandbox.run import Verdict
from spd_core.storage import read_bytes

_OF_A_MEAN = "the same numbers: a mean may change with their order, in its last digits"
_READ = ("number", "letter", "exact")
"""Scorers that a record holds all for."""
_OF_A_TABLE = ("value", "low", "high", "effect", "effect_low", "effect_high", "p")


def replay_answers(thing: str, folder: Path) -> list[ReplayRow]:
    """Reads every answer of a set anew."""
    about, records = answers_in(folder)
    return [_read_anew(thing, "answers", about, records)]


def replay_evaluation(thing: str, run: Run, work: Replaying) -> list[ReplayRow]:
    """Of each cell the value and the answers, then the intervals of the table that lies in the run's folder."""
    folder, recipe = run.folder, run.record.evaluation
    told = {(one.arm, one.round, one.set): one for one in run.events().events if isinstance(one, CellDone)}
    rows: list[ReplayRow] = []
    cells: dict[tuple[str, str], list[tuple[Cell, list[ItemRecord]]]] = {}
    for subject in recipe.subjects:
        for place, seed in enumerate(recipe.seeds_of(subject), 1):
            for wanted in recipe.sets:
                what = f"{subject.name}, seed {seed}, {wanted.name}"
                try:
                    found = _cell(folder, (subject.name, seed, wanted.name), work)
                except InputError as error:
                    rows.append(not_replayed(thing, what, str(error)))
                    continue
                if found is not None:
                    cells.setdefault((subject.name, wanted.name), []).append(found)
                    rows += _cell_rows(thing, what, found, told.get((subject.name, place, wanted.name)))
    return [*rows, *_table_rows(thing, folder, recipe, cells)]


def _cell(folder: Path, key: tuple[str, int, str], work: Replaying) -> tuple[Cell, list[ItemRecord]] | None:
    """A cell and its items, those of a bundle from the bundle; None where it was not filled."""
    path = cell_path(folder, *key)
    if not path.exists():
        return None
    cell = read_record(Cell, path, newest=3, remedy="answer it again")
    if not cell.items:  # of an older version, which kept its items beside the cell
        return cell, read_rows(ItemRecord, path.with_suffix(".jsonl"), "items")
    _, records = answers_in(work.find(Ref("answers", cell.about.key)))
    known = {record.key: record for record in records}
    gone = sum(key not in known for key in cell.items)
    if gone:
        raise InputError(f"{gone} of {len(cell.items)} items are damaged or gone; answer them again")
    return cell, [known[key] for key in cell.items]


def _cell_rows(
    thing: str, what: str, found: tuple[Cell, list[ItemRecord]], told: CellDone | None
) -> Iterator[ReplayRow]:
    cell, records = found
    value = fmean(record.value for record in records)
    if told is None:
        yield not_replayed(thing, f"{what}: value", "the run's events do not name this cell")
    else:
        yield exact_row(thing, f"{what}: items", told.n, len(records))
        yield number_row(thing, f"{what}: value", told.value, value, OF_A_MEAN * max(abs(value), 1), _OF_A_MEAN)
    yield _read_anew(thing, what, cell.about, records)


# --- reading answers ---------------------------------------------------------------------------------------------


def _read_anew(thing: str, what: str, about: About, records: Sequence[ItemRecord]) -> ReplayRow:
    """How many answers are right when each is read out of its text again."""
    said = f"{what}: right answers"
    if about.scorer not in _READ:
        why = {
            "nll": "a likelihood needs the model; evaluate again",
            "python": "the tests of code are not kept with the answers; evaluate again",
        }
        return not_replayed(thing, said, why.get(about.scorer, f"{about.scorer} is scored by another program"))
    settings = Settings.model_validate({"capability": about.set, "template": about.template, "scorer": about.scorer})
    pairs = [(record, _scored(record, settings)) for record in records]
    changed = [record.id for record, right in pairs if right != record.correct]
    row = exact_row(thing, said, sum(bool(record.correct) for record in records), sum(right for _, right in pairs))
    if not changed:
        return row
    reason = f"{len(changed)} answers are judged otherwise when read again; the first is {changed[0]}"
    return ReplayRow(thing, said, row.recorded, row.recomputed, f"{len(changed)} answers", "none", "differs", reason)


def _scored(record: ItemRecord, settings: Settings) -> bool:
    example = Example(id=record.id, prompt=record.prompt, answer=record.gold)
    return score(example, settings, record.completion, record.finish, _no_code).correct


def _no_code(*_code: object) -> Verdict:
    raise AssertionError("scorers of text run no code")


# --- intervals ---------------------------------------------------------------------------------------------------


def _table_rows(
    thing: str,
    folder: Path,
    recipe: EvaluationRecipe,
    cells: Mapping[tuple[str, str], Sequence[tuple[Cell, list[ItemRecord]]]],
) -> Iterator[ReplayRow]:
    text = read_bytes(folder / "table.csv", missing_ok=True)
    if not text:
        yield not_replayed(thing, "intervals", "the run's folder holds no table.csv; they are made anew of the items")
        return
    titles = {subject.name: subject.title for subject in recipe.subjects}
    written = {(row["subject"], row["set"]): row for row in csv.DictReader(io.StringIO(text.decode()))}
    base = next(subject.name for subject in recipe.subjects if subject.kind == "base")
    for (subject, wanted), own in cells.items():
        if len(own) != len(recipe.seeds_of(next(one for one in recipe.subjects if one.name == subject))):
            continue
        title = own[0][0].title
        row = written.get((titles[subject], title)) or written.get((titles[subject], f"{title} ({wanted})"))
        if row is None:
            yield not_replayed(thing, f"{subject}, {wanted}: interval", "table.csv has no such row")
            continue
        against = cells.get((base, wanted)) if subject != base else None
        yield _interval_row(thing, f"{subject}, {wanted}: interval", row, _statistics(own, against))


def _statistics(
    own: Sequence[tuple[Cell, list[ItemRecord]]], base: Sequence[tuple[Cell, list[ItemRecord]]] | None
) -> dict[str, float]:
    """The numbers of `_OF_A_TABLE`, by their names in the table."""
    binary = own[0][0].about.scorer != "nll"
    scores = [[record.value for record in records] for _, records in own]
    found = estimate(scores, binary)
    numbers = {"value": found.value, "low": found.interval.low, "high": found.interval.high}
    if base is not None:
        change = paired([[record.value for record in records] for _, records in base], scores, binary)
        ends = {"effect_low": change.interval.low, "effect_high": change.interval.high}
        numbers |= {"effect": change.effect, **ends, "p": change.p}
    return numbers


def _interval_row(thing: str, what: str, row: Mapping[str, str], now: Mapping[str, float]) -> ReplayRow:
    """The number of a row that is off most."""
    then = {name: float(row[name]) for name in _OF_A_TABLE if name in now and row.get(name)}
    off = {name: 0.0 if then[name] == now[name] else abs(then[name] - now[name]) for name in then}
    worst = max(off, key=lambda name: math.inf if math.isnan(off[name]) else off[name])
    reason = f"{len(off)} numbers of the table, {worst} off most; resampling has a fixed seed. {_OF_A_MEAN}"
    return number_row(thing, what, then[worst], now[worst], OF_A_MEAN * max(abs(then[worst]), 1), reason)

"""Damage hits the cells that have it and nothing else, and answering again repairs just those."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from spd_core.errors import InputError
from spd_core.evaluation import fill
from spd_core.evaluation.cells import cell_path, read_cell
from spd_core.evaluation.damaged import answer_again, read_cells, set_aside
from spd_core.evaluation.fill import carry_out_table
from spd_core.evaluation.report import grid, notes, to_markdown
from spd_core.evaluation.store import ItemStore
from spd_core.evaluation.table import read_table
from spd_core.recipes.evaluation import EvaluationRecipe, evaluation_from
from spd_core.runs import queue, states
from spd_core.runs.events import CellDone
from spd_core.runs.record import Status
from tests.cells import put, records

BASE, BETTER = [1, 0, 0, 0, 0] * 12, [1, 1, 1, 0, 0] * 12
RECIPE = evaluation_from({"subjects": ["base", "spd", "ssd"], "sets": ["arithmetic"]})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SPD_HOME without runs or records."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three cells, finished."""
    for name, right in (("base", BASE), ("spd", BETTER), ("ssd", BETTER)):
        put(tmp_path / "run", name, records(right))
    return tmp_path / "run"


def truncated_cell(folder: Path) -> None:
    path = cell_path(folder, "spd", 42, "arithmetic")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def items_of(folder: Path, subject: str = "spd") -> Path:
    found = read_cell(folder, subject, 42, "arithmetic")
    assert found is not None
    return ItemStore(found[0].about).path


def truncated_items(folder: Path) -> None:
    path = items_of(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damaged_line(folder: Path) -> None:
    path = items_of(folder)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:7], lines[7][:30] + b"\n", *lines[8:]]))


def no_items(folder: Path) -> None:
    items_of(folder).unlink()


def edited_items(folder: Path) -> None:
    put(folder, "spd", [item.model_copy(update={"prompt": f"edited {item.prompt}"}) for item in records(BETTER)])


def newer_format(folder: Path) -> None:
    path = cell_path(folder, "spd", 42, "arithmetic")
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncated_cell, "spd--42--arithmetic.json is damaged"),
        (truncated_items, r"of 60 items of .*spd--42--arithmetic.json are damaged or gone"),
        (damaged_line, r"1 of 60 items of .*spd--42--arithmetic.json are damaged or gone"),
        (no_items, r"60 of 60 items of .* are damaged or gone"),
        (edited_items, "other items than base: arithmetic was edited meanwhile"),
        (newer_format, r"written by a newer SPD Lab \(format 99\); update this one"),
    ],
)
def test_damage_hits_its_cell_alone(damage: Callable[[Path], None], reason: str, folder: Path) -> None:
    before = read_table(RECIPE, folder)
    damage(folder)
    table = read_table(RECIPE, folder)
    assert (table.done, table.planned, len(table.damaged)) == (2, 3, 1)
    (found,) = table.damaged
    assert (found.subject, found.seed, found.set, found.newer) == ("spd", 42, "arithmetic", damage is newer_format)
    assert re.search(reason, found.reason)
    assert set(table.answered) == {("base", "arithmetic"), ("ssd", "arithmetic")}
    assert table.answered["ssd", "arithmetic"] == before.answered["ssd", "arithmetic"]
    assert table.claims["ssd", "arithmetic"].p_adjusted >= before.claims["ssd", "arithmetic"].difference.p
    assert grid(table)[1]["Arithmetic"] == "damaged"
    assert any(note.startswith("Damaged and left out: spd, seed 42, on arithmetic") for note in notes(table))
    assert "Damaged and left out" in to_markdown(table)
    moved = set_aside(folder, table.damaged)
    assert [path.relative_to(folder / "cells").as_posix() for path in moved] == (
        [] if damage is newer_format else ["set-aside/spd--42--arithmetic.1.json"]
    )
    assert len(read_table(RECIPE, folder).damaged) == (damage is newer_format)


def test_nothing_that_lies_aside_is_overwritten(folder: Path) -> None:
    for number in (1, 2):
        truncated_cell(folder)
        (moved,) = set_aside(folder, read_cells(RECIPE, folder)[1])
        assert moved.name == f"spd--42--arithmetic.{number}.json"
        put(folder, "spd", records(BETTER))
    assert len(list((folder / "cells" / "set-aside").iterdir())) == 2


def test_records_of_a_newer_version_stay_where_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = items_of(folder)
    lines = path.read_bytes().splitlines(keepends=True)
    newer = json.dumps({**json.loads(lines[7]), "a field of its own": 1}).encode() + b"\n"
    path.write_bytes(b"".join([*lines[:7], newer, *lines[8:]]))
    (found,) = read_cells(RECIPE, folder)[1]
    assert (found.subject, found.newer) == ("spd", True)
    assert re.search(r"1 of 60 items of .* cannot be read: records that a newer SPD Lab has written .1.", found.reason)
    assert set_aside(folder, [found]) == []
    cell, _ = read_cell(folder, "ssd", 42, "arithmetic") or pytest.fail("it is whole")
    about = json.loads(cell_path(folder, "spd", 42, "arithmetic").read_text())["about"]
    store = ItemStore(type(cell.about).model_validate(about))
    path.write_bytes(path.read_bytes() + b"{ damaged\n")
    with store.writing():
        pass
    assert newer in path.read_bytes()
    assert (store.folder / "damaged.jsonl").read_bytes() == b"{ damaged\n"
    assert len(store.by_key()) == 59
    assert "records that a newer SPD Lab has written (1) are left as they are" in capsys.readouterr().err


# --- answering again -----------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tmp_path: Path, family_folder: Callable[[str], Path]) -> EvaluationRecipe:
    """An evaluation of a second."""
    rows = [{"capability": "sums", "template": "Q: {prompt}", "spans": "number", "scorer": "number"}]
    for split in ("calibration", "heldout"):
        rows += [
            {"id": f"{split}{i}", "split": split, "prompt": f"{split} {i}", "answer": f"it is {i}"} for i in range(6)
        ]
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return evaluation_from({
        "capability": str(path), "model": str(family_folder("llama")), "dtype": "float32",
        "subjects": ["base", "projected"], "sets": [{"capability": str(path), "max_new_tokens": 5}], "batch_size": 3,
    })  # fmt: skip


@pytest.mark.parametrize(("damage", "written"), [("cell", 0), ("line", 1)])
def test_just_the_damaged_cells_are_answered_again(
    damage: str, written: int, recipe: EvaluationRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "start_next", lambda: [])
    run = queue.create_here(recipe)
    assert carry_out_table(recipe, run.folder) == "done"
    run.write_status(Status(state="done", since=0))
    path = cell_path(run.folder, "projected", 42, "sums")
    cell, before = read_cell(run.folder, "projected", 42, "sums") or pytest.fail("not filled")
    with pytest.raises(InputError, match=f"no cell of {run.id} is damaged"):
        answer_again(run)
    if damage == "cell":
        path.write_bytes(path.read_bytes()[:100])
    else:
        items = ItemStore(cell.about).path
        lines = items.read_bytes().splitlines(keepends=True)
        items.write_bytes(b"".join([lines[0][:30] + b"\n", *lines[1:]]))
    assert [one.subject for one in answer_again(run)] == ["projected"]
    assert states.state_of(run) == "queued"
    heard: list[CellDone] = []
    told = lambda event: heard.append(event) if isinstance(event, CellDone) else None  # noqa: E731
    assert fill.carry_out_table(recipe, run.folder, tell=told) == "done"
    assert [(one.arm, one.n, one.reused) for one in heard] == [("projected", 6, 6 - written)]
    assert (heard[0].tokens > 0) == bool(written)
    after = read_cell(run.folder, "projected", 42, "sums")
    assert after is not None
    assert after[1] == before
    assert (run.folder / "cells" / "set-aside" / "projected--42--sums.1.json").exists()
    assert read_table(recipe, run.folder).damaged == ()

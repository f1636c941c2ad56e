"""Notes on directions: the file, whose direction a note is on, tabs side by side, and that a capture stays as it is."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spd_core.data.capability import read_builtin
from spd_core.errors import InputError, NewerFormatError
from spd_core.recipes.capture import CaptureSettings
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.direction_notes import (
    LONGEST_NAME,
    LONGEST_REMARK,
    DirectionNote,
    note_on,
    notes_on,
    notes_with,
    read_notes,
    write_note,
)
from spd_core.subspace.pipeline import capture
from spd_core.subspace.store import (
    RECORDED,
    changed_at,
    find_capture,
    notes_in,
    open_capture,
    place_of,
    recorded_captures,
    save_capture,
    saved_captures,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def found(tiny_lm: Callable[[str], Any]) -> Analysis:
    return capture(tiny_lm("llama"), read_builtin("arithmetic"), CaptureSettings(layers="1,2", examples=6), name="sums")


@pytest.fixture
def path(found: Analysis) -> Path:
    save_capture(found, place_of("sums"))
    return notes_in(find_capture("sums"))


def note(found: Analysis, direction: int = 0, name: str = "carries", remark: str = "") -> DirectionNote:
    return note_on(found, found.site(1, "value"), direction, name, remark)


def names(found: Analysis, path: Path) -> dict[tuple[int, str, int], str]:
    return {place: one.name for place, one in notes_on(found, read_notes(path)).items()}


def test_a_note_is_read_back_as_it_was_written(found: Analysis, path: Path) -> None:
    assert read_notes(path) == ()
    write_note(path, note(found, 2, "  the\n carry ", "Fires on “9 + 3”.\nAnd `<b>`."))
    (read,) = read_notes(path)
    assert (read.layer, read.kind, read.direction) == (1, "value", 3)
    assert (read.name, read.remark) == ("the carry", "Fires on “9 + 3”.\nAnd `<b>`.")
    assert names(open_capture("sums"), path) == {(1, "value", 2): "the carry"}
    write_note(path, note(found, 2, "carry"))
    assert names(found, path) == {(1, "value", 2): "carry"}, "in place of the old one"
    write_note(path, note(found, 2, " ", " "))
    assert read_notes(path) == (), "without any words it is taken away"


def test_the_capture_is_the_same_one_with_and_without_notes(found: Analysis, path: Path) -> None:
    before = open_capture("sums")
    stamp = changed_at("sums")
    files = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    write_note(path, note(found))
    after = open_capture("sums")
    assert (after.identity, after.origin, after.provenance) == (before.identity, before.origin, before.provenance)
    assert (changed_at("sums"), saved_captures()) == (stamp, ["sums"])
    assert {file.name: file.read_bytes() for file in path.parent.iterdir() if file != path} == files


def test_notes_survive_that_the_capture_is_saved_again(found: Analysis, path: Path) -> None:
    write_note(path, note(found))
    nulls = {site: dataclasses.replace(one, nulls={"random": one.values}) for site, one in found.sites.items()}
    save_capture(dataclasses.replace(found, sites=nulls), place_of("sums"), overwrite=True)
    assert names(open_capture("sums"), path) == {(1, "value", 0): "carries"}


def turned(found: Analysis, degrees: float, sign: float = 1.0) -> Analysis:
    """The same capture with the first two directions of every site turned in their plane."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    sites = {}
    for site, one in found.sites.items():
        vectors = one.vectors.copy()
        vectors[:, :2] = sign * one.vectors[:, :2] @ np.array([[c, -s], [s, c]])
        sites[site] = dataclasses.replace(one, vectors=vectors.astype(one.vectors.dtype))
    return dataclasses.replace(found, sites=sites)


def test_a_note_counts_where_the_direction_is_nearly_the_same_and_nowhere_else(found: Analysis, path: Path) -> None:
    write_note(path, note(found))
    for near in (turned(found, 0), turned(found, 7), turned(found, 0, sign=-1)):  # cos 7° = 0.9925
        assert names(near, path) == {(1, "value", 0): "carries"}
    for other in (turned(found, 9), turned(found, 90)):  # cos 9° = 0.9877
        assert names(other, path) == {}
    write_note(path, note(turned(found, 90), 0, "another"))
    assert names(turned(found, 90), path) == {(1, "value", 0): "another"}
    assert names(found, path) == {(1, "value", 0): "carries"}, "what was noted before is kept for its own direction"


def test_tabs_side_by_side_lose_nothing(found: Analysis, path: Path) -> None:
    d_kv = found.d_kv

    def write(at: int) -> None:
        write_note(path, note(found, at, f"direction {at}"))
        if at % 5 == 0:
            save_capture(found, place_of("sums"), overwrite=True)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(d_kv)))
    assert names(found, path) == {(1, "value", at): f"direction {at}" for at in range(d_kv)}


def test_what_is_too_long_or_damaged_is_refused(found: Analysis, path: Path) -> None:
    with pytest.raises(InputError, match="the name has 61 characters, and at most 60"):
        note(found, name="x" * (LONGEST_NAME + 1))
    with pytest.raises(InputError, match="the remark has 2,001 characters, and at most 2,000"):
        note(found, remark="x" * (LONGEST_REMARK + 1))
    path.write_text('{"format": 1, "notes": [{"layer": 1}]}')
    with pytest.raises(InputError, match="delete it, and write the notes again"):
        read_notes(path)
    with pytest.raises(InputError):
        write_note(path, note(found))
    assert '"layer": 1' in path.read_text(), "what cannot be read is not written over"
    path.write_text('{"format": 2, "notes": []}')
    with pytest.raises(NewerFormatError):
        read_notes(path)


def test_words_are_found_in_names_and_remarks(found: Analysis) -> None:
    notes = [note(found, 1, "Carry", "of the tens"), note(found, 0, "tens digit"), note(found, 2, "", "STRASSE")]
    assert [one.direction for one in notes_with(notes, "TENS")] == [1, 2]
    assert [one.direction for one in notes_with(notes, "tens carry")] == [2]
    assert [one.direction for one in notes_with(notes, "straße")] == [3]
    assert notes_with(notes, "nothing") == []
    assert len(notes_with(notes, " ")) == 3


def test_nothing_is_written_beside_a_recorded_capture(home: Path) -> None:
    name = recorded_captures()[0]
    demo = open_capture(name)
    own = notes_in(find_capture(name))
    assert own.is_relative_to(home)
    write_note(own, note_on(demo, demo.site(demo.layers[-1], "value"), 0, "the first", ""))
    assert names(open_capture(name), own) == {(demo.layers[-1], "value", 0): "the first"}
    assert not (RECORDED / name / "notes.json").exists()

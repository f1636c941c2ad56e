"""Titles, tags and notes: written, found again, and those of a run the run's own."""

from pathlib import Path

import pytest

from spd_core.errors import InputError
from spd_core.library.labels import Label, read_labels, write_label
from spd_core.library.things import Ref
from spd_core.runs.folder import open_run
from tests.library.test_shelf import CAPTURE, RUN, TEXT


def test_a_label_is_kept_and_taken_away(home: Path) -> None:
    text, capture = Ref("text", TEXT), Ref("capture", CAPTURE)
    write_label(text, " My  text ", ["b", " a ", "b"], "good\n")
    write_label(capture, "", [], "only a note")
    assert read_labels([text, capture]) == {
        text: Label(title="My text", tags=("a", "b"), note="good"),
        capture: Label(note="only a note"),
    }
    write_label(text, "", [], "")
    assert set(read_labels([text, capture])) == {capture}


def test_those_of_a_run_are_the_runs_own(home: Path) -> None:
    write_label(Ref("run", RUN), "Called so", ["lecture"], "for Monday")
    assert (open_run(RUN).tags(), open_run(RUN).notes()) == (("lecture",), "for Monday")
    open_run(RUN).set_tags(["other"])
    assert read_labels([Ref("run", RUN)])[Ref("run", RUN)] == Label(
        title="Called so", tags=("other",), note="for Monday"
    )


@pytest.mark.parametrize(
    ("title", "tags", "note", "said"),
    [
        ("x" * 121, [], "", "the title has 121"),
        ("", ["x" * 41], "", "longer than 40"),
        ("", [str(i) for i in range(21)], "", "at most 20"),
        ("", [], "x" * 4001, "the note has 4,001"),
    ],
)
def test_what_is_too_long(title: str, tags: list[str], note: str, said: str, home: Path) -> None:
    with pytest.raises(InputError, match=said):
        write_label(Ref("text", TEXT), title, tags, note)
    assert read_labels([Ref("text", TEXT)]) == {}


def test_a_damaged_file_is_said(home: Path) -> None:
    (home / "library").mkdir()
    (home / "library" / "labels.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        read_labels([Ref("text", TEXT)])

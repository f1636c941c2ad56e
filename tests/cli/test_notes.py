"""`python -m spd_core notes`: what was noted in the app, from a shell."""

import json
from pathlib import Path

import pytest

from spd_core.subspace.direction_notes import note_on, write_note
from spd_core.subspace.store import find_capture, notes_in, open_capture
from tests import shell
from tests.shell import Run

run = shell.run


def test_notes_are_printed_and_found(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    assert run("notes", "arithmetic").out == "notes: none\n"
    demo, path = open_capture("arithmetic"), notes_in(find_capture("arithmetic"))
    write_note(path, note_on(demo, demo.site(29, "value"), 0, "first token", "a sink"))
    write_note(path, note_on(demo, demo.site(15, "key"), 6, "", "tens"))
    assert run("notes", "arithmetic").out == (
        "layer 15 key, direction 7: tens\nlayer 29 value, direction 1: first token · a sink\n"
    )
    assert json.loads(run("notes", "arithmetic", "--find", "SINK", "--json").out) == {
        "layer 29 value, direction 1": {"name": "first token", "remark": "a sink"}
    }
    wrong = run("notes", "no-such")
    assert (wrong.code, "no capture 'no-such'" in wrong.err) == (2, True)

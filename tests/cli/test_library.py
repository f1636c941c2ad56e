"""`library`, `bundle` and `import` from a shell: out of one home, into another."""

import json
from pathlib import Path

import pytest

from tests import shell
from tests.library.conftest import home, second_home  # noqa: F401 - fixtures
from tests.library.test_shelf import CAPTURE, TEXT
from tests.shell import Run

run = shell.run


def test_a_text_goes_from_one_home_to_another(
    run: Run, home: Path, second_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    listed = json.loads(run("library", "--json").out)
    assert listed[f"text:{TEXT}"]["stands_on"] == [f"capture:{CAPTURE}"]
    assert "capture:arithmetic" not in listed
    assert "capture:arithmetic" in run("library", "--recorded").out
    written = json.loads(run("bundle", f"text:{TEXT}", "--out", str(tmp_path / "a.zip"), "--json").out)
    assert written["things"] == [f"text:{TEXT}", f"capture:{CAPTURE}"]
    monkeypatch.setenv("SPD_HOME", str(second_home))
    assert run("library").out == "library: empty\n"
    assert "it will be brought in" in run("import", str(tmp_path / "a.zip"), "--check").out
    assert run("library").out == "library: empty\n"
    assert f"text:{TEXT}: brought in" in run("import", str(tmp_path / "a.zip")).out
    assert "is here already" in run("import", str(tmp_path / "a.zip")).out
    assert f"capture:{CAPTURE}" in run("library").out


def test_what_is_no_bundle_or_no_thing_is_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    (tmp_path / "a.zip").write_bytes(b"no zip")
    for words, said in (
        (("import", str(tmp_path / "a.zip")), "no whole zip"),
        (("bundle", "text:gone"), "no text 'gone'"),
        (("bundle", "gone"), "names nothing"),
    ):
        done = run(*words)
        assert (done.code, said in done.err, done.err.count("\n")) == (2, True, 1), done.err

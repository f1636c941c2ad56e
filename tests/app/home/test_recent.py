"""The list of recent models on disk: order, length, damage, a disk that refuses."""

import json
import logging
from pathlib import Path

import pytest

from app.home import recent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    return tmp_path


def test_the_last_eight_models_are_remembered_the_newest_first(home: Path) -> None:
    for number in range(10):
        recent.remember(f"org/model-{number}", None)
    recent.remember("org/model-5", None)
    recent.remember("org/model-5", "main")
    names = recent.recent_models()
    assert names[:3] == [("org/model-5", "main"), ("org/model-5", None), ("org/model-9", None)]
    assert len(names) == recent.MOST == 8
    stored = json.loads((home / "recent-models.json").read_text())
    assert all(set(entry) == {"name", "revision"} for entry in stored), "names and revisions, nothing else"


@pytest.mark.parametrize("damage", ["", "{", "7", "[7]", '[{"name": 1, "revision": null}]', "[" * 100_000, "\udcff"])
def test_a_damaged_list_is_ignored_with_a_line_in_the_log(
    home: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    (home / "recent-models.json").write_bytes(damage.encode("utf-8", "surrogateescape"))
    assert recent.recent_models() == []
    assert "recent models is ignored" in caplog.text
    recent.remember("org/model", None)
    assert recent.recent_models() == [("org/model", None)]


def test_a_disk_that_refuses_does_not_stop_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        recent.remember("org/model", None)
    assert "is not written" in caplog.text

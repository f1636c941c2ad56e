"""A home with something of every kind: what the version before the packages has saved, and a contrast of now."""

import tarfile
from pathlib import Path

import pytest

from tests import ROOT


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`SPD_HOME`, unpacked."""
    place = tmp_path / "home"
    with tarfile.open(ROOT / "tests" / "saved" / "home-before-packages.tar.xz") as archive:
        archive.extractall(place, filter="data")
    monkeypatch.setenv("SPD_HOME", str(place))
    return place


@pytest.fixture
def second_home(tmp_path: Path) -> Path:
    """Another machine's, still empty."""
    place = tmp_path / "second"
    place.mkdir()
    return place

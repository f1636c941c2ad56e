"""Pages as they are on a machine where something was made, or where nothing that comes with SPD Lab is in the way."""

from pathlib import Path

import pytest

from spd_core.runs import remarks


@pytest.fixture(autouse=True)
def nothing_recorded(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out recorded runs, but where a test is about them: what a page lists is then what the test has made."""
    if "recorded" not in request.path.stem:
        for name in ("RECORDED", "STUDIES"):
            monkeypatch.setattr(remarks, name, tmp_path / "nothing recorded")

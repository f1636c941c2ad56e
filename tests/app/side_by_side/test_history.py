"""The history of what was written."""

from pathlib import Path

import pytest

from app.side_by_side import history
from spd_core.errors import InputError
from spd_core.generation import comparison


def test_a_result_deleted_between_two_looks_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "find_comparison", lambda name: tmp_path / name)
    with pytest.raises(InputError, match="'gone' was deleted"):
        history.open_result("gone")

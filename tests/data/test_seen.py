"""What a model has seen: hashes of prompts, their union, and what stands in for files that are not there."""

import hashlib
from pathlib import Path

import pytest

from spd_core.data.seen import SEEN, Seen, all_seen, read_seen, seen_by_model, write_seen
from spd_core.errors import InputError


def test_prompts_are_counted_by_their_hashes_whatever_their_blanks(tmp_path: Path) -> None:
    seen = Seen.of(["What is 2 + 3?"], ["b", "a", "a"])
    assert seen.calibrated == (hashlib.sha256(b"What is 2 + 3?").hexdigest()[:16],)
    assert len(seen.trained) == 2
    assert seen.count(["What is  2 +\n3? ", "a", "a", "what is 2 + 3?", "What is 2 - 3?", "c"]) == 3
    write_seen(seen, tmp_path)
    assert read_seen(tmp_path) == seen_by_model(str(tmp_path)) == seen
    assert "What" not in (tmp_path / SEEN).read_text(), "nobody's prompt is in it"


def test_parts_are_seen_together_or_not_known(tmp_path: Path) -> None:
    first, second = Seen.of(["a"], ["b"]), Seen.of(["a", "c"])
    assert all_seen([first, second]) == Seen.of(["a", "c"], ["b"])
    assert all_seen([]) == Seen()
    assert all_seen([first, None]) is None
    write_seen(None, tmp_path)
    assert not (tmp_path / SEEN).exists()
    assert read_seen(tmp_path) is None
    assert seen_by_model("org/model") is None


def test_a_damaged_file_is_named_and_makes_nothing_known(tmp_path: Path) -> None:
    (tmp_path / SEEN).write_text('{"format": 1, "calibrated": 3}')
    with pytest.raises(InputError, match=rf"{SEEN} is damaged .*; copy the folder again, or delete this file"):
        read_seen(tmp_path)
    assert seen_by_model(str(tmp_path)) is None

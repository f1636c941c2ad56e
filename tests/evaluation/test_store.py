"""Under what records are kept: whatever an answer depends on, as versions before computed it."""

import time
from pathlib import Path

import pytest

from spd_core.evaluation.store import SCORING, About, Asked, ItemRecord, ItemStore
from spd_core.peers import Peers
from tests.side_by_side import side_by_side

ABOUT = About(subject="s", set="x", template="t", scorer="number", style="raw", max_new_tokens=5)


def test_records_of_an_older_scoring_are_not_read() -> None:
    assert ABOUT.scoring == SCORING
    assert ABOUT.model_copy(update={"scoring": SCORING + 1}).key != ABOUT.key


def test_records_of_before_there_were_engines_are_still_found() -> None:
    """The key of an `About` of the version before, as that version computed it."""
    assert ABOUT.key == "1ae060ccb42a6a15ca6e26cf38b41031"
    assert ABOUT.model_copy(update={"writer": "vllm 0.32.0"}).key != ABOUT.key


class Slow(ItemStore):
    """Looks late: another process could have added a record meanwhile."""

    def records(self) -> dict[Asked, ItemRecord]:
        end = time.monotonic() + 0.5
        while not any(file.stat().st_size for file in self._rows.files()) and time.monotonic() < end:
            time.sleep(0.01)
        return super().records()


def test_what_is_there_is_the_same_to_all_however_late_one_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would not share the same work, and an item might be nobody's."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path))

    def work(peers: Peers) -> dict[Asked, ItemRecord] | None:
        store = (ItemStore if peers.first else Slow)(ABOUT, peers)
        with store.writing() as known:
            if peers.first:
                store.add([ItemRecord(id="a", prompt="p", gold="1")])
        return known

    assert side_by_side(2, work) == [{}, {}]
    assert len(ItemStore(ABOUT).records()) == 1

"""Torch is imported while nobody counts, and nobody counts while it is imported: scipy would meet half of it."""

import functools
import threading

import pytest

from app.jobs import models
from tests.waiting import LONG


def test_statistics_wait_for_an_import_and_an_import_for_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end, counting, may_stop = (threading.Event() for _ in range(4))
    told: list[str] = []

    def engine() -> None:
        begun.set()
        assert may_end.wait(LONG)
        told.append("imported")

    def count() -> None:
        with models.no_import_meanwhile():
            counting.set()
            assert may_stop.wait(LONG)
            told.append("counted")

    monkeypatch.setattr(models, "_engine", functools.cache(engine))
    threads = [threading.Thread(target=models.import_engine)]
    threads[0].start()
    assert begun.wait(LONG)
    threads.append(threading.Thread(target=count))
    threads[1].start()
    assert not counting.wait(0.2), "torch has a name by now, and no tensors"
    may_end.set()
    may_stop.set()
    for thread in threads:
        thread.join(LONG)
    assert told == ["imported", "counted"]

    monkeypatch.setattr(models, "_engine", functools.cache(engine))
    may_stop.clear()
    counting.clear()
    threads = [threading.Thread(target=count)]
    threads[0].start()
    assert counting.wait(LONG)
    begun.clear()
    threads.append(threading.Thread(target=models.import_engine))
    threads[1].start()
    assert not begun.wait(0.2), "somebody counts"
    may_stop.set()
    for thread in threads:
        thread.join(LONG)
    assert told[2:] == ["counted", "imported"]

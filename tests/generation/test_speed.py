"""How fast a model has written, from its results."""

import pytest

from spd_core.generation.speed import speed_of
from tests.generation.test_comparison import comparison, lane


def test_the_newest_long_result_of_the_model_tells() -> None:
    long = lane("Raw", ["a"] * 40)
    known = [
        comparison(lane("Raw", ["a"]), seconds=1.0),  # too short
        comparison(long, long, seconds=1.0, model="another"),
        comparison(long, long, seconds=4.0, reading_seconds=6.0),
        comparison(long, seconds=1.0),
    ]
    found = speed_of("builtin", known)
    assert found is not None
    assert (found.tokens, found.with_reading) == (pytest.approx(20), pytest.approx(8))
    assert "2026-01-02 03:04:05 on this machine" in found.source
    assert speed_of("other", known) is None

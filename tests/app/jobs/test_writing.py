"""What a job says while it reads a long prompt."""

import pytest

from app.jobs import writing
from app.jobs.job import Job
from spd_core.progress import Progress


def test_how_long_it_goes_on_is_said_by_the_last_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr(writing.time, "monotonic", lambda: clock)
    job: Job[int, int] = Job(lambda job: 0)
    tell = writing.telling_left(job)
    said = []
    for clock, done in ((100.0, 0), (103.0, 512), (107.0, 1024)):  # noqa: B007 - the job reads the clock
        tell(Progress(done, 2560, f"Reading: {done}"))
        said.append(job.phase)
    assert said == ["Reading: 0", "Reading: 512, at least 12 s to go", "Reading: 1024, at least 12 s to go"]
    assert job.share == 1024 / 2560
    tell(Progress(0, 2560, "Reading it again"))
    assert job.phase == "Reading it again", "what was read before says nothing of it"

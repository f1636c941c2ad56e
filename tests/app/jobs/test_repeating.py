"""The job behind "Repeat over prompts × seeds": what it saves, what a stop keeps, what it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.jobs.job import Job
from app.jobs.models import ModelStore
from app.jobs.repeating import repeat
from app.jobs.requests import RepeatRequest, WriteRequest
from app.ui import session
from spd_core.evaluation.repeats import Repeat, read_repeat, repeat_files, repeats_folder
from spd_core.generation.compare import compare
from spd_core.recipes.lanes import RAW, Sampling
from tests.generation.test_compare import HALF, analysis_of
from tests.waiting import LONG

SPECS, WARM = (RAW, HALF), Sampling(temperature=1.2, max_new_tokens=6)


@pytest.fixture
def request_of(tiny_lm: Callable[[str], Any], empty_history: Path) -> WriteRequest:
    analysis = analysis_of(tiny_lm("llama"))
    return WriteRequest(analysis, session.model_key(analysis), SPECS, "2 + 4?", "raw", WARM)


def run(work: Callable[[Job[Repeat, None]], Repeat]) -> Job[Repeat, None]:
    job: Job[Repeat, None] = Job(work).start()
    job.join(LONG)
    return job


def test_it_is_saved_and_each_cell_is_what_generate_writes(request_of: WriteRequest) -> None:
    analysis, store = request_of.analysis, ModelStore()
    asked = RepeatRequest(request_of, analysis.provenance.revision, prompts=2, seeds=2)
    job = run(lambda job: repeat(job, asked, store))
    assert not job.error
    made = job.result
    assert made is not None
    assert read_repeat(repeat_files()[0]) == made
    assert "8 of 8 texts" in job.phase
    lm = store.resident
    assert lm is not None
    alone = compare(lm, analysis, "2 + 4?", SPECS, WARM)
    assert [lane.ids for lane in made.comparison(0, 0).lanes] == [lane.ids for lane in alone.lanes]


def test_a_stop_keeps_the_prompts_that_are_through(request_of: WriteRequest) -> None:
    asked = RepeatRequest(request_of, request_of.analysis.provenance.revision, prompts=4, seeds=2)

    def work(job: Job[Repeat, None]) -> Repeat:
        tell = job.progress

        def until_half(share: float, doing: str) -> None:
            tell(share, doing)
            if doing.startswith("Writing: 8 of 16 texts"):
                job.stop()

        job.progress = until_half  # type: ignore[method-assign]
        return repeat(job, asked, ModelStore())

    made = run(work).result
    assert made is not None
    assert made.stopped
    assert (len(made.prompts), made.planned) == (2, (4, 2))


def test_stopped_before_the_first_prompt_there_is_nothing(request_of: WriteRequest) -> None:
    asked = RepeatRequest(request_of, request_of.analysis.provenance.revision, prompts=4, seeds=2)

    def work(job: Job[Repeat, None]) -> Repeat:
        job.stop()
        return repeat(job, asked, ModelStore())

    assert "nothing to count" in run(work).error
    assert not list(repeats_folder().glob("*.json"))


def test_another_model_is_refused(request_of: WriteRequest) -> None:
    asked = RepeatRequest(request_of, "another@1", prompts=1, seeds=1)
    assert "generate again" in run(lambda job: repeat(job, asked, ModelStore())).error

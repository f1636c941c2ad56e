"""What runs on background threads for Side by side: writing lanes, and reading what they wrote.

Pages import this module only inside functions, since it brings torch along.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from app.jobs.job import Job
from app.jobs.models import ModelStore
from app.jobs.requests import WriteRequest
from spd_core.errors import InputError, MemoryLimitError, Stopped
from spd_core.generation import compare as engine
from spd_core.generation import comparison
from spd_core.generation.comparison import Comparison
from spd_core.generation.decode import Completion
from spd_core.generation.pieces import TextStream
from spd_core.generation.teacher_forcing import read_lanes
from spd_core.intervention.adapters import Adapter, saved_adapter
from spd_core.models.identity import same_revision
from spd_core.progress import Progress, Tell
from spd_core.recipes.lanes import LaneSpec


@dataclass(frozen=True)
class LiveLane:
    """A lane while it is written.

    Attributes:
        tokens: how many so far.
        seconds: it has been writing for, until it finished.
        finish: `eos`, `length` or `stopped`; empty while it writes.
    """

    label: str
    text: str
    tokens: int
    seconds: float
    finish: str


@dataclass(frozen=True)
class Live:
    """All lanes at one moment, and how many have finished; of a sweep no texts."""

    lanes: tuple[LiveLane, ...]
    done: int
    total: int


def write(job: Job[Comparison, Live], request: WriteRequest, store: ModelStore) -> Comparison:
    """Continue the prompt in all lanes, in one batch, read the texts meanwhile, and save the result.

    Raises:
        SpdError: the model cannot be loaded, a setting is out of range, or memory runs out.
    """
    lm = store.get(request.key, job.tell)
    job.progress(0.0, "Reading the prompt")
    sampling, total = request.sampling, len(request.specs)
    texts = [TextStream(lm.tokenizer) for _ in request.specs]

    def on_step(completions: list[Completion], seconds: list[float]) -> None:
        lanes = zip(completions, texts, seconds, strict=True) if request.grid is None else ()
        done = sum(bool(completion.finish) for completion in completions)
        job.news = Live(tuple(_live(*lane) for lane in lanes), done, total)
        written = sum(1 if c.finish else len(c.tokens) / sampling.max_new_tokens for c in completions)
        job.progress(written / total, "Writing")

    adapters = adapters_of(request.specs)
    with told_of_memory(request):
        comparison_made = engine.compare(
            lm,
            request.analysis,
            request.prompt,
            request.specs,
            sampling,
            style=request.style,
            answer=request.answer,
            others=request.others,
            adapters=adapters,
            grid=request.grid,
            alternatives=5 if request.grid is None else 3,
            on_step=on_step,
            tell=telling_left(job),
            stop=job.stopping,
        )
    if not any(lane.tokens for lane in comparison_made.lanes) and job.stopping():
        raise Stopped("stopped before the first token; generate again")
    return _saved(job, comparison_made)


def telling_left(job: Job[Any, Any]) -> Tell:
    """Tells a job what the engine does, and how long it goes on at least: as fast as since it was last told.

    Pieces of a prompt take the longer the more was read before them.
    """
    before, then = Progress(0, 0), time.monotonic()

    def tell(at: Progress) -> None:
        nonlocal before, then
        now, done = time.monotonic(), at.done - before.done
        again = at.total == before.total and done > 0
        left = f", at least {(now - then) * (at.total - at.done) / done:.0f} s to go" if again else ""
        job.progress(at.share, f"{at.what or job.phase}{left}")
        before, then = at, now

    return tell


def adapters_of(specs: Iterable[LaneSpec]) -> dict[str, Adapter]:
    """The adapters that lanes name; raises `InputError` when one is gone or damaged."""
    return {ref: saved_adapter(ref) for ref in dict.fromkeys(spec.adapter for spec in specs) if ref}


def _live(completion: Completion, stream: TextStream, seconds: float) -> LiveLane:
    text = stream.upto(completion.tokens, whole=bool(completion.finish))
    return LiveLane(completion.lane.name, text, len(completion.tokens), seconds, completion.finish)


def read_texts(job: Job[Comparison, Live], written: Comparison, request: WriteRequest, store: ModelStore) -> Comparison:
    """Read what was written and not yet read, e.g. after a stop, and save the result.

    Raises:
        SpdError: the model cannot be loaded, or is not the one that wrote.
    """
    lm = store.get(request.key, job.tell)
    if not same_revision(written.revision, lm.name, lm.revision):
        raise InputError(f"these texts are of {written.revision}, and the model is {lm.revision}; generate again")
    specs = [lane.spec for lane in written.lanes]
    adapters = adapters_of(specs)
    for facts in (lane.adapter for lane in written.lanes if lane.adapter is not None):
        if adapters[facts.ref].fingerprint != facts.fingerprint:
            raise InputError(f"the adapter {facts.ref} is another one than wrote these texts; generate again")
    job.progress(0.0, "Reading each text in both lanes")
    with told_of_memory(request):
        lanes = engine.lanes_of(specs, request.analysis, request.others, adapters)
        comparison_read = read_lanes(lm, written, lanes, tell=job.tell, stop=job.stopping)
    return _saved(job, comparison_read)


@contextmanager
def told_of_memory(request: WriteRequest) -> Iterator[None]:
    """Memory that runs out becomes a sentence with the sizes and the remedy."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise MemoryLimitError(
            f"memory ran out with {len(request.specs)} lanes of up to {request.sampling.max_new_tokens} new tokens; "
            "choose fewer lanes or fewer new tokens"
        ) from error


def _saved(job: Job[Comparison, Live], found: Comparison) -> Comparison:
    job.saving(lambda: comparison.save_comparison(found))
    return found

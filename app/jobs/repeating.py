"""Repeats the lanes of a result over prompts and seeds, on a background thread.

Pages import this module only inside functions, since it brings torch along.
"""

import time

from app.jobs.job import Job
from app.jobs.models import ModelStore
from app.jobs.requests import RepeatRequest
from app.jobs.writing import adapters_of, told_of_memory
from spd_core.errors import InputError
from spd_core.evaluation.repeating import repeat_lanes
from spd_core.evaluation.repeats import Repeat, save_repeat
from spd_core.models.identity import same_revision
from spd_core.progress import Progress


def repeat(job: Job[Repeat, None], asked: RepeatRequest, store: ModelStore) -> Repeat:
    """Write the lanes over all prompts and seeds, count, and save; a stop keeps the prompts that are through.

    Raises:
        SpdError: the model cannot be loaded, or is another one; nothing is through when it is stopped; memory runs out.
    """
    request = asked.request
    lm = store.get(request.key, job.tell)
    if not same_revision(asked.revision, lm.name, lm.revision):
        raise InputError(f"these texts are of {asked.revision}, and the model is {lm.revision}; generate again")
    job.progress(0.0, "Reading the prompt")
    begun = time.monotonic()

    def tell(at: Progress) -> None:
        job.progress(at.share, in_words(at, time.monotonic() - begun))

    with told_of_memory(request):
        made = repeat_lanes(
            lm,
            request.analysis,
            request.prompt,
            request.specs,
            request.sampling,
            prompts=asked.prompts,
            seeds=asked.seeds,
            style=request.style,
            others=request.others,
            adapters=adapters_of(request.specs),
            tell=tell,
            stop=job.stopping,
        )
    job.saving(lambda: save_repeat(made))
    return made


def in_words(at: Progress, seconds: float) -> str:
    """Texts, tokens, and the time left as fast as until now; none before a tenth is done."""
    left = f", about {seconds * (1 - at.share) / at.share:.0f} s to go" if 0.1 <= at.share < 1 else ""
    return f"{at.what}: {at.done:.0f} of {at.total:.0f} texts, {at.tokens:,} tokens{left}"

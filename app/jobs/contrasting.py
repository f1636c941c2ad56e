"""Makes a contrast of saved captures on a background thread; no model is asked, and no torch imported."""

from collections.abc import Sequence

from app.jobs.job import Job
from spd_core.storage import new_name
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.contrast import contrast, name_of
from spd_core.subspace.store import place_of, save_capture


def make(job: Job[Analysis, None], analysis: Analysis, others: Sequence[Analysis]) -> Analysis:
    """The contrast of an analysis with others, saved under a new name.

    Raises:
        SpdError: these captures cannot be contrasted, or it was stopped.
    """
    name = new_name(name_of(analysis, others))
    made = contrast(analysis, others, name=name, tell=job.tell, stop=job.stopping)
    job.saving(lambda: save_capture(made, place_of(made.name)))
    return made

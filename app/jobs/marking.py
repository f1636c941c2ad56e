"""Runs the tests of code that arms have written, sealed off, on a background thread; needs no model."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from app.jobs.job import Job
from spd_core.data.capability import Capability
from spd_core.distill.corpus import CorpusRow
from spd_core.errors import InputError
from spd_core.evaluation.marks import marks
from spd_core.sandbox.run import check_isolation, run_tests

Corpus: TypeAlias = tuple[str, float]
"""A corpus file and when it was changed last."""


def mark(
    job: Job[dict[Corpus, dict[int, bool]], None], corpora: Mapping[Corpus, Sequence[CorpusRow]], known: Capability
) -> dict[Corpus, dict[int, bool]]:
    """Whether each row passes its tests, by corpus and number.

    Raises:
        InputError: this machine cannot seal code off; the message says why.
        Stopped: somebody has asked to stop.
    """
    if reason := check_isolation():
        raise InputError(reason)
    total, before = sum(map(len, corpora.values())), 0
    found: dict[Corpus, dict[int, bool]] = {}
    for corpus, rows in corpora.items():

        def tell(done: int, before: int = before) -> bool:
            job.progress((before + done) / max(total, 1), f"Running tests: {before + done} of {total} rows")
            return not job.stop_asked

        found[corpus] = marks(rows, known, run_tests, tell)
        before += len(rows)
    return found

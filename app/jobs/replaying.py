"""Computes the numbers of things anew on a background thread.

Pages import this module only inside functions, since it brings torch along.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.jobs.job import Job
from app.jobs.models import ModelKey, ModelStore
from spd_core.library.replay import replay
from spd_core.library.replay_report import ReplayReport
from spd_core.library.things import Ref
from spd_core.models.loading import LanguageModel
from spd_core.progress import Tell


@dataclass(frozen=True)
class Replayed:
    """What was replayed, as the page named it, and what came out."""

    what: str
    report: ReplayReport


def replay_again(
    job: Job[Replayed, str], what: str, target: Sequence[Ref] | Path | BinaryIO, store: ModelStore
) -> Replayed:
    """Compute the numbers of things, or of a bundle, anew with the model that all sessions share.

    Raises:
        SpdError: a thing is gone, or the bundle is damaged.
    """

    def open_model(name: str, revision: str | None, dtype: str, tell: Tell) -> LanguageModel:
        return store.get(ModelKey(name, revision, dtype), tell)

    job.news = what
    job.progress(0.0, "Computing again")
    return Replayed(what, replay(target, open_model=open_model, tell=job.tell, stop=job.stopping))

"""Writes a model with an adapter merged, or a subspace folded, into its weights, on a background thread.

Pages import this module only inside functions, since it brings torch along.
"""

from pathlib import Path

from app.jobs.job import Job
from app.jobs.models import ModelKey, ModelStore
from spd_core.intervention.adapters import saved_adapter
from spd_core.intervention.cards import AdapterCard
from spd_core.intervention.export import export_folded, export_merged
from spd_core.intervention.projection import Lane
from spd_core.models.identity import pinned
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.subspace import subspace_of


def merge(job: Job[Path, None], card: AdapterCard, target: Path, store: ModelStore) -> Path:
    """Load the model, and write it with the adapter merged in.

    Raises:
        SpdError: the model or the adapter cannot be loaded, or the disk refuses.
    """
    lm = store.get(ModelKey(card.base, pinned(card.base, card.revision), card.dtype), job.tell)
    job.progress(0.6, "Merging and writing")
    export_merged(lm, saved_adapter(card.ref), target, overwrite=True)
    return target


def fold(job: Job[Path, None], analysis: Analysis, rank: str, target: Path, store: ModelStore) -> Path:
    """Load the model, and write it with the capture's subspace folded in.

    Raises:
        SpdError: the model cannot be loaded, the rank cannot be met, or the disk refuses.
    """
    record = analysis.provenance
    lane = Lane(subspace_of(analysis, rank))
    lm = store.get(ModelKey(record.model, pinned(record.model, record.revision), record.dtype), job.tell)
    job.progress(0.6, "Folding and writing")
    export_folded(lm, lane, target, overwrite=True)
    return target

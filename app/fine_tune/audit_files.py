"""Which audits there are to look at: of a run's arms, or those that come with SPD Lab. Pure: no Streamlit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from spd_core.distill.audit_steps import StepMeans, step_means
from spd_core.distill.audit_verdict import audit_verdict
from spd_core.distill.audits import AUDITS, Audit, read_audits
from spd_core.distill.recorded_audits import RECORDED_AUDITS, RecordedSettings, read_recorded_training
from spd_core.recipes.distill import short_name
from spd_core.recipes.on_policy import ChunkSettings
from spd_core.storage import modified

if TYPE_CHECKING:
    from spd_core.runs.folder import Run


@dataclass(frozen=True)
class Looked:
    """Audits of a training, in the order of steps and prompts, and what they come to."""

    audits: tuple[Audit, ...]

    @cached_property
    def steps(self) -> list[StepMeans]:
        """The means of each step."""
        return step_means(self.audits)

    @cached_property
    def verdict(self) -> str:
        """What they show."""
        return audit_verdict(self.audits)

    @cached_property
    def most(self) -> float:
        """The highest entropy of all tokens, in nats."""
        return max((one for audit in self.audits for one in audit.entropies), default=0.0) or 1.0

    def at(self, step: int) -> list[Audit]:
        """The rollouts of a step."""
        return [audit for audit in self.audits if audit.step == step]


@dataclass(frozen=True)
class AuditedTraining:
    """A training with audits.

    Attributes:
        key: of the arm and round, as in the link.
        title: for people.
        path: of its audits.
        chunks: the settings that they were made with.
        file: what downloads are called.
    """

    key: str
    title: str
    path: Path
    chunks: ChunkSettings
    file: str

    def looked(self) -> Looked:
        """What is there by now; raises `InputError` when the file is damaged."""
        try:
            size = self.path.stat().st_size
        except OSError:
            size = 0
        return _looked(self.path, modified(self.path), size)


@lru_cache(maxsize=8)
def _looked(path: Path, _changed: float, _size: int) -> Looked:
    return Looked(tuple(read_audits(path)))


def trainings_of(run: "Run") -> Sequence[AuditedTraining]:
    """Those of a run that have audits, in the order of its arms, rounds one after another."""
    recipe, found = run.record.distillation, []
    for arm in recipe.arms:
        rounds = (run.folder / "arms" / arm / f"round-{at}" / AUDITS for at in range(1, recipe.rounds + 1))
        for at, path in enumerate(rounds, 1):
            if path.is_file():
                title = f"{short_name(arm)}, round {at}" if recipe.rounds > 1 else short_name(arm)
                found.append(AuditedTraining(f"{arm}-{at}", title, path, recipe.omniopd, f"{run.id}-{arm}-{at}"))
    return found


def recorded_training(name: str) -> tuple[AuditedTraining, RecordedSettings]:
    """One that comes with SPD Lab, by its capability's name; raises `InputError` when it is damaged."""
    folder = RECORDED_AUDITS / name
    settings = read_recorded_training(folder).settings
    title = f"{short_name(settings.arm)} on {name}"
    return AuditedTraining(name, title, folder / AUDITS, settings.chunks, f"recorded-{name}"), settings

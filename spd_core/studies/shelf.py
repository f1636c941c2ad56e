"""The studies that come with SPD Lab: their plans, and what is recorded or finished here of each. Imports no torch."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spd_core.errors import InputError
from spd_core.evaluation.recorded import run_of
from spd_core.runs import remarks, states
from spd_core.runs.folder import Damaged, Run, all_runs
from spd_core.studies.carrying_out import recorded_parts
from spd_core.studies.plan import StudyPlan, read_study


@dataclass(frozen=True)
class KnownStudy:
    """A plan, and the runs of its evaluations that are there.

    Attributes:
        path: of the plan.
        runs: recorded ones, and where none is, those that are finished on this machine.
    """

    path: Path
    study: StudyPlan
    runs: dict[str, Run]

    @property
    def command(self) -> str:
        """What carries the whole of it out, from a shell."""
        return shlex.join(["python", "-m", "spd_core", "study", self._plan])

    @property
    def slice_command(self) -> str:
        """What repeats its slice and compares it with what is recorded; empty without one."""
        if not self.study.slice:
            return ""
        return f"{self.command} --slice --against {shlex.quote(self._plan.removesuffix('.json'))}"

    @property
    def _plan(self) -> str:
        return f"assets/studies/{self.path.name}"


def known_studies() -> list[KnownStudy]:
    """All of them, by name; a plan that cannot be read is left out."""
    found, mine = [], all_runs()
    for path in sorted(remarks.STUDIES.glob("*.json")):
        with suppress(InputError):
            study = read_study(path)
            found.append(KnownStudy(path, study, _runs(study, path.with_suffix(""), mine)))
    return found


def _runs(study: StudyPlan, folder: Path, mine: Sequence[Run | Damaged]) -> dict[str, Run]:
    recorded = recorded_parts(study, folder)
    runs: dict[str, Run] = {}
    for part in study.parts:
        run = recorded.get(part.name) or run_of(part.recipe, mine)
        if run is not None and (run.recorded or states.state_of(run) == "done"):
            runs[part.name] = run
    return runs

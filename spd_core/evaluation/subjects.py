"""Makes the subjects of an evaluation ready: subspaces captured or opened, adapters loaded, and a fingerprint of each.

Knows nothing of items or scores.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from spd_core.data.capability import Capability
from spd_core.data.catalog import find_capability
from spd_core.errors import InputError
from spd_core.intervention.adapters import load_adapter
from spd_core.intervention.cards import adapter_folder
from spd_core.intervention.projection import Lane
from spd_core.models.loading import LanguageModel
from spd_core.recipes.distill import CaptureSettings, SubspaceOf
from spd_core.recipes.evaluation import EvaluationRecipe, Subject
from spd_core.subspace.capture import Progress
from spd_core.subspace.pipeline import captured_subspace, subspace_fingerprint
from spd_core.subspace.store import open_capture
from spd_core.subspace.subspace import RECORD, Subspace, load_subspace, random_subspace, subspace_of


class CaptureStopped(Exception):  # noqa: N818 - it is no error
    """Somebody has asked to stop in the middle of a capture."""


@dataclass(frozen=True)
class Ready:
    """A subject that can answer.

    Attributes:
        fingerprint: sha256 of the model, its projection and its adapter: equal ones answer alike.
    """

    lane: Lane
    fingerprint: str


@dataclass(frozen=True)
class Subjects:
    """Makes subjects of one loaded model; what it captures is kept in `folder`, and found there again.

    Attributes:
        runs: by seed, the run that has trained the arms.
        capturing: told what is captured, before each capture; `progress` how far that is.
    """

    lm: LanguageModel
    recipe: EvaluationRecipe
    folder: Path
    runs: dict[int, str]
    capturing: Callable[[str], None] = lambda _what: None
    progress: Callable[[Progress], None] | None = None
    stop: Callable[[], bool] | None = None
    _made: dict[str, Subspace] = field(default_factory=dict)

    def ready(self, subject: Subject, seed: int) -> Ready:
        """The subject as it comes out with a seed.

        Raises:
            SpdError: nothing is saved under a name, an adapter or capture of another model, or a failed capture.
            CaptureStopped: somebody has asked to stop.
        """
        subspace = self._subspace(subject, seed) if subject.kind == "projected" else None
        strength = self.recipe.capture.strength if subject.strength is None else subject.strength
        ref = subject.adapter or (f"{self.runs[seed]}/{subject.arm}" if subject.arm else "")
        adapter = load_adapter(adapter_folder(ref)) if ref else None
        lane = Lane(subspace, strength, subject.kinds, subject.layers, subject.complement, subject.title, adapter)
        lane.maps(self.lm)  # refuses another model, or layers that are not there, before anything is asked
        lane.deltas(self.lm)
        return Ready(lane, fingerprint(self.lm, lane))

    @cached_property
    def _calibration(self) -> Capability:
        return find_capability(self.recipe.capability).limited(self.recipe.capture.examples)

    def _subspace(self, subject: Subject, seed: int) -> Subspace:
        rank = subject.rank or self.recipe.capture.rank
        if subject.capture:
            found = subspace_of(open_capture(subject.capture), rank)
        else:
            found = self._captured(self.recipe.source(subject), rank, seed)
        return random_subspace(found, seed) if subject.of == "random" else found

    def _captured(self, kind: SubspaceOf, rank: str, seed: int) -> Subspace:
        wanted: CaptureSettings = self.recipe.capture.model_copy(update={"rank": rank})
        asked = json.dumps([kind, rank, seed if kind == "shuffled answers" else None, self._calibration.fingerprint,
                            content_of(self.lm.name) or self.lm.revision])  # fmt: skip
        name = f"{kind.partition(' ')[0]}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"
        if name in self._made:
            return self._made[name]
        place = self.folder / "captures" / name
        if not (place / RECORD).is_file():
            self.capturing(kind)
            found = captured_subspace(
                self.lm, self._calibration, kind, wanted, self.recipe.corpus.prompt_style, seed,
                on_batch=self.progress, stop=self.stop,
            )  # fmt: skip
            if found is None:
                raise CaptureStopped
            found.save(place, overwrite=True)
        return self._made.setdefault(name, load_subspace(place))


def fingerprint(lm: LanguageModel, lane: Lane) -> str:
    """sha256 of what answers: the model at its revision and dtype, where it is projected to, what it is tuned by."""
    projected = lane.subspace is not None and lane.strength != 0
    facts = {
        "model": content_of(lm.name) or (lm.name if lm.revision == "unknown" else lm.revision),
        "dtype": str(lm.dtype),
        "subspace": subspace_fingerprint(lane.subspace) if projected else "",
        "how": [lane.strength, list(lane.kinds), lane.layers, lane.complement] if projected else None,
        "adapter": lane.adapter.fingerprint if lane.adapter is not None else "",
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def content_of(model: str) -> str:
    """sha256 of all files of a model's folder; empty where the name is no folder.

    A model's revision samples its weights, which does not tell a checkpoint with folded projections from its base.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return ""
    files = sorted(path for end in ("*.safetensors", "*.json", "*.jinja", "*.model") for path in folder.glob(end))
    return _digest(tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files))


@lru_cache(maxsize=16)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, size in files:
        with open(path, "rb") as file:
            digest.update(f"{Path(path).name}:{size}:{hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()


def check_names(recipe: EvaluationRecipe) -> None:
    """Look for adapters and captures that subjects name, before anything is loaded.

    Raises:
        InputError: one is not there; the message names it.
    """
    for subject in recipe.subjects:
        if subject.adapter:
            adapter_folder(subject.adapter)
        if subject.capture:
            open_capture(subject.capture)
        folder = Path(subject.model or ".")
        if subject.model and folder.is_dir() and not (folder / "config.json").is_file():
            raise InputError(f"{folder} holds no config.json; name the folder of a checkpoint, as export writes it")

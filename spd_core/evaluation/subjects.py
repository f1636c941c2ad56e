"""Makes the subjects of an evaluation ready: subspaces captured or opened, adapters loaded, and a fingerprint of each.

Knows nothing of items or scores.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from spd_core.data.capability import Capability
from spd_core.data.catalog import find_capability
from spd_core.data.seen import Seen, all_seen
from spd_core.distill.recall import recalled
from spd_core.distill.trained import left_out_digest
from spd_core.errors import InputError
from spd_core.evaluation.cells import Cell
from spd_core.intervention.adapters import Adapter, saved_adapter
from spd_core.intervention.cards import finished_adapters
from spd_core.intervention.export import seen_before
from spd_core.intervention.lanes import make_lane, subspace_for
from spd_core.intervention.projection import Lane
from spd_core.models.identity import content_of
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop, Tell, silent
from spd_core.recipes.distill import ArmName
from spd_core.recipes.evaluation import EvaluationRecipe, Subject
from spd_core.recipes.gains import gains_fact
from spd_core.recipes.lanes import LaneSpec, source_of
from spd_core.runs.parallel import together
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.pipeline import capture_source
from spd_core.subspace.store import capture_place, is_capture, load_capture, reference_of, save_capture
from spd_core.subspace.subspace import Subspace


@dataclass(frozen=True)
class Ready:
    """A subject that can answer.

    Attributes:
        spec: the lane in words.
        fingerprint: sha256 of the model, its projection and its adapter: equal ones answer alike.
        capture: of a projected one, what `open_capture` calls the capture; `subspace` its identity.
        seen: the prompts that it was calibrated or trained on; None where they are not known.
    """

    spec: LaneSpec
    lane: Lane
    fingerprint: str
    capture: str = ""
    subspace: str = ""
    seen: Seen | None = None


@dataclass(frozen=True)
class Subjects:
    """Makes subjects of one loaded model; what it captures is kept in `folder`, and found there again.

    Attributes:
        runs: by arm and seed, the run that has trained it.
        capturing: told what is captured, before each capture; `tell` how far that is.
    """

    lm: LanguageModel
    recipe: EvaluationRecipe
    folder: Path
    runs: Mapping[tuple[ArmName, int], str]
    capturing: Callable[[str], None] = lambda _what: None
    tell: Tell = silent
    stop: Stop | None = None
    _opened: dict[Path, Analysis] = field(default_factory=dict)

    def ready(self, subject: Subject, seed: int) -> Ready:
        """The subject as it comes out with a seed.

        Raises:
            SpdError: nothing is saved under a name, an adapter or capture of another model, or a failed capture.
            Stopped: somebody has asked to stop.
        """
        run = self.runs.get((subject.arm, seed), "") if subject.arm is not None else ""
        spec = self.recipe.lane(subject, seed, run)
        lane = make_lane(spec, subject.title, self._subspace, _adapter)
        lane.maps(self.lm)  # refuses another model, or layers that are not there, before anything is asked
        lane.deltas(self.lm)
        made = Ready(spec, lane, fingerprint(self.lm, lane), seen=all_seen((seen_before(self.lm.name), lane.seen)))
        if not spec.projects:
            return made
        place, found = self._capture(spec)
        return replace(made, capture=reference_of(place), subspace=found.identity)

    @cached_property
    def _calibration(self) -> Capability:
        return find_capability(self.recipe.capability).limited(self.recipe.capture.examples)

    def _subspace(self, spec: LaneSpec) -> Subspace:
        found = subspace_for(spec, self._capture(spec)[1])
        if spec.capture or spec.of == "contrast":  # which has seen the others' examples, too
            return found
        return replace(found, seen=Seen.of(example.prompt for example in self._calibration.examples))

    def _capture(self, spec: LaneSpec) -> tuple[Path, Analysis]:
        """The capture that a subject names, or else one of this evaluation's own, and its folder."""
        place = capture_place(spec.capture) if spec.capture else self._captured(spec)
        if place not in self._opened:
            self._opened[place] = load_capture(place)
        return place, self._opened[place]

    def _captured(self, spec: LaneSpec) -> Path:
        """The folder of a capture that this evaluation needs, made unless it is there; all ranks are cut from it."""
        kind = source_of(spec)
        asked = json.dumps(
            [
                kind,
                spec.seed if kind == "shuffled answers" else None,
                self._calibration.fingerprint,
                content_of(self.lm.name) or self.lm.revision,
                *([left_out_digest(self.recipe.capture)] if kind == "contrast" else []),
            ]
        )
        name = f"{kind.partition(' ')[0]}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"
        place = self.folder / "captures" / name
        peers = together()
        if peers.agreed(lambda: not is_capture(place)):  # processes come here at different times
            self.capturing(kind)
            found = capture_source(
                self.lm,
                self._calibration,
                kind,
                self.recipe.capture,
                self.recipe.corpus.prompt_style,
                spec.seed,
                name=name,
                tell=self.tell,
                stop=self.stop,
                peers=peers,
            )
            peers.from_first(lambda: save_capture(found, place, overwrite=True))
        return place


def _adapter(ref: str) -> Adapter:
    """A saved adapter; where it did not note what it has seen, its run may tell."""
    found = saved_adapter(ref)
    return found if found.seen is not None else replace(found, seen=recalled(found.card.run, found.card.arm))


def fingerprint(lm: LanguageModel, lane: Lane) -> str:
    """sha256 of what answers: the model at its revision and dtype, where it is projected to, what it is tuned by."""
    projected = lane.subspace is not None and (lane.strength != 0 or bool(lane.gains))
    return _digest(
        (lm.name, lm.revision, str(lm.dtype)),
        lane.subspace.fingerprint if projected and lane.subspace is not None else "",
        [lane.strength, list(lane.kinds), lane.layers, lane.complement, *gains_fact(lane.gains).values()]
        if projected
        else None,
        lane.adapter.fingerprint if lane.adapter is not None else "",
    )


def _digest(model: tuple[str, str, str], subspace: str, how: list[Any] | None, adapter: str) -> str:
    name, revision, dtype = model
    known = content_of(name) or (name if revision == "unknown" else revision)
    facts = {"model": known, "dtype": dtype, "subspace": subspace, "how": how, "adapter": adapter}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def adapter_that_answered(cell: Cell) -> str:
    """`run/arm` of the adapter on this machine that answered a cell: known by its weights, so that none which was
    trained later, or anew in its place, is taken for it. Empty where it is gone, or where none answered.
    """
    model = (cell.model, cell.revision, f"torch.{cell.dtype}")
    refs = [card.ref for card in finished_adapters() if (card.base, card.revision) == (cell.model, cell.revision)]
    for ref in sorted(refs, key=lambda one: one != cell.adapter):  # the one that it names first
        with suppress(InputError):  # damaged: it is another one by now
            if _digest(model, "", None, saved_adapter(ref).fingerprint) == cell.about.subject:
                return ref
    return ""

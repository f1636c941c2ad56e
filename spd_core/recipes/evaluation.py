"""What an evaluation is asked to do, as settings: subjects, sets, seeds. Imports no torch: pages write it, too."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from spd_core.data.capability import Style
from spd_core.data.tables import shortened
from spd_core.recipes.capture import CaptureSettings
from spd_core.recipes.distill import ARMS, ArmName, CorpusSettings, Recipe, TrainSettings, check_without, short_name
from spd_core.recipes.gains import gains_in_words
from spd_core.recipes.lanes import LaneSpec, Projection
from spd_core.recipes.on_policy import ChunkSettings, RolloutSettings, chunks_that_fit
from spd_core.recipes.presets import preset_under, read_settings, validated
from spd_core.recipes.sets import EvalSet, short_name_for_files
from spd_core.recipes.writer import LOCAL_WRITER, Writer
from spd_core.records import Request


def _seed(seed: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(seed)
    except ValidationError as error:
        raise ValueError(f"a seed is a whole number from 0 to {2**31 - 1}, such as 42") from error


Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**31), WrapValidator(_seed)]
CellKey: TypeAlias = tuple[str, int, str]
"""Names of subject, seed and set."""
SubjectKind: TypeAlias = Literal["base", "projected", "distilled", "checkpoint"]


def _begun(run: str) -> str:
    """When a run was begun, which its name tells, as the list of runs says it; else the name."""
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)-.+", run)
    return "{}-{}-{} {}:{}:{}".format(*found.groups()) if found else run


class Subject(Projection):
    """One model to be evaluated, in words.

    Attributes:
        kind: the untouched model; projected while it answers; tuned by an adapter; or a checkpoint of its own.
        of, complement, kinds, layers, gains: of a projected one, where to.
        capture: the capture whose subspace it is, by its name or its folder; empty captures one for this evaluation.
        rank, strength: None takes the evaluation's own.
        arm: of a distilled one: the arm that this evaluation trains.
        adapter: or the adapter `RUN/ARM` that is there already.
        model: of a checkpoint: its folder or id, e.g. a folded or merged one.
    """

    kind: SubjectKind = "base"
    rank: str | None = None
    strength: float | None = Field(default=None, ge=0, le=1)
    arm: ArmName | None = None
    adapter: str = ""
    model: str = ""
    label: str = Field(default="", max_length=120)

    @model_validator(mode="after")
    def _fits(self) -> "Subject":
        if (self.kind == "distilled") != (self.arm is not None or bool(self.adapter)) or (self.arm and self.adapter):
            raise ValueError("a distilled subject names either an arm to train or an adapter RUN/ARM, others neither")
        if (self.kind == "checkpoint") != bool(self.model):
            raise ValueError("a checkpoint names its model, other subjects none")
        if self.gains and self.kind != "projected":
            raise ValueError(f"a {self.kind} subject has no gains; they are of a projected one")
        if self.of == "none":
            raise ValueError("a projected subject names whose subspace it is; the untouched model is the subject base")
        if self.capture and self.of in ("full loss", "shuffled answers", "contrast"):
            raise ValueError(f"the capture {self.capture!r} has one subspace; {self.of} is captured again, without it")
        return self

    @property
    def name(self) -> str:
        """Short name, for files and configurations."""
        if self.label:
            return short_name_for_files(self.label.lower())
        if self.kind == "distilled":
            return self.arm or short_name_for_files(self.adapter)
        if self.kind == "checkpoint":
            return f"checkpoint-{short_name_for_files(Path(self.model).name)}"
        known = {subject.model_dump_json(): name for name, subject in NAMED.items()}
        plain = self.model_copy(
            update={"rank": None, "strength": None, "capture": "", "kinds": ("key", "value"), "layers": None}
        )
        what = "mixed" if self.gains else self.kind
        called = known.get(plain.model_dump_json(), f"{what}-{self.of.partition(' ')[0]}")
        return f"{called}-{short_name_for_files(self.capture)}" if self.capture else called

    @property
    def title(self) -> str:
        """What people call it."""
        if self.label:
            return self.label
        if self.kind == "distilled":
            run, _, arm = self.adapter.partition("/")
            return short_name(self.arm) if self.arm else f"{short_name(arm)} ({_begun(run)})"
        if self.kind == "checkpoint":
            return f"Checkpoint {Path(self.model).name}"
        if self.kind == "base":
            return "Base"
        how = "Projected" if not self.gains else "Mixed" if self.strength == 0 else "Projected and mixed"
        mix = (f": {gains_in_words(self.gains)}",) if self.gains else ()
        return "".join((", ".join((how, *self.words)), *mix, f" of {self.capture}" if self.capture else ""))

    def in_short(self) -> Any:
        """By its name where it has one, else what sets it apart."""
        return next((name for name, one in NAMED.items() if one == self), super().in_short())

    @property
    def seeded(self) -> bool:
        """Whether it comes out differently with another seed."""
        drawn = self.kind == "projected" and self.of in ("random", "shuffled answers")
        return drawn or self.arm is not None


NAMED: Mapping[str, Subject] = {
    "base": Subject(),
    "projected": Subject(kind="projected"),
    "projected-random": Subject(kind="projected", of="random"),
    "projected-full": Subject(kind="projected", of="full loss"),
    "projected-shuffled": Subject(kind="projected", of="shuffled answers"),
    "projected-contrast": Subject(kind="projected", of="contrast"),
    "complement": Subject(kind="projected", complement=True),
    **{arm: Subject(kind="distilled", arm=arm) for arm in ARMS},
}
"""Subjects that a configuration can simply name."""

CONTROLS: Mapping[str, Mapping[str, str]] = {
    "projected": {
        "projected-random": "does any projection do it?",
        "projected-full": "does it matter which tokens?",
        "projected-shuffled": "do the right answers matter?",
    },
    "spd": {
        "random": "does any projection do it?",
        "full": "does it matter which tokens?",
        "shuffled": "do the right answers matter?",
        "ssd": "does plain self-distillation do it?",
        "psr": "does training on one's own text do it?",
    },
    "projected-contrast": {
        "projected-random": "does any projection do it?",
        "projected": "does it help to leave out what others share?",
    },
    "contrast": {
        "random": "does any projection do it?",
        "spd": "does it help to leave out what others share?",
        "ssd": "does plain self-distillation do it?",
        "psr": "does training on one's own text do it?",
    },
    "on-policy": {
        "spd": "does the projected self's text do it?",
        "psr": "does training on one's own text do it?",
    },
    "omniopd": {
        "omniopd-raw": "does any teacher do it?",
        "omniopd-random": "does any projection do it?",
    },
    "omniopd-model": {"omniopd-raw": "does any teacher do it?"},
}
"""What each subject that claims to use the capability subspace is to be better than, and the question that answers."""


class EvaluationRecipe(Request):
    """A whole evaluation: subjects × sets.

    Attributes:
        capability: what subspaces are captured from and corpora are written on: the in-domain set.
        subjects: the first one that is untouched is what the others are compared with.
        capture, corpus, train, rollout, omniopd, rounds: as in `distill.Recipe`, for the subspaces and arms named
            among the subjects.
        seeds: each arm and control is made once for every seed; scores are pooled by item.
        batch_size: prompts in a batch.
        allow_code: somebody allows that code which a model has written is run; `SPD_ALLOW_CODE=1` does so, too.
    """

    kind: Literal["evaluation"] = "evaluation"
    capability: str = Field(default="arithmetic", min_length=1)
    model: str = "builtin"
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    subjects: tuple[Subject, ...] = (NAMED["base"], NAMED["projected"], NAMED["projected-random"])
    sets: tuple[EvalSet, ...] = Field(default=(EvalSet(capability="arithmetic"),), min_length=1)
    capture: CaptureSettings = CaptureSettings()
    corpus: CorpusSettings = CorpusSettings()
    train: TrainSettings = TrainSettings()
    rollout: RolloutSettings = RolloutSettings()
    omniopd: ChunkSettings = Field(default_factory=chunks_that_fit)
    rounds: int = Field(default=1, ge=1, le=1000)
    seeds: tuple[Seed, ...] = (42,)
    prompt_style: Style = "raw"
    batch_size: int = Field(default=32, ge=1)
    writer: Writer = LOCAL_WRITER
    allow_code: bool = False

    @field_validator("subjects", mode="before")
    @classmethod
    def _named_subjects(cls, subjects: Any) -> Any:
        return [_named(one) for one in subjects] if isinstance(subjects, list | tuple) else subjects

    @field_validator("sets", mode="before")
    @classmethod
    def _named_sets(cls, sets: Any) -> Any:
        listed = isinstance(sets, list | tuple)
        return [{"capability": one} if isinstance(one, str) else one for one in sets] if listed else sets

    @field_validator("seeds")
    @classmethod
    def _has_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds:
            raise ValueError("name at least one, such as 42")
        return seeds

    @model_validator(mode="after")
    def _fits(self) -> "EvaluationRecipe":
        for what, names in (
            ("subject", [s.name for s in self.subjects]),
            ("set", [s.name for s in self.sets]),
            ("seed", list(map(str, self.seeds))),
        ):
            repeated = [name for name, count in Counter(names).items() if count > 1]
            if repeated:
                other = "" if what == "seed" else ", or give it a label"
                raise ValueError(f"the {what} {repeated[0]!r} is named twice; name it once{other}")
        if sum(subject.kind == "base" for subject in self.subjects) != 1:
            raise ValueError("name the subject 'base' once: it is what all others are compared with")
        for subject in self.subjects:
            if subject.kind == "projected" and subject.of == "contrast":
                check_without(f"the subject {subject.name}", self.capability, self.capture)
        for seed in self.seeds:
            self.distillation(seed)
        return self

    @property
    def arms(self) -> tuple[ArmName, ...]:
        """The arms that are trained for it."""
        return tuple(subject.arm for subject in self.subjects if subject.arm is not None)

    def seeds_of(self, subject: Subject) -> tuple[int, ...]:
        """The seeds that a subject is made with; one for a subject that does not depend on it."""
        return self.seeds if subject.seeded else self.seeds[:1]

    @property
    def cells(self) -> list[CellKey]:
        """All cells that are asked for, in the order of a table."""
        return [
            (subject.name, seed, wanted.name)
            for subject in self.subjects
            for wanted in self.sets
            for seed in self.seeds_of(subject)
        ]

    def distillation(self, seed: int) -> Recipe | None:
        """The recipe that trains all arms with a seed; None without arms."""
        if not self.arms:
            return None
        return Recipe(
            capability=self.capability,
            model=self.model,
            revision=self.revision,
            dtype=self.dtype,
            arms=self.arms,
            capture=self.capture,
            corpus=self.corpus,
            train=self.train.model_copy(update={"seed": seed}),
            rollout=self.rollout,
            omniopd=self.omniopd,
            rounds=self.rounds,
            drift=False,
            seed=seed,
        )

    def lane(self, subject: Subject, seed: int, run: str = "") -> LaneSpec:
        """How a subject answers, with a seed.

        Args:
            run: that has trained its arm with this seed.
        """
        own = self.capture
        return LaneSpec(
            of=subject.of if subject.kind == "projected" else "none",
            complement=subject.complement,
            capture=subject.capture,
            kinds=subject.kinds,
            layers=subject.layers,
            gains=subject.gains,
            rank=subject.rank or own.rank,
            strength=own.strength if subject.strength is None else subject.strength,
            seed=seed,
            adapter=subject.adapter or (f"{run}/{subject.arm}" if subject.arm else ""),
        )


def _named(subject: Any) -> Any:
    if not isinstance(subject, str):
        return subject
    if subject in NAMED:
        return NAMED[subject]
    if "/" in subject and not os.path.exists(subject):
        return {"kind": "distilled", "adapter": subject}
    raise ValueError(
        f"unknown arm {shortened(subject)!r}; there are {', '.join(NAMED)}, RUN/ARM of a finished run, or an object "
        'such as {"kind": "checkpoint", "model": "FOLDER"}'
    )


def read_evaluation(path: Path) -> EvaluationRecipe:
    """An evaluation from a JSON file; `"preset": "quick"` in it starts from that preset of `distill.PRESETS`.

    Raises:
        InputError: the file cannot be read, or a setting is unknown or out of range; the message names it.
    """
    return read_settings(path, evaluation_from)


def evaluation_from(settings: Any) -> EvaluationRecipe:
    """An evaluation from what a JSON file or a page says; errors as in `read_evaluation`."""
    return validated(EvaluationRecipe, preset_under(settings), "the evaluation")

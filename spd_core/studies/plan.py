"""What a study asks, as settings: its evaluations, and the comparisons that were announced before the first answer.

Imports no torch: pages read it, too.

    assets/studies/<name>.json     the plan
    assets/studies/<set>.jsonl     a set that it asks, known by this name like a built-in one
    assets/studies/<name>/runs/    its recorded runs, down to each item
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from spd_core.errors import InputError
from spd_core.recipes.evaluation import EvaluationRecipe, evaluation_from
from spd_core.recipes.presets import read_settings, settings_over, validated
from spd_core.records import Request


class Announced(Request):
    """A comparison that was announced: one subject against another, on a set of one of the study's evaluations.

    Attributes:
        part: name of the evaluation.
        set: empty takes the in-domain one.
    """

    part: str
    subject: str
    against: str = "base"
    set: str = ""


class PlannedTable(Request):
    """One evaluation of a study, and what it is to tell.

    Attributes:
        title: what people call it; empty takes its name.
    """

    name: str
    title: str = Field(default="", max_length=120)
    question: str = ""
    recipe: EvaluationRecipe

    @property
    def called(self) -> str:
        """Its title, or else its name."""
        return self.title or self.name

    @property
    def in_domain(self) -> str:
        """Name of the set that subspaces and corpora are of; of the first one where there is none."""
        own = (wanted.name for wanted in self.recipe.sets if wanted.capability == self.recipe.capability)
        return next(own, self.recipe.sets[0].name)

    def seeds_asked(self, subject: str) -> int:
        """How many cells a subject has on one set."""
        return len(next(self.recipe.seeds_of(one) for one in self.recipe.subjects if one.name == subject))


class Slice(Request):
    """So much of an evaluation that it can be repeated soon: its cells are cells of the whole."""

    part: str
    subjects: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)


class StudyPlan(Request):
    """A whole study.

    Attributes:
        date: when the plan was written down, before anything was answered.
        design: the document that gives the reasons.
        primary: one family, whose p-values are corrected together; everything else is secondary.
        slice: what `sliced` leaves of it.
        limits: what it cannot answer, a sentence each.
    """

    name: str
    title: str
    date: str = Field(pattern=r"\d{4}-\d\d-\d\d")
    design: str = ""
    parts: tuple[PlannedTable, ...] = Field(min_length=1)
    primary: tuple[Announced, ...] = Field(min_length=1)
    slice: tuple[Slice, ...] = ()
    limits: tuple[str, ...] = ()

    @field_validator("parts")
    @classmethod
    def _once_each(cls, parts: tuple[PlannedTable, ...]) -> tuple[PlannedTable, ...]:
        repeated = next((name for name, count in Counter(part.name for part in parts).items() if count > 1), None)
        if repeated is not None:
            raise ValueError(f"the evaluation {repeated!r} is there twice; give it another name")
        return parts

    @model_validator(mode="after")
    def _announces_what_is_asked(self) -> "StudyPlan":
        for one in self.primary:
            part = next((part for part in self.parts if part.name == one.part), None)
            if part is None:
                raise ValueError(f"primary: there is no evaluation {one.part!r}, only {', '.join(self.part_names)}")
            names = [subject.name for subject in part.recipe.subjects]
            unknown = next((name for name in (one.subject, one.against) if name not in names), None)
            if unknown is not None:
                raise ValueError(f"primary: {one.part} has no subject {unknown!r}, only {', '.join(names)}")
            if one.set and one.set not in [wanted.name for wanted in part.recipe.sets]:
                raise ValueError(f"primary: {one.part} has no set {one.set!r}")
        return self

    @property
    def part_names(self) -> tuple[str, ...]:
        """Of all evaluations, in their order."""
        return tuple(part.name for part in self.parts)

    def part(self, name: str) -> PlannedTable:
        """The evaluation of a name.

        Raises:
            InputError: there is none.
        """
        found = next((part for part in self.parts if part.name == name), None)
        if found is None:
            raise InputError(f"{self.name} has no evaluation {name!r}; there are {', '.join(self.part_names)}")
        return found

    def sliced(self) -> "StudyPlan":
        """The slice of it that is repeated soon; each of its cells is asked as in the whole.

        Raises:
            InputError: it says nothing of a slice, or names what there is not.
        """
        if not self.slice:
            raise InputError(f"{self.name} names no slice; carry out the whole, or single evaluations with --only")
        parts = {one.part: _less(self.part(one.part), one) for one in self.slice}
        kept = [
            one
            for one in self.primary
            if one.part in parts and {one.subject, one.against} <= {s.name for s in parts[one.part].recipe.subjects}
        ]
        return self.model_copy(update={"parts": tuple(parts.values()), "primary": tuple(kept)})


def _less(part: PlannedTable, wanted: Slice) -> PlannedTable:
    known = {subject.name: subject for subject in part.recipe.subjects}
    unknown = [name for name in wanted.subjects if name not in known]
    unknown += [str(seed) for seed in wanted.seeds if seed not in part.recipe.seeds]
    if unknown:
        raise InputError(
            f"slice: {part.name} has no {unknown[0]}; it has {', '.join(known)}, seeds {part.recipe.seeds}"
        )
    subjects = tuple(known[name] for name in wanted.subjects)
    recipe = part.recipe.model_copy(update={"subjects": subjects, "seeds": wanted.seeds})
    return part.model_copy(update={"recipe": recipe})


# --- files -------------------------------------------------------------------------------------------------------


def read_study(path: Path) -> StudyPlan:
    """A plan from its JSON file: `common` holds for all evaluations, each says what it has of its own.

    Raises:
        InputError: it cannot be read, or a setting is unknown or out of range; the message names it.
    """
    return read_settings(path, lambda said: study_from(said, path.stem))


def study_from(said: Any, name: str) -> StudyPlan:
    """A study from what its file says; errors as in `read_study`."""
    if not isinstance(said, dict) or not isinstance(said.get("evaluations"), dict):
        raise InputError('a study is an object with "evaluations": {"NAME": {…}}')
    own = {key: value for key, value in said.items() if key not in ("common", "evaluations")}
    return validated(
        StudyPlan,
        {**own, "name": name, "parts": list(_parts(said["evaluations"], said.get("common", {})))},
        "the study",
    )


def _parts(evaluations: Mapping[str, Any], common: Any) -> Iterator[dict[str, Any]]:
    for name, settings in evaluations.items():
        if not isinstance(settings, dict) or not isinstance(common, dict):
            raise InputError(f'the evaluation {name!r} is no object such as {{"question": "…", "subjects": […]}}')
        mine = dict(settings)
        said = {key: mine.pop(key) for key in ("title", "question") if key in mine}
        try:
            recipe = evaluation_from(settings_over(common, mine))
        except InputError as error:
            raise InputError(f"the evaluation {name!r}: {error}") from error
        yield {"name": name, **said, "recipe": recipe.model_dump(mode="json")}

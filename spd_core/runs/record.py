"""What is written of a run, as records, and how such files are read. Knows not where they lie; imports no torch."""

import os
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import Discriminator, Tag

from spd_core.data.capability import builtin_names
from spd_core.data.public import PUBLIC_SETS
from spd_core.errors import CaptureError, InputError, ModelError, TrainingError
from spd_core.models.packaged import PACKAGED
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.records import Record

FORMAT = 1
_OF_SETTINGS = frozenset(error.exit_code for error in (InputError, ModelError, CaptureError, TrainingError))
State: TypeAlias = Literal["queued", "starting", "running", "review", "done", "stopped", "failed", "lost"]
_R = TypeVar("_R", bound=Record)


def _kind(recipe: Any) -> str:
    """Which kind of recipe a record holds; the first ones did not say."""
    found = recipe.get("kind") if isinstance(recipe, dict) else getattr(recipe, "kind", None)
    return str(found or "distillation")


AnyRecipe: TypeAlias = Annotated[
    Annotated[Recipe, Tag("distillation")] | Annotated[EvaluationRecipe, Tag("evaluation")], Discriminator(_kind)
]


class RunRecord(Record):
    """What was asked for; never changes.

    Attributes:
        created: local time, ISO 8601.
        launcher: `local`, or the words before `-m spd_core`, e.g. `accelerate launch --num_processes 2`.
        command: what carries it out, as one could type it.
    """

    format: int = FORMAT
    id: str
    created: str
    recipe: AnyRecipe
    launcher: str = "local"
    command: str
    versions: dict[str, str]
    title: str = ""

    @property
    def distillation(self) -> Recipe:
        """The recipe of a distillation; `InputError` where it is another one."""
        if not isinstance(self.recipe, Recipe):
            raise InputError(f"{self.id} is an evaluation and trains nothing; open it on the page Evaluation")
        return self.recipe

    @property
    def evaluation(self) -> EvaluationRecipe:
        """The recipe of an evaluation; `InputError` where it is another one."""
        if not isinstance(self.recipe, EvaluationRecipe):
            raise InputError(f"{self.id} is a distillation and scores nothing; open it on the page Fine-tune")
        return self.recipe


class Owner(Record):
    """A process that works on a run.

    Attributes:
        born: when it started, in seconds since the epoch; another process may get its pid later.
        group: its process group.
    """

    pid: int
    born: float
    group: int
    host: str


class Status(Record):
    """How a run stands.

    Attributes:
        since: when it came to this state, in seconds since the epoch.
        reason: why, in a sentence; empty where the state says it all.
        launcher: the process that was started.
        job: the one that works and writes this file; the same, unless something like `accelerate launch` lies between.
    """

    format: int = FORMAT
    state: State
    since: float
    reason: str = ""
    exit_code: int | None = None
    launcher: Owner | None = None
    job: Owner | None = None

    @property
    def needs_other_settings(self) -> bool:
        """It failed for what it was asked: gone on with as it is, it would fail again, unless the reason says that it
        can be resumed (where a file is to be mended)."""
        return self.state == "failed" and self.exit_code in _OF_SETTINGS and "resume" not in self.reason


def anchored(recipe: AnyRecipe) -> AnyRecipe:
    """The same with whole paths: a job has another working directory."""
    return type(recipe).model_validate(_anchored(recipe.model_dump()))


def _anchored(settings: Any) -> Any:
    if isinstance(settings, tuple | list):
        return [_anchored(one) for one in settings]
    if not isinstance(settings, dict):
        return settings
    whole = {name: _anchored(value) for name, value in settings.items()}
    for name in ("capability", "model", "data", "capture", "teacher"):
        said = whole.get(name)
        path = os.path.expanduser(said) if isinstance(said, str) else ""
        if path and path not in (*PUBLIC_SETS, *builtin_names(), *PACKAGED) and os.path.exists(path):
            whole[name] = os.path.abspath(path)
    if whole.get("without"):  # capabilities
        whole["without"] = [_anchored({"capability": one})["capability"] for one in whole["without"]]
    return whole

"""What is written of a run, as records, and how such files are read. Knows not where they lie; imports no torch."""

import json
import os
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TypeAlias, TypeVar

from pydantic import Discriminator, Tag, ValidationError

from spd_core.errors import InputError
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.recipes.lanes import Record

FORMAT = 1
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


def read_record(kind: type[_R], path: Path) -> _R:
    """A record from its JSON file.

    Raises:
        InputError: it is missing, damaged, or of a newer format.
    """
    try:
        found: Any = json.loads(read_bytes(path))
        if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] > FORMAT:
            raise InputError(f"{path} was written by a newer SPD Lab (format {found['format']}); update this one")
        return kind.model_validate(found)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({first_error(error)}); delete the run, and start it again") from error


def first_error(error: Exception) -> str:
    """The first thing that is wrong, in a line."""
    if isinstance(error, ValidationError):
        wrong = error.errors()[0]
        place = [part for part in wrong["loc"] if part not in ("distillation", "evaluation")]  # pydantic's own, no keys
        return f"{'.'.join(map(str, place))}: {wrong['msg']}".lstrip(": ")
    return str(error).splitlines()[0]


def read_bytes(path: Path, offset: int = 0, *, missing_ok: bool = False) -> bytes:
    """A file's bytes from an offset on. A link is refused, and a pipe does not block.

    Raises:
        InputError: it is missing, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            file.seek(offset)
            return file.read() or b""
    except FileNotFoundError as error:
        if missing_ok:
            return b""
        raise InputError(f"{path} is missing; delete the run, and start it again") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; delete the run if it is of no use") from error


def append_to(path: Path) -> BinaryIO:
    """A file to add to. A link is refused: what it leads to is not the run's.

    Raises:
        OSError: the disk refuses.
    """
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    return os.fdopen(handle, "ab+")


def modified(path: Path) -> float:
    """When a file was changed last, in seconds since the epoch; 0 if it is not there."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0

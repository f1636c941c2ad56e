"""What kinds of things are kept, what each is called, and which files it is made of. Imports no torch.

A file is named as it lies below `SPD_HOME`, with `/`; a thing that comes with SPD Lab has the names that a copy of it
would have there. The same patterns say which files of a thing go into a bundle, and which a bundle may hold.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

from spd_core.data.catalog import saved_folder
from spd_core.distill.audits import AUDITS
from spd_core.errors import InputError
from spd_core.evaluation.repeats import find_repeat
from spd_core.generation.comparison import find_comparison
from spd_core.recipes.distill import ARMS
from spd_core.runs.folder import open_run
from spd_core.storage import child, spd_home
from spd_core.subspace.store import find_capture

ThingKind: TypeAlias = Literal["capture", "text", "repeat", "run", "adapter", "evaluation", "answers", "capability"]
KINDS: tuple[ThingKind, ...] = get_args(ThingKind)
"""An order in which nothing comes long before what it stands on; `DEPTH` is the one for moving them."""
DEPTH: tuple[ThingKind, ...] = ("capability", "capture", "answers", "run", "evaluation", "adapter", "text", "repeat")
"""What others stand on, first: an adapter lies in its run's folder."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
_LONG = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
_OF_A_CAPTURE = r"(?:(?:analysis|subspace)\.(?:json|safetensors)|capability\.jsonl|notes\.json)"
_OF_A_RUN = (
    r"(?:(?:run|status|tags|rejected|sources)\.json|events\.jsonl|notes\.txt|reviewed|table\.(?:csv|md)"
    rf"|corpora/{_LONG}\.jsonl|captures/{_NAME}/{_OF_A_CAPTURE}|cells/{_LONG}\.jsonl?"
    rf"|arms/(?:{'|'.join(ARMS)})/round-[1-9][0-9]{{0,3}}/{re.escape(AUDITS)})"
)
_OF_AN_ADAPTER = r"(?:(?:adapter_config|card|seen|recipe)\.json|adapter_model\.safetensors|README\.md)"
_FILES: dict[str, str] = {
    "capture": rf"captures/({_NAME})/{_OF_A_CAPTURE}",
    "text": rf"texts/({_NAME})\.json",
    "repeat": rf"repeats/({_NAME})\.json",
    "run": rf"runs/({_NAME})/{_OF_A_RUN}",
    "adapter": rf"runs/({_NAME})/adapters/({'|'.join(ARMS)})/{_OF_AN_ADAPTER}",
    "answers": r"evaluations/([0-9a-f]{32})/(?:about\.json|items\.jsonl)",
    "capability": rf"capabilities/({_NAME})\.jsonl",
}
REMARKS = re.compile(r"(?:.*/)?(?:notes\.json|notes\.txt|tags\.json|table\.(?:csv|md))")
"""Files that people go on writing in, or that are made anew of others: a thing stays the same when they change."""


class Ref(NamedTuple):
    """A thing by its kind and name; an adapter's is `RUN/ARM`, a capture's in a run is that of the run."""

    kind: ThingKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class Thing:
    """One thing on the shelf.

    Attributes:
        title: what people call it, on one line.
        model: name and revision of the model that it is of; empty where it is of none, or nobody can read which.
        made: local time, ISO 8601 to the second.
        size: bytes of all its files, those too that no bundle takes along.
        stands_on: what it was made of, there or not.
        recorded: it comes with SPD Lab, and stays.
        state: of a run or an evaluation, how it stands; empty of others.
        dtype, device: of the numbers in it; empty where it has none, or does not say.
        problem: why it cannot be read; empty where it can.
    """

    ref: Ref
    title: str
    made: str
    size: int
    model: str = ""
    stands_on: tuple[Ref, ...] = ()
    recorded: bool = False
    state: str = ""
    dtype: str = ""
    device: str = ""
    problem: str = ""


def ref_from(text: str) -> Ref:
    """The thing that `kind:name` names; raises `InputError` where it names none."""
    kind, _, name = text.partition(":")
    for known in KINDS:
        if kind == known and name:
            return Ref(known, name)
    raise InputError(f"{text!r:.80} names nothing; write KIND:NAME, with one of {', '.join(KINDS)}")


def capture_ref(name: str) -> Ref:
    """The thing that holds the capture which `open_capture` calls so: itself, or the run that has made it."""
    run, _, own = name.partition("/")
    return Ref("run", run) if own else Ref("capture", name)


def owner_of_file(name: str) -> Ref | None:
    """Whose file it is by its place; None where no thing has such a file. Evaluations are called runs, too: where
    they lie does not tell."""
    for kind, pattern in _FILES.items():
        found = re.fullmatch(pattern, name)
        if found is not None and ".." not in name:
            return Ref(_kind(kind), "/".join(found.groups()))
    return None


def _kind(text: str) -> ThingKind:
    return next(kind for kind in KINDS if kind == text)


def home_of(ref: Ref) -> Path:
    """Where a thing of this machine's own lies, or would lie: a file, or a folder.

    Raises:
        InputError: a name that could lead elsewhere.
    """
    kind, name = ref
    if kind in ("run", "evaluation"):
        return child(spd_home() / "runs", name)
    if kind == "adapter":
        run, _, arm = name.partition("/")
        return child(child(spd_home() / "runs", run) / "adapters", arm)
    if kind == "answers":
        return child(spd_home() / "evaluations", name)
    if kind == "capture":
        return child(spd_home() / "captures", name)
    if kind == "capability":
        return child(saved_folder(), f"{name}.jsonl")
    return child(spd_home() / f"{kind}s", f"{name}.json")


def place_of_thing(ref: Ref) -> Path:
    """Where a thing lies: this machine's own, else the one of that name that comes with SPD Lab.

    Raises:
        InputError: there is none.
    """
    kind, name = ref
    if kind == "capture":
        return find_capture(name)
    if kind == "text":
        return find_comparison(name)
    if kind == "repeat":
        return find_repeat(name)
    if kind in ("run", "evaluation"):
        return open_run(name).folder
    place = home_of(ref)
    if kind == "adapter" and not place.is_dir():
        run, _, arm = name.partition("/")
        place = child(open_run(run).folder / "adapters", arm)
    if not place.exists():
        raise InputError(f"no {kind} {name!r} is on this machine; it was deleted, or has not come so far")
    return place


def thing_files(ref: Ref) -> dict[str, Path]:
    """The files that a thing is made of, by their names below `SPD_HOME`; what only this machine needs is left out:
    logs, locks, and what an unfinished training would go on from. A link is never among them.

    Raises:
        InputError: the thing is not there.
    """
    place, home = place_of_thing(ref), home_of(ref).relative_to(spd_home()).as_posix()
    if place.is_file():
        return {home: place}
    wanted = Ref("run", ref.name) if ref.kind == "evaluation" else ref
    named = {f"{home}/{path.relative_to(place).as_posix()}": path for path in _below(place)}
    return {name: path for name, path in named.items() if owner_of_file(name) == wanted}


def _below(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())

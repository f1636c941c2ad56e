"""Replays what is kept: computes its numbers anew on this machine, and says which match, within what, and why.

A thing of the library is replayed where it lies, a bundle in a folder of its own, without being brought in. Torch is
imported only where a model is asked.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from spd_core.errors import InputError, SpdError, Stopped
from spd_core.library.replay_place import OpenModel, Replaying
from spd_core.library.replay_report import (
    ReplayReport,
    ReplayRow,
    Surrounding,
    each_once,
    exact_row,
    not_replayed,
)
from spd_core.library.things import Ref, ThingKind
from spd_core.progress import Progress, Stop, Tell, silent
from spd_core.records import read_record
from spd_core.runs.folder import Run
from spd_core.runs.record import RunRecord

if TYPE_CHECKING:
    from spd_core.models.loading import LanguageModel

_OfAThing: TypeAlias = tuple[list[ReplayRow], tuple[Surrounding, ...]]


def replay(
    target: Ref | Sequence[Ref] | Path | BinaryIO,
    *,
    model: str = "",
    open_model: OpenModel | None = None,
    tell: Tell = silent,
    stop: Stop | None = None,
) -> ReplayReport:
    """Compute the key numbers of a thing, or of all things of a bundle, anew.

    Captures are captured again, texts are written again, evaluations are counted again from their items, and runs from
    their files; of a bundle, the sums of all files are checked first.

    Args:
        target: a thing of the library, several, or a bundle.
        model: a folder or hub id, where the recorded model lies under another name here; it must be the same model.
        open_model: how models are loaded; `loading.load` unless told.
        stop: asked while a model works, and between things; what is known by then is returned.

    Raises:
        InputError: no such thing, or a bundle that is damaged or made to do harm.
        StorageError: the disk refuses.
    """
    work = Replaying(open_model or _load, model, tell=tell, stop=stop or (lambda: False))
    if isinstance(target, Sequence):
        refs = [target] if isinstance(target, Ref) else list(target)
        for ref in refs:
            work.find(ref)
        return _replay_all(refs, work)
    from spd_core.library.incoming import unpacked

    with unpacked(target) as (found, folder):
        refs = [one.ref for one in found.arrivals]  # as they are called in the folder
        sums = [
            exact_row(
                one.thing,
                "files",
                f"{len(one.files)} whole",
                f"{len(one.files)} whole",
                "length and sha256 of each, as the manifest has them",
            )
            for one in found.manifest.things
        ]
        done = _replay_all(refs, dataclasses.replace(work, folder=folder, things=frozenset(refs)))
        return dataclasses.replace(done, rows=(*sums, *done.rows))


def _load(name: str, revision: str | None, dtype: str, tell: Tell) -> "LanguageModel":
    from spd_core.models.loading import load

    return load(name, revision, dtype, tell)


def _replay_all(refs: list[Ref], work: Replaying) -> ReplayReport:
    rows: list[ReplayRow] = []
    surroundings: list[Surrounding] = []
    for at, ref in enumerate(refs):
        if work.stop():
            return ReplayReport(tuple(rows), each_once(surroundings), stopped=True)

        def tell(now: Progress, at: int = at, ref: Ref = ref) -> None:
            what = now.what or "Computing again"
            work.tell(Progress(at + now.share, len(refs), f"{what}: {ref.kind} {at + 1} of {len(refs)}"))

        found, around = _replayed(ref, dataclasses.replace(work, tell=tell))
        rows += found
        surroundings += around
    return ReplayReport(tuple(rows), each_once(surroundings), stopped=work.stop())


def _replayed(ref: Ref, work: Replaying) -> _OfAThing:
    work.tell(Progress(0, 1, "Computing again"))
    try:
        return _OF_KIND[ref.kind](ref, work)
    except Stopped:
        return [not_replayed(str(ref), "all numbers", "stopped before it was through")], ()
    except SpdError as error:
        return [not_replayed(str(ref), "all numbers", str(error))], ()


# --- by kind -----------------------------------------------------------------------------------------------------


def _capture(ref: Ref, work: Replaying) -> _OfAThing:
    from spd_core.library.replay_captures import replay_capture

    return replay_capture(str(ref), work.capture(ref.name), work)


def _text(ref: Ref, work: Replaying) -> _OfAThing:
    from spd_core.generation.comparison import read_comparison
    from spd_core.library.replay_texts import replay_text

    return replay_text(str(ref), read_comparison(work.find(ref)), work)


def _repeat(ref: Ref, work: Replaying) -> _OfAThing:
    from spd_core.evaluation.repeats import read_repeat
    from spd_core.library.replay_texts import replay_repeat

    return replay_repeat(str(ref), read_repeat(work.find(ref)), work)


def _run_at(ref: Ref, work: Replaying) -> Run:
    folder = work.find(ref)
    return Run(folder, read_record(RunRecord, folder / "run.json", remedy="copy the run's folder again"))


def _run(ref: Ref, work: Replaying) -> _OfAThing:
    from spd_core.library.replay_runs import replay_run

    return replay_run(str(ref), _run_at(ref, work)), ()


def _adapter(ref: Ref, work: Replaying) -> _OfAThing:
    from spd_core.library.replay_runs import replay_adapter

    folder = work.find(ref)
    try:
        run = _run_at(Ref("run", ref.name.partition("/")[0]), work)
    except InputError:
        run = None
    return replay_adapter(str(ref), folder, run), ()


def _evaluation(ref: Ref, work: Replaying) -> _OfAThing:
    from spd_core.library.replay_answers import replay_evaluation

    return replay_evaluation(str(ref), _run_at(ref, work), work), ()


def _answers(ref: Ref, work: Replaying) -> _OfAThing:
    from spd_core.library.replay_answers import replay_answers

    return replay_answers(str(ref), work.find(ref)), ()


def _capability(ref: Ref, _work: Replaying) -> _OfAThing:
    return [not_replayed(str(ref), "examples", "examples are no computed number: there is nothing to replay")], ()


_OF_KIND: Mapping[ThingKind, Callable[[Ref, Replaying], _OfAThing]] = {
    "capture": _capture,
    "text": _text,
    "repeat": _repeat,
    "run": _run,
    "adapter": _adapter,
    "evaluation": _evaluation,
    "answers": _answers,
    "capability": _capability,
}

"""Writes a corpus of the model's own text, row by row, so that nothing finished is lost. Knows nothing of training."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spd_core.data.capability import Capability, Style
from spd_core.data.spans import generation_prompt
from spd_core.distill.corpus import CorpusRow, read_corpus
from spd_core.engines.writing import EngineLane, ToBeServed, engine_for
from spd_core.engines.written import WrittenBy, note_writer, refuse_others, writer_of_corpus
from spd_core.errors import InputError
from spd_core.generation.decode import Completion
from spd_core.generation.numbered import NumberedPrompt, write_batch
from spd_core.intervention.projection import Lane
from spd_core.models.loading import LanguageModel
from spd_core.peers import ALONE, Peers
from spd_core.progress import Progress, Stop, Tell, silent
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.writer import Writer
from spd_core.records import SharedRows, append_rows, cut_torn_line, to_lines
from spd_core.storage import write_text


@dataclass(frozen=True)
class PlannedRow(NumberedPrompt):
    """A row that is still to be written: of which example, and which of its samples."""

    id: str = field(kw_only=True)
    sample: int = field(kw_only=True)


def planned_rows(
    lm: LanguageModel, capability: Capability, style: Style = "raw", *, samples: int = 1, limit: int | None = None
) -> list[PlannedRow]:
    """One task for each prompt of the capability and sample, in a fixed order that any process finds alike.

    Raises:
        InputError: fewer than one sample, or chat style without a chat template.
    """
    if samples < 1:
        raise InputError(f"{samples} samples per prompt; choose at least 1")
    tasks: list[PlannedRow] = []
    for example in capability.limited(limit).examples:
        text, _ = generation_prompt(example.prompt, capability.settings, style, lm.tokenizer)
        for sample in range(samples):
            tasks.append(PlannedRow(len(tasks), text, style == "raw", id=example.id, sample=sample))
    return tasks


def write_corpus(
    lm: LanguageModel,
    tasks: Sequence[PlannedRow],
    lane: Lane,
    sampling: Sampling,
    path: Path,
    *,
    batch_size: int = 16,
    tell: Tell = silent,
    stop: Stop | None = None,
    peers: Peers = ALONE,
) -> list[CorpusRow]:
    """Write the rows that `path` (JSONL) does not hold yet, batch by batch; returns all rows, by number.

    Tasks of similar length are written together, in batches that the tasks alone decide: a row is the same whether it
    is written in one go, after a stop, or by another process. Of several processes each writes its share of the batches
    that are not there yet, as `SharedRows` says.

    Args:
        tell: called after each batch with how many rows are finished, of how many, and how many tokens this process has
            written; at last, how many all have.
        stop: asked between tokens; what was not finished then is not kept.
        peers: all of them call this.

    Raises:
        InputError: the file's rows are damaged, or not of these tasks.
        StorageError: the disk refuses; every batch before is kept.
    """
    shared = SharedRows(path, peers)
    rows = shared.looked_at(lambda: _begun(shared, tasks, None))
    batches = [batch for batch in _batches(tasks, batch_size) if any(task.number not in rows for task in batch)]

    def written() -> Iterator[list[CorpusRow]]:
        for batch in peers.mine(batches):
            if stop is not None and stop():
                return
            yield [row for row in _batch(lm, batch, lane, sampling, stop) if row.number not in rows]

    return _kept(shared, len(tasks), written(), tell)


def write_corpus_by(
    writer: Writer,
    name: str,
    lm: LanguageModel,
    tasks: Sequence[PlannedRow],
    lane: Lane,
    sampling: Sampling,
    path: Path,
    folder: Path,
    *,
    tell: Tell = silent,
    stop: Stop | None = None,
) -> list[CorpusRow]:
    """The same by an inference engine, which is not asked for when nothing is missing.

    Args:
        name: of the arm.
        folder: see `ToBeServed`.

    Raises:
        InputError: the file's rows are damaged, not of these tasks, or of another writer.
        WriterError: no server, another model, or none of its answers; every row before is kept.
        StorageError: the disk refuses; likewise.
    """
    rows = _written(SharedRows(path))
    if len(rows) == len(tasks) and writer_of_corpus(path) is not None:
        _check_same(rows, tasks, path)
        return _in_order(rows)
    wanted = ToBeServed(name, lm, lane, lane.subspace is not None, folder)
    with engine_for(writer, wanted, tasks, sampling, stop) as (engine, written):
        return write_corpus_through(engine, written, tasks, sampling, path, tell=tell, stop=stop)


def write_corpus_through(
    engine: EngineLane,
    written: WrittenBy,
    tasks: Sequence[PlannedRow],
    sampling: Sampling,
    path: Path,
    *,
    tell: Tell = silent,
    stop: Stop | None = None,
) -> list[CorpusRow]:
    """The same through an engine that is there: a request for each row that is missing, and each row on the disk as it
    arrives.

    Args:
        written: who the engine is; noted beside the corpus before its first row.
    """
    shared = SharedRows(path)
    rows = _begun(shared, tasks, written)
    note_writer(path, written)
    missing = [task for task in tasks if task.number not in rows]
    found = _kept(shared, len(tasks), ([_row(*one)] for one in engine.write(missing, sampling, stop)), tell)
    if missing and len(found) == len(tasks):
        write_text(path, to_lines(found))  # so that the file does not tell which answer came first
    return found


def write_rows(
    lm: LanguageModel,
    tasks: Sequence[PlannedRow],
    sampling: Sampling,
    *,
    batch_size: int = 16,
    stop: Stop | None = None,
) -> list[CorpusRow]:
    """What the model as it is writes, kept nowhere; rows that a stop cut off are left out."""
    batches = (tasks[start : start + batch_size] for start in range(0, len(tasks), batch_size))
    return [row for batch in batches for row in _batch(lm, batch, Lane(), sampling, stop)]


def _begun(shared: SharedRows, tasks: Sequence[PlannedRow], written: WrittenBy | None) -> dict[int, CorpusRow]:
    """The rows on disk by number, to go on after them; refuses those of other prompts, or of another writer."""
    cut_torn_line(shared.own)
    refuse_others(shared.path, written)
    rows = _written(shared)
    _check_same(rows, tasks, shared.path)
    return rows


def _kept(shared: SharedRows, planned: int, written: Iterable[Sequence[CorpusRow]], tell: Tell) -> list[CorpusRow]:
    """Put rows on the disk as they come to be written, and tell; returns those of all processes, by number."""
    tokens = 0
    for rows in written:
        append_rows(shared.own, rows)
        tokens += sum(len(row.tokens) for row in rows)
        tell(Progress(min(shared.count(), planned), planned, tokens=tokens))
    shared.bring_together(lambda: to_lines(_in_order(_written(shared))))
    whole, everything = _in_order(_written(shared)), sum(shared.peers.gathered(tokens))
    if everything > tokens:
        tell(Progress(len(whole), planned, tokens=everything))
    return whole


def _batches(tasks: Sequence[PlannedRow], size: int) -> list[Sequence[PlannedRow]]:
    ordered = sorted(tasks, key=lambda task: (len(task.prompt), task.number))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _written(shared: SharedRows) -> dict[int, CorpusRow]:
    """The rows on disk by number, of all processes."""
    return {row.number: row for file in shared.files() for row in read_corpus(file)}


def _in_order(rows: Mapping[int, CorpusRow]) -> list[CorpusRow]:
    return [rows[number] for number in sorted(rows)]


def _batch(
    lm: LanguageModel, tasks: Sequence[PlannedRow], lane: Lane, sampling: Sampling, stop: Stop | None
) -> list[CorpusRow]:
    return [_row(*one) for one in write_batch(lm, lane, tasks, sampling, stop)]


def _row(task: PlannedRow, done: Completion) -> CorpusRow:
    return CorpusRow(
        number=task.number,
        id=task.id,
        sample=task.sample,
        prompt=task.prompt,
        special=task.special,
        completion=done.text,
        tokens=tuple(done.tokens),
        finish="eos" if done.finish == "eos" else "length",
        end=done.end,
    )


def _check_same(rows: dict[int, CorpusRow], tasks: Sequence[PlannedRow], path: Path) -> None:
    wanted = {task.number: task for task in tasks}
    for number, row in rows.items():
        task = wanted.get(number)
        if task is None or (row.id, row.sample, row.prompt) != (task.id, task.sample, task.prompt):
            raise InputError(
                f"{path} holds row {number} of {row.id!r}, which is not what is asked for; it is of other "
                "prompts. Choose another folder, or delete the file"
            )

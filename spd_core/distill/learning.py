"""What an arm that learns on its own text is given: its prompts, its teacher, and a look whether it can learn at all.

Knows nothing of training steps.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from spd_core.data.capability import Capability
from spd_core.distill.chunks import choose_anchors
from spd_core.distill.review import held_apart
from spd_core.distill.rollouts import AskedRow, Learning, write_rollouts
from spd_core.distill.served import student_engine
from spd_core.distill.teachers import EngineTeacher, ModelTeacher, SelfTeacher, ServedTeacher, Teacher
from spd_core.distill.write import PlannedRow
from spd_core.engines.discovery import connect
from spd_core.engines.writing import EngineLane, ToBeServed, engine_for
from spd_core.engines.written import WrittenBy
from spd_core.errors import InputError
from spd_core.generation.decode import encoded_prompt, end_tokens
from spd_core.intervention.projection import Lane
from spd_core.models.identity import content_of
from spd_core.models.loading import LanguageModel, load
from spd_core.progress import Stop
from spd_core.recipes.distill import ARMS, ArmName, Recipe
from spd_core.recipes.lanes import Sampling
from spd_core.runs.parallel import together

LOOKED_AT = 32
"""Rollouts that are written before a training of OmniOPD."""


def asked_rows(recipe: Recipe, prompts: Capability, tasks: Sequence[PlannedRow]) -> list[AskedRow]:
    """The prompts that a student learns on: all but those held out."""
    asked = {example.id: example.prompt for example in prompts.examples}
    apart = held_apart(asked, recipe.corpus.held_out)
    return [
        AskedRow(task.number, task.prompt, task.special, id=task.id, sample=task.sample, asked=asked[task.id])
        for task in tasks
        if task.id not in apart
    ]


@contextmanager
def learning_of(
    lm: LanguageModel,
    recipe: Recipe,
    arm: ArmName,
    lane: Lane,
    prompts: Capability,
    rows: Sequence[AskedRow],
    folder: Path,
    stop: Stop | None,
) -> Iterator[tuple[Learning, WrittenBy | None]]:
    """What an arm learns from, and the engine that writes for its teacher; engines serve until the block ends.

    Args:
        lane: as which the untouched model teaches.
        folder: of a vLLM that is started (see `ToBeServed`).

    Raises:
        InputError, ModelError: the teacher cannot be loaded; an engine that several processes would start.
        WriterError: its server does not answer, has too short a context, or is another model.
    """
    learning = Learning(rows, recipe.sampling(arm), recipe.seed, max_tokens=recipe.rollout.max_tokens)
    with ExitStack() as engines:
        if recipe.serves_student(arm):
            _check_alone(arm)
            student = engines.enter_context(student_engine(lm, recipe, arm, rows, folder, stop))
            learning = replace(learning, engine=student)
        if ARMS[arm].method == "on-policy":
            yield replace(learning, divergence=recipe.rollout.divergence, lane=lane), None
            return
        learning = replace(learning, chunks=recipe.omniopd)
        if arm == "omniopd-model":
            yield replace(learning, teacher=_another(lm, recipe, prompts, rows, stop)), None
        elif recipe.corpus.writer.here:
            yield replace(learning, teacher=SelfTeacher(lm, lane, rows_at_once=_rows_at_once(recipe), stop=stop)), None
        else:
            through = _through_engine(lm, recipe, arm, lane, rows, folder, stop)
            served, written = engines.enter_context(through)
            yield replace(learning, teacher=EngineTeacher(served, stop)), written


def _check_alone(arm: ArmName) -> None:
    if (processes := together().count) > 1:
        raise InputError(
            f"corpus.writer vllm: each of {processes} processes would start one for {arm}; start one process, or "
            "choose the writer openai, with which rollouts are written here, and a server of yours writes for a teacher"
        )


def _through_engine(
    lm: LanguageModel,
    recipe: Recipe,
    arm: ArmName,
    lane: Lane,
    rows: Sequence[AskedRow],
    folder: Path,
    stop: Stop | None,
) -> AbstractContextManager[tuple[EngineLane, WrittenBy]]:
    """The untouched model as a lane, whose weights are the same for the whole training, behind an engine."""
    writer, chunks = recipe.corpus.writer, recipe.omniopd
    longest = Sampling(chunks.temperature, chunks.top_p, recipe.corpus.max_new_tokens)  # a chunk may end a rollout
    return engine_for(writer, ToBeServed(arm, lm, lane, lane.subspace is not None, folder), rows, longest, stop)


def _rows_at_once(recipe: Recipe) -> int:
    return 2 * recipe.corpus.batch_size


def _another(
    lm: LanguageModel, recipe: Recipe, prompts: Capability, rows: Sequence[AskedRow], stop: Stop | None
) -> Teacher:
    """Another model, here or behind a server."""
    chunks, longest = recipe.omniopd, recipe.corpus.max_new_tokens
    if not chunks.server.here:
        sampling = recipe.sampling("omniopd-model")
        tokens = longest + max(len(encoded_prompt(lm, row.prompt, sampling, row.special)) for row in rows)
        served = chunks.server.served("omniopd-model", False)
        return ServedTeacher(connect(served, chunks.server, sorted(end_tokens(lm)), tokens), lm, stop)
    rows_at_once = _rows_at_once(recipe)
    teacher = load(chunks.teacher, None, recipe.dtype, purpose="generation", rows=rows_at_once, new_tokens=longest)
    if teacher.card.context < longest + 1:
        raise InputError(
            f"omniopd.teacher {chunks.teacher} reads at most {teacher.card.context} tokens, and rollouts can be "
            f"{longest} tokens long; choose another teacher, or a lower corpus.max_new_tokens"
        )
    return ModelTeacher(teacher, lm, prompts.settings, recipe.corpus.prompt_style, rows_at_once, stop)


def learning_digest(recipe: Recipe, arm: ArmName, learning: Learning, written: WrittenBy | None = None) -> str:
    """sha256 of all that decides what is learned: a checkpoint of another one is not gone on from.

    Args:
        written: the engine that writes for the teacher.
    """
    lane = learning.lane
    if isinstance(learning.teacher, SelfTeacher):
        lane = learning.teacher.lane
    elif isinstance(learning.teacher, EngineTeacher):
        lane = learning.teacher.own.lane
    student = None if learning.engine is None else learning.engine.written
    engines = {"engine": written, "rollouts": student}
    through = {name: [by.writer, by.prompts, by.tokens] for name, by in engines.items() if by is not None}
    meant: dict[str, Any] = {
        "method": ARMS[arm].method,
        "rows": [[row.number, row.prompt, row.special] for row in learning.rows],
        "rollout": asdict(learning.rollout),
        "seed": learning.seed,
        "divergence": learning.divergence,
        "chunks": None
        if learning.chunks is None
        else learning.chunks.model_dump(mode="json", exclude={"teacher", "server", "accept_short"}),
        "lane": None if lane is None or lane.subspace is None else [lane.subspace.fingerprint, lane.strength],
        "teacher": None if arm != "omniopd-model" else _who(recipe),
        "train": recipe.train.model_dump(mode="json", exclude={"completions", "log_to"}),
        **through,
    }
    return hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).hexdigest()


def _who(recipe: Recipe) -> Any:
    chunks = recipe.omniopd
    return content_of(chunks.teacher) if chunks.server.here else chunks.server.decides("omniopd-model", False)


def check_rollouts(lm: LanguageModel, recipe: Recipe, learning: Learning, stop: Stop | None) -> tuple[float, float]:
    """Write some rollouts, and see whether there is something to audit.

    Returns:
        the share of them that are at least a chunk long, and how many chunks one has in the mean.

    Raises:
        InputError: more than half are shorter than a chunk, and the recipe does not accept that.
        Stopped: on request.
        WriterError: the engine that writes them does not answer as asked.
    """
    chunks = recipe.omniopd
    rows, sampling, seed = learning.rows[:LOOKED_AT], learning.rollout, learning.seed
    if learning.engine is None:
        written = write_rollouts(lm, rows, sampling, seed, 0, stop)
    else:
        written = learning.engine.write(rows, sampling, seed, 0, stop)
    lengths = [len(one.tokens) + (one.end is not None) for one in written]
    found = [len(choose_anchors(torch.zeros(length), chunks.chunk_tokens, chunks.chunks)) for length in lengths]
    share, mean = sum(map(bool, found)) / len(found), sum(found) / len(found)
    if share < 0.5 and not chunks.accept_short:
        raise InputError(
            f"{share:.0%} of {len(found)} rollouts are at least {chunks.chunk_tokens} tokens long: the others have no "
            "chunk, and nothing to learn from at the start. Choose a smaller omniopd.chunk_tokens (the paper has 50, "
            "and reports that 25 fail), allow more new tokens, or set omniopd.accept_short to train all the same"
        )
    return share, mean

"""What is wrong with a recipe, told before anything starts: one answer for the pages, the shell, the queue and the job.

Imports no torch where it is told not to ask: a page calls it on every change.
"""

import functools
import time
from collections.abc import Mapping
from pathlib import Path

from spd_core.distill.checks import (
    LONGEST,
    Effort,
    check_capture,
    check_disk,
    check_distillation,
    check_layers,
    check_lengths,
    check_rank,
    check_style,
    examples_of,
    naming,
)
from spd_core.distill.trained import still_to_train
from spd_core.engines.checks import check_writer
from spd_core.errors import InputError, MemoryLimitError, ModelError, SpdError
from spd_core.evaluation.costs import cost_of_evaluation, measured_answers
from spd_core.evaluation.set_facts import SetFacts, facts_by_name
from spd_core.intervention.cards import adapter_folder, read_card
from spd_core.models.described import Described, describe_model
from spd_core.models.families import parse_layers
from spd_core.recipes.distill import ARMS, Recipe
from spd_core.recipes.evaluation import EvaluationRecipe, Subject
from spd_core.recipes.writer import Writer
from spd_core.runs.costs import Rates, measured_rates
from spd_core.runs.processes import LOCAL, job_command
from spd_core.sandbox.run import ALLOW, check_isolation, code_allowed
from spd_core.storage import runs_folder
from spd_core.subspace.spectrum import choose_rank
from spd_core.subspace.store import capture_place, load_capture

_REMEMBERED = 30.0
"""Seconds that measured rates are remembered; how code is isolated, twenty times as long."""


def check(recipe: Recipe | EvaluationRecipe, launcher: str = LOCAL, *, ask: bool = True) -> None:
    """Refuse what can be known to fail, before any file is written.

    Args:
        launcher: what is to start it, as in a run's record.
        ask: also ask what takes seconds: transformers, for what the configuration leaves out and for the memory; the
            tokenizer; captures; and the hub, whether it knows the model. Pages ask when the button is pressed; what is
            not known then is not refused.

    Raises:
        SpdError: mostly `InputError`; the message names the setting, its value and the remedy.
    """
    job_command(launcher, "run")
    model = describe_model(recipe.model, recipe.revision, ask=ask)
    if isinstance(recipe, EvaluationRecipe):
        _check_evaluation(recipe, model, ask)
        return
    _check_corpus_writer(recipe, ask)
    _check_teacher(recipe, ask)
    weights = _weights(recipe.corpus.writer, recipe.dtype, model) if ask else 0
    effort = check_distillation(recipe, model, _rates(recipe), weights)
    if ask:
        check_lengths(recipe, model)
        if launcher == LOCAL:
            _check_memory(recipe, model, effort)


def refusal(recipe: Recipe | EvaluationRecipe, launcher: str = LOCAL, *, ask: bool = True) -> str:
    """The same in words; empty where nothing is in the way."""
    try:
        check(recipe, launcher, ask=ask)
    except SpdError as error:
        return str(error)
    return ""


def _rates(recipe: Recipe | EvaluationRecipe) -> Rates | None:
    return _measured(recipe.model, recipe.corpus.writer, str(runs_folder()), int(time.monotonic() / _REMEMBERED))


@functools.lru_cache(maxsize=16)
def _measured(model: str, writer: Writer, _home: str, _when: int) -> Rates | None:
    return measured_rates(model, writer)


def _check_corpus_writer(recipe: Recipe, ask: bool) -> None:
    writer = recipe.corpus.writer
    writing: dict[str, bool] = {arm: ARMS[arm].subspace != "none" for arm in recipe.arms if recipe.asks_writer(arm)}
    check_writer("corpus.writer", writer, writing, ask=ask)
    if writer.kind == "openai" and recipe.rounds > 1:
        raise InputError(
            f"rounds {recipe.rounds}: from the second one on each arm writes by a model that this run trains, which no "
            "server serves yet; choose rounds 1, or the writer vllm"
        )


def _check_teacher(recipe: Recipe, ask: bool) -> None:
    """Refuse a teacher that is not there, or that cannot read what it is to write on."""
    chunks = recipe.omniopd
    if "omniopd-model" not in recipe.arms:
        return
    check_writer("omniopd.server", chunks.server, {"omniopd-model": False}, ask=ask)
    if not chunks.server.here:
        return
    try:
        teacher = describe_model(chunks.teacher, None, ask=ask)
    except ModelError as error:
        raise ModelError(f"omniopd.teacher {chunks.teacher!r}: {error}") from error
    check_style("corpus.prompt_style", recipe.corpus.prompt_style, teacher, chunks.teacher)
    if teacher.card is not None and teacher.card.context <= recipe.corpus.max_new_tokens:
        raise InputError(
            f"omniopd.teacher {chunks.teacher} holds {teacher.card.context} tokens, and rollouts can be "
            f"{recipe.corpus.max_new_tokens} long (corpus.max_new_tokens); choose another teacher, or allow fewer"
        )


def _weights(writer: Writer, dtype: str, *models: Described) -> int:
    """Bytes of the largest of some models in a number format, where a writer keeps its checkpoint; 0 where it keeps
    none, or no model is here yet."""
    here = [str(model.folder) for model in models if model.folder is not None]
    if not writer.keeps_checkpoint or not here:
        return 0
    from spd_core.models.loading import estimate_model, read_config

    return max(estimate_model(read_config(folder), dtype).load for folder in here)


def _check_memory(recipe: Recipe, model: Described, effort: Effort) -> None:
    """Refuse what does not fit into this machine even when nothing else runs on it; what is free now, loading asks."""
    if model.folder is None:
        return
    from spd_core.distill.memory import memory_of
    from spd_core.models.device import choose_device, total_memory
    from spd_core.models.loading import read_config

    tokens = round(effort.sizes.prompt_tokens if effort.sizes else 1) + recipe.corpus.max_new_tokens
    needed, there = memory_of(read_config(str(model.folder)), recipe, tokens), total_memory(choose_device())
    if needed > there:
        raise MemoryLimitError(
            f"corpus.batch_size {recipe.corpus.batch_size} and train.batch_size {recipe.train.batch_size} with "
            f"{recipe.model} need about {needed / 2**30:.1f} GiB of memory, and this machine has {there / 2**30:.1f}; "
            "choose smaller batches, fewer new tokens, or a smaller model"
        )


# --- evaluations -------------------------------------------------------------------------------------------------


def _check_evaluation(recipe: EvaluationRecipe, model: Described, ask: bool) -> None:
    facts = facts_by_name(recipe.sets)
    if ask:
        _check_tasks(recipe)
    check_style("prompt_style", recipe.prompt_style, model, recipe.model)
    for subject in recipe.subjects:
        _check_subject(recipe, subject, model, ask)
    captured = any(subject.kind == "projected" and not subject.capture for subject in recipe.subjects)
    examples = None
    if captured or recipe.arms:
        calibration = examples_of(recipe.capability, "calibration")
        check_capture(recipe.capture, recipe.corpus.prompt_style, calibration, model.card)
        examples = None if calibration is None else len(calibration.examples)
    _check_answering(recipe, facts, ask)
    rates = _rates(recipe)
    wanted = [one for seed in recipe.seeds if (one := recipe.distillation(seed)) is not None]
    for one in wanted[:1]:
        _check_corpus_writer(one, ask)
        _check_teacher(one, ask)
    left = [one for one in map(still_to_train, wanted) if one is not None]  # what is trained costs nothing more
    weights = _weights(recipe.corpus.writer, recipe.dtype, model) if left and ask else 0
    efforts = [check_distillation(one, model, rates, weights) for one in left]
    _check_time(recipe, facts, examples, rates, efforts)
    _check_code([name for name, one in facts.items() if one.scorer == "python"], recipe.allow_code)


def _check_answering(recipe: EvaluationRecipe, facts: Mapping[str, SetFacts], ask: bool) -> None:
    """Refuse a writer that cannot answer: an engine is asked for texts, by models that are there already."""
    writer = recipe.writer
    if writer.here:
        return
    for wanted in recipe.sets:
        if wanted.task is not None or facts[wanted.name].scorer == "nll":
            raise InputError(
                f"{wanted.name} is scored by likelihoods, which the writer {writer.kind} is not asked for; leave the "
                "set out, or choose the writer local"
            )
    if writer.kind == "openai" and recipe.arms:
        raise InputError(
            f"the arm {recipe.arms[0]} is trained by this evaluation, and no server serves it yet; train it first, "
            "export and serve it, and name it as the subject RUN/ARM; or choose the writer vllm"
        )
    changed = {subject.name: subject.kind != "base" for subject in recipe.subjects}
    check_writer("writer", writer, changed, ask=ask)
    if ask:
        names = {subject.model or recipe.model for subject in recipe.subjects}
        weights = _weights(writer, recipe.dtype, *map(describe_model, names))
        check_disk(weights, "the checkpoint that vLLM serves needs", "choose the writer local")


def _check_tasks(recipe: EvaluationRecipe) -> None:
    """Refuse tasks that lm-evaluation-harness does not know or that run code of a model; it takes seconds to load."""
    for wanted in recipe.sets:
        if wanted.task is not None:
            from spd_core.evaluation.harness import check_tasks

            check_tasks([wanted.task.name], Path(wanted.data).expanduser() if wanted.data else None)


def _check_subject(recipe: EvaluationRecipe, subject: Subject, model: Described, ask: bool) -> None:
    """Refuse adapters, captures and checkpoints that are not there or of another model, and ranks that cannot be."""
    if subject.model:
        describe_model(subject.model, ask=ask)
    if subject.adapter:
        card = read_card(adapter_folder(subject.adapter))
        _check_base(f"the adapter {subject.adapter!r} was trained on", card.base, recipe.model)
    if subject.kind != "projected":
        return
    rank = subject.rank or recipe.capture.rank
    check_rank(f"rank of {subject.title}", rank, model.card)
    if subject.capture:
        _check_captured(recipe, subject, rank, ask)
    elif subject.layers is not None and model.card is not None:
        check_layers("capture.layers", recipe.capture.layers, model.card)
        _check_layers(subject, parse_layers(recipe.capture.layers, model.card.layers))


def _check_captured(recipe: EvaluationRecipe, subject: Subject, rank: str, ask: bool) -> None:
    place = capture_place(subject.capture)
    if not ask:
        return
    found = load_capture(place)
    _check_base(f"the capture {subject.capture!r} is of", found.provenance.model, recipe.model)
    _check_layers(subject, tuple(found.layers))
    for site, one in found.sites.items():
        with naming(f"rank of {subject.title}", rank), naming("at", site.label):
            choose_rank(rank, one.values, dtype=found.provenance.dtype)


def _check_layers(subject: Subject, there: tuple[int, ...]) -> None:
    unknown = sorted(set(subject.layers or ()) - set(there))
    if unknown:
        raise InputError(f"layers {unknown} of {subject.title} are not in its subspace, which has {list(there)}")


def _check_base(what: str, base: str, model: str) -> None:
    """Refuse another model, where both are known by a name: two folders may hold the same one."""
    if base != model and not any(name.startswith((".", "/", "~")) or Path(name).exists() for name in (base, model)):
        raise InputError(f"{what} {base}, and not of {model}; choose that model, or leave the subject out")


def _check_time(
    recipe: EvaluationRecipe,
    facts: Mapping[str, SetFacts],
    examples: int | None,
    rates: Rates | None,
    efforts: list[Effort],
) -> None:
    cost = cost_of_evaluation(
        recipe,
        facts,
        examples,
        measured_answers(recipe.model, recipe.writer),
        rates,
        [one.cost for one in efforts],
    )
    seconds = cost.seconds or sum(one.cost.seconds or 0.0 for one in efforts)
    if seconds > LONGEST:
        raise InputError(
            f"{cost.cells:,} cells with {cost.items or 'some'} answers would take about {seconds / 86400:,.0f} days, "
            f"and more than {LONGEST / 86400:.0f} are never started; choose fewer items, seeds or subjects, or shorter "
            "answers"
        )


def _check_code(names: list[str], allowed: bool) -> None:
    if names and not (allowed or code_allowed()):
        raise InputError(
            f"{names[0]} is scored by running code that a model has written. It runs isolated: without network, "
            f"writing nothing, limited in time and memory. Allow it (the switch above, allow_code in a file, or "
            f"{ALLOW}=1), or leave the set out"
        )
    if names and (reason := _isolation(int(time.monotonic() / (20 * _REMEMBERED)))):
        raise InputError(reason)


@functools.lru_cache(maxsize=1)
def _isolation(_when: int) -> str:
    """Why this machine cannot isolate code; a trial, which takes a moment."""
    return check_isolation()

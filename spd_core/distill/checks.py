"""Which settings of a distillation cannot be, by what is known of its model and its examples before it starts.

Who asks for all of it at once is `evaluation/preflight.py`. Imports no torch.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spd_core.data.capability import Capability, Split, Style
from spd_core.data.catalog import file_changed, find_capability
from spd_core.data.public import PUBLIC_SETS
from spd_core.distill.event_files import check_event_files
from spd_core.errors import InputError, StorageError
from spd_core.models.described import Described
from spd_core.models.families import ModelCard, parse_layers
from spd_core.recipes.capture import CaptureSettings
from spd_core.recipes.distill import ARMS, Recipe, TrainSettings
from spd_core.runs.costs import FASTEST, Cost, Rates, Sizes, cost_of
from spd_core.storage import free_space
from spd_core.subspace.spectrum import choose_rank

LONGEST = 30 * 86400.0
"""Seconds that an estimate may come to; what would take longer is a slip of the keyboard."""
_UNKNOWN_LAYERS, _UNKNOWN_WIDTH = 10_000, 65_536  # more than any model has
_STEP = 1e-3  # seconds that an optimizer step takes at least
_BYTES_A_TOKEN = 40  # of a corpus, as JSON, with the token's number


@contextmanager
def naming(field: str, value: object) -> Iterator[None]:
    """Put the setting and its value before what is wrong with it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{field} {value!r}: {error}") from error


# --- examples ----------------------------------------------------------------------------------------------------


def examples_of(name: str, split: Split, data: str = "") -> Capability | None:
    """A split of a capability, read again when its file has changed; None where only the hub has it.

    Raises:
        InputError: nothing of that name, an unreadable file, or nothing in the split.
    """
    if name in PUBLIC_SETS and not data:
        if split not in PUBLIC_SETS[name].splits:
            raise InputError(f"{name} has no {split} split; it has {', '.join(PUBLIC_SETS[name].splits)}")
        if PUBLIC_SETS[name].installed is None:
            return None
    return _read(name, split, data, file_changed(name, data))


@functools.lru_cache(maxsize=64)
def _read(name: str, split: Split, data: str, changed: float) -> Capability:
    return find_capability(name, Path(data).expanduser() if data else None, split)


# --- the parts of a recipe -----------------------------------------------------------------------------------------


def check_capture(
    settings: CaptureSettings, style: Style, calibration: Capability | None, card: ModelCard | None
) -> None:
    """Refuse layers, ranks and losses that the model or the examples do not have."""
    check_layers("capture.layers", settings.layers, card)
    check_rank("capture.rank", settings.rank, card)
    left_out = _left_out(settings)
    if calibration is None:
        return
    examples = calibration.limited(settings.examples).examples
    for one in (calibration, *left_out):
        if settings.loss == "solution" and not all(known.tests for known in one.limited(settings.examples).examples):
            raise InputError(
                f"capture.loss 'solution' is for code with tests, and {one.name} has examples without; use aligned or "
                "full"
            )
    template = len(calibration.settings.template.encode())
    tokens = sum(template + len((one.prompt + one.answer).encode()) for one in examples)  # of a byte at least
    most = tokens - settings.center
    if style == "raw" and settings.rank.isdecimal() and int(settings.rank) > most:
        raise InputError(
            f"capture.rank {settings.rank}: {len(examples)} of the calibration examples have at most {tokens} tokens, "
            f"and so no more than {most} directions; choose a lower rank, or more examples"
        )


def _left_out(settings: CaptureSettings) -> list[Capability]:
    """What a contrast leaves out, as far as it is known; raises `InputError` where there is nothing of a name."""
    found = []
    for name in settings.without:
        with naming("capture.without", name):
            found.append(examples_of(name, "calibration"))
    return [one for one in found if one is not None]


def check_layers(field: str, layers: str, card: ModelCard | None) -> None:
    """Refuse layers that no model has, or that this one has not."""
    with naming(field, layers):
        parse_layers(layers, _UNKNOWN_LAYERS if card is None else card.layers)


def check_rank(field: str, rule: str, card: ModelCard | None) -> None:
    """Refuse what is no rule for a rank, or a rank that is wider than the model's keys and values."""
    with naming(field, rule):
        choose_rank(rule, np.ones(_UNKNOWN_WIDTH if card is None else card.d_kv))


def check_style(field: str, style: Style, model: Described, name: str) -> None:
    """Refuse chats with a model that has no template for them."""
    if style == "chat" and model.chats is False:
        raise InputError(f"{field} 'chat': {name} has no chat template; use raw, or a model that was tuned for chats")


def check_training(settings: TrainSettings, card: ModelCard | None) -> None:
    """Refuse adapters wider than their maps, steps that no model survives, and event files without their package."""
    check_event_files(settings)
    if settings.learning_rate > 1:
        raise InputError(
            f"train.learning_rate {settings.learning_rate:g} is above 1, and no training survives such steps; the "
            "paper's is 1e-5, a small model on few rows bears 2e-4"
        )
    if card is None:
        return
    attention = card.heads * card.head_dim
    widths = {"q": (card.hidden, attention), "k": (card.hidden, card.d_kv), "v": (card.hidden, card.d_kv),
              "o": (attention, card.hidden)}  # fmt: skip
    target = min(settings.lora_targets, key=lambda name: min(widths[name]))
    if settings.lora_r > min(widths[target]):
        inputs, outputs = widths[target]
        raise InputError(
            f"train.lora_r {settings.lora_r} is more than the map {target} of {inputs} inputs and {outputs} outputs "
            f"can have; choose 1 to {min(inputs, outputs)} (the paper: 8)"
        )


# --- a whole recipe ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Effort:
    """What a recipe amounts to, as far as it can be known; `sizes` is None where only the hub knows."""

    cost: Cost
    sizes: Sizes | None
    rates: Rates


def check_distillation(recipe: Recipe, model: Described, rates: Rates | None, weights: int = 0) -> Effort:
    """Refuse what can be known to fail, before any file is written; returns what it will cost.

    Args:
        rates: of this model on this machine; None where nothing was measured.
        weights: as of `cost_of`.

    Raises:
        InputError: a setting cannot be, or it would never end; the message names it.
        StorageError: the disk has no room for it.
    """
    calibration = examples_of(recipe.capability, "calibration")
    prompts = examples_of(recipe.capability, recipe.corpus.split)
    check_capture(recipe.capture, recipe.corpus.prompt_style, calibration, model.card)
    _check_arms(recipe, calibration)
    _check_corpus(recipe, prompts, model)
    check_training(recipe.train, model.card)
    sizes = sizes_of(recipe)
    effort = Effort(_cost(recipe, sizes, rates, model.card, weights), sizes, rates or FASTEST)
    _check_time(recipe, effort)
    _check_room(effort.cost, recipe.corpus.writer.keeps_checkpoint)
    return effort


def _check_arms(recipe: Recipe, calibration: Capability | None) -> None:
    shuffles = [arm for arm in recipe.arms if ARMS[arm].subspace == "shuffled answers"]
    used = (
        recipe.capture.examples or 2
        if calibration is None
        else len(calibration.limited(recipe.capture.examples).examples)
    )
    if shuffles and used < 2:
        raise InputError(f"the arm {shuffles[0]} shuffles answers, and {used} example cannot be; use at least 2")


def _check_corpus(recipe: Recipe, prompts: Capability | None, model: Described) -> None:
    corpus = recipe.corpus
    check_style("corpus.prompt_style", corpus.prompt_style, model, recipe.model)
    there = None if prompts is None else len(prompts.limited(corpus.prompts).examples)
    if there is not None and corpus.held_out >= there:
        raise InputError(
            f"corpus.held_out {corpus.held_out}: {recipe.capability} has {there} {corpus.split} prompts, which leaves "
            "none to train on; hold out fewer"
        )
    if model.card is not None and corpus.max_new_tokens >= model.card.context:
        raise InputError(
            f"corpus.max_new_tokens {corpus.max_new_tokens}: the context of {recipe.model} holds {model.card.context} "
            "tokens, prompt included; allow fewer"
        )


def sizes_of(recipe: Recipe) -> Sizes | None:
    """What a recipe goes through; None where only the hub knows.

    Raises:
        InputError: nothing of that name, or a split is empty.
    """
    calibration = examples_of(recipe.capability, "calibration")
    prompts = examples_of(recipe.capability, recipe.corpus.split)
    if calibration is None or prompts is None:
        return None
    return Sizes.of(prompts, recipe.corpus.prompts, len(calibration.examples))


def _cost(recipe: Recipe, sizes: Sizes | None, rates: Rates | None, card: ModelCard | None, weights: int) -> Cost:
    """Its cost; at the least where nothing was measured, or its sizes are not known."""
    known = sizes or Sizes(prompts=recipe.corpus.prompts or recipe.corpus.held_out + 1, prompt_tokens=1.0, examples=1)
    return cost_of(recipe, known.prompts, known.prompt_tokens, known.examples, rates or FASTEST, card, weights)


def training_steps(recipe: Recipe, prompts: int) -> int:
    """Optimizer steps of all arms and rounds, where no row is dropped."""
    rows = (min(prompts, recipe.corpus.prompts or prompts) - recipe.corpus.held_out) * recipe.corpus.samples
    return len(recipe.arms) * recipe.rounds * recipe.train.epochs * math.ceil(rows / recipe.train.batch_size)


def _check_time(recipe: Recipe, effort: Effort) -> None:
    cost, prompts = effort.cost, effort.sizes.prompts if effort.sizes else recipe.corpus.held_out + 1
    steps = training_steps(recipe, prompts)
    seconds = max(cost.seconds or 0.0, _STEP * steps)
    if seconds <= LONGEST:
        return
    training = max(cost.train_tokens / effort.rates.train, _STEP * steps)
    if training >= cost.corpus_tokens / effort.rates.corpus:
        named = (
            f"train.epochs {recipe.train.epochs:,}, corpus.samples {recipe.corpus.samples:,}, rounds {recipe.rounds}"
        )
        named, remedy = f"{named}: {steps:,} training steps", "fewer epochs, samples, prompts or arms"
    else:
        named = f"corpus.max_new_tokens {recipe.corpus.max_new_tokens:,}, corpus.samples {recipe.corpus.samples:,}"
        named, remedy = f"{named}: {cost.corpus_tokens:,} new tokens", "fewer new tokens, samples, prompts or arms"
    raise InputError(
        f"{named} would take about {seconds / 86400:,.0f} days (rates: {effort.rates.source}), and more than "
        f"{LONGEST / 86400:.0f} are never started; choose {remedy}"
    )


def _check_room(cost: Cost, served: bool) -> None:
    needed = (cost.disk or 0) + _BYTES_A_TOKEN * cost.corpus_tokens
    if served:
        check_disk(needed, "its adapters, corpora and the checkpoint that vLLM serves need", "choose the writer local")
    else:
        check_disk(needed, "its adapters and corpora need", "choose a lower train.lora_r")


def check_disk(needed: int, what: str, remedy: str) -> None:
    """Refuse what has no room where results are kept.

    Raises:
        StorageError: fewer bytes are free than `needed`; `what` needs them, verb included.
    """
    if needed > (free := free_space()):
        raise StorageError(
            f"{what} up to {needed / 2**20:,.0f} MiB of disk, and {free / 2**20:,.0f} MiB are free; delete old runs, "
            f"{remedy}, or set SPD_HOME to another disk"
        )


# --- what takes a moment to find out -------------------------------------------------------------------------------


def check_lengths(recipe: Recipe, model: Described) -> None:
    """Refuse prompts that leave no room for the new tokens in the model's context, by the model's own tokenizer.

    Raises:
        InputError: one does not fit.
    """
    prompts = examples_of(recipe.capability, recipe.corpus.split)
    file = None if model.folder is None else model.folder / "tokenizer.json"
    if prompts is None or model.card is None or file is None or not file.is_file():
        return
    texts = [one.prompt for one in prompts.limited(recipe.corpus.prompts).examples]
    template = prompts.settings.template
    longest = max(_token_counts(file, [template.replace("{prompt}", text) for text in sorted(texts, key=len)[-8:]]))
    if longest + recipe.corpus.max_new_tokens > model.card.context:
        raise InputError(
            f"corpus.max_new_tokens {recipe.corpus.max_new_tokens}: the longest prompt has {longest} tokens, and the "
            f"context of {recipe.model} holds {model.card.context}; allow fewer new tokens"
        )


def _token_counts(file: Path, texts: Sequence[str]) -> list[int]:
    from tokenizers import Tokenizer

    try:
        tokenizer: Any = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing narrower
        raise InputError(f"{file} is no tokenizer ({error}); save it again with save_pretrained") from error
    return [len(found.ids) for found in tokenizer.encode_batch(texts)]

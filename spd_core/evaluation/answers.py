"""Lets a model answer the items of a set, and scores each answer. What is known of an item already is only read.

How an answer is judged is in `evaluation/scoring.py`, what differences mean in `evaluation/statistics.py`.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from spd_core.data.capability import Capability, Example, Scorer, Style
from spd_core.data.catalog import find_capability
from spd_core.data.spans import Encoded, EncodedSet, encode, encode_all, generation_prompt
from spd_core.engines.writing import EngineLane, NumberedPrompt
from spd_core.engines.written import WrittenBy
from spd_core.errors import InputError, ModelError
from spd_core.evaluation.scoring import option_letters, score, scorer_fits
from spd_core.evaluation.store import About, Asked, ItemRecord, ItemStore
from spd_core.generation.decode import Completion, generate
from spd_core.intervention.projection import Lane, projecting
from spd_core.models.loading import LanguageModel
from spd_core.models.losses import batch_losses, longest_first
from spd_core.peers import ALONE, Peers
from spd_core.progress import Progress, Stop, Tell, silent
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.sets import EvalSet, answer_length
from spd_core.sandbox.run import run_tests

_REFERENCE_TOKENS = 1024
"""Longest prompt and reference answer whose likelihood is taken."""
_AT_ONCE = 2
"""Answers whose code runs at a time."""


@dataclass(frozen=True)
class Items:
    """A set, ready to be asked.

    Attributes:
        name: short, as in the recipe.
        capability: settings and the examples that its scorer fits.
        unfit: ids of those it does not fit.
    """

    name: str
    capability: Capability
    style: Style
    max_new_tokens: int
    unfit: tuple[str, ...] = field(default=())

    @property
    def scorer(self) -> Scorer:
        """How answers are scored."""
        return self.capability.settings.scorer

    @property
    def chance(self) -> float | None:
        """Expected share of right guesses where there are options; None elsewhere."""
        if self.scorer != "letter":
            return None
        return fmean(1 / len(option_letters(example)) for example in self.capability.examples)

    def about(self, subject: str, writer: str = "") -> About:
        """What the records of a subject, called by its fingerprint, depend on; `writer` as in `About`."""
        settings = self.capability.settings
        return About(
            subject=subject,
            set=self.capability.name,
            template=settings.template,
            scorer=settings.scorer,
            style=self.style,
            max_new_tokens=self.max_new_tokens,
            writer=writer,
        )


def fit_to(lm: LanguageModel, items: Items) -> Items:
    """The items without those whose likelihood this model cannot take: too long, or no token of the answer survives."""
    if items.scorer != "nll":
        return items
    settings, longest = items.capability.settings, min(_REFERENCE_TOKENS, lm.card.context)
    found = {
        one.id: encode(one, settings, lm.tokenizer, items.style, "full", 10**9) for one in items.capability.examples
    }
    fits = {name for name, one in found.items() if isinstance(one, Encoded) and len(one.ids) <= longest}
    if not fits:
        raise InputError(f"{items.name}: no item has an answer within {longest} tokens; choose another set")
    kept = tuple(example for example in items.capability.examples if example.id in fits)
    unfit = tuple(sorted((*items.unfit, *(name for name in found if name not in fits))))
    return replace(items, capability=Capability(settings, kept), unfit=unfit)


@dataclass(frozen=True)
class Through:
    """An engine that answers, and what is kept of it."""

    engine: EngineLane
    written: WrittenBy


@dataclass(frozen=True)
class Evaluated:
    """What is known of a subject on a set.

    Attributes:
        records: in the set's order.
        wanted: items of the set.
        tokens: that were written (or, of likelihoods, scored) anew.
        reused: items whose records were there before.
    """

    records: tuple[ItemRecord, ...]
    wanted: int
    tokens: int
    reused: int

    @property
    def whole(self) -> bool:
        """Whether every item has its record."""
        return len(self.records) == self.wanted


def read_set(wanted: EvalSet, style: Style = "raw") -> Items:
    """The items of a set that can be scored.

    Raises:
        InputError: nothing of that name, no item in the split, or a scorer that fits none of them.
    """
    found = find_capability(wanted.capability, Path(wanted.data) if wanted.data else None, wanted.split)
    found = found.limited(wanted.limit)
    unfit = frozenset(scorer_fits(found.settings, found.examples))
    kept = Capability(found.settings, tuple(example for example in found.examples if example.id not in unfit))
    return Items(wanted.name, kept, style, answer_length(wanted, found.settings.scorer), tuple(sorted(unfit)))


def evaluate(
    lm: LanguageModel,
    lane: Lane,
    items: Items,
    fingerprint: str,
    *,
    batch_size: int = 32,
    tell: Tell = silent,
    stop: Stop | None = None,
    writer: str = "",
    through: Through | None = None,
    peers: Peers = ALONE,
) -> Evaluated:
    """Answer every item that has no record yet, greedily, and score it.

    Items of similar length are asked together, in batches that the set and the batch size alone decide, so that
    subjects differ by nothing else. Every batch is on the disk before the next one begins.

    Args:
        fingerprint: of the subject (see `subjects.Ready`).
        tell: called after each batch with how many items are known, of how many, and how many tokens were new.
        stop: asked between tokens; what was not finished then is not kept.
        writer: whose records count (see `About`).
        through: the engine that answers instead, an item a request; each is on the disk as it arrives. None with a
            `writer` where every answer of that one is there already.
        peers: all of them call this, and each takes its share of the batches.

    Returns:
        what is known now, the same in all processes; less than the whole set when it was stopped.

    Raises:
        InputError: damaged records, or a prompt that is too long.
        ModelError: a likelihood that is not finite.
        WriterError: the engine is gone, or does not answer as asked.
        StorageError: the disk refuses; every batch before is kept.
    """
    store = ItemStore(items.about(fingerprint, writer), peers)
    texts = _texts(lm, items)
    asked = _asked(items, texts)
    asking = _Asking(lm, lane, items, texts, stop)
    tokens = 0
    with store.writing(stop) as mine:
        if not mine:
            return Evaluated((), len(asked), 0, 0)
        known = store.records()
        reused = sum(one in known for one in asked.values())
        missing = {example.id for example in items.capability.examples if asked[example.id] not in known}
        if (missing and writer) and (through is None or through.written.writer != writer):
            raise InputError(f"{items.name}: {len(missing)} answers of {writer} are gone; start it again")
        for new in asking.answered(missing, batch_size, through, peers):
            store.add(new)
            tokens += sum(record.tokens for record in new)
            tell(Progress(reused + store.added(), len(asked), tokens=tokens))
    known, tokens = store.records(), sum(peers.gathered(tokens))
    return Evaluated(tuple(known[one] for one in asked.values() if one in known), len(asked), tokens, reused)


def unanswered(lm: LanguageModel, items: Items, about: About) -> list[NumberedPrompt]:
    """The items that have no record yet, as an engine is asked for them."""
    texts = _texts(lm, items)
    asked, known = _asked(items, texts), ItemStore(about).records()
    return [
        NumberedPrompt(number, texts[example.id], items.style == "raw")
        for number, example in enumerate(items.capability.examples)
        if asked[example.id] not in known
    ]


def _asked(items: Items, texts: Mapping[str, str]) -> dict[str, Asked]:
    return {one.id: ItemRecord(**_identity(one, texts[one.id])).asked for one in items.capability.examples}


def _texts(lm: LanguageModel, items: Items) -> dict[str, str]:
    """What the model reads, by the item's id."""
    settings = items.capability.settings
    return {
        example.id: generation_prompt(example.prompt, settings, items.style, lm.tokenizer)[0]
        for example in items.capability.examples
    }


def _identity(example: Example, text: str) -> dict[str, Any]:
    """What makes a record this item's: the first fields of an `ItemRecord`."""
    tests = hashlib.sha256(repr((example.tests, example.setup)).encode()).hexdigest() if example.tests else ""
    return {"id": example.id, "prompt": text, "gold": example.answer, "tests": tests}


def _batches(items: Items, texts: dict[str, str], size: int) -> Iterator[list[Example]]:
    ordered = sorted(items.capability.examples, key=lambda example: (len(texts[example.id]), example.id))
    return (ordered[start : start + size] for start in range(0, len(ordered), size))


@dataclass(frozen=True)
class _Asking:
    """How one subject answers batches of one set."""

    lm: LanguageModel
    lane: Lane
    items: Items
    texts: dict[str, str]
    stop: Stop | None

    def answered(
        self, missing: Set[str], batch_size: int, through: Through | None, peers: Peers
    ) -> Iterator[list[ItemRecord]]:
        """Records of the items that are missing and this process' share, as they come to be known."""
        if through is not None:
            yield from self._through(missing, through)
            return
        batches = _batches(self.items, self.texts, batch_size)
        for batch in peers.mine([batch for batch in batches if any(example.id in missing for example in batch)]):
            wanted = [example for example in batch if example.id in missing]
            if self.stop is not None and self.stop():
                return
            if self.items.scorer == "nll":
                yield self._likelihoods(wanted)
            else:  # the same batch: the same rounding
                yield [record for record in self._answers(batch) if record.id in missing]

    def _through(self, missing: Set[str], through: Through) -> Iterator[list[ItemRecord]]:
        examples = self.items.capability.examples
        prompts = [
            NumberedPrompt(number, self.texts[example.id], self.items.style == "raw")
            for number, example in enumerate(examples)
            if example.id in missing
        ]
        for number, done in through.engine.write(prompts, self.greedy, self.stop):
            yield [self._scored(examples[number], done)]

    @property
    def greedy(self) -> Sampling:
        """How answers are written."""
        return Sampling(temperature=0.0, max_new_tokens=self.items.max_new_tokens)

    def _answers(self, batch: Sequence[Example]) -> list[ItemRecord]:
        written = generate(
            self.lm,
            [self.texts[example.id] for example in batch],
            [self.lane],
            self.greedy,
            special_tokens=self.items.style == "raw",
            batch_size=len(batch),
            stop=self.stop,
        )
        done = [(example, one) for example, one in zip(batch, written, strict=True) if one.finish in ("eos", "length")]
        with ThreadPoolExecutor(_AT_ONCE) as pool:  # code runs in processes of its own
            return list(pool.map(lambda pair: self._scored(*pair), done))

    def _scored(self, example: Example, one: Completion) -> ItemRecord:
        found = score(example, self.items.capability.settings, one.text, one.finish, run_tests)
        return ItemRecord(
            **_identity(example, one.prompt),
            completion=one.text,
            extracted=found.extracted,
            correct=found.correct,
            early=found.early,
            ended=found.ended,
            tokens=len(one.tokens),
            finish="eos" if one.finish == "eos" else "length",
            reason=found.reason,
        )

    def _likelihoods(self, batch: Sequence[Example]) -> list[ItemRecord]:
        settings, longest = self.items.capability.settings, min(_REFERENCE_TOKENS, self.lm.card.context)
        encoded = encode_all(batch, settings, self.lm.tokenizer, self.items.style, "full", longest)
        losses = reference_nll(self.lm, encoded, len(batch), self.lane)
        supervised = {example.id: len(example.supervised) for example in encoded.examples}
        return [
            ItemRecord(
                **_identity(example, self.texts[example.id]), nll=losses[example.id], tokens=supervised[example.id]
            )
            for example in batch
            if example.id in losses
        ]


def reference_nll(
    lm: LanguageModel, encoded: EncodedSet, batch_size: int = 8, lane: Lane | None = None
) -> dict[str, float]:
    """Mean −log p over the supervised tokens of each example, in nats, by example id (CodeAlpaca's score).

    Raises:
        ModelError: one is not finite.
    """
    losses: dict[str, float] = {}
    for batch in longest_first(encoded.examples, batch_size):
        with lm.lock, torch.inference_mode(), projecting(lm, lane or Lane()):
            found = batch_losses(lm, batch).tolist()
        losses |= {example.id: loss for example, loss in zip(batch, found, strict=True)}
    broken = [name for name, loss in losses.items() if not math.isfinite(loss)]
    if broken:
        raise ModelError(f"the likelihood of {broken[0]} is not finite; load the model in float32")
    return losses

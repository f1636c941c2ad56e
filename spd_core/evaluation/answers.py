"""Lets a model answer the items of a set, and scores each answer. What is known of an item already is only read.

How an answer is judged is in `evaluation/scoring.py`, what differences mean in `evaluation/statistics.py`.
"""

import math
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import fmean

import torch

from spd_core.data.spans import EncodedSet, encode_all
from spd_core.engines.writing import EngineLane
from spd_core.engines.written import WrittenBy
from spd_core.errors import InputError, ModelError
from spd_core.evaluation.items import Items, reference_tokens
from spd_core.evaluation.scoring import score
from spd_core.evaluation.store import About, ItemRecord, ItemStore
from spd_core.generation.decode import Completion
from spd_core.generation.numbered import NumberedPrompt, write_batch
from spd_core.intervention.projection import Lane, projecting
from spd_core.models.loading import LanguageModel
from spd_core.models.losses import batch_losses, longest_first
from spd_core.peers import ALONE, Peers
from spd_core.progress import Progress, Stop, Tell, silent
from spd_core.recipes.lanes import Sampling
from spd_core.sandbox.run import run_tests

_AT_ONCE = 2
"""Answers whose code runs at a time."""


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
    """Answer every item that has no record yet, as the set says, and score it.

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
    prompts = items.prompts(lm)
    asked = items.asked(prompts)
    asking = _Asking(lm, lane, items, prompts, stop)
    tokens = 0
    with store.writing(stop) as known:
        if known is None:
            return Evaluated((), len(asked), 0, 0)
        reused = sum(one in known for one in asked)
        missing = {number for number, one in enumerate(asked) if one not in known}
        if (missing and writer) and (through is None or through.written.writer != writer):
            raise InputError(f"{items.name}: {len(missing)} answers of {writer} are gone; start it again")
        for new in asking.answered(missing, batch_size, through, peers):
            store.add(new)
            tokens += sum(record.tokens for record in new)
            tell(Progress(reused + store.added(), len(asked), tokens=tokens))
    now, tokens = store.records(), sum(peers.gathered(tokens))
    return Evaluated(tuple(now[one] for one in asked if one in now), len(asked), tokens, reused)


def unanswered(lm: LanguageModel, items: Items, about: About) -> list[NumberedPrompt]:
    """The items that have no record yet, as an engine is asked for them."""
    prompts, known = items.prompts(lm), ItemStore(about).records()
    return [one for one, asked in zip(prompts, items.asked(prompts), strict=True) if asked not in known]


@dataclass(frozen=True)
class _Asking:
    """How one subject answers batches of one set."""

    lm: LanguageModel
    lane: Lane
    items: Items
    prompts: Sequence[NumberedPrompt]
    stop: Stop | None

    def answered(
        self, missing: Set[int], batch_size: int, through: Through | None, peers: Peers
    ) -> Iterator[list[ItemRecord]]:
        """Records of the items that are missing and this process' share, as they come to be known."""
        if through is not None:
            wanted = [one for one in self.prompts if one.number in missing]
            yield from ([self._scored(*one)] for one in through.engine.write(wanted, self.sampling, self.stop))
            return
        batches = [batch for batch in self._batches(batch_size) if any(one.number in missing for one in batch)]
        for batch in peers.mine(batches):
            if self.stop is not None and self.stop():
                return
            if self.items.scorer == "nll":
                yield self._likelihoods([one for one in batch if one.number in missing])
            else:
                yield self._answers(batch, missing)

    def _batches(self, size: int) -> list[list[NumberedPrompt]]:
        examples = self.items.capability.examples
        ordered = sorted(self.prompts, key=lambda one: (len(one.prompt), examples[one.number].id))
        return [ordered[start : start + size] for start in range(0, len(ordered), size)]

    @property
    def sampling(self) -> Sampling:
        """How answers are written."""
        return self.items.sampling or Sampling(temperature=0.0, max_new_tokens=self.items.max_new_tokens)

    def _answers(self, batch: Sequence[NumberedPrompt], missing: Set[int]) -> list[ItemRecord]:
        """Records of those that are missing; the whole batch is written again, so that the rounding is the same."""
        drawn = self.items.samples > 1
        written = write_batch(self.lm, self.lane, batch, self.sampling, self.stop, measured=drawn)
        new = [(asked, done) for asked, done in written if asked.number in missing]
        with ThreadPoolExecutor(_AT_ONCE) as pool:  # code runs in processes of its own
            return list(pool.map(lambda pair: self._scored(*pair), new))

    def _scored(self, asked: NumberedPrompt, done: Completion) -> ItemRecord:
        capability = self.items.capability
        found = score(capability.examples[asked.number], capability.settings, done.text, done.finish, run_tests)
        return ItemRecord(
            **self.items.identity(asked),
            completion=done.text,
            extracted=found.extracted,
            correct=found.correct,
            early=found.early,
            ended=found.ended,
            tokens=len(done.tokens),
            finish="eos" if done.finish == "eos" else "length",
            reason=found.reason,
            entropy=fmean(done.entropies) if done.entropies else None,
        )

    def _likelihoods(self, batch: Sequence[NumberedPrompt]) -> list[ItemRecord]:
        settings, examples = self.items.capability.settings, self.items.capability.examples
        wanted = [examples[one.number] for one in batch]
        encoded = encode_all(wanted, settings, self.lm.tokenizer, self.items.style, "full", reference_tokens(self.lm))
        losses = reference_nll(self.lm, encoded, len(batch), self.lane)
        supervised = {example.id: len(example.supervised) for example in encoded.examples}
        return [
            ItemRecord(**self.items.identity(asked), nll=losses[example.id], tokens=supervised[example.id])
            for asked, example in zip(batch, wanted, strict=True)
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

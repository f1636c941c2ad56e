"""Teachers of OmniOPD: who writes on from a place in the student's text. Only text comes back, no probabilities.

A teacher reads the prompt and what the student wrote before a chunk, never the chunk itself.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

from spd_core.data.capability import Settings, Style
from spd_core.data.spans import generation_prompt
from spd_core.engines.client import Answer, Ask, Engine
from spd_core.engines.writing import EngineLane
from spd_core.errors import Stopped
from spd_core.generation.decode import generate
from spd_core.intervention.projection import Lane
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop
from spd_core.recipes.lanes import Sampling


@dataclass(frozen=True)
class Prefix:
    """A place in the student's text, from which a teacher writes on.

    Attributes:
        number: of the prompt, on which the noise depends.
        seed: of the first continuation; the others have the next ones.
        prompt: what was asked, without template.
        ids: the student's: of the prompt as it reads it, and of what it wrote before this place.
        text: the same as text, its special tokens among it.
        written: what it wrote, as text.
    """

    number: int
    seed: int
    prompt: str
    ids: tuple[int, ...]
    text: str
    written: str


class Teacher(Protocol):
    """Who writes continuations."""

    def write(self, prefixes: Sequence[Prefix], samples: int, sampling: Sampling) -> list[list[str]]:
        """For each prefix so many continuations of at most `sampling.max_new_tokens` of the student's tokens.

        Raises:
            Stopped: the training is to end.
            WriterError: a server has not answered.
        """


@dataclass(frozen=True)
class SelfTeacher:
    """The untouched model itself, as a lane: projected, or raw as a control. Its adapter in training is switched off by
    whoever trains it."""

    lm: LanguageModel
    lane: Lane
    rows_at_once: int = 64
    stop: Stop | None = None

    def write(self, prefixes: Sequence[Prefix], samples: int, sampling: Sampling) -> list[list[str]]:
        """See `Teacher.write`."""
        return _written(self.lm, self.lane, [p.ids for p in prefixes], prefixes, samples, sampling, self)


@dataclass(frozen=True)
class ModelTeacher:
    """Another model, of the same tokenizer or of any other.

    Attributes:
        student: whose tokens a continuation is measured in.
        settings, style: how the prompt is put to it.
    """

    lm: LanguageModel
    student: LanguageModel
    settings: Settings
    style: Style
    rows_at_once: int = 64
    stop: Stop | None = None

    def write(self, prefixes: Sequence[Prefix], samples: int, sampling: Sampling) -> list[list[str]]:
        """See `Teacher.write`. Another tokenizer cuts text in other places: it reads text, and what it writes is cut
        to the student's tokens."""
        if self._reads_ids:
            return _written(self.lm, Lane(), [p.ids for p in prefixes], prefixes, samples, sampling, self)
        prompts = [self._text(prefix) for prefix in prefixes]
        written = _written(self.lm, Lane(), prompts, prefixes, samples, sampling, self)
        cut = partial(cut_to, self.student.tokenizer, tokens=sampling.max_new_tokens)
        return [[cut(text) for text in texts] for texts in written]

    @cached_property
    def _reads_ids(self) -> bool:
        return same_tokenizer(self.lm.tokenizer, self.student.tokenizer)

    def _text(self, prefix: Prefix) -> tuple[int, ...]:
        asked, _ = generation_prompt(prefix.prompt, self.settings, self.style, self.lm.tokenizer)
        encode = self.lm.tokenizer
        return tuple(encode(asked + prefix.written, add_special_tokens=self.style == "raw", verbose=False)["input_ids"])


@dataclass(frozen=True)
class EngineTeacher:
    """The untouched model itself as a lane, projected or raw, through an engine that serves it; looked over before."""

    own: EngineLane
    stop: Stop | None = None

    def write(self, prefixes: Sequence[Prefix], samples: int, sampling: Sampling) -> list[list[str]]:
        """See `Teacher.write`; the engine's noise is another one than here."""
        found = _answers(self.own.engine, prefixes, samples, sampling, self.stop)
        texts = {number: self.own.completion(ask, answer).text for number, (ask, answer) in found.items()}
        return [[texts[_number(prefix, k)] for k in range(samples)] for prefix in prefixes]


@dataclass(frozen=True)
class ServedTeacher:
    """A model behind a server of OpenAI's protocol; it reads what the student reads, template and all.

    Attributes:
        student: whose tokens a continuation is measured in.
    """

    engine: Engine
    student: LanguageModel
    stop: Stop | None = None

    def write(self, prefixes: Sequence[Prefix], samples: int, sampling: Sampling) -> list[list[str]]:
        """See `Teacher.write`; the server's noise follows the numbers alone, so each continuation has its own."""
        found = _answers(self.engine, prefixes, samples, sampling, self.stop)
        cut = partial(cut_to, self.student.tokenizer, tokens=sampling.max_new_tokens)
        return [[cut(found[_number(prefix, k)][1].text) for k in range(samples)] for prefix in prefixes]


def _answers(
    engine: Engine, prefixes: Sequence[Prefix], samples: int, sampling: Sampling, stop: Stop | None
) -> dict[int, tuple[Ask, Answer]]:
    """What an engine writes after each prefix, by the number of the continuation; errors as of `Teacher.write`."""
    numbers = {_number(prefix, k): prefix for prefix in prefixes for k in range(samples)}
    asks = [Ask(number, prefix.ids, prefix.text, False) for number, prefix in numbers.items()]
    found = {ask.number: (ask, answer) for ask, answer in engine.write(asks, sampling, stop)}
    if len(found) < len(asks):
        raise Stopped("stopped on request")
    return found


def _number(prefix: Prefix, k: int) -> int:
    """Of a continuation among all that a server is asked for: its noise follows the number."""
    return 1_000_003 * prefix.number + prefix.seed + k


def cut_to(tokenizer: Any, text: str, tokens: int) -> str:
    """The beginning of a text, at most so many tokens long."""
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"][:tokens]
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def same_tokenizer(one: Any, other: Any) -> bool:
    """Whether two tokenizers cut and number text alike; how they pad and cut off is whoever's used them last."""
    mine, others = (json.loads(each.backend_tokenizer.to_str()) for each in (one, other))
    return bool(all(mine[part] == others[part] for part in mine.keys() - {"padding", "truncation"}))


def _written(
    lm: LanguageModel,
    lane: Lane,
    ids: Sequence[Sequence[int]],
    prefixes: Sequence[Prefix],
    samples: int,
    sampling: Sampling,
    own: SelfTeacher | ModelTeacher,
) -> list[list[str]]:
    """All continuations, those of a prefix in one batch: it is read once."""
    each = max(1, own.rows_at_once // samples) * samples
    again = [at for at in range(len(prefixes)) for _ in range(samples)]
    done = generate(
        lm,
        [ids[at] for at in again],
        [lane],
        sampling,
        batch_size=each,
        numbers=[prefixes[at].number for at in again],
        seeds=[prefixes[at].seed + k % samples for k, at in enumerate(again)],
        stop=own.stop,
    )
    if any(one.finish == "stopped" for one in done):
        raise Stopped("stopped on request")
    return [[one.text for one in done[at : at + samples]] for at in range(0, len(done), samples)]

"""Writes as a lane through an engine: what `generation/numbered.py` does here, with the same prompts and completions.

Before a word is kept, the engine is asked what the model here can check: that it serves this lane and no other model,
and that it heeds the settings of a request.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from spd_core.engines.client import Answer, Ask, Engine
from spd_core.engines.discovery import connect
from spd_core.engines.serving import serving
from spd_core.engines.written import WrittenBy
from spd_core.errors import WriterError
from spd_core.generation.decode import Completion, encoded_prompt, end_tokens
from spd_core.generation.numbered import NumberedPrompt
from spd_core.generation.teacher_forcing import read_row
from spd_core.intervention.export import save_as_lane
from spd_core.intervention.projection import Lane
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.writer import Served, Writer
from spd_core.storage import remove_folder

_Prompt = TypeVar("_Prompt", bound=NumberedPrompt)
CLOSE = 0.1
"""Nats by which an engine's log-probabilities may differ from those here, in the mean: number formats differ by less
(bfloat16 by about 0.06), other models and strengths by more."""
_GREEDY = Sampling(temperature=0.0, max_new_tokens=8)
_HOT = Sampling(temperature=2.0, top_p=1.0, max_new_tokens=16)


@dataclass(frozen=True)
class EngineLane:
    """A lane that an engine writes as.

    Attributes:
        lane: as which the model here would write.
    """

    engine: Engine
    lm: LanguageModel
    lane: Lane

    def asks(self, prompts: Sequence[NumberedPrompt], sampling: Sampling) -> list[Ask]:
        """The prompts as token ids; errors as of `generate`."""
        return [
            Ask(one.number, tuple(encoded_prompt(self.lm, one.prompt, sampling, one.special)), one.prompt, one.special)
            for one in prompts
        ]

    def write(
        self, prompts: Sequence[_Prompt], sampling: Sampling, stop: Stop | None = None
    ) -> Iterator[tuple[_Prompt, Completion]]:
        """Each prompt with what the engine writes after it, in the order in which answers arrive.

        Raises:
            InputError: an empty prompt, or one that leaves no room in the model's context.
            WriterError: see `Engine.write`.
        """
        by_number = {one.number: one for one in prompts}
        for ask, answer in self.engine.write(self.asks(prompts, sampling), sampling, stop):
            yield by_number[ask.number], self.completion(ask, answer)

    def completion(self, ask: Ask, answer: Answer) -> Completion:
        """What an engine has written, as if it had been written here."""
        tokens, end = list(self.tokens(answer)), None
        if answer.finish == "eos":
            told = answer.tokens is not None and tokens[-1:] and tokens[-1] in self.engine.ends
            end = tokens.pop() if told else self.lm.tokenizer.eos_token_id
        return Completion(ask.text, self.lane, self.lm.tokenizer, tokens, finish=answer.finish, end=end)

    def tokens(self, answer: Answer) -> Sequence[int]:
        """As the server tells them, else as the tokenizer here makes them of the text."""
        if answer.tokens is not None:
            return answer.tokens
        ids: list[int] = self.lm.tokenizer(answer.text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids


@dataclass(frozen=True)
class ToBeServed:
    """A lane that an engine shall write as.

    Attributes:
        name: of the arm or subject.
        lm, lane: that would write here.
        changed: it is another model than the untouched one (see `Writer.named`).
        folder: where its checkpoint lies while `vllm` serves it, and afterwards the server's log.
        adapter_rank: of adapters that shall be put beside it (see `engines/adapters.py`); 0 for none. Of `vllm` alone.
    """

    name: str
    lm: LanguageModel
    lane: Lane
    changed: bool
    folder: Path
    adapter_rank: int = 0

    @property
    def place(self) -> Path:
        """Of its checkpoint."""
        return self.folder / f".{self.name}"


@contextmanager
def engine_for(
    writer: Writer,
    wanted: ToBeServed,
    prompts: Sequence[NumberedPrompt],
    sampling: Sampling,
    stop: Stop | None = None,
) -> Iterator[tuple[EngineLane, WrittenBy]]:
    """An engine that serves a lane, looked over, until the block ends; and what is to be kept of it.

    Args:
        prompts: all that will be asked; the first one is also asked to look it over.

    Raises:
        InputError: a prompt that does not fit, or a server that nobody named.
        WriterError: no server, another model, or settings that it does not heed.
    """
    tokens = _longest(wanted.lm, prompts, sampling)
    with _served(writer, wanted, tokens, stop) as served:
        engine = connect(served, writer, sorted(end_tokens(wanted.lm)), tokens)
        yield _looked_over(EngineLane(engine, wanted.lm, wanted.lane), prompts[0], sampling)


def _longest(lm: LanguageModel, prompts: Sequence[NumberedPrompt], sampling: Sampling) -> int:
    """Tokens of the longest prompt and its completion; no less than what looking an engine over takes."""
    longest = max(len(encoded_prompt(lm, one.prompt, sampling, one.special)) for one in prompts)
    return min(lm.card.context, longest + max(sampling.max_new_tokens, _HOT.max_new_tokens) + 1)


@contextmanager
def _served(writer: Writer, wanted: ToBeServed, tokens: int, stop: Stop | None) -> Iterator[Served]:
    name, lm = wanted.name, wanted.lm
    if writer.kind == "openai":
        yield writer.served(name, wanted.changed)
        return
    place, dtype = wanted.place, str(lm.dtype).removeprefix("torch.")
    save_as_lane(lm, wanted.lane, place)
    try:
        log, on_cpu = wanted.folder / f"{name}.log", lm.device.type == "cpu"
        rank = wanted.adapter_rank
        with serving(place, name, dtype, log, tokens=tokens, on_cpu=on_cpu, adapter_rank=rank, stop=stop) as url:
            yield Served(of=name, url=url, served_name=name)
    finally:
        remove_folder(place)


# --- looking it over ---------------------------------------------------------------------------------------------


def _looked_over(own: EngineLane, prompt: NumberedPrompt, sampling: Sampling) -> tuple[EngineLane, WrittenBy]:
    own, greedy = _greedy(own, prompt)
    gap = _gap(own, prompt, greedy)
    if gap is not None and gap > CLOSE:
        raise WriterError(
            f"{own.engine.place} is not {own.lane.name!r}: its log-probabilities differ from those of the model here "
            f"by {gap:.2f} nats in the mean ({CLOSE} may be rounding); serve the folder that was exported for it"
        )
    repeats = None if sampling.greedy else _heeds_settings(own, prompt, sampling, greedy)
    return own, WrittenBy(
        writer=own.engine.identity,
        prompts="token ids" if own.engine.takes_ids else "text",
        tokens="re-encoded" if greedy.tokens is None else "returned",
        repeats=repeats,
        gap=None if gap is None else round(gap, 6),
    )


def _one(own: EngineLane, prompt: NumberedPrompt, sampling: Sampling, logprobs: bool = False) -> Answer:
    [(_, found)] = own.engine.write(own.asks([prompt], sampling), sampling, logprobs=logprobs)
    return found


def _greedy(own: EngineLane, prompt: NumberedPrompt) -> tuple[EngineLane, Answer]:
    """A greedy answer; where token ids are refused, of the prompt as text, and so from now on."""
    try:
        return own, _one(own, prompt, _GREEDY, logprobs=True)
    except WriterError as refused:
        told = replace(own, engine=replace(own.engine, takes_ids=False))
        try:
            return told, _one(told, prompt, _GREEDY, logprobs=True)
        except WriterError:
            raise refused from None


def _gap(own: EngineLane, prompt: NumberedPrompt, greedy: Answer) -> float | None:
    """Mean |difference| of the log-probabilities of a greedy answer, in nats; None where none are told."""
    tokens = own.tokens(greedy)
    if not tokens or len(tokens) != len(greedy.logprobs):
        return None
    ids = own.asks([prompt], _GREEDY)[0].ids
    places = read_row(own.lm, ids, tokens, (own.lane, own.lane), alternatives=1)
    return fmean(abs(one.own_logprob - told) for one, told in zip(places, greedy.logprobs, strict=True))


def _heeds_settings(own: EngineLane, prompt: NumberedPrompt, sampling: Sampling, greedy: Answer) -> bool:
    """Whether the same seed gives the same text; refuses an engine that reads no seed, or no top-k where it counts."""
    other = replace(prompt, number=prompt.number + 1)
    first, again, second = (_one(own, one, _HOT).text for one in (prompt, prompt, other))
    if first == second:
        raise WriterError(
            f"{own.engine.place} writes the same text with two seeds: it does not read the seed of a request, and all "
            "samples of a prompt would be one; choose another server"
        )
    if sampling.top_k:
        cut = _one(own, prompt, Sampling(temperature=2.0, top_p=1.0, top_k=1, max_new_tokens=_GREEDY.max_new_tokens))
        if cut.text != greedy.text:
            raise WriterError(
                f"{own.engine.place} does not know top_k, which is {sampling.top_k}; choose another server"
            )
    return first == again

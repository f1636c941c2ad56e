"""Lets several lanes continue one prompt, and reads each text under its own and under another lane.

Writing is `decode.generate`, reading `ReadAlong`; the result is a `Comparison` (see `comparison.py`), which needs no
model to open.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spd_core.data.spans import generation_prompt
from spd_core.errors import InputError
from spd_core.generation.comparison import AdapterFacts, Comparison, LaneText, PromptStyle, Token
from spd_core.generation.decode import Completion, generate
from spd_core.generation.pieces import pieces_of
from spd_core.generation.read_along import ReadAlong
from spd_core.generation.teacher_forcing import Place, other_of, prompt_ids, read_lanes, with_places
from spd_core.intervention.adapters import Adapter
from spd_core.intervention.lanes import make_lane, subspace_for
from spd_core.intervention.projection import Lane
from spd_core.models.device import estimate_memory, refuse_beyond
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop, Tell, silent
from spd_core.recipes.lanes import Grid, LaneSpec, Sampling, labels
from spd_core.storage import new_name, versions
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.subspace import Subspace

ROWS = 8
"""Most lanes in one batch: more would write no faster, and their first words would come later."""

OnStep = Callable[[list[Completion], list[float]], None]


def compare(
    lm: LanguageModel,
    analysis: Analysis,
    prompt: str,
    specs: Sequence[LaneSpec],
    sampling: Sampling,
    *,
    style: PromptStyle = "raw",
    answer: str | None = None,
    others: Mapping[str, Analysis] | None = None,
    adapters: Mapping[str, Adapter] | None = None,
    grid: Grid | None = None,
    alternatives: int = 5,
    on_step: OnStep | None = None,
    tell: Tell = silent,
    stop: Stop | None = None,
) -> Comparison:
    """Write all lanes, up to `ROWS` in one batch, and read them meanwhile.

    Args:
        prompt: put into the capability's template or the chat template, or taken exactly, as `style` says.
        others: captures that specs name, besides `analysis`.
        adapters: those that specs name, by `run/arm`.
        alternatives: how many of the most probable tokens to keep at each place.
        on_step: told (all completions, seconds of each) after each token.
        tell: told how much of a long prompt was read, and how many lanes, where that has to be done afterwards.
        stop: asked before each token, and each piece of a long prompt; what was written is kept, and read no further.

    Raises:
        InputError: no lane, an empty or too long prompt, an unknown analysis or adapter, or a rank that cannot be.
        ModelError: an analysis or adapter of another model.
        MemoryLimitError: the estimate exceeds the memory that is free.
    """
    lanes = lanes_of(specs, analysis, others or {}, adapters)
    text, special = prompt_text(lm, analysis, prompt, style)
    prompt_tokens = len(prompt_ids(lm, text, special))
    check_memory(lm, prompt_tokens, min(len(lanes), ROWS), sampling.max_new_tokens)
    started = time.monotonic()
    written = _write(lm, text, special, lanes, sampling, alternatives, on_step, tell, stop)
    seconds = time.monotonic() - started - written.reading_seconds
    found = Comparison(
        id=new_name(),
        **origin_of(lm, analysis, style),
        prompt=prompt,
        read=text,
        special_tokens=special,
        prompt_tokens=prompt_tokens,
        answer=answer,
        sampling=sampling,
        lanes=tuple(written.lane_text(at, spec, len(lanes)) for at, spec in enumerate(specs)),
        seconds=round(seconds, 3),
        reading_seconds=round(written.reading_seconds, 3),
        grid=grid,
        versions=versions(),
    )
    return read_lanes(lm, found, lanes, alternatives=alternatives, tell=tell, stop=stop)


def origin_of(lm: LanguageModel, analysis: Analysis, style: PromptStyle) -> dict[str, Any]:
    """What a `WrittenRecord` says of texts that are written now, but for its name."""
    record = analysis.provenance
    return {
        "created": datetime.now().isoformat(timespec="seconds"),
        "model": lm.name,
        "revision": lm.revision,
        "dtype": str(lm.dtype).removeprefix("torch."),
        "device": str(lm.device),
        "analysis": analysis.name,
        "capability": record.capability,
        "fingerprint": record.fingerprint,
        "loss": record.loss,
        "prompt_style": style,
    }


def lanes_of(
    specs: Sequence[LaneSpec],
    analysis: Analysis,
    others: Mapping[str, Analysis],
    adapters: Mapping[str, Adapter] | None = None,
) -> list[Lane]:
    """A lane for each spec; equal subspaces are made once.

    Raises:
        InputError: an analysis that is not among `others`, an adapter that is not among `adapters`, or a rank rule
            that cannot be met.
    """
    known = {**others, "": analysis, analysis.name: analysis}
    tuned = adapters or {}
    made: dict[tuple[str, str, bool], Subspace] = {}

    def subspace(spec: LaneSpec) -> Subspace:
        if spec.capture not in known:
            raise InputError(
                f"the capture {spec.capture!r} is not on this machine; choose another capability for this lane"
            )
        key = spec.capture, spec.rank, bool(spec.gains)
        if key not in made:
            made[key] = subspace_for(spec, known[spec.capture])
        return made[key]

    def adapter(ref: str) -> Adapter:
        if ref not in tuned:
            raise InputError(f"the distilled model {ref!r} is not on this machine; choose another one for this lane")
        return tuned[ref]

    capabilities = {name: found.provenance.capability for name, found in known.items()}
    names = labels(specs, capabilities, {ref: found.card.label for ref, found in tuned.items()})
    return [make_lane(spec, name, subspace, adapter) for spec, name in zip(specs, names, strict=True)]


def prompt_text(lm: LanguageModel, analysis: Analysis, prompt: str, style: PromptStyle) -> tuple[str, bool]:
    """The exact text to continue, and whether the tokenizer adds its special tokens.

    Raises:
        InputError: chat style without a chat template, or a blank prompt.
    """
    if not prompt.strip():
        raise InputError("the prompt is empty; write something, or choose an example")
    if style == "exact":
        return prompt, True
    return generation_prompt(prompt, analysis.capability.settings, style, lm.tokenizer)[0], style == "raw"


def check_memory(lm: LanguageModel, tokens: int, rows: int, new_tokens: int, readers: int = 2) -> None:
    """Refuse before writing: on a CPU, running out of memory would end the whole process.

    Args:
        readers: 2 where each text is read under another lane, too.

    Raises:
        MemoryLimitError: the estimate exceeds the memory that is free.
    """
    wanted = estimate_memory(
        lm.model.config, lm.dtype.itemsize, (0,), tokens=tokens, rows=readers * rows, new_tokens=new_tokens
    )
    what = f"writing {rows} lanes of {tokens} + {new_tokens} tokens"
    remedy = "choose fewer lanes, fewer new tokens, or a shorter prompt"
    refuse_beyond(wanted.generation - wanted.load, lm.device, what, remedy)


# --- writing -------------------------------------------------------------------------------------------------


@dataclass
class _Written:
    """What lanes have written so far, how many seconds each took, and what was read of each meanwhile."""

    completions: list[Completion]
    seconds: list[float]
    places: list[list[Place]]
    reading_seconds: float = 0.0

    def lane_text(self, at: int, spec: LaneSpec, lanes: int) -> LaneText:
        """The record of a lane; not yet read where it was stopped, or before its last tokens were read."""
        text = lane_text(spec, self.completions[at], self.seconds[at])
        if text.finish == "stopped" or len(self.places[at]) < len(text.tokens):
            return text
        return with_places(text, self.places[at], other_of(at, lanes))


def _write(
    lm: LanguageModel,
    text: str,
    special: bool,
    lanes: Sequence[Lane],
    sampling: Sampling,
    alternatives: int,
    on_step: OnStep | None,
    tell: Tell,
    stop: Stop | None,
) -> _Written:
    """Completions of all lanes, each read under another one while it is written."""
    done = _Written([Completion(text, lane, lm.tokenizer) for lane in lanes], [0.0] * len(lanes), [])
    prompt = prompt_ids(lm, text, special)
    for start in range(0, len(lanes), ROWS):
        mine = range(start, min(start + ROWS, len(lanes)))
        others = [lanes[other_of(at, len(lanes))] for at in mine]
        reader = ReadAlong(lm, prompt, others, alternatives, tell, stop)
        begun = time.monotonic()

        def step(batch: list[Completion], start: int = start, begun: float = begun, reader: ReadAlong = reader) -> None:
            for at, completion in enumerate(batch, start):
                if not done.completions[at].finish:
                    done.seconds[at] = time.monotonic() - begun - reader.seconds
                done.completions[at] = dataclasses.replace(completion)  # as it is now: `finish` says when time stopped
            if on_step is not None:
                on_step(done.completions, done.seconds)

        written = generate(
            lm,
            [text],
            [lanes[at] for at in mine],
            sampling,
            special_tokens=special,
            first_lane=start,
            measured=True,
            watch=reader.watch,
            on_step=step,
            tell=tell,
            stop=stop,
        )
        done.completions[start : start + ROWS] = written
        if all(completion.finish != "stopped" for completion in written):
            reader.read()
        done.places += reader.places
        done.reading_seconds += reader.seconds
    return done


def lane_text(spec: LaneSpec, completion: Completion, seconds: float) -> LaneText:
    """The record of what a lane wrote, before it is read."""
    lane = completion.lane
    pieces = pieces_of(completion.tokenizer, completion.tokens)
    written = zip(completion.tokens, pieces, completion.logprobs, completion.entropies, strict=True)
    return LaneText(
        label=lane.name,
        spec=spec,
        tokens=tuple(
            Token(id=i, text=piece, logprob=round(logprob, 5), entropy=round(entropy, 5))
            for i, piece, logprob, entropy in written
        ),
        finish=completion.finish or "stopped",
        seconds=round(seconds, 3),
        adapter=None if lane.adapter is None else _adapter_facts(spec.adapter, lane.adapter),
        **({} if lane.subspace is None else _facts(lane, lane.subspace)),
    )


def _adapter_facts(ref: str, adapter: Adapter) -> AdapterFacts:
    card = adapter.card
    return AdapterFacts(
        ref=ref,
        name=card.label,
        capability=card.capability,
        base=card.base,
        revision=card.revision,
        fingerprint=adapter.fingerprint,
        created=card.created,
    )


def _facts(lane: Lane, subspace: Subspace) -> dict[str, Any]:
    """What a record says of the subspace that a lane projects into."""
    sites = lane.sites
    return {
        "capability": subspace.provenance.capability,
        "d_kv": sites[0].d_kv if sites else 0,
        "ranks": {site.label: subspace.basis[site].shape[1] for site in sites},
        "capped": tuple(site.label for site in sites if site.name in subspace.provenance.capped),
    }

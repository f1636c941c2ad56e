"""Lets several lanes continue one prompt, then reads each text under its own and under another lane.

Writing is `decode.generate`; the result is a `Comparison` (see `comparison.py`), which needs no model to open.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from spd_core.data.spans import generation_prompt
from spd_core.errors import InputError
from spd_core.generation.comparison import AdapterFacts, Comparison, LaneText, PromptStyle, Token
from spd_core.generation.decode import Completion, generate
from spd_core.generation.teacher_forcing import pieces_of, prompt_ids, read_lanes
from spd_core.intervention.adapters import Adapter
from spd_core.intervention.lanes import make_lane
from spd_core.intervention.projection import Lane
from spd_core.models.device import estimate_memory, refuse_beyond
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop, Tell, silent
from spd_core.recipes.lanes import Grid, LaneSpec, Sampling, labels
from spd_core.storage import new_name, versions
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.subspace import Subspace, subspace_of

ROWS = 8
"""Most lanes in one batch: as many as packed weights serve (see `models/packing.py`)."""

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
    """Write all lanes, up to `ROWS` in one batch, then read them.

    Args:
        prompt: put into the capability's template or the chat template, or taken exactly, as `style` says.
        others: captures that specs name, besides `analysis`.
        adapters: those that specs name, by `run/arm`.
        alternatives: how many of the most probable tokens to keep at each place.
        on_step: told (all completions, seconds of each) after each token.
        tell: told how many lanes were read.
        stop: asked before each token and each piece of reading; what was written is kept, and read no further.

    Raises:
        InputError: no lane, an empty or too long prompt, an unknown analysis or adapter, or a rank that cannot be.
        ModelError: an analysis or adapter of another model.
        MemoryLimitError: the estimate exceeds the memory that is free.
    """
    lanes = lanes_of(specs, analysis, others or {}, adapters)
    text, special = prompt_text(lm, analysis, prompt, style)
    prompt_tokens = len(prompt_ids(lm, text, special))
    _check_memory(lm, prompt_tokens, min(len(lanes), ROWS), sampling.max_new_tokens)
    started = time.monotonic()
    completions, seconds = _write(lm, text, special, lanes, sampling, on_step, stop)
    record = analysis.provenance
    written = Comparison(
        id=new_name(),
        created=datetime.now().isoformat(timespec="seconds"),
        model=lm.name,
        revision=lm.revision,
        dtype=str(lm.dtype).removeprefix("torch."),
        device=str(lm.device),
        analysis=analysis.name,
        capability=record.capability,
        fingerprint=record.fingerprint,
        loss=record.loss,
        prompt_style=style,
        prompt=prompt,
        read=text,
        special_tokens=special,
        prompt_tokens=prompt_tokens,
        answer=answer,
        sampling=sampling,
        lanes=tuple(map(_lane_text, specs, lanes, completions, seconds)),
        seconds=round(time.monotonic() - started, 3),
        grid=grid,
        versions=versions(),
    )
    return read_lanes(lm, written, lanes, alternatives=alternatives, tell=tell, stop=stop)


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
    made: dict[tuple[str, str], Subspace] = {}

    def subspace(spec: LaneSpec) -> Subspace:
        if spec.capture not in known:
            raise InputError(f"the capture {spec.capture!r} is not at hand; choose another capability for this lane")
        key = spec.capture, spec.rank
        if key not in made:
            made[key] = subspace_of(known[spec.capture], spec.rank)
        return made[key]

    def adapter(ref: str) -> Adapter:
        if ref not in tuned:
            raise InputError(f"the distilled model {ref!r} is not at hand; choose another one for this lane")
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


def _check_memory(lm: LanguageModel, tokens: int, rows: int, new_tokens: int) -> None:
    """Refuse before writing: on a CPU, running out of memory would end the whole process."""
    wanted = estimate_memory(lm.model.config, lm.dtype.itemsize, (0,), tokens=tokens, rows=rows, new_tokens=new_tokens)
    what = f"writing {rows} lanes of {tokens} + {new_tokens} tokens"
    remedy = "choose fewer lanes, fewer new tokens, or a shorter prompt"
    refuse_beyond(wanted.generation - wanted.load, lm.device, what, remedy)


# --- writing -------------------------------------------------------------------------------------------------


def _write(
    lm: LanguageModel,
    text: str,
    special: bool,
    lanes: Sequence[Lane],
    sampling: Sampling,
    on_step: OnStep | None,
    stop: Stop | None,
) -> tuple[list[Completion], list[float]]:
    """Completions of all lanes, and how many seconds each took."""
    completions = [Completion(text, lane, lm.tokenizer) for lane in lanes]
    seconds = [0.0] * len(lanes)
    for start in range(0, len(lanes), ROWS):
        begun = time.monotonic()

        def step(batch: list[Completion], start: int = start, begun: float = begun) -> None:
            for at, completion in enumerate(batch, start):
                if not completions[at].finish:
                    seconds[at] = time.monotonic() - begun
                completions[at] = dataclasses.replace(completion)  # as it is now: its `finish` says when time stopped
            if on_step is not None:
                on_step(completions, seconds)

        written = generate(
            lm,
            [text],
            lanes[start : start + ROWS],
            sampling,
            special_tokens=special,
            first_lane=start,
            measured=True,
            on_step=step,
            stop=stop,
        )
        completions[start : start + ROWS] = written
    return completions, seconds


def _lane_text(spec: LaneSpec, lane: Lane, completion: Completion, seconds: float) -> LaneText:
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
    sites = [
        site
        for site in subspace.sites
        if site.kind in lane.kinds and (lane.layers is None or site.layer in lane.layers)
    ]
    return {
        "capability": subspace.provenance.capability,
        "d_kv": sites[0].d_kv if sites else 0,
        "ranks": {site.label: subspace.basis[site].shape[1] for site in sites},
        "capped": tuple(site.label for site in sites if site.name in subspace.provenance.capped),
    }

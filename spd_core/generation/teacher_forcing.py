"""Reads written texts: what each lane makes of every token, its own and another lane's, in teacher-forced passes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from spd_core.errors import Stopped
from spd_core.generation.comparison import Comparison, LaneText
from spd_core.intervention.projection import Lane, Plan, active, plan_rows
from spd_core.models.loading import LanguageModel
from spd_core.progress import Progress, Stop, Tell, silent

CHUNK = 64
"""Positions that are read at once: bounds the logits in memory, and how long a stop waits."""
Ranked: TypeAlias = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Place:
    """What reading tells of one token; the names are those of `comparison.Token`.

    Attributes:
        own_logprob: under the lane itself, as writing recorded it, up to rounding.
    """

    own_logprob: float
    kl: float
    other_logprob: float
    top: Ranked
    other_top: Ranked


def prompt_ids(lm: LanguageModel, text: str, special_tokens: bool) -> list[int]:
    """Token ids of a prompt, as `generate` reads it."""
    ids: list[int] = lm.tokenizer(text, add_special_tokens=special_tokens, verbose=False)["input_ids"]
    return ids


def read_lanes(
    lm: LanguageModel,
    written: Comparison,
    lanes: Sequence[Lane],
    *,
    alternatives: int = 5,
    tell: Tell = silent,
    stop: Stop | None = None,
) -> Comparison:
    """The comparison with every text read under its own lane and under the first one (the first under the second).

    Lanes that were read before are left as they are, so that a stopped reading can be taken up again.

    Args:
        lanes: those of `written`, in its order.
        alternatives: how many of the most probable tokens to keep at each place.
        tell: told how many lanes were read.
        stop: asked before each piece of `CHUNK` positions; lanes read until then are kept.
    """
    started, prompt = time.monotonic(), prompt_ids(lm, written.read, written.special_tokens)
    done = list(written.lanes)
    for at, lane in enumerate(done):
        if lane.other is not None:
            continue
        other = other_of(at, len(lanes))
        try:
            places = read_row(lm, prompt, lane.ids, (lanes[at], lanes[other]), alternatives, stop)
        except Stopped:
            break
        done[at] = with_places(lane, places, other)
        tell(Progress(at + 1, len(done), "Reading each text in both lanes"))
    seconds = round(written.reading_seconds + time.monotonic() - started, 3)
    return written.model_copy(update={"lanes": tuple(done), "reading_seconds": seconds})


def with_places(lane: LaneText, places: Sequence[Place], other: int) -> LaneText:
    """A lane with what was read of each of its tokens, by itself and by lane `other`."""
    tokens = tuple(
        token.model_copy(update={name: getattr(place, name) for name in ("kl", "other_logprob", "top", "other_top")})
        for token, place in zip(lane.tokens, places, strict=True)
    )
    return lane.model_copy(update={"tokens": tokens, "other": other})


def other_of(at: int, lanes: int) -> int:
    """The lane under which lane `at` of so many is read, besides itself: the first, which is read under the second."""
    return 0 if at else min(1, lanes - 1)


def read_row(
    lm: LanguageModel,
    prompt: Sequence[int],
    tokens: Sequence[int],
    lanes: tuple[Lane, Lane],
    alternatives: int = 5,
    stop: Stop | None = None,
) -> list[Place]:
    """What the lane that wrote `tokens` (the first) and another one make of each of them.

    Both lanes are the two rows of a batch, which is read in pieces with the lock held for each.

    Raises:
        Stopped: `stop` said so before the last piece.
    """
    from transformers import DynamicCache

    ids = [*prompt, *tokens]
    plan, cache = plan_rows(lm, lanes), DynamicCache(config=lm.model.config)
    places: list[Place] = []
    for start in range(0, len(ids) - 1 if tokens else 0, CHUNK):
        if stop is not None and stop():
            raise Stopped("reading was stopped; what was read before is kept")
        end = min(start + CHUNK, len(ids) - 1)
        wanted = end - max(start, len(prompt) - 1)  # positions that predict a written token
        logits = _logits(lm, plan, cache, ids[start:end], max(wanted, 1))  # [2, max(wanted, 1), vocabulary]
        if wanted > 0:
            places += places_of(lm.tokenizer, logits, ids[end - wanted : end + 1], alternatives)
    return places


def _logits(lm: LanguageModel, plan: Plan, cache: Any, ids: Sequence[int], keep: int) -> Tensor:
    both = torch.tensor([list(ids)] * 2, device=lm.device)  # [2, seq]
    with lm.lock, torch.inference_mode(), active(plan):
        logits: Tensor = lm.model(input_ids=both, past_key_values=cache, logits_to_keep=keep).logits.float()
    return logits


def places_of(tokenizer: Any, logits: Tensor, ids: Sequence[int], alternatives: int) -> list[Place]:
    """What two distributions `[2, n, vocabulary]` make of each of `ids[1:]`, predicted after the token before it."""
    logp = logits.log_softmax(-1)  # [2, n, vocabulary]
    picked = logp.gather(-1, torch.tensor([list(ids[1:])] * 2, device=logp.device)[..., None])[..., 0]  # [2, n]
    own, other = picked.tolist()
    kl = kl_divergence(logp[0], logp[1]).tolist()
    best = logp.topk(min(alternatives, logp.shape[-1]), -1)
    values, found = best.values.exp().tolist(), best.indices.tolist()  # [2, n, alternatives]
    ranked = [
        [_ranked(tokenizer, before, *pair) for before, *pair in zip(ids, found[row], values[row], strict=False)]
        for row in (0, 1)
    ]
    return [
        Place(round(own[at], 5), round(kl[at], 6), round(other[at], 5), ranked[0][at], ranked[1][at])
        for at in range(len(ids) - 1)
    ]


def kl_divergence(logp: Tensor, logq: Tensor) -> Tensor:
    """[n] float64 KL(p ‖ q) = Σ p (log p − log q) in nats of distributions `[n, vocabulary]`; 0 · −∞ counts 0."""
    p = logp.exp()
    terms = torch.where(p == 0, 0.0, p * (logp - logq))  # NaN, from a broken model, stays NaN
    return terms.sum(-1, dtype=torch.float64).clamp(min=0)


def _ranked(tokenizer: Any, before: int, ids: Sequence[int], probabilities: Sequence[float]) -> Ranked:
    return tuple((_shown(tokenizer, before, i), round(p, 5)) for i, p in zip(ids, probabilities, strict=True))


def _shown(tokenizer: Any, before: int, token: int) -> str:
    """A token's text after another one (some tokenizers tell the leading space only there); special ones by name."""
    head, both = (tokenizer.decode(ids, clean_up_tokenization_spaces=False) for ids in ([before], [before, token]))
    if both.startswith(head):
        return str(both[len(head) :])
    return str(tokenizer.decode([token], clean_up_tokenization_spaces=False))

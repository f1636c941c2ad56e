"""Writes text: several lanes in one batch, streamed, seeded, stoppable. Knows nothing of scores or corpora.

By hand, as `transformers.generate` does not help: it draws a whole batch from torch's global generator, so that lanes
could not share their noise, and knows no projection or adapter of its own for each row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from spd_core.errors import InputError, Stopped
from spd_core.generation.choosing import choose, statistics
from spd_core.generation.prompt import read_ahead
from spd_core.intervention.projection import Lane, active, plan_rows
from spd_core.models.loading import LanguageModel
from spd_core.models.packing import packed_linears
from spd_core.progress import Stop, Tell, silent
from spd_core.recipes.lanes import Sampling

Finish: TypeAlias = Literal["", "eos", "length", "stopped"]
Watch: TypeAlias = Callable[[list[int], Tensor, list[int]], None]
"""Told, after each step, which rows of the batch have written a token, their logits [rows, vocabulary], and it."""


@dataclass
class Completion:
    """What one lane writes after one prompt; grows while it is written.

    Attributes:
        prompt: the text that was continued.
        lane: how it was written.
        tokens: ids, without the end-of-sequence token.
        logprobs: log-probability of each token under the lane's own model, in nats, before any
            truncation or temperature; empty unless asked for.
        entropies: entropy of that distribution at each token, in nats; empty unless asked for.
        finish: `eos`, `length` or `stopped`; empty while it grows.
        end: the id that ended it, for `eos`; chat models have several.
    """

    prompt: str
    lane: Lane
    tokenizer: Any = field(repr=False)
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    finish: Finish = ""
    end: int | None = None

    @property
    def text(self) -> str:
        """The completion as text, special tokens left out."""
        decoded: str = self.tokenizer.decode(self.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return decoded


def end_tokens(lm: LanguageModel) -> frozenset[int]:
    """Ids that end a completion: the tokenizer's and those that the checkpoint names (chat models have several)."""
    named = lm.model.generation_config.eos_token_id
    ids = named if isinstance(named, list) else [named]
    return frozenset(i for i in (*ids, lm.tokenizer.eos_token_id) if i is not None)


def generate(
    lm: LanguageModel,
    prompts: Sequence[str | Sequence[int]],
    lanes: Sequence[Lane],
    sampling: Sampling,
    *,
    special_tokens: bool = True,
    batch_size: int = 8,
    first_lane: int = 0,
    numbers: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    measured: bool = False,
    watch: Watch | None = None,
    on_step: Callable[[list[Completion]], None] | None = None,
    tell: Tell = silent,
    stop: Stop | None = None,
) -> list[Completion]:
    """Continue every prompt in every lane; all lanes of a prompt run in the same batch.

    What a row writes does not depend on what else is in its batch (up to float rounding): noise is drawn per
    prompt, and padding is masked.

    Args:
        lm: the model; its lock is held for each step, so that users take turns.
        prompts: texts to continue, exactly as the model shall read them, or the ids of their tokens.
        lanes: at least one.
        sampling: how tokens are chosen.
        special_tokens: let the tokenizer add its default special tokens (not after a chat template).
        batch_size: prompts in one batch.
        first_lane: how many lanes of these prompts were written before: their noise is not drawn again.
        numbers: of each prompt, on which its noise depends; 0, 1, … unless told. A prompt that is written again, or
            in another batch, or by another process, writes the same under its number.
        seeds: of each prompt; that of `sampling` unless told. Then a prompt that is in a batch with several seeds is
            read once.
        measured: tell log-probability and entropy of every token, too; no token is chosen otherwise for it.
        watch: told what the rows of each batch choose from.
        on_step: called after each token with all completions, in the order prompt by lane; those of later batches
            are still empty.
        tell: told how much of a long prompt was read (see `prompt.PIECE`).
        stop: asked before each piece of a prompt and each step; true ends all that is being written, and keeps it.

    Returns:
        completions, prompt by prompt, lanes in the order given.

    Raises:
        InputError: no lane, an empty prompt, or a prompt that leaves no room in the model's context.
        ModelError: a lane's subspace was captured on another model.
    """
    if not lanes or batch_size < 1:
        raise InputError(f"{len(lanes)} lanes and batch size {batch_size}: choose at least one of each")
    numbers = range(len(prompts)) if numbers is None else numbers
    if len(numbers) != len(prompts):
        raise InputError(f"{len(numbers)} numbers for {len(prompts)} prompts; give one for each")
    again, seeds = seeds is not None, [sampling.seed] * len(prompts) if seeds is None else seeds
    if len(seeds) != len(prompts):
        raise InputError(f"{len(seeds)} seeds for {len(prompts)} prompts; give one for each")
    encoded = [encoded_prompt(lm, prompt, sampling, special_tokens) for prompt in prompts]
    texts = [prompt if isinstance(prompt, str) else lm.tokenizer.decode(prompt) for prompt in prompts]
    completions = [Completion(text, lane, lm.tokenizer) for text in texts for lane in lanes]
    step = len(lanes)
    for start in range(0, len(prompts), batch_size):
        batch = completions[start * step : (start + batch_size) * step]
        lane_of = [0 if sampling.shared_randomness else first_lane + k for k in range(step)]
        mine = slice(start, start + batch_size)
        rows = [(*one, lane) for one in zip(seeds[mine], numbers[mine], strict=True) for lane in lane_of]
        drawn = {row: _generator(*row) for row in dict.fromkeys(rows)}  # rows alike draw once
        step_told = None if on_step is None else partial(on_step, completions)
        ids, read_as = _read_once(encoded[mine]) if again else (encoded[mine], range(len(encoded[mine])))
        noise = [drawn[row] for row in rows]
        _write(lm, ids, read_as, batch, step, sampling, noise, measured, watch, step_told, tell, stop)
    return completions


def _read_once(prompts: Sequence[Sequence[int]]) -> tuple[list[Sequence[int]], list[int]]:
    """The different ones among prompts, and which of them each is."""
    place: dict[tuple[int, ...], int] = {}
    read_as = [place.setdefault(tuple(ids), len(place)) for ids in prompts]
    return list(place), read_as


def encoded_prompt(
    lm: LanguageModel, prompt: str | Sequence[int], sampling: Sampling, special_tokens: bool
) -> list[int]:
    """Token ids of a prompt that is to be continued; refuses an empty one, and one that leaves no room."""
    ids: list[int] = (
        lm.tokenizer(prompt, add_special_tokens=special_tokens, verbose=False)["input_ids"]
        if isinstance(prompt, str)
        else list(prompt)
    )
    if not ids:
        raise InputError("a prompt is empty; write at least one character")
    room = lm.card.context - sampling.max_new_tokens
    if len(ids) > room:
        raise InputError(
            f"the prompt {_opening(lm, prompt)!r}… is {len(ids)} tokens long, and the model's context of "
            f"{lm.card.context} leaves {max(room, 0)} beside {sampling.max_new_tokens} new ones; shorten it, or "
            "allow fewer new tokens"
        )
    return ids


def _opening(lm: LanguageModel, prompt: str | Sequence[int]) -> str:
    text: str = prompt if isinstance(prompt, str) else lm.tokenizer.decode(prompt)
    return text[:30]


def _generator(seed: int, prompt: int, lane: int) -> torch.Generator:
    """Noise of one row: depends on the seed, the prompt and (when not shared) the lane alone."""
    mixed = int(torch.tensor([seed, prompt, lane]).mul(torch.tensor([1_000_003, 8191, 131])).sum())
    return torch.Generator().manual_seed(mixed)


def _write(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    read_as: Sequence[int],
    batch: list[Completion],
    n_lanes: int,
    sampling: Sampling,
    noise: list[torch.Generator],
    measured: bool,
    watch: Watch | None,
    on_step: Callable[[], None] | None,
    tell: Tell,
    stop: Stop | None,
) -> None:
    """Write one batch to its end. The last row takes the place of one that has ended, so that that costs nothing.

    Args:
        prompts: each is read once in all lanes.
        read_as: of each prompt that is continued, which of those it is.
    """
    from spd_core.generation.cache import growing_cache

    ids, mask = _left_padded([prompt for prompt in prompts for _ in range(n_lanes)], lm.device)  # [rows, seq] each
    positions = (mask.cumsum(1) - 1).clamp(min=0)  # [rows, seq]
    padded = not bool(mask.all())
    cache = growing_cache(lm.model.config)
    ends = end_tokens(lm)
    live = list(range(len(batch)))
    plan, packed = plan_rows(lm, [row.lane for row in batch[: len(ids)]]), packed_linears(lm, len(batch))
    try:
        at_mask = mask if padded else None
        read = read_ahead(lm, plan, cache, ids, mask=at_mask, positions=positions, tell=tell, stop=stop)
    except Stopped:
        for completion in batch:
            completion.finish = "stopped"
        return
    ids, positions = ids[:, read:], positions[:, read:]
    for _ in range(sampling.max_new_tokens):
        if stop is not None and stop():
            break
        with lm.lock, torch.inference_mode(), active(plan), packed:
            logits = (
                lm.model(
                    input_ids=ids,
                    attention_mask=mask if padded else None,
                    position_ids=positions,
                    past_key_values=cache,
                    logits_to_keep=1,
                )
                .logits[:, -1]
                .float()
            )  # [rows, vocabulary]
            if len(logits) < len(live):  # read once, to be continued several times
                index = torch.tensor([n_lanes * at + k for at in read_as for k in range(n_lanes)], device=lm.device)
                cache.batch_select_indices(index)
                logits, mask, positions = logits[index], mask[index], positions[index]
                plan = plan_rows(lm, [batch[row].lane for row in live])
            chosen = choose(logits, sampling, [noise[row] for row in live])
            told = statistics(logits, chosen) if measured else None
        tokens = chosen.tolist()
        for at, row in enumerate(live):
            _append(batch[row], tokens[at], ends)
            if told is not None and not batch[row].finish:
                batch[row].logprobs.append(told[0][at])
                batch[row].entropies.append(told[1][at])
        keep = _closed_up([bool(batch[row].finish) for row in live])
        if watch is not None and keep:
            watch([live[at] for at in keep], logits[keep], [tokens[at] for at in keep])
        if on_step is not None:
            on_step()
        if not keep:
            break
        if len(keep) < len(live):
            index = torch.tensor(keep, device=lm.device)
            with torch.inference_mode():
                cache.batch_select_indices(index)
            chosen, mask, positions = chosen[index], mask[index], positions[index]
            live = [live[at] for at in keep]
            plan = plan_rows(lm, [batch[row].lane for row in live])
        ids, positions = chosen[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(live), 1)], 1)
    else:
        for row in live:
            batch[row].finish = batch[row].finish or "length"
    for completion in batch:
        completion.finish = completion.finish or "stopped"


def _append(completion: Completion, token: int, ends: frozenset[int]) -> None:
    if token in ends:
        completion.finish, completion.end = "eos", token
    else:
        completion.tokens.append(token)


def _closed_up(ended: Sequence[bool]) -> list[int]:
    """The places of rows that go on: where one has ended, the last of them stands, so that few change their place."""
    keep = list(range(len(ended)))
    for place in reversed(range(len(ended))):
        if ended[place]:
            last = keep.pop()
            if place < len(keep):
                keep[place] = last
    return keep


def _left_padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """[rows, seq] ids padded on the left with 0, and the mask that is 1 on real tokens."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask

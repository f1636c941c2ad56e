"""OmniOPD's look at rollouts: where the chunks are, what the teacher writes in their place, and how alike that is.

Knows nothing of the loss; `chunks.py` says what follows of it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spd_core.distill.audits import Audit, AuditedChunk
from spd_core.distill.chunks import choose_anchors
from spd_core.distill.rollouts import Rollouts, rollout_seed
from spd_core.distill.similarity import similarity
from spd_core.distill.teachers import Prefix, Teacher
from spd_core.errors import InputError
from spd_core.generation.pieces import pieces_of
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.on_policy import ChunkSettings

_TEACHERS_NOISE = 2**30
"""Between the seeds of a rollout and those of the teacher: with the same noise the untouched model would write what the
student wrote."""


@dataclass(frozen=True)
class Verified:
    """What was looked at, chunk by chunk.

    Attributes:
        places: row and start of each chunk, by rows and rising.
        own: the student's text of each, and `others` the teacher's; `similar` φ of each of them.
    """

    rollouts: Rollouts
    step: int
    places: Sequence[tuple[int, int]]
    own: Sequence[str]
    others: Sequence[Sequence[str]]
    similar: Sequence[Sequence[float]]

    def tensors(self, most: int) -> dict[str, Tensor]:
        """`starts` [B, most], −1 where there is no chunk, and `k` of each; `row_of` [B], as TRL shuffles a batch."""
        rows, device = len(self.rollouts.ids), self.rollouts.lm.device
        starts, k = torch.full((rows, most), -1, dtype=torch.int64), torch.zeros(rows, most)
        at = [0] * rows
        for (row, start), found in zip(self.places, self.similar, strict=True):
            starts[row, at[row]], k[row, at[row]] = start, sum(found)
            at[row] += 1
        return {"starts": starts.to(device), "k": k.to(device), "row_of": torch.arange(rows, device=device)}

    def audits(
        self, weights: Mapping[tuple[int, int], tuple[float, float]], divergences: Mapping[int, float | None]
    ) -> list[Audit]:
        """One for each rollout.

        Args:
            weights: π̄ and π̂ by row and start.
            divergences: mean KL(π_ref ‖ π_θ) of the tokens in no chunk, by row.
        """
        apart = {row: value for row, value in divergences.items() if value is not None and math.isfinite(value)}
        of: dict[int, list[AuditedChunk]] = {row: [] for row in range(len(self.rollouts.rows))}
        for (row, start), own, others, similar in zip(self.places, self.own, self.others, self.similar, strict=True):
            prior, target = (_kept(one, 6) for one in weights[row, start])
            rounded = tuple(round(one, 6) for one in similar)
            chunk = AuditedChunk(
                start=start, own=own, others=tuple(others), similar=rounded, prior=prior, target=target
            )
            of[row].append(chunk)
        return [
            Audit(
                step=self.step,
                number=row.number,
                prompt=row.asked,
                tokens=self._tokens(at),
                entropies=tuple(_kept(one, 4) for one in self.rollouts.entropies[at]),
                chunks=tuple(of[at]),
                divergence=apart.get(at),
            )
            for at, row in enumerate(self.rollouts.rows)
        ]

    def _tokens(self, row: int) -> tuple[str, ...]:
        """Of a rollout, as texts, which joined are the text; the end by its name."""
        tokenizer, written = self.rollouts.lm.tokenizer, len(self.rollouts.entropies[row])
        ids = self.rollouts.ids[row]
        return (*pieces_of(tokenizer, ids[:written]), *(tokenizer.decode([end]) for end in ids[written:]))


def _kept(value: float, digits: int) -> float:
    """Rounded; 0 for what is no number: then the loss is none either, and nothing of the step is kept."""
    return round(value, digits) if math.isfinite(value) else 0.0


def verify(rollouts: Rollouts, teacher: Teacher, chunks: ChunkSettings, seed: int, step: int) -> Verified:
    """Let the teacher write beside every chunk.

    Args:
        seed: of the training.

    Raises:
        Stopped, WriterError: the teacher's.
        InputError: it has not written as many continuations as it was asked for.
    """
    places = _places(rollouts, chunks, seed, step)
    prefixes = _prefixes(rollouts, places, _TEACHERS_NOISE + rollout_seed(seed, step), chunks.samples)
    different = chunks.samples if chunks.temperature else 1  # a greedy teacher always says the same
    wanted = Sampling(chunks.temperature, chunks.top_p, chunks.chunk_tokens)
    texts = teacher.write(prefixes, different, wanted) if prefixes else []
    if [len(written) for written in texts] != [different] * len(prefixes):
        raise InputError(
            f"the teacher wrote {sum(map(len, texts))} continuations where {different * len(prefixes)} were asked of it"
        )
    others = [list(written) * (chunks.samples // different) for written in texts]
    own = [rollouts.text(row, start, chunks.chunk_tokens) for row, start in places]
    similar = [[similarity(mine, one) for one in written] for mine, written in zip(own, others, strict=True)]
    return Verified(rollouts, step, places, own, others, similar)


def _places(rollouts: Rollouts, chunks: ChunkSettings, seed: int, step: int) -> list[tuple[int, int]]:
    """Row and start of every chunk: at the peaks of entropy, or anywhere."""
    places: list[tuple[int, int]] = []
    for at, (row, ids) in enumerate(zip(rollouts.rows, rollouts.ids, strict=True)):
        entropies = rollouts.entropies[at]
        scores = torch.tensor([*entropies, *[0.0] * (len(ids) - len(entropies))])
        if chunks.select == "random":
            noise = torch.Generator().manual_seed(8191 * row.number + rollout_seed(seed, step))
            scores = torch.rand(len(ids), generator=noise)
        places += [(at, start) for start in choose_anchors(scores, chunks.chunk_tokens, chunks.chunks)]
    return places


def _prefixes(rollouts: Rollouts, places: Sequence[tuple[int, int]], seed: int, samples: int) -> list[Prefix]:
    """What a teacher reads for each chunk: never a token of the chunk."""
    found = []
    for at, start in places:
        row, prompt = rollouts.rows[at], tuple(rollouts.prompts[at])
        ids = (*prompt, *rollouts.ids[at][:start])
        text, written = _read(rollouts.lm.tokenizer, prompt, ids)
        found.append(Prefix(row.number, seed + samples * start, row.asked, ids, text, written))
    return found


def _read(tokenizer: Any, prompt: Sequence[int], ids: Sequence[int]) -> tuple[str, str]:
    """A prompt with what follows it as text, and what follows: by itself that could lose the space before it."""
    asked, text = (str(tokenizer.decode(one, clean_up_tokenization_spaces=False)) for one in (prompt, ids))
    if text.startswith(asked):
        return text, text.removeprefix(asked)
    return text, str(tokenizer.decode(ids[len(prompt) :], clean_up_tokenization_spaces=False))

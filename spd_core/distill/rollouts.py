"""What a student writes in training: on which prompts, beside whom, and what was written as tensors.

Knows no loss and no trainer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spd_core.distill.teachers import Teacher
from spd_core.distill.write import PlannedRow
from spd_core.errors import Stopped
from spd_core.generation.decode import Completion, encoded_prompt, generate
from spd_core.intervention.projection import Lane
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.on_policy import ChunkSettings

if TYPE_CHECKING:
    from spd_core.distill.served import ServedStudent


@dataclass(frozen=True)
class AskedRow(PlannedRow):
    """A prompt that the student writes on, with what was asked, without template."""

    asked: str = field(kw_only=True)


@dataclass(frozen=True)
class Learning:
    """What a student learns from.

    Attributes:
        rows: the prompts.
        rollout: how the student writes.
        divergence: β of TRL's divergence; for `lane` alone.
        lane: the projected self whose probabilities the student is to match; None for OmniOPD.
        chunks: OmniOPD's settings, and `teacher` who writes beside it; None for on-policy distillation.
        seed: of the rollouts' noise.
        max_tokens: see `RolloutSettings`.
        engine: what writes the rollouts; None writes them here.
    """

    rows: Sequence[AskedRow]
    rollout: Sampling
    seed: int
    divergence: float = 1.0
    lane: Lane | None = None
    chunks: ChunkSettings | None = None
    teacher: Teacher | None = None
    max_tokens: int | None = None
    engine: "ServedStudent | None" = None


def write_rollouts(
    lm: LanguageModel, rows: Sequence[AskedRow], sampling: Sampling, seed: int, step: int, stop: Stop | None = None
) -> list[Completion]:
    """What the student writes at a step, with the entropy of each token.

    Raises:
        Stopped: on request.
    """
    found: dict[int, Completion] = {}
    for special in (True, False):
        mine = [row for row in rows if row.special == special]
        written = generate(
            lm,
            [row.prompt for row in mine],
            [Lane()],
            sampling,
            special_tokens=special,
            batch_size=max(1, len(mine)),
            numbers=[row.number for row in mine],
            seeds=[rollout_seed(seed, step)] * len(mine),
            measured=True,
            stop=stop,
        )
        found |= {row.number: one for row, one in zip(mine, written, strict=True)}
    if any(one.finish == "stopped" for one in found.values()):
        raise Stopped("stopped on request")
    return [found[row.number] for row in rows]


def rollout_seed(seed: int, step: int) -> int:
    """Of the noise of all rollouts of a step; the prompt's number makes it one of its own."""
    return (seed * 1_000_003 + step * 7919) % 2**30


@dataclass(frozen=True)
class Rollouts:
    """Rollouts of one step.

    Attributes:
        prompts: ids of each prompt; `ids` of each completion, its end among them.
        entropies: of each token that was written; none for the end.
        cut: how many were cut at the most tokens that a rollout may have.
        mask: [B, T], 1 on a completion's tokens.
    """

    lm: LanguageModel
    rows: Sequence[AskedRow]
    prompts: Sequence[Sequence[int]]
    ids: Sequence[Sequence[int]]
    entropies: Sequence[Sequence[float]]
    cut: int
    mask: Tensor

    @classmethod
    def of(
        cls, lm: LanguageModel, rows: Sequence[AskedRow], written: Sequence[Completion], sampling: Sampling
    ) -> "Rollouts":
        """Of what was written on rows."""
        ids = [[*one.tokens, *([one.end] if one.end is not None else [])] for one in written]
        longest = max(len(one) for one in ids)
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids], device=lm.device)
        prompts = [encoded_prompt(lm, row.prompt, sampling, row.special) for row in rows]
        cut = sum(one.finish == "length" for one in written)
        return cls(lm, rows, prompts, ids, [one.entropies for one in written], cut, mask)

    def inputs(self) -> dict[str, Tensor]:
        """As TRL's trainer takes them: prompts padded on the left, completions on the right; and of each row how many
        tokens were `drawn`, its end left out."""
        device, longest = self.lm.device, self.mask.shape[1]
        width = max(len(one) for one in self.prompts)
        return {
            "prompt_ids": torch.tensor([[0] * (width - len(p)) + list(p) for p in self.prompts], device=device),
            "prompt_mask": torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in self.prompts], device=device),
            "completion_ids": torch.tensor([[*one, *[0] * (longest - len(one))] for one in self.ids], device=device),
            "completion_mask": self.mask,
            "drawn": torch.tensor([len(h) for h in self.entropies], device=device),
            "entropies": torch.tensor([[*h, *[0.0] * (longest - len(h))] for h in self.entropies], device=device),
        }

    def text(self, row: int, start: int, tokens: int) -> str:
        """Some of the tokens that a rollout consists of, as text."""
        ids = self.ids[row][start : start + tokens]
        return str(self.lm.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

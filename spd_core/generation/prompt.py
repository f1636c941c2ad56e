"""Reads prompts into a cache: long ones in pieces, between which others take turns and a stop is heard."""

from typing import Any

import torch
from torch import Tensor

from spd_core.errors import Stopped
from spd_core.intervention.projection import Plan, active
from spd_core.models.loading import LanguageModel
from spd_core.models.packing import packed_linears
from spd_core.progress import Progress, Stop, Tell, silent

PIECE = 512
"""Positions of a row that are read at once: seconds on a laptop. Prompts that are no longer are read in one pass, as
transformers does, and so give its texts bit for bit; of longer ones the last bits of a float can differ."""


def read_ahead(
    lm: LanguageModel,
    plan: Plan,
    cache: Any,
    ids: Tensor,
    *,
    mask: Tensor | None = None,
    positions: Tensor | None = None,
    what: str = "Reading the prompt",
    tell: Tell = silent,
    stop: Stop | None = None,
) -> int:
    """Read prompts `[rows, seq]` into an empty cache, up to their last piece, which is left to the caller.

    Args:
        mask, positions: [rows, seq] of padded prompts.
        what: is being done, for people.
        tell: told before each piece how many positions were read.
        stop: asked before each piece.

    Returns:
        how many positions were read; 0 of prompts of one piece.

    Raises:
        Stopped: `stop` said so.
    """
    seq = ids.shape[1]
    read = (seq - 1) // PIECE * PIECE
    for start in range(0, read, PIECE):
        if stop is not None and stop():
            raise Stopped("stopped while the prompt was read")
        tell(Progress(start, seq, f"{what}: {start:,} of {seq:,} tokens"))
        end = start + PIECE
        with lm.lock, torch.inference_mode(), active(plan), packed_linears(lm, len(ids)):
            lm.model(
                input_ids=ids[:, start:end],
                attention_mask=None if mask is None else mask[:, :end],
                position_ids=None if positions is None else positions[:, start:end],
                past_key_values=cache,
                logits_to_keep=1,
            )
    return read

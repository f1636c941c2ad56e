"""How much of each text a model gets right: a loss token is right where it is the most likely one."""

from collections.abc import Sequence

import torch

from spd_core.data.spans import Encoded
from spd_core.errors import Stopped
from spd_core.models.loading import LanguageModel
from spd_core.models.losses import first_choices, longest_first
from spd_core.progress import Progress, Stop, Tell, silent


def right_texts(
    lm: LanguageModel,
    examples: Sequence[Encoded],
    *,
    batch_size: int = 8,
    tell: Tell = silent,
    stop: Stop | None = None,
) -> dict[str, float]:
    """Share of the loss tokens of each text that the model would write greedily, given all before them; by its id.

    Args:
        tell: told how many texts were read.
        stop: asked before each batch; those that were read until then are returned.

    Raises:
        Stopped: before the first batch was read.
    """
    found: dict[str, float] = {}
    for batch in longest_first(examples, batch_size):
        if stop is not None and stop():
            break
        with lm.lock, torch.inference_mode():
            chosen, row = first_choices(lm, batch)
        found |= {example.id: float(chosen[row == at].double().mean()) for at, example in enumerate(batch)}
        tell(Progress(len(found), len(examples), f"{len(found)} of {len(examples)} texts"))
    if not found:
        raise Stopped("stopped before the first batch; no text was read")
    return found

"""How the next token is chosen, as settings. Imports no torch: recorded results carry them."""

import math
from dataclasses import dataclass

from spd_core.errors import InputError


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Nothing is read from the checkpoint's own generation settings.

    Attributes:
        temperature: 0 is greedy.
        top_p: smallest set of tokens with this probability mass; 1 keeps all.
        top_k: this many most probable tokens, before top-p; 0 keeps all.
        max_new_tokens: longest completion, in tokens.
        seed: of the noise; the same seed gives the same text.
        shared_randomness: all lanes of a prompt see the same noise, so that lanes with equal logits write the
            same text and a difference is never luck.
    """

    temperature: float = 0.7
    top_p: float = 0.9
    max_new_tokens: int = 256
    seed: int = 0
    shared_randomness: bool = True
    top_k: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"temperature {self.temperature} is not a number from 0 (greedy) up")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top-p {self.top_p} is not above 0 and at most 1")
        if self.top_k < 0:
            raise InputError(f"top-k {self.top_k} is below 0 (all tokens)")
        if self.max_new_tokens < 1:
            raise InputError(f"max new tokens {self.max_new_tokens} is below 1")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"seed {self.seed} is not from 0 to {2**31 - 1}")

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is taken each time."""
        return self.temperature == 0

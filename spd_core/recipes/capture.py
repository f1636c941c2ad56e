"""What is captured, and how: the one description that pages, commands, recipes and saved captures share."""

import operator

from pydantic import Field

from spd_core.data.capability import Loss
from spd_core.records import Request


class CaptureSettings(Request):
    """How a capability's gradients are captured, and what is made of them.

    Attributes:
        layers: `middle,last`, `all`, or indices from 0 (see `families.parse_layers`).
        rank: rule for the rank of its subspace (see `spectrum.choose_rank`).
        loss: which tokens carry it.
        examples: the first so many of the calibration split; None takes all.
        batch_size: examples at once; does not change the result.
        center: subtract the mean gradient.
        strength: α of K + α(K P − K), wherever the subspace is projected into.
        without: capabilities that are captured as well where a contrast is asked for, and left out of it.
    """

    layers: str = "middle,last"
    rank: str = "half"
    loss: Loss = "aligned"
    examples: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=8, ge=1)
    center: bool = True
    strength: float = Field(default=1.0, ge=0, le=1)
    without: tuple[str, ...] = Field(default=(), exclude_if=operator.not_)

    @property
    def gradients(self) -> tuple[object, ...]:
        """What the captured gradients depend on: neither how many examples are read at once, nor what comes after."""
        return self.layers, self.loss, self.examples, self.center

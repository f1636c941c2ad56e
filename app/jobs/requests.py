"""What a session asks to capture, and whether an analysis is the answer to it."""

from dataclasses import dataclass

from app.jobs.models import ModelKey
from spd_core.data.capability import Capability, Loss, Style
from spd_core.subspace.analysis import Analysis


@dataclass(frozen=True)
class Request:
    """All settings of a capture; equal requests give equal captures."""

    model: ModelKey
    capability: Capability
    loss: Loss
    style: Style
    examples: int
    layers: tuple[int, ...]
    batch_size: int
    center: bool

    def made(self, analysis: Analysis) -> bool:
        """Whether capturing with these settings would give this analysis again."""
        record = analysis.provenance
        wanted = (self.model.name, self.capability.fingerprint, self.loss, self.style, list(self.layers), self.center)
        got = (record.model, record.fingerprint, record.loss, record.prompt_style, record.layers, record.center)
        dtype = self.model.dtype in ("auto", record.dtype)
        return wanted == got and self.examples == record.examples_requested and dtype

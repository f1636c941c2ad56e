"""What sessions ask of a model: to capture, to write, to read, to look at a direction. Pure, and imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.jobs.models import ModelKey
from spd_core.data.capability import Capability, Style
from spd_core.generation.comparison import Comparison, PromptStyle
from spd_core.models.families import Site
from spd_core.recipes.capture import CaptureSettings
from spd_core.recipes.lanes import Grid, LaneSpec, Sampling
from spd_core.subspace.analysis import Analysis


@dataclass(frozen=True)
class CaptureRequest:
    """What is captured, of which model, and how; equal requests give equal captures."""

    model: ModelKey
    capability: Capability
    settings: CaptureSettings
    style: Style

    def matches(self, analysis: Analysis) -> bool:
        """Whether capturing with these settings would give this analysis again."""
        record = analysis.provenance
        same = (self.model.name, self.capability.fingerprint, self.style) == (
            record.model,
            record.fingerprint,
            record.prompt_style,
        )
        dtype = self.model.dtype in ("auto", record.dtype)
        plain = record.left_out is None  # a contrast has the settings of the capture that it was made of
        return plain and same and dtype and self.settings.gradients == analysis.settings.gradients


@dataclass(frozen=True, eq=False)
class WriteRequest:
    """What the lanes continue, and how.

    Attributes:
        others: analyses that lanes name, besides the one in hand.
        answer: the correct one, where the prompt is an example's.
        grid: the lanes are a sweep.
    """

    analysis: Analysis
    key: ModelKey
    specs: tuple[LaneSpec, ...]
    prompt: str
    style: PromptStyle
    sampling: Sampling
    others: Mapping[str, Analysis] = field(default_factory=dict)
    answer: str | None = None
    grid: Grid | None = None

    def matches(self, comparison: Comparison) -> bool:
        """Whether writing with these settings would give this comparison again."""
        record, d_kv = self.analysis.provenance, self.analysis.d_kv
        wanted = (
            tuple(_resolved(spec, d_kv) for spec in self.specs),
            self.prompt,
            self.style,
            self.sampling,
            self.analysis.name,
            record.revision,
            self.grid,
        )
        lanes = tuple(_resolved(lane.spec, d_kv) for lane in comparison.lanes)
        got = (lanes, comparison.prompt, comparison.prompt_style, comparison.sampling, comparison.analysis)
        return wanted == (*got, comparison.revision, comparison.grid)


@dataclass(frozen=True, eq=False)
class RepeatRequest:
    """The lanes of a result, over prompts and seeds.

    Attributes:
        request: that would write the result again: its prompt is the first one.
        revision: of the model that wrote it.
        prompts, seeds: how many, at most.
    """

    request: WriteRequest
    revision: str
    prompts: int
    seeds: int


def _resolved(spec: LaneSpec, d_kv: int) -> LaneSpec:
    """With the rule `half` as the number that it means; raw lanes have no rank."""
    return spec.model_copy(update={"rank": str(d_kv // 2)}) if spec.projects and spec.rank == "half" else spec


def same_capture(first: Analysis, second: Analysis) -> bool:
    """Whether two analyses are the same capture, read or changed (by nulls) at different times."""
    return first.name == second.name and first.provenance == second.provenance


@dataclass(frozen=True, eq=False)
class EffectsRequest:
    """What projecting each site of an analysis alone does, at a rank."""

    analysis: Analysis
    rank: int


@dataclass(frozen=True)
class ReadRequest:
    """A text of the user's, to be read at all sites of an analysis."""

    analysis: Analysis
    text: str


@dataclass(frozen=True)
class RightRequest:
    """Which calibration texts of an analysis the model gets right by itself."""

    analysis: Analysis


@dataclass(frozen=True)
class LensRequest:
    """The logit lens of every direction of a value site; `first` (0-based) is computed before the others."""

    analysis: Analysis
    site: Site
    first: int = 0


@dataclass(frozen=True)
class CheckRequest:
    """A causal check of one direction (0-based) on the `calibration` or the `heldout` texts."""

    analysis: Analysis
    site: Site
    direction: int
    split: str

    def asks_same_as(self, other: "CheckRequest") -> bool:
        """Whether another request would give the same numbers."""
        own, others = (self.site, self.direction, self.split), (other.site, other.direction, other.split)
        return own == others and same_capture(self.analysis, other.analysis)

"""How a lane writes, in words: where it projects to, by which adapter it is tuned, and how tokens are drawn.

The one description that pages, links, files, arms and subjects share; `intervention/lanes.py` makes the lane of it.
Imports no torch.
"""

import math
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from spd_core.errors import InputError
from spd_core.models.families import Kind
from spd_core.recipes.gains import SiteGains, gains_in_words, parse_gains
from spd_core.records import Request

SubspaceOf: TypeAlias = Literal["none", "capability", "random", "full loss", "shuffled answers", "contrast"]
"""Whose subspace keys and values are projected into; `none` projects nothing."""
_OLD_KINDS: Mapping[str, Mapping[str, Any]] = {
    "raw": {"of": "none"},
    "distilled": {"of": "none"},
    "projected": {},
    "complement": {"complement": True},
    "random": {"of": "random"},
}


class Projection(Request):
    """Where keys and values are projected to: what lanes and subjects of an evaluation have in common.

    Attributes:
        of: whose subspace; a random one has the ranks of the capability's.
        complement: project onto I − P instead (a control).
        capture: name of the capture whose subspace it is; empty leaves that to whoever asks.
        layers: None takes all of the subspace's.
        gains: sites whose directions have gains of their own, instead of being projected; also as text, as
            `parse_gains` reads it. Directions are those of the whole site, whatever the basis of the capture.
    """

    of: SubspaceOf = "capability"
    complement: bool = False
    capture: str = ""
    kinds: tuple[Kind, ...] = Field(default=("key", "value"), min_length=1)
    layers: tuple[int, ...] | None = None
    gains: tuple[SiteGains, ...] = Field(default=(), exclude_if=operator.not_)  # records of before have none

    @field_validator("gains", mode="before")
    @classmethod
    def _as_text(cls, gains: Any) -> Any:
        return parse_gains(gains) if isinstance(gains, str) else gains

    @field_validator("gains")
    @classmethod
    def _site_by_site(cls, gains: tuple[SiteGains, ...]) -> tuple[SiteGains, ...]:
        sites = Counter(site.where for site in gains)
        repeated = next((where for where, count in sites.items() if count > 1), None)
        if repeated is not None:
            raise ValueError(f"{repeated} have gains twice; give them once")
        return tuple(sorted(gains, key=lambda site: (site.layer, site.kind)))

    @model_validator(mode="after")
    def _has_directions(self) -> "Projection":
        if self.gains and self.of == "none":
            raise ValueError("gains are of directions of a subspace, and this lane has none; name whose it is")
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """What sets it apart from projecting into the capability's own subspace."""
        called = {"random": "random subspace", "full loss": "full-loss subspace", "contrast": "contrast subspace"}
        subspace = called.get(self.of, self.of)
        return (*([] if self.of in ("none", "capability") else [subspace]), *(["complement"] * self.complement))


class LaneSpec(Projection):
    """One way of writing.

    Attributes:
        rank: rule (see `spectrum.choose_rank`); empty takes the capture's own.
        strength: α of K + α(K P − K).
        seed: of a random subspace.
        adapter: `run/arm` of the adapter that tunes the model.
    """

    rank: str = "half"
    strength: float = 1.0
    seed: int = 0
    adapter: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, settings: Any) -> Any:
        """What results of format 1 and 2 say: a kind, and the capture under another name."""
        if not isinstance(settings, Mapping) or not settings.keys() & {"kind", "analysis"}:
            return settings
        own = dict(settings)
        kind, capture = own.pop("kind", "projected"), own.pop("analysis", "")
        if not isinstance(kind, str) or kind not in _OLD_KINDS:
            raise ValueError(f"unknown kind of lane {kind!r:.80}; there are {', '.join(_OLD_KINDS)}")
        if kind in ("raw", "distilled") and (kind == "distilled") != bool(own.get("adapter")):
            named = own.get("adapter", "")
            raise ValueError(f"a {kind} lane with the adapter {named!r}; a distilled one needs it, raw none")
        return {**own, "capture": capture, **_OLD_KINDS[kind]}

    @model_validator(mode="after")
    def _within_the_rank(self) -> "LaneSpec":
        for site in self.gains if self.rank.isdecimal() else ():
            if site.highest > int(self.rank):
                beyond = f"direction {site.highest}, beyond the rank {self.rank}"
                raise ValueError(f"{site.where} have a gain for {beyond}; raise the rank")
        return self

    @property
    def projects(self) -> bool:
        """Whether it has a subspace."""
        return self.of != "none"

    @property
    def mixed(self) -> bool:
        """Whether all that it changes are the sites with gains of their own."""
        return bool(self.gains) and self.strength == 0

    @property
    def kind(self) -> str:
        """`raw`, `distilled`, or how it projects, in short: lanes of one kind are told apart by the rest."""
        if not self.projects:
            return "distilled" if self.adapter else "raw"
        if self.mixed:
            return " ".join(("mixed", *self.words))
        return (" ".join(self.words) or "projected") + " and mixed" * bool(self.gains)


RAW = LaneSpec(of="none")


def distilled(adapter: str) -> LaneSpec:
    """A lane that is tuned and not projected."""
    return LaneSpec(of="none", adapter=adapter)


def source_of(spec: Projection) -> SubspaceOf:
    """Whose gradients the subspace comes from: a random one has the ranks of the capability's."""
    return "capability" if spec.of == "random" else spec.of


class Grid(Request):
    """A sweep: lane 0 is raw, then a lane for each rank and strength, strengths running fastest."""

    ranks: tuple[str, ...]
    strengths: tuple[float, ...]


def sweep_specs(grid: Grid, base: LaneSpec) -> list[LaneSpec]:
    """The lanes of a sweep: raw, then `base` with each rank and strength."""
    cells = [(rank, strength) for rank in grid.ranks for strength in grid.strengths]
    return [RAW, *(base.model_copy(update={"rank": rank, "strength": strength}) for rank, strength in cells)]


# --- labels --------------------------------------------------------------------------------------------------


def labels(
    specs: Sequence[LaneSpec], capabilities: Mapping[str, str], adapters: Mapping[str, str] | None = None
) -> list[str]:
    """A short name for each lane: its kind, and what sets it apart from others of the same kind.

    Args:
        capabilities: of each capture that a spec names, by its name.
        adapters: what each adapter that a spec names is called, by its `run/arm`.
    """
    tuned = dict(adapters or {})
    found = [
        _distilled(spec, specs, tuned)
        if spec.kind == "distilled"
        else _label(spec, [other for other in specs if other.kind == spec.kind], capabilities, tuned)
        for spec in specs
    ]
    repeated = {label for label, count in Counter(found).items() if count > 1}
    return [
        f"{label} ({found[:at].count(label) + 1})" if label in repeated else label for at, label in enumerate(found)
    ]


def _distilled(spec: LaneSpec, specs: Sequence[LaneSpec], tuned: Mapping[str, str]) -> str:
    """Its arm; where several adapters are called the same, also the arm's own name or the run, as they differ."""
    name = tuned.get(spec.adapter, spec.adapter)
    run, _, arm = spec.adapter.partition("/")
    alike = [ref.partition("/") for ref in (other.adapter for other in specs) if tuned.get(ref, ref) == name]
    apart = [arm] if len({parts[2] for parts in alike}) > 1 else []
    apart += [run] if len({parts[0] for parts in alike}) > 1 else []
    return ", ".join((f"Distilled ({name})", *apart))


def _label(spec: LaneSpec, alike: Sequence[LaneSpec], capabilities: Mapping[str, str], tuned: Mapping[str, str]) -> str:
    says = {
        "capture": capabilities.get(spec.capture, spec.capture),
        "rank": f"rank {spec.rank}",
        "strength": f"α {spec.strength:g}",
        "kinds": f"{' and '.join(spec.kinds)}s only" if len(spec.kinds) == 1 else "keys and values",
        "layers": "all layers" if spec.layers is None else f"layers {', '.join(map(str, spec.layers))}",
        "seed": f"seed {spec.seed}",
        "adapter": f"distilled ({tuned.get(spec.adapter, spec.adapter)})" if spec.adapter else "not distilled",
    }
    apart = [words for name, words in says.items() if len({getattr(other, name) for other in alike}) > 1]
    mix = f": {gains_in_words(spec.gains)}" if spec.gains else ""
    return ", ".join((spec.kind.capitalize() + mix, *apart)) if spec.kind != "raw" else "Raw"


# --- sampling ------------------------------------------------------------------------------------------------------


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
            same text.
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

"""What is known of one capture, as frozen numbers that are saved and read back: of each site (`site_analysis.py`), of
the captured examples, and of how it came about.

Imports no torch, so that a saved analysis opens at once. How the numbers come about is in `subspace/pipeline.py`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from spd_core.data.capability import Capability, Loss
from spd_core.data.seen import Seen, all_seen
from spd_core.data.spans import Encoded
from spd_core.errors import InputError
from spd_core.models.families import Site
from spd_core.recipes.capture import CaptureSettings
from spd_core.subspace.site_analysis import SiteAnalysis, limited_to

SHUFFLED, FULL, RANDOM = "shuffled answers", "full-sequence loss", "random directions"
"""Names of the nulls (see `subspace/nulls.py`)."""


class LeftOut(BaseModel):
    """What a contrast was made of (see `subspace/contrast.py`).

    Attributes:
        capability, capture: whose directions they are: the capability's name, and that of its capture.
        others, captures, identities: the same of what was left out; `Analysis.identity` of each, sorted.
        shrinkage: how much an average direction of the others counts.
        seen: the prompts that the others were captured from; None where that is not known.
    """

    capability: str
    capture: str
    others: list[str]
    captures: list[str]
    identities: list[str]
    shrinkage: float
    seen: Seen | None = None


class Provenance(BaseModel):
    """How a subspace came about: `subspace.json`, less the description of the sites.

    Attributes:
        method: counts changes of how gradients become a spectrum; captures of other counts are other captures.
        left_out: of a contrast: what its directions were made of. All else is of the capability's own capture.
    """

    model: str
    revision: str
    dtype: str
    device: str
    layers: list[int]
    rank_rule: str
    ranks: dict[str, int] = {}
    capped: list[str] = []
    center: bool
    basis: str = "shared"
    loss: str
    prompt_style: str
    capability: str
    fingerprint: str
    examples_used: int
    examples_requested: int
    skipped: dict[str, str]
    tokens: int
    supervised_tokens: int
    mean_loss: float
    batch_size: int | None = None
    seconds: float | None = None
    seed: int | None = None
    method: int = 1
    versions: dict[str, str]
    command: str
    left_out: LeftOut | None = Field(default=None, exclude_if=lambda made: made is None)


@dataclass(frozen=True, eq=False)
class Analysis:
    """A capture as pages and exports read it.

    Attributes:
        name: unique among the saved ones; file and link.
        sites: by layer, key before value.
        examples: the captured examples in the order of their tokens.
        provenance: how it came about; its ranks are empty, for none is chosen yet.
        recorded: it comes with SPD Lab.
    """

    name: str
    provenance: Provenance
    capability: Capability
    sites: Mapping[Site, SiteAnalysis]
    examples: tuple[Encoded, ...]
    recorded: bool = False

    @property
    def d_kv(self) -> int:
        """Width of a site."""
        return next(iter(self.sites)).d_kv

    @property
    def layers(self) -> list[int]:
        """Target layers, ascending."""
        return sorted({site.layer for site in self.sites})

    @property
    def known_directions(self) -> int:
        """How many directions every site has: d_kv, or fewer where an older version kept the first ones alone."""
        return min(int(found.vectors.shape[1]) for found in self.sites.values())

    @property
    def settings(self) -> CaptureSettings:
        """How it was captured; its layers by their indices."""
        record = self.provenance
        return CaptureSettings(
            layers=",".join(map(str, record.layers)),
            rank=record.rank_rule or "half",
            loss=cast(Loss, record.loss),
            examples=record.examples_requested,
            batch_size=record.batch_size or 8,
            center=record.center,
        )

    @property
    def origin(self) -> str:
        """sha256 of what it was computed from; two captures of one origin are the same capture.

        That is the model's content, its dtype and kind of device, the layers, whether gradients are centred, the
        method's count, and of every example the tokens and which of them carry the loss: so the loss, the prompt style
        and the seed of a shuffling are in it. Not in it are the last bits that came out, which depend on how many
        threads and rows were at work, and what is worked out from the gradients afterwards, the rank above all.

        Empty where that is not known: of captures of older versions without examples, or of a model that is known by
        a sample of its weights.
        """
        record = self.provenance
        if not self.examples or record.revision == "unknown" or record.revision.startswith("sha256:"):
            return ""
        facts = {
            "method": record.method,
            "model": record.revision,
            "dtype": record.dtype,
            "device": record.device.partition(":")[0],
            "sites": [[site.name, site.d_kv] for site in self.sites],
            "center": record.center,
            "examples": sorted([list(example.ids), list(example.supervised)] for example in self.examples),
        }
        if record.left_out is not None:
            facts["contrast"] = [record.left_out.identities, record.left_out.shrinkage]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def identity(self) -> str:
        """Its origin, else sha256 of its bits: by this a capture is known again, under whatever name."""
        if self.origin:
            return self.origin
        digest = hashlib.sha256()
        for site, found in self.sites.items():
            digest.update(site.name.encode() + found.values.tobytes() + found.vectors.tobytes())
        return digest.hexdigest()

    @property
    def seen(self) -> Seen | None:
        """The prompts that it was captured from, a contrast's others too; None of a folder of before whose examples are
        not at hand."""
        used = {example.id for example in self.examples}
        known = self.capability.split("calibration").examples
        if not used:  # the shell kept none until November 2026, and its capability may be here
            used = {example.id for example in known[: self.provenance.examples_requested]}
        own = Seen.of(example.prompt for example in known if example.id in used) if used else None
        made_of = self.provenance.left_out
        return own if made_of is None else all_seen((own, made_of.seen))

    def directions(self, site: Site) -> int:
        """How many directions of a site are kept and not rounding."""
        return self.sites[site].directions(self.provenance.dtype)

    @property
    def kept_directions(self) -> int:
        """How many directions have coordinates of single tokens; 0 when none were kept."""
        found = next(iter(self.sites.values())).coordinates
        return 0 if found is None else found.gradient.shape[1]

    def site(self, layer: int, kind: str) -> Site:
        """The site of a layer; raises `InputError` when it was not captured."""
        for site in self.sites:
            if (site.layer, site.kind) == (layer, kind):
                return site
        raise InputError(f"no {kind} site at layer {layer}; this capture has layers {self.layers}")

    @property
    def example_of(self) -> NDArray[np.int64]:
        """[M] index into `examples` of every token."""
        return np.repeat(np.arange(len(self.examples)), [len(example.ids) for example in self.examples])

    @property
    def position_of(self) -> NDArray[np.int64]:
        """[M] position of every token in its example."""
        return np.concatenate([np.arange(len(example.ids)) for example in self.examples])

    @property
    def supervised(self) -> NDArray[np.bool_]:
        """[M] whether the loss was taken on the token."""
        return np.concatenate([np.isin(np.arange(len(e.ids)), e.supervised) for e in self.examples])

    def rows_of(self, example: int) -> slice:
        """Which tokens of the analysis are those of `examples[example]`."""
        lengths = [len(e.ids) for e in self.examples[: example + 1]]
        return slice(sum(lengths[:-1]), sum(lengths))

    def limited(self, directions: int) -> "Analysis":
        """The same with coordinates of the first `directions` directions only: smaller on disk."""
        return dataclasses.replace(
            self, sites={site: limited_to(found, directions) for site, found in self.sites.items()}
        )


def nulls_of(analysis: Analysis) -> tuple[str, ...]:
    """The nulls that need passes of their own: shuffled answers, and the full-sequence loss unless it is that.

    A contrast has none: the spectrum of a null lies along directions of its own.
    """
    if analysis.provenance.left_out is not None:
        return ()
    return (SHUFFLED, FULL) if analysis.provenance.loss != "full" else (SHUFFLED,)

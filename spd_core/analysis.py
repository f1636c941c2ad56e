"""What is known of one capture, as frozen numbers that are saved and read back: spectra with their nulls, bases,
and the coordinates of every token.

Imports no torch, so that a saved analysis opens at once. How the numbers come about is in `study.py`.
"""

import dataclasses
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from spd_core.capability import BUILTIN_FOLDER, Capability, read_capability
from spd_core.errors import InputError
from spd_core.families import Site
from spd_core.provenance import Provenance, site_from, site_record
from spd_core.ranks import numerical_rank
from spd_core.spans import Encoded
from spd_core.storage import child, new_folder, spd_home, write_text

TENSORS, RECORD, EXAMPLES = "analysis.safetensors", "analysis.json", "capability.jsonl"
FORMAT = 1
RECORDED = BUILTIN_FOLDER.parent / "demo" / "captures"
"""Where the captures lie that come with SPD Lab."""
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Every captured token of a site in the basis of its singular vectors; row t is the token t of the analysis.

    Attributes:
        gradient: [M, k] (g_t − μ)·uᵢ of the first k directions, in nats per unit; μ = 0 when not centred.
        activation: [M, k] k_t·uᵢ or v_t·uᵢ.
        product: [M] g_t·k_t, gradient × activation over all directions, in nats.
        scores: [M, p] the rows on their first principal components (scikit-learn's PCA, always centred).
        explained: [p] share of the variance that each component holds.
        axes: [p, k] each direction uᵢ on the components: of length 1 when it lies wholly in them.
    """

    gradient: Floats
    activation: Floats
    product: Floats
    scores: Floats
    explained: Floats
    axes: Floats


@dataclass(frozen=True, eq=False)
class SiteAnalysis:
    """The spectrum of one site and what it is compared with.

    Attributes:
        values: [d_kv] singular values σ of the gradient rows, descending, in nats per unit.
        vectors: [d_kv, d_kv] column i is the direction uᵢ.
        activation_energy: [d_kv] share of Σ‖k_t‖² (or v_t) that lies along each direction; sums to 1.
        nulls: [d_kv] singular values by the name of the null.
        band: [2, d_kv] 5th and 95th percentile of σ over bootstrap samples of the examples.
        halves: [2, d_kv, d_kv] directions of either half of the examples alone; columns beyond its rank are 0.
        coordinates: of every token; None when the rows did not fit in memory.
    """

    values: Floats
    vectors: Floats
    activation_energy: Floats
    nulls: Mapping[str, Floats] = field(default_factory=dict)
    band: Floats | None = None
    halves: Floats | None = None
    coordinates: Coordinates | None = None

    @property
    def reconstruction_error(self) -> Floats:
        """[d_kv] ‖K − K P‖² / ‖K‖² over all tokens, for P of rank 1 … d_kv: the share that projecting removes."""
        error: Floats = np.clip(1 - self.activation_energy.cumsum(), 0, 1)
        return error

    def head_values(self, heads: int) -> Floats:
        """[heads, head_dim] singular values of each KV head's own gradient rows, descending."""
        vectors = self.vectors.astype(np.float64)
        gram = (vectors * self.values**2) @ vectors.T  # [d_kv, d_kv]
        width = len(gram) // heads
        blocks = np.stack([gram[at : at + width, at : at + width] for at in range(0, len(gram), width)])
        values: Floats = np.sqrt(np.linalg.eigvalsh(blocks)[:, ::-1].clip(min=0))
        return values

    def shares(self, direction: int) -> Floats:
        """[M] share of σᵢ² that each token holds: (g_t·uᵢ)² / σᵢ². They sum to 1 (method, step 5).

        Args:
            direction: 0-based.

        Raises:
            InputError: tokens were not kept, or not for this direction; or its σ is 0 up to rounding.
        """
        nonzero = numerical_rank(self.values)
        if direction >= nonzero:
            raise InputError(f"direction {direction + 1} has no energy to share; choose 1 to {nonzero}")
        column = self.gradient(direction).astype(np.float64)
        share: Floats = column**2 / self.values[direction] ** 2
        return share

    def gradient(self, direction: int) -> Floats:
        """[M] (g_t − μ)·uᵢ of every token; raises `InputError` like `shares`."""
        return self._kept(direction).gradient[:, direction]

    def activation(self, direction: int) -> Floats:
        """[M] k_t·uᵢ of every token; raises `InputError` like `shares`."""
        return self._kept(direction).activation[:, direction]

    def _kept(self, direction: int) -> Coordinates:
        if self.coordinates is None:
            raise InputError("this capture kept no single tokens: they did not fit; capture fewer examples or layers")
        kept = self.coordinates.gradient.shape[1]
        if not 0 <= direction < kept:
            raise InputError(f"direction {direction + 1} was not kept for single tokens; choose 1 to {kept}")
        return self.coordinates


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
            self, sites={site: _limited(found, directions) for site, found in self.sites.items()}
        )


def _limited(found: SiteAnalysis, directions: int) -> SiteAnalysis:
    kept = found.coordinates
    if kept is None:
        return found
    fewer = dataclasses.replace(
        kept,
        gradient=kept.gradient[:, :directions],
        activation=kept.activation[:, :directions],
        axes=kept.axes[:, :directions],
    )
    return dataclasses.replace(found, coordinates=fewer)


# --- files ---------------------------------------------------------------------------------------------------


def save_analysis(analysis: Analysis, folder: Path, overwrite: bool = False) -> None:
    """Write `analysis.safetensors`, `analysis.json` and `capability.jsonl` into a new folder, atomically.

    Raises:
        StorageError: the folder is there and `overwrite` is false, or the disk refuses.
    """
    tensors = {
        f"{site.name}/{name}": np.ascontiguousarray(array)
        for site, found in analysis.sites.items()
        for name, array in _arrays(found).items()
    }
    record = {
        "format": FORMAT,
        "provenance": analysis.provenance.model_dump(mode="json"),
        "sites": [site_record(site) for site in analysis.sites],
        "examples": [dataclasses.asdict(example) for example in analysis.examples],
    }
    with new_folder(folder, overwrite) as temporary:
        save_file(tensors, temporary / TENSORS)
        write_text(temporary / RECORD, json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n")
        write_text(temporary / EXAMPLES, analysis.capability.to_jsonl())


def _arrays(found: SiteAnalysis) -> dict[str, Floats]:
    """All arrays of a site by name; `null/…` and `tokens/…` for the nested ones."""
    arrays = {name: getattr(found, name) for name in ("values", "vectors", "activation_energy", "band", "halves")}
    arrays |= {f"null/{name}": values for name, values in found.nulls.items()}
    if found.coordinates is not None:
        arrays |= {f"tokens/{f.name}": getattr(found.coordinates, f.name) for f in dataclasses.fields(Coordinates)}
    return {name: array for name, array in arrays.items() if array is not None}


def load_analysis(folder: Path, *, recorded: bool = False) -> Analysis:
    """Read a saved analysis.

    Raises:
        InputError: a file is missing, damaged, does not fit the others, or is of a newer format.
    """
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        if record["format"] > FORMAT:
            raise InputError(
                f"{folder.name} was written by a newer SPD Lab (format {record['format']}); update this one"
            )
        tensors = load_file(folder / TENSORS)
        sites = [site_from(site) for site in record["sites"]]
        analysis = Analysis(
            folder.name,
            Provenance.model_validate(record["provenance"]),
            read_capability(folder / EXAMPLES),
            {site: _site_analysis(site, tensors) for site in sites},
            tuple(_example(row) for row in record["examples"]),
            recorded,
        )
    except OSError as error:
        raise InputError(f"no capture at {folder}: {error.strerror or error}; capture one first") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, ValidationError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder} holds no valid capture ({reason}); it may be cut off: capture again") from error
    _check(analysis, folder)
    return analysis


def _site_analysis(site: Site, tensors: dict[str, Floats]) -> SiteAnalysis:
    own = {name.removeprefix(f"{site.name}/"): a for name, a in tensors.items() if name.startswith(f"{site.name}/")}
    nulls = {name.removeprefix("null/"): array for name, array in own.items() if name.startswith("null/")}
    kept = None
    if "tokens/gradient" in own:
        kept = Coordinates(**{f.name: own[f"tokens/{f.name}"] for f in dataclasses.fields(Coordinates)})
    return SiteAnalysis(
        own["values"], own["vectors"], own["activation_energy"], nulls, own.get("band"), own.get("halves"), kept
    )


def _example(row: dict[str, Any]) -> Encoded:
    offsets = tuple((int(start), int(end)) for start, end in row["offsets"])
    return Encoded(row["id"], row["text"], tuple(row["ids"]), offsets, tuple(row["supervised"]))


def _check(analysis: Analysis, folder: Path) -> None:
    """Raise `InputError` when something is empty, or shapes do not fit each other."""
    examples = analysis.examples
    if not analysis.sites or not examples:
        raise InputError(f"{folder} holds no valid capture (no site or no example); capture again")
    if any(len(e.ids) != len(e.offsets) or max(e.supervised, default=0) >= len(e.ids) for e in examples):
        raise InputError(f"{folder} holds no valid capture (an example's tokens do not fit its text); capture again")
    tokens = sum(len(example.ids) for example in examples)
    for site, found in analysis.sites.items():
        shapes = {name: array.shape for name, array in _arrays(found).items()}
        if shapes != _shapes(found, site.d_kv, tokens) or not np.isfinite(found.values).all():
            raise InputError(f"{folder}: the arrays of {site.name} do not fit {tokens} tokens of width {site.d_kv}")


def _shapes(found: SiteAnalysis, d: int, tokens: int) -> dict[str, tuple[int, ...]]:
    """The shape that each of `_arrays` should have."""
    shapes: dict[str, tuple[int, ...]] = {"values": (d,), "vectors": (d, d), "activation_energy": (d,)}
    shapes |= {f"null/{name}": (d,) for name in found.nulls}
    shapes |= {"band": (2, d)} if found.band is not None else {}
    shapes |= {"halves": (2, d, d)} if found.halves is not None else {}
    kept = found.coordinates
    if kept is None:
        return shapes
    by_direction, by_component = (tokens, kept.gradient.size // tokens), (tokens, kept.explained.size)
    return shapes | {"tokens/gradient": by_direction, "tokens/activation": by_direction, "tokens/product": (tokens,),
                     "tokens/scores": by_component, "tokens/explained": by_component[1:],
                     "tokens/axes": (by_component[1], by_direction[1])}  # fmt: skip


# --- the shelf -----------------------------------------------------------------------------------------------


def captures_folder() -> Path:
    """Where captures of this machine are saved."""
    return spd_home() / "captures"


def saved_names() -> list[str]:
    """Names of the captures of this machine, the newest first."""
    stamps: dict[str, float] = {}
    for path in captures_folder().glob(f"[!.]*/{RECORD}"):
        with suppress(FileNotFoundError):  # another tab deletes it at this moment
            stamps[path.parent.name] = path.stat().st_mtime
    return sorted(stamps, key=stamps.__getitem__, reverse=True)


def recorded_names() -> list[str]:
    """Names of the captures that come with SPD Lab."""
    return sorted(path.parent.name for path in RECORDED.glob(f"*/{RECORD}"))


def find_capture(name: str) -> Path:
    """The folder of a saved or recorded capture.

    Raises:
        InputError: none of that name.
    """
    for folder in (captures_folder(), RECORDED):
        found = child(folder, name)
        if (found / RECORD).is_file():
            return found
    raise InputError(f"no capture {name!r} is saved on this machine; choose one, or capture again")


def open_capture(name: str) -> Analysis:
    """A saved or recorded capture.

    Raises:
        InputError: none of that name, or damaged.
    """
    folder = find_capture(name)
    return load_analysis(folder, recorded=folder.parent == RECORDED)

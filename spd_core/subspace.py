"""The capability subspace as a thing: a basis for every site, where it came from, and its files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spd_core.errors import CaptureError, InputError, ModelError
from spd_core.families import Site
from spd_core.gradients import Capture
from spd_core.models import LanguageModel
from spd_core.spectrum import decompose, truncate
from spd_core.storage import command_line, new_folder, to_json, versions, write_text

TENSORS, RECORD = "subspace.safetensors", "subspace.json"


class Provenance(BaseModel):
    """How a subspace came about: `subspace.json`, less the description of the sites."""

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
    seed: int | None = None
    versions: dict[str, str]
    command: str


@dataclass(frozen=True)
class Subspace:
    """A capability subspace: for every site an orthonormal basis U, and the whole spectrum.

    Attributes:
        basis: [d_kv, rank] float32 per site, orthonormal columns.
        singular_values: [d_kv] float64 per site, descending (per block for a per-head basis).
        provenance: what it was made from, and how.
    """

    basis: Mapping[Site, Tensor]
    singular_values: Mapping[Site, Tensor]
    provenance: Provenance

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites it has a basis for, by layer, key before value."""
        return tuple(self.basis)

    def projector(self, site: Site) -> Tensor:
        """[d_kv, d_kv] float64 P = U Uᵀ of a site."""
        basis = self.basis[site].double()
        return basis @ basis.T

    def check_model(self, lm: LanguageModel) -> None:
        """Raise `ModelError` naming both when this subspace was captured on another model."""
        made_for = f"{self.provenance.model} ({self.provenance.revision})"
        loaded = f"{lm.name} ({lm.revision})"
        if self.provenance.revision != lm.revision or not set(self.sites) <= set(lm.sites):
            raise ModelError(f"this subspace was captured on {made_for}, and the model is {loaded}; load the former")

    def save(self, folder: Path, overwrite: bool = False) -> None:
        """Write `subspace.safetensors` and `subspace.json` into a new folder, atomically.

        Raises:
            StorageError: the folder is there and `overwrite` is false, or the disk refuses.
        """
        with new_folder(folder, overwrite) as temporary:
            self.write_into(temporary)

    def write_into(self, folder: Path) -> None:
        """Write both files into a folder that exists."""
        tensors = {}
        for site in self.sites:
            tensors[f"{site.name}.basis"] = self.basis[site].contiguous()
            tensors[f"{site.name}.singular_values"] = self.singular_values[site].contiguous()
        save_file(tensors, folder / TENSORS, metadata={"format": "pt"})
        sites = [_site_record(site) for site in self.sites]
        write_text(folder / RECORD, to_json({**self.provenance.model_dump(mode="json"), "sites": sites}))


def fit(
    capture: Capture,
    lm: LanguageModel,
    *,
    rank: str = "half",
    center: bool = True,
    per_head: bool = False,
    cap: bool = False,
    loss: str = "aligned",
    prompt_style: str = "raw",
    capability: str = "",
    fingerprint: str = "",
) -> Subspace:
    """The top-r right singular vectors of the captured gradients, for every site (SPD paper, phase 1).

    With `per_head` the rank rule is applied to every KV head by itself, and the basis is block-diagonal. With
    `cap` a rank above the number of non-zero singular values becomes that number, as the provenance says.

    Raises:
        InputError: the rank rule cannot be met at a site (named).
        CaptureError: a site's gradients are all zero.
    """
    basis, singular_values, capped = {}, {}, []
    for site, gram in capture.grams.items():
        try:
            spectrum = decompose(gram, center=center, heads=site.heads if per_head else 1)
            basis[site], was_capped = truncate(spectrum, rank, cap=cap)
        except (InputError, CaptureError) as error:
            raise type(error)(f"{site.label}: {error}") from error
        singular_values[site] = spectrum.values
        capped += [site.name] if was_capped else []
    record = Provenance(
        model=lm.name,
        revision=lm.revision,
        dtype=str(lm.dtype).removeprefix("torch."),
        device=str(lm.device),
        layers=sorted({site.layer for site in basis}),
        rank_rule=rank,
        ranks={site.name: columns.shape[1] for site, columns in basis.items()},
        capped=capped,
        center=center,
        basis="per-head" if per_head else "shared",
        loss=loss,
        prompt_style=prompt_style,
        capability=capability,
        fingerprint=fingerprint,
        examples_used=capture.used,
        examples_requested=capture.requested,
        skipped=capture.skipped,
        tokens=capture.tokens,
        supervised_tokens=capture.supervised,
        mean_loss=float(np.mean(list(capture.losses.values()))),
        versions=versions(),
        command=command_line(),
    )
    return Subspace(basis, singular_values, record)


def _site_record(site: Site) -> dict[str, Any]:
    return {"layer": site.layer, "kind": site.kind, "module": site.module, "heads": site.heads, "fused": site.fused,
            "columns": _as_ranges(site.columns)}  # fmt: skip


def _as_ranges(columns: tuple[int, ...]) -> list[list[int]]:
    """Runs of consecutive columns as [start, end): a fused head is a line, not hundreds of numbers."""
    starts = [c for i, c in enumerate(columns) if i == 0 or columns[i - 1] != c - 1]
    ends = [c + 1 for i, c in enumerate(columns) if i == len(columns) - 1 or columns[i + 1] != c + 1]
    return [list(pair) for pair in zip(starts, ends, strict=True)]


def _site_from(record: dict[str, Any]) -> Site:
    columns = tuple(c for start, end in record["columns"] for c in range(start, end))
    return Site(record["layer"], record["kind"], record["module"], columns, record["heads"], record["fused"])


def load_subspace(folder: Path) -> Subspace:
    """Read a saved subspace.

    Raises:
        InputError: a file is missing, truncated, or does not fit the other.
    """
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        tensors = load_file(folder / TENSORS)
        sites = [_site_from(site) for site in record.pop("sites")]
        provenance = Provenance.model_validate(record)
        basis = {site: tensors[f"{site.name}.basis"] for site in sites}
        values = {site: tensors[f"{site.name}.singular_values"] for site in sites}
    except OSError as error:
        raise InputError(f"no subspace at {folder}: {error.strerror or error}; make one with capture") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder} holds no valid subspace ({reason}); it may be cut off: capture again") from error
    for site in sites:
        _check_basis(site, basis[site], values[site], folder)
    return Subspace(basis, values, provenance)


def _check_basis(site: Site, basis: Tensor, values: Tensor, folder: Path) -> None:
    rows, rank = basis.shape if basis.dim() == 2 else (0, 0)
    if rows != site.d_kv or not 1 <= rank <= site.d_kv or values.shape != (site.d_kv,):
        raise InputError(
            f"{folder}: {site.name} has a basis of shape {list(basis.shape)}, expected [{site.d_kv}, rank]"
        )
    error = (basis.double().T @ basis.double() - torch.eye(rank, dtype=torch.float64)).abs().max()
    if not error < 1e-4:  # also true for NaN
        raise InputError(f"{folder}: the basis of {site.name} is not orthonormal (off by {float(error):.1e})")

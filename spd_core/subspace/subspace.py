"""The capability subspace as a thing: a basis for every site, where it came from, and its files."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spd_core.errors import CaptureError, InputError, ModelError
from spd_core.models.families import Site
from spd_core.models.loading import LanguageModel
from spd_core.storage import command_line, new_folder, to_json, versions, write_text
from spd_core.subspace.analysis import Analysis, Provenance, site_from, site_record
from spd_core.subspace.capture import Capture
from spd_core.subspace.gram import Spectrum, decompose, truncate

TENSORS, RECORD = "subspace.safetensors", "subspace.json"


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
        check_model(self.provenance, self.sites, lm)

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
        sites = [site_record(site) for site in self.sites]
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
    record = provenance_of(
        capture, lm, center=center, loss=loss, prompt_style=prompt_style, capability=capability, fingerprint=fingerprint
    )
    spectra = {}
    for site, gram in capture.grams.items():
        try:
            spectra[site] = decompose(gram, center=center, heads=site.heads if per_head else 1, dtype=record.dtype)
        except CaptureError as error:
            raise CaptureError(f"{site.label}: {error}") from error
    return _truncated(spectra, rank, cap, record.model_copy(update={"basis": "per-head" if per_head else "shared"}))


def subspace_of(analysis: Analysis, rank: str) -> Subspace:
    """The subspace of an analysis at a rank; where a site has fewer non-zero directions, all of those.

    Raises:
        InputError: the rank rule cannot be met at a site (named).
    """
    spectra = {
        site: Spectrum(torch.from_numpy(found.values), torch.from_numpy(found.vectors), (site.d_kv,),
                       analysis.provenance.dtype)
        for site, found in analysis.sites.items()
    }  # fmt: skip
    return _truncated(spectra, rank, True, analysis.provenance)


def _truncated(spectra: Mapping[Site, Spectrum], rank: str, cap: bool, record: Provenance) -> Subspace:
    basis, capped = {}, []
    for site, spectrum in spectra.items():
        try:
            basis[site], was_capped = truncate(spectrum, rank, cap=cap)
        except InputError as error:
            raise InputError(f"{site.label}: {error}") from error
        capped += [site.name] if was_capped else []
    ranks = {site.name: columns.shape[1] for site, columns in basis.items()}
    update = {"rank_rule": rank, "ranks": ranks, "capped": capped}
    return Subspace(basis, {site: s.values for site, s in spectra.items()}, record.model_copy(update=update))


def random_subspace(like: Subspace, seed: int = 0) -> Subspace:
    """A subspace of the same ranks at the same sites, drawn evenly from all of them (a control).

    Q of the QR decomposition of a Gaussian matrix, with the signs of R's diagonal (Mezzadri, 2007).
    """
    generator = torch.Generator().manual_seed(seed)
    basis = {}
    for site, columns in like.basis.items():
        q, r = torch.linalg.qr(torch.randn(*columns.shape, generator=generator, dtype=torch.float64))
        basis[site] = (q * r.diagonal().sign()).float()
    record = like.provenance.model_copy(update={"loss": "none (random subspace)", "capped": [], "seed": seed})
    return Subspace(basis, {site: torch.ones(site.d_kv, dtype=torch.float64) for site in basis}, record)


def provenance_of(
    capture: Capture,
    lm: LanguageModel,
    *,
    center: bool,
    loss: str,
    prompt_style: str,
    capability: str,
    fingerprint: str,
) -> Provenance:
    """What a capture says of its origin; no rank is chosen yet."""
    return Provenance(
        model=lm.name,
        revision=lm.revision,
        dtype=str(lm.dtype).removeprefix("torch."),
        device=str(lm.device),
        layers=sorted({site.layer for site in capture.grams}),
        rank_rule="",
        center=center,
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


def check_model(record: Provenance, sites: Iterable[Site], lm: LanguageModel) -> None:
    """Raise `ModelError` naming both when a result was captured on another model than this one."""
    if record.revision != lm.revision or not set(sites) <= set(lm.sites):
        raise ModelError(
            f"this subspace was captured on {record.model} ({record.revision}), and the model is {lm.name} "
            f"({lm.revision}); load the former"
        )


def load_subspace(folder: Path) -> Subspace:
    """Read a saved subspace.

    Raises:
        InputError: a file is missing, truncated, or does not fit the other.
    """
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        tensors = load_file(folder / TENSORS)
        sites = [site_from(site) for site in record.pop("sites")]
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

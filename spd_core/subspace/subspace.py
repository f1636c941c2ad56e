"""The capability subspace as a thing: a basis for every site, and where it came from. Its files are in `store.py`."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from spd_core.data.seen import Seen
from spd_core.errors import CaptureError, InputError, ModelError
from spd_core.models.families import Site
from spd_core.models.identity import same_revision
from spd_core.models.loading import LanguageModel
from spd_core.storage import command_line, versions
from spd_core.subspace.analysis import Analysis, Provenance
from spd_core.subspace.capture import Captured
from spd_core.subspace.gram import Spectrum, decompose, truncate
from spd_core.subspace.site_analysis import SiteAnalysis
from spd_core.subspace.spectrum import choose_rank


@dataclass(frozen=True)
class Subspace:
    """A capability subspace: for every site an orthonormal basis U, and the whole spectrum.

    Attributes:
        basis: [d_kv, rank] float32 per site, orthonormal columns.
        singular_values: [d_kv] float64 per site, descending (per block for a per-head basis).
        provenance: what it was made from, and how.
        origin: of the capture that it is cut from (see `Analysis.origin`); empty where that is not known.
        seen: the prompts that it was captured from; None where they are not known.
    """

    basis: Mapping[Site, Tensor]
    singular_values: Mapping[Site, Tensor]
    provenance: Provenance
    origin: str = ""
    seen: Seen | None = None

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

    @property
    def fingerprint(self) -> str:
        """sha256 of where it was captured from and its ranks; of the sites and their bases where that is not known.

        Equal ones are the same subspace, though the last bits of their bases may differ (see `Analysis.origin`).
        """
        if self.origin:
            ranks = [[site.name, columns.shape[1]] for site, columns in self.basis.items()]
            return hashlib.sha256(json.dumps([self.origin, self.provenance.basis, ranks]).encode()).hexdigest()
        digest = hashlib.sha256()
        for site in self.sites:
            digest.update(site.name.encode() + self.basis[site].numpy().tobytes())
        return digest.hexdigest()


def fit(
    capture: Captured,
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


def subspace_of(analysis: Analysis, rank: str = "", *, per_head: bool | None = None, cap: bool = True) -> Subspace:
    """The subspace of a capture at a rank.

    Args:
        rank: rule; empty takes the one that the capture was made with, else `half`.
        per_head: one basis for each KV head, to each of which the rule is applied; None as the capture was made.
        cap: where a site has fewer non-zero directions, take all of those, as the provenance says.

    Raises:
        InputError: the rank rule cannot be met at a site (named), or an older version kept too few directions.
    """
    record = analysis.provenance
    rule = rank or record.rank_rule or "half"
    by_head = record.basis == "per-head" if per_head is None else per_head
    if any(found.vectors.shape[1] < site.d_kv for site, found in analysis.sites.items()):
        return _of_few(analysis, rule, by_head)
    spectra = {site: _spectrum(site, found, by_head, record.dtype) for site, found in analysis.sites.items()}
    basis = "per-head" if by_head else "shared"
    cut = _truncated(spectra, rule, cap, record.model_copy(update={"basis": basis}))
    return replace(cut, origin=analysis.origin, seen=analysis.seen)


def _spectrum(site: Site, found: SiteAnalysis, by_head: bool, dtype: str) -> Spectrum:
    if not by_head:
        return Spectrum(torch.from_numpy(found.values), torch.from_numpy(found.vectors), (site.d_kv,), dtype)
    if found.heads is None:
        raise InputError(f"{site.label}: this capture has no bases of single KV heads; capture again with --per-head")
    blocks = torch.block_diag(*torch.from_numpy(found.heads.vectors))  # [d_kv, d_kv]
    return Spectrum(
        torch.from_numpy(found.heads.values.ravel()), blocks, (site.d_kv // site.heads,) * site.heads, dtype
    )


def _of_few(analysis: Analysis, rule: str, by_head: bool) -> Subspace:
    """Of a capture that an older version cut off at its rank: that one, or, of a shared basis, a smaller one."""
    record = analysis.provenance
    basis = {site: torch.from_numpy(found.vectors) for site, found in analysis.sites.items()}
    values = {site: torch.from_numpy(found.values) for site, found in analysis.sites.items()}
    if rule == record.rank_rule and by_head == (record.basis == "per-head"):
        return Subspace(basis, values, record, seen=analysis.seen)
    for site, columns in basis.items():
        wanted, _ = choose_rank(rule, values[site].numpy(), cap=True, dtype=record.dtype)
        if by_head or record.basis == "per-head" or wanted > columns.shape[1]:
            raise InputError(
                f"{site.label}: rank {rule} was asked for, and this capture of an older version kept rank "
                f"{record.rank_rule} alone ({columns.shape[1]} directions); capture again"
            )
        basis[site] = columns[:, :wanted].contiguous()
    ranks = {site.name: columns.shape[1] for site, columns in basis.items()}
    update = {"rank_rule": rule, "ranks": ranks, "capped": []}
    return Subspace(basis, values, record.model_copy(update=update), seen=analysis.seen)


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
    values = {site: spectrum.values for site, spectrum in spectra.items()}
    return Subspace(basis, values, record.model_copy(update=update))


def random_subspace(like: Subspace, seed: int = 0) -> Subspace:
    """A subspace of the same ranks at the same sites, drawn evenly from all of them (a control).

    Q of the QR decomposition of a Gaussian matrix, with the signs of R's diagonal (Mezzadri, 2007).
    """
    generator = torch.Generator().manual_seed(seed)
    basis = {}
    for site, columns in like.basis.items():
        q, r = torch.linalg.qr(torch.randn(*columns.shape, generator=generator, dtype=torch.float64))
        basis[site] = (q * r.diagonal().sign()).float()
    record = like.provenance.model_copy(
        update={"loss": "none (random subspace)", "capped": [], "seed": seed, "basis": "shared"}
    )
    values = {site: torch.ones(site.d_kv, dtype=torch.float64) for site in basis}
    drawn = json.dumps(["random subspace", seed, [[site.name, site.d_kv] for site in basis]])
    return Subspace(basis, values, record, hashlib.sha256(drawn.encode()).hexdigest(), Seen())


def provenance_of(
    capture: Captured,
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
    same = same_revision(record.revision, lm.name, lm.revision, record.model)
    if not same or not set(sites) <= set(lm.sites):
        raise ModelError(
            f"this subspace was captured on {record.model} ({record.revision}), and the model is {lm.name} "
            f"({lm.revision}); load the former"
        )

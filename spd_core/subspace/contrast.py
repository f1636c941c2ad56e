"""What is one capability's alone: directions along which its loss varies and that of others does not.

Two saved captures are enough: no model is asked, and nothing is captured anew. The result is a capture like any other,
whose directions come in another order and are other ones.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spd_core.data.seen import all_seen
from spd_core.errors import CaptureError, InputError, Stopped
from spd_core.models.families import Site
from spd_core.models.identity import same_revision
from spd_core.progress import Progress, Stop, Tell, silent
from spd_core.storage import command_line, versions
from spd_core.subspace.analysis import Analysis, LeftOut
from spd_core.subspace.contrast_halves import across_halves
from spd_core.subspace.site_analysis import ContrastNumbers, Coordinates, HeadSpectra, SiteAnalysis
from spd_core.subspace.spectrum import Floats, numerical_rank, one_blas_thread

SHRINKAGE = 1.0
"""Default s: what the others hold along an average direction is added to each of theirs. Far below 1, directions win
along which neither has energy: on the built-in model, 25 of 192 directions of layer 15 keys hold 8% of arithmetic's
energy with s = 0.001, and 40% with s = 1, while of multiple choice's they hold 0.0% and 2.6%."""
Matrix = NDArray[np.float64]


def contrast(
    analysis: Analysis,
    others: Sequence[Analysis],
    *,
    shrinkage: float = SHRINKAGE,
    name: str = "contrast",
    tell: Tell = silent,
    stop: Stop | None = None,
) -> Analysis:
    """The directions of a capability that others do not share, at the sites that all captures have.

    G_c v = λ (G_o + s·tr(G_o)/d·I) v is solved, where G is the Gram matrix of the gradient rows, of trace 1; that of
    several others is their sum. This is the Fukunaga-Koontz transform (1970), also known as contrastive or
    generalised eigenvectors. Those v are not orthogonal: the subspace at rank r is what the first r span, made
    orthonormal in their order (QR), so that projecting into it stays an orthogonal projection.

    Its `values` are σᵢ = ‖G uᵢ‖, by which each token's share of σᵢ² is exact as ever; they are no singular values, and
    do not descend. Of single tokens nothing is known unless the capture kept them for all directions.

    Args:
        shrinkage: s, above 0.
        name: of the new capture, in files and links.
        tell: told site by site.
        stop: asked before each site; nothing is kept then.

    Raises:
        InputError: captures of different models, centred and not, without a site in common, of an older version that
            kept too little, or contrasts themselves; the same one twice; a shrinkage not above 0.
        CaptureError: a site's gradients are all zero.
        Stopped: it was asked to.
    """
    if not (np.isfinite(shrinkage) and shrinkage > 0):
        raise InputError(f"shrinkage {shrinkage} is not above 0; 1 adds the energy of an average direction")
    if not others:
        raise InputError(f"nothing is left out of {analysis.name}; name at least one other capture")
    for other in others:
        _check(analysis, other)
    captured = (analysis, *others)
    sites = [site for site in analysis.sites if all(site in one.sites for one in others)]
    if not sites:
        layers = ", ".join(f"{one.name} {one.layers}" for one in captured)
        raise InputError(f"these captures have no layer in common ({layers}); capture them at the same layers")
    found = {}
    for at, site in enumerate(sites):
        if stop is not None and stop():
            raise Stopped(f"the contrast was stopped at {site.label}; nothing of it is kept")
        tell(Progress(at, len(sites), f"Contrast of {site.label}"))
        with one_blas_thread():
            found[site] = _site(site, analysis, others, shrinkage)
    tell(Progress(len(sites), len(sites), f"Contrast of {sites[-1].label}"))
    left_out = LeftOut(
        capability=analysis.provenance.capability,
        capture=analysis.name,
        others=[one.provenance.capability for one in others],
        captures=[one.name for one in others],
        identities=sorted(one.identity for one in others),
        shrinkage=shrinkage,
        seen=all_seen(one.seen for one in others),
    )
    update = {
        "capability": name_of(analysis, others),
        "layers": sorted({site.layer for site in sites}),
        "rank_rule": "",
        "ranks": {},
        "capped": [],
        "basis": "shared",
        "versions": versions(),
        "command": command_line(),
        "left_out": left_out,
    }
    record = analysis.provenance.model_copy(update=update)
    return dataclasses.replace(analysis, name=name, provenance=record, sites=found, recorded=False)


def name_of(analysis: Analysis, others: Sequence[Analysis]) -> str:
    """What a contrast is called: `arithmetic without multiple-choice`."""
    return f"{analysis.provenance.capability} without {' and '.join(one.provenance.capability for one in others)}"


def _check(analysis: Analysis, other: Analysis) -> None:
    own, record = analysis.provenance, other.provenance
    if not same_revision(own.revision, record.model, record.revision, own.model):
        raise InputError(
            f"{other.name} was captured on {record.model} ({record.revision}), and {analysis.name} on {own.model} "
            f"({own.revision}): their directions are not of one space; capture both on one model"
        )
    if own.center != record.center:
        centred, not_so = (analysis, other) if own.center else (other, analysis)
        raise InputError(f"{centred.name} is centred, and {not_so.name} is not; capture one of them again")
    if other.identity == analysis.identity:
        raise InputError(f"{other.name} is the same capture as {analysis.name}: nothing would be left; choose another")
    for one in (analysis, other):
        if one.provenance.left_out is not None:
            raise InputError(f"{one.name} is a contrast itself; choose the captures that it was made of")
        if any(found.vectors.shape[1] < site.d_kv for site, found in one.sites.items()):
            raise InputError(f"{one.name} is of an older version and kept some directions alone; capture it again")


# --- one site ----------------------------------------------------------------------------------------------------


def _site(site: Site, analysis: Analysis, others: Sequence[Analysis], shrinkage: float) -> SiteAnalysis:
    found, dtype = analysis.sites[site], analysis.provenance.dtype
    own = gram_of(found, numerical_rank(found.values, dtype))
    kept = np.array([gram_of(one.sites[site]) for one in others])
    if not own.any() or not kept.any(axis=(1, 2)).all():
        raise CaptureError(f"{site.label}: all gradients of a capture are zero; leave this layer out")
    theirs = (kept / kept.trace(axis1=1, axis2=2)[:, None, None]).sum(0)
    ratios, basis = contrast_directions(own / own.trace(), theirs, shrinkage)
    whole = gram_of(found)
    heads = _heads(site, whole, theirs, shrinkage)
    plain = np.stack([found.values**2 / (found.values**2).sum(), _shares(theirs, found.vectors.astype(np.float64))])
    coordinates, activation = _turned(found, basis)
    halves = across_halves(site, (analysis, *others), lambda mine, rest: contrast_directions(mine, rest, shrinkage)[1])
    return SiteAnalysis(
        np.sqrt(_along(whole, basis)),
        basis.astype(np.float32),
        activation,
        coordinates=coordinates,
        halves=None if halves is None else halves.directions,
        heads=heads,
        contrast=ContrastNumbers(ratios, _shares(theirs, basis), plain, None if halves is None else halves.unseen),
    )


def gram_of(found: SiteAnalysis, first: int | None = None) -> Matrix:
    """[d, d] the Gram matrix V Σ² Vᵀ of a site's gradient rows, of its `first` directions alone where that is given."""
    vectors = found.vectors[:, :first].astype(np.float64)
    gram: Matrix = (vectors * found.values[:first] ** 2) @ vectors.T
    return gram


def contrast_directions(own: Matrix, theirs: Matrix, shrinkage: float = SHRINKAGE) -> tuple[Matrix, Matrix]:
    """λ descending [d], and an orthonormal basis [d, d] whose first r columns span the first r eigenvectors.

    Where λ is 0 up to rounding, eigenvectors are any: what is left there comes in the order of the capability's own
    energy.

    Args:
        own, theirs: [d, d] Gram matrices, of trace 1 each for λ to compare shares of energy.
    """
    from scipy.linalg import eigh

    d = len(own)
    ridge = shrinkage * theirs.trace() / d * np.eye(d)
    ratios, vectors = (part[..., ::-1] for part in eigh(own, theirs + ridge))
    known = int((ratios > ratios[0] * d * np.finfo(np.float64).eps).sum())
    basis, upper = np.linalg.qr(vectors[:, :known])
    basis = basis * np.where(upper.diagonal() < 0, -1, 1)
    if known < d:
        rest = np.linalg.svd(basis)[0][:, known:]  # [d, d - known] whatever is at right angles to all of them
        left = np.linalg.eigh(rest.T @ own @ rest)[1][:, ::-1]
        basis = np.concatenate([basis, rest @ left], 1)
    largest = np.take_along_axis(basis, np.abs(basis).argmax(0)[None], 0)
    return np.where(np.arange(d) < known, ratios, 0.0), basis * np.sign(largest)  # the same captures, the same file


def _along(gram: Matrix, basis: Matrix) -> Matrix:
    """[d] uᵢᵀ G uᵢ; rounding can leave −1e-20."""
    energy: Matrix = np.einsum("di,de,ei->i", basis, gram, basis, optimize=True).clip(min=0)
    return energy


def _shares(gram: Matrix, basis: Matrix) -> Matrix:
    energy = _along(gram, basis)
    shares: Matrix = energy / energy.sum()
    return shares


def _heads(site: Site, own: Matrix, theirs: Matrix, shrinkage: float) -> HeadSpectra:
    """The same for each KV head alone, cross terms left out."""
    width = site.d_kv // site.heads
    values, blocks = np.zeros(site.d_kv), np.zeros((site.d_kv, site.d_kv))
    for start in range(0, site.d_kv, width):
        block = slice(start, start + width)
        mine, other = own[block, block], theirs[block, block]
        basis = np.eye(width)
        if mine.trace() > 0 and other.trace() > 0:
            basis = contrast_directions(mine / mine.trace(), other / other.trace(), shrinkage)[1]
        values[block], blocks[block, block] = np.sqrt(_along(mine, basis)), basis
    return HeadSpectra.of_blocks(values, blocks, site.heads)


def _turned(found: SiteAnalysis, basis: Matrix) -> tuple[Coordinates | None, Floats | None]:
    """Tokens in the new basis, and [d] the share of activations along it; None unless all directions were kept."""
    kept = found.coordinates
    if kept is None or kept.gradient.shape[1] < len(basis):
        return None, None
    turn = found.vectors.T.astype(np.float64) @ basis  # [d, d] from the capture's own directions to these
    activation = kept.activation @ turn  # [M, d] float64
    along = (activation**2).sum(0)
    turned = dataclasses.replace(
        kept,
        gradient=(kept.gradient @ turn).astype(np.float32),
        activation=activation.astype(np.float32),
        axes=(kept.axes @ turn).astype(np.float32),
    )
    return turned, along / along.sum()

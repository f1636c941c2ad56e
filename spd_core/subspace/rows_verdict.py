"""What the gradient rows of a site may be said to show: how few tokens make them, and which. Imports no torch."""

import numpy as np

from spd_core.subspace.analysis import Analysis
from spd_core.subspace.site_analysis import Coordinates
from spd_core.subspace.spectrum import Floats


def rows_verdict(analysis: Analysis, layer: int, kind: str) -> str:
    """How many tokens hold half of the energy, and how much first positions and loss tokens hold; empty where single
    tokens were not kept.

    Raises:
        InputError: the site was not captured.
    """
    kept = analysis.sites[analysis.site(layer, kind)].coordinates
    if kept is None or not (energy := _energies(kept)).any():
        return ""
    known = "" if kept.lengths is not None else f" along the first {kept.gradient.shape[1]} directions"
    few = int((energy[np.argsort(-energy)].cumsum() < 0.5 * energy.sum()).sum()) + 1
    holds = "holds" if few == 1 else "hold"
    first, loss = analysis.position_of == 0, analysis.supervised
    shares = [float(energy[which].sum() / energy.sum()) for which in (first & ~loss, loss)]
    return (
        f"Layer {layer} {kind}s: {few:,} of {len(energy):,} tokens {holds} half of the energy{known}. First positions "
        f"of the texts hold {shares[0]:.0%}, loss tokens {shares[1]:.0%}, the other context {1 - sum(shares):.0%}."
    )


def _energies(kept: Coordinates) -> Floats:
    """[M] squared length of every token's row; along the kept directions where an older version kept no lengths."""
    rows = (kept.gradient.astype(np.float64) ** 2).sum(1) if kept.lengths is None else kept.lengths[0] ** 2.0
    energy: Floats = np.asarray(rows, np.float64)
    return energy

"""Where the tokens of a capture lie along chosen directions of a site, and where projecting moves them.

Imports no torch: gradients and activations of single tokens were kept by the capture. What may be said of the picture
is in `attribution/geometry_verdict.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spd_core.errors import InputError
from spd_core.subspace.site_analysis import Coordinates, SiteAnalysis
from spd_core.subspace.spectrum import Floats

GRADIENTS, ACTIVATIONS = "gradients", "activations"
OUTSIDE = -1
"""As an axis: how long the part of a token is that lies outside the subspace. It is what projecting removes."""
CLASSES = NUMBER, WORD, SIGN, SPACE, SPECIAL = "number", "word", "sign", "white space", "special"


def token_class(text: str, special: bool = False) -> str:
    """What a token is by its characters, one of `CLASSES`; a letter makes a word, else a digit a number.

    Args:
        special: it stands for no text of its own (begin, end, padding …).
    """
    if special or not text:
        return SPECIAL
    if text.isspace():
        return SPACE
    if any(map(str.isalpha, text)):
        return WORD
    return NUMBER if any(map(str.isdigit, text)) else SIGN


@dataclass(frozen=True, eq=False)
class Points:
    """Every token as a point.

    Attributes:
        axes: 0-based directions, or `OUTSIDE`.
        values: [M, axes] float64 coordinates before projecting: of gradients in nats per unit.
        shrinks: [axes] whether projecting moves the points along the axis: it lies outside the subspace.
        lengths: [M] float64 length over all directions; None where the capture did not keep it.
        width: d_kv, of how many directions there are.
        rank: of the subspace.
    """

    axes: tuple[int, ...]
    values: Floats
    shrinks: NDArray[np.bool_]
    lengths: Floats | None
    width: int
    rank: int

    def at(self, strength: float) -> Floats:
        """[M, axes] the points of K + α(K P − K): what lies outside the subspace is left (1 − α) times."""
        moved: Floats = self.values * np.where(self.shrinks, 1 - strength, 1)
        return moved


def points_of(found: SiteAnalysis, of: str, axes: Sequence[int], rank: int) -> Points:
    """The tokens of a capture at one site, along some axes, before projecting into the first `rank` directions.

    Args:
        of: `GRADIENTS` (g_t − μ) or `ACTIVATIONS` (k_t or v_t).
        axes: 0-based directions, or `OUTSIDE`.

    Raises:
        InputError: no tokens were kept, or not along an axis, or not up to the rank.
    """
    kept, lengths = rows_along(found, of), lengths_of(found, of)
    most, width = kept.shape[1], len(found.values)
    beyond = [axis + 1 for axis in axes if axis >= most or axis < OUTSIDE]
    if beyond or not 1 <= rank <= most:
        raise InputError(f"directions {beyond or [rank]} were not kept for single tokens; choose 1 to {most}")
    if OUTSIDE in axes and lengths is None:
        raise InputError("an older version made this capture and kept no lengths of tokens; capture again")
    columns = [_outside(kept, lengths, rank) if axis == OUTSIDE else kept[:, axis] for axis in axes]
    shrinks = np.array([axis == OUTSIDE or axis >= rank for axis in axes])
    return Points(tuple(axes), np.stack(columns, 1), shrinks, lengths, width, rank)


def rows_along(found: SiteAnalysis, of: str) -> Floats:
    """[M, kept] float64 gradients or activations of every token along the first directions.

    Raises:
        InputError: no tokens were kept.
    """
    kept = _coordinates(found)
    along: Floats = (kept.gradient if of == GRADIENTS else kept.activation).astype(np.float64)
    return along


def lengths_of(found: SiteAnalysis, of: str) -> Floats | None:
    """[M] float64 length of every token over all directions; None where that is not known.

    Raises:
        InputError: no tokens were kept.
    """
    kept, along = _coordinates(found), rows_along(found, of)
    if along.shape[1] == len(found.values):  # all directions: an older version kept them, and no lengths
        length: Floats = np.linalg.norm(along, axis=1)
        return length
    if kept.lengths is None:
        return None
    own: Floats = kept.lengths[0 if of == GRADIENTS else 1].astype(np.float64)
    return own


def _coordinates(found: SiteAnalysis) -> Coordinates:
    if found.coordinates is None:
        raise InputError("this capture kept no single tokens: they did not fit; capture fewer examples or layers")
    return found.coordinates


def _outside(kept: Floats, lengths: Floats | None, rank: int) -> Floats:
    """[M] √(‖g_t‖² − Σ_{i ≤ rank} (g_t·uᵢ)²); rounding can leave a little less than 0."""
    assert lengths is not None
    rest: Floats = np.sqrt((lengths**2 - (kept[:, :rank] ** 2).sum(1)).clip(min=0))
    return rest


def drawn_tokens(shown: NDArray[np.bool_], most: int, always: int | None = None, seed: int = 0) -> NDArray[np.int64]:
    """Which of the tokens that are shown are drawn, ascending: all, or `most` drawn at random of more.

    Args:
        shown: [M] whether each token is shown at all.
        always: one token that is drawn in any case where it is shown.
    """
    rows = np.flatnonzero(shown)
    if len(rows) <= most:
        return rows
    chosen = np.random.default_rng(seed).choice(rows, most, replace=False)
    if always is not None and shown[always] and always not in chosen:
        chosen[0] = always
    return np.sort(chosen)

"""Tables over the tokens of an analysis: energy shares, coordinates, their sums, extremes and rank correlation.

Imports no torch: a saved analysis is explained without its model. What needs the model is in `attribution/lens.py`.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spd_core.data.spans import Encoded
from spd_core.errors import InputError
from spd_core.models.families import Site
from spd_core.subspace.analysis import Analysis

if TYPE_CHECKING:
    import pandas as pd

ROLES = LOSS, OTHER, ASIDE = "loss tokens", "context", "first position or special"


def tokens_of(examples: Sequence[Encoded], special_ids: Collection[int] = ()) -> "pd.DataFrame":
    """One row for each token of some texts.

    Columns: `example` (index into `examples`), `position`, `id` of the token, `text` (its characters as they stand),
    `continued` (a further part of the character before it), `supervised` (the loss is taken on it), `special` (it has
    no characters of its own, or its id is in `special_ids`), `aside` (special, or at position 0: models park
    attention there, so that its numbers are often outliers; Xiao et al., 2023, "attention sinks") and `role`, one of
    `ROLES`.
    """
    import pandas as pd

    columns = ["example", "position", "id", "text", "continued", "supervised", "special"]
    rows = [
        (
            at,
            t,
            token,
            example.text[start:end],
            example.continues(t),
            t in example.supervised,
            start == end or token in special_ids,
        )
        for at, example in enumerate(examples)
        for t, (token, (start, end)) in enumerate(zip(example.ids, example.offsets, strict=True))
    ]
    table = pd.DataFrame(rows, columns=columns)
    aside = table.special | (table.position == 0)
    return table.assign(aside=aside, role=np.select([aside, table.supervised], [ASIDE, LOSS], OTHER))


def direction_table(
    analysis: Analysis, site: Site, direction: int, special_ids: Collection[int] = ()
) -> "pd.DataFrame":
    """`tokens_of` the calibration texts, with what each token is to one direction of one site.

    Further columns: `gradient` (g_t − μ)·uᵢ in nats per unit; `share` of σᵢ², exact, summing to 1 (method, step 5);
    `coordinate` k_t·uᵢ or v_t·uᵢ; `baseline` g_t·k_t, gradient × activation in nats, which knows no direction
    (Shrikumar et al., 2016): to first order what the loss gains from this key or value over a zero one.

    Args:
        direction: 0-based.

    Raises:
        InputError: the analysis kept no tokens, or not for this direction.
    """
    found = analysis.sites[site]
    kept = found.coordinates
    shares = found.shares(direction)  # first: it refuses what was not kept
    assert kept is not None
    return tokens_of(analysis.examples, special_ids).assign(
        share=shares,
        gradient=found.gradient(direction),
        coordinate=found.activation(direction),
        baseline=kept.product,
    )


def summed(table: "pd.DataFrame", by: str) -> "pd.DataFrame":
    """Energy shares summed by `text`, `role`, `supervised` …, the largest first (positions in their order).

    Columns: `by`, `share` (their sum over all rows is 1), `tokens` (how many).
    """
    grouped = table.groupby(by, sort=True).share.agg(["sum", "size"]).reset_index()
    grouped.columns = [by, "share", "tokens"]
    return grouped if by == "position" else grouped.sort_values("share", ascending=False, ignore_index=True)


def extremes(table: "pd.DataFrame", column: str, n: int = 10) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """The `n` tokens with the largest values above 0 of a column, and the `n` with the smallest below 0."""
    above, below = table[table[column] > 0], table[table[column] < 0]
    return above.nlargest(n, column), below.nsmallest(n, column)


def rank_correlation(table: "pd.DataFrame") -> float:
    """Spearman's ρ between energy shares and |gradient × activation| over the tokens; NaN when either is constant.

    Tokens without any gradient (from the last supervised one on, by causality) are left out: all have the same two
    numbers, whose agreement is a matter of course.

    Raises:
        InputError: fewer than three tokens have a gradient.
    """
    felt = table[table.baseline != 0]
    if len(felt) < 3:
        raise InputError(f"{len(felt)} tokens have a gradient; a rank correlation needs at least 3")
    if felt.share.nunique() == 1 or felt.baseline.abs().nunique() == 1:
        return float("nan")
    # Pearson's correlation of the ranks, by definition: importing scipy.stats takes as long as the page.
    return float(np.corrcoef(felt.share.rank(), felt.baseline.abs().rank())[0, 1])


def scale_of(values: Any) -> float:
    """|value| from which a colour is full: the 99th percentile, so that a few outliers do not leave all others pale.

    The largest |value| when most are 0, and 1 when all are 0 or there are none.
    """
    sizes = np.abs(np.asarray(values, np.float64))
    if not sizes.any():
        return 1.0
    return float(np.quantile(sizes, 0.99) or sizes.max())

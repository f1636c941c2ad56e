"""What the gradient rows of a site may be said to show, by hand: rows whose squared lengths are known."""

import dataclasses

import numpy as np
import pytest

from spd_core.subspace.analysis import Analysis
from spd_core.subspace.rows_verdict import rows_verdict
from spd_core.subspace.store import RECORDED, load_capture


@pytest.fixture(scope="module")
def own() -> Analysis:
    return load_capture(RECORDED / "arithmetic")


def with_lengths(analysis: Analysis, lengths: np.ndarray | None) -> Analysis:
    site = analysis.site(29, "value")
    found = analysis.sites[site]
    assert found.coordinates is not None
    kept = dataclasses.replace(found.coordinates, lengths=lengths)
    return dataclasses.replace(analysis, sites={site: dataclasses.replace(found, coordinates=kept)})


def test_few_tokens_and_which_they_are(own: Analysis) -> None:
    """Energy 4 at one first position, 1 at three loss tokens, 1 at another token: of 8, half is in one token."""
    squares = np.zeros(len(own.supervised))
    loss = np.flatnonzero(own.supervised)[:3]
    other = next(at for at, on in enumerate(own.supervised) if not on and own.position_of[at] == 3)
    squares[0], squares[loss], squares[other] = 4, 1, 1
    lengths = np.stack([np.sqrt(squares), np.ones_like(squares)])
    assert rows_verdict(with_lengths(own, lengths), 29, "value") == (
        f"Layer 29 values: 1 of {len(squares):,} tokens holds half of the energy. First positions of the texts hold "
        "50%, loss tokens 38%, the other context 12%."
    )


def test_what_older_versions_kept_is_said_to_be_of_the_first_directions(own: Analysis) -> None:
    assert f"half of the energy along the first {own.kept_directions} directions." in rows_verdict(
        with_lengths(own, None), 29, "value"
    )


def test_nothing_is_said_where_single_tokens_were_not_kept(own: Analysis) -> None:
    sites = {site: dataclasses.replace(found, coordinates=None) for site, found in own.sites.items()}
    assert rows_verdict(dataclasses.replace(own, sites=sites), 29, "value") == ""

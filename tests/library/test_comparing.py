"""Captures beside each other: numbers against ones worked out here from the arrays."""

import numpy as np
import pytest

from spd_core.library.comparing import compared_captures
from spd_core.subspace.store import open_capture


def test_spectra_and_shared_subspaces_are_what_the_arrays_say(spd_home: object) -> None:
    found = compared_captures(["arithmetic", "multiple-choice"])
    first, second = open_capture("arithmetic"), open_capture("multiple-choice")
    site = first.site(29, "value")
    row = next(one for one in found.spectra if (one["Capture"], one["Site"]) == ("arithmetic", site.label))
    sigma = first.sites[site].values.astype(float)
    assert float(row["σ₁"]) == pytest.approx(sigma[0], rel=1e-3)
    assert row["Energy of the first 8"] == f"{100 * (sigma[:8] ** 2).sum() / (sigma**2).sum():.1f}%"
    rank = site.d_kv // 2
    a, b = (one.sites[site].vectors[:, :rank].astype(float) for one in (first, second))
    shared = next(one for one in found.shared if one["Site"] == site.label)
    assert shared["Shared"] == f"{100 * np.linalg.norm(a.T @ b) ** 2 / rank:.1f}%"
    assert shared["Chance"] == "50.0%", "random subspaces of half the width"
    assert len(found.shared) == len(set(first.sites) & set(second.sites))

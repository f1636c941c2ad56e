"""The recorded bundle is what the real model gives: a part of it is captured again and compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spd_core.analysis import load_analysis
from spd_core.capability import builtin_names, read_builtin
from spd_core.demo import DIRECTIONS
from spd_core.study import settings_of, study

DEMO = Path(__file__).resolve().parents[1] / "assets" / "demo"


def test_the_bundle_is_small_and_whole() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) <= 15e6
    assert sorted(path.name for path in (DEMO / "captures").iterdir()) == builtin_names()
    for name in builtin_names():
        analysis = load_analysis(DEMO / "captures" / name, recorded=True)
        assert analysis.capability == read_builtin(name), "it was recorded on the capability as it is now"
        assert analysis.provenance.fingerprint == read_builtin(name).fingerprint
        assert analysis.kept_directions == DIRECTIONS
        assert len(analysis.examples) == 50
        for found in analysis.sites.values():
            assert set(found.nulls) == {"shuffled answers", "full-sequence loss", "random directions"}
            for direction in range(DIRECTIONS):
                assert found.shares(direction).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.builtin
def test_the_real_model_gives_the_recorded_numbers(builtin_lm: Any) -> None:
    recorded = load_analysis(DEMO / "captures" / "arithmetic")
    again = study(builtin_lm, read_builtin("arithmetic"), settings_of(recorded), name="again")
    assert again.provenance.revision == recorded.provenance.revision
    assert again.provenance.mean_loss == pytest.approx(recorded.provenance.mean_loss, rel=1e-4)
    assert again.examples == recorded.examples
    for site, old in recorded.sites.items():
        new = again.sites[site]
        np.testing.assert_allclose(new.values[:96], old.values[:96], rtol=5e-3)
        cosines = np.abs((new.vectors[:, :4] * old.vectors[:, :4]).sum(0))
        assert cosines.min() > 0.999
        np.testing.assert_allclose(new.shares(0), old.shares(0), atol=2e-3)
        np.testing.assert_allclose(new.activation_energy, old.activation_energy, atol=1e-3)

"""Recorded lenses and checks: the files, and that the real model gives the same again."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spd_core.attribution import recorded
from spd_core.attribution.causal import causal_check, token_logp
from spd_core.attribution.lens import lens_scores, logit_lenses, random_strengths
from spd_core.attribution.recorded import RECORDED_PROBES, probes_of, read_probes, save_probes
from spd_core.attribution.results import ONLY, RANDOM_REMOVED, REMOVED, UNCHANGED
from spd_core.attribution.right_texts import right_texts
from spd_core.attribution.verdict import causal_verdict
from spd_core.cli.demo import DIRECTIONS
from spd_core.cli.demo_probes import CHECKED, probed
from spd_core.data.capability import read_builtin
from spd_core.errors import InputError
from spd_core.intervention.projection import Lane
from spd_core.recipes.capture import CaptureSettings
from spd_core.subspace.pipeline import capture
from spd_core.subspace.store import open_capture, recorded_captures
from spd_core.subspace.subspace import subspace_of


@pytest.mark.parametrize("name", recorded_captures())
def test_the_leading_directions_of_each_recorded_capture_have_both(name: str) -> None:
    analysis = open_capture(name)
    probes = probes_of(analysis)
    assert probes is not None, "they were recorded of the capture as it is now"
    for layer in analysis.layers:
        site = analysis.site(layer, "value")
        assert [probes.lens(site, at) is not None for at in (0, DIRECTIONS - 1, DIRECTIONS)] == [True, True, False]
    last = {site for site in analysis.sites if site.layer == analysis.layers[-1]}
    assert probes.checked(analysis) == dict.fromkeys(last, CHECKED)
    for site in last:
        assert probes.check(analysis, site, CHECKED) is None
        check = probes.check(analysis, site, 0)
        assert check is not None
        assert len(check.random_means(RANDOM_REMOVED)) == 20
        assert len(check.table()) == sum(len(example.supervised) for example in analysis.examples)
        assert "irection 1 " in causal_verdict(check, "direction 1")


@pytest.mark.builtin
def test_the_real_model_gives_the_recorded_lens(builtin_lm: Any) -> None:
    analysis = open_capture("arithmetic")
    probes = probes_of(analysis)
    assert probes is not None
    for layer in analysis.layers:
        site = analysis.site(layer, "value")
        random = random_strengths(builtin_lm, site)
        scores = lens_scores(builtin_lm, site, analysis.sites[site].vectors[:, :DIRECTIONS].T)
        for direction in range(DIRECTIONS):
            lens = probes.lens(site, direction)
            assert lens is not None
            assert lens.random == pytest.approx(random, abs=2e-3)
            tokens = (*lens.promoted, *lens.suppressed)
            found = scores[direction, [token.id for token in tokens]].tolist()
            assert [token.score for token in tokens] == pytest.approx(found, abs=2e-3)
            assert lens.promoted[0].score == pytest.approx(float(scores[direction].max()), abs=2e-3)
            assert lens.suppressed[0].score == pytest.approx(float(scores[direction].min()), abs=2e-3)


@pytest.mark.builtin
def test_the_real_model_gives_the_recorded_check(builtin_lm: Any) -> None:
    """By plain passes over every layer, one text at a time."""
    analysis = open_capture("arithmetic")
    probes = probes_of(analysis)
    assert probes is not None
    site = analysis.site(analysis.layers[-1], "value")
    check = probes.check(analysis, site, 0)
    assert check is not None
    first = subspace_of(analysis, "1")
    alone = {"layers": (site.layer,), "kinds": (site.kind,)}
    lanes = {UNCHANGED: Lane(), REMOVED: Lane(first, complement=True, **alone), ONLY: Lane(first, **alone)}
    for at in (0, 17, 49):
        for name, lane in lanes.items():
            found = token_logp(builtin_lm, [check.examples[at]], lane).tolist()
            assert check.logp[name][check.example == at].tolist() == pytest.approx(found, abs=2e-3)


@pytest.mark.builtin
def test_the_real_model_gives_the_recorded_right_texts(builtin_lm: Any) -> None:
    """By all logits of one text at a time."""
    analysis = open_capture("arithmetic")
    probes = probes_of(analysis)
    assert probes is not None
    assert set(probes.settings.right) == {example.id for example in analysis.examples}
    for example in analysis.examples[::7]:
        with torch.inference_mode():
            likely = builtin_lm.model(torch.tensor([example.ids])).logits[0].argmax(-1).tolist()
        right = [likely[t - 1] == example.ids[t] for t in example.supervised]
        assert probes.settings.right[example.id] == sum(right) / len(right)


def test_what_is_recorded_is_read_back(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    analysis = capture(lm, read_builtin("arithmetic"), CaptureSettings(layers="1,2", examples=5), name="tiny")
    save_probes(probed(lm, analysis, checked=2), tmp_path / "tiny")
    probes = read_probes(tmp_path / "tiny")
    site = analysis.site(2, "key")
    live, read = causal_check(lm, analysis, site, 1), probes.check(analysis, site, 1)
    assert read is not None
    assert read.examples == live.examples
    for name, logp in live.logp.items():
        np.testing.assert_allclose(read.logp[name], logp, atol=1e-6)
    for name, draws in live.draws.items():
        np.testing.assert_allclose(read.draws[name], draws, atol=1e-6)
    assert causal_verdict(read, "it") == causal_verdict(live, "it")
    values = analysis.site(1, "value")
    leading = analysis.sites[values].vectors[:, :DIRECTIONS].T
    assert probes.lens(values, 3) == logit_lenses(lm, values, leading, random=random_strengths(lm, values))[3]
    assert probes.lens(site, 0) is None, "keys have none"
    assert probes.settings.right == right_texts(lm, analysis.examples)


def test_only_the_recorded_capture_itself_has_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    analysis = open_capture("arithmetic")
    assert probes_of(dataclasses.replace(analysis, recorded=False)) is None
    assert probes_of(dataclasses.replace(analysis, examples=analysis.examples[:-1])) is None, "captured anew"
    other = tmp_path / "arithmetic"
    other.mkdir()
    for file in (RECORDED_PROBES / "arithmetic").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(recorded, "RECORDED_PROBES", tmp_path)
    assert probes_of(analysis) is not None
    (other / "lenses.json").write_text("{")
    with pytest.raises(InputError, match="holds no recorded lenses and checks"):
        probes_of(analysis)

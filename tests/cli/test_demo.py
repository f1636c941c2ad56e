"""The recorded bundle is what the real model gives: a part of it is captured again and compared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spd_core.cli.demo import DIRECTIONS, PROMPTS, recorded_prompts, write_demo
from spd_core.data.capability import builtin_names, read_builtin
from spd_core.errors import InputError, StorageError
from spd_core.evaluation import repeats
from spd_core.evaluation.repeats import read_repeat
from spd_core.generation import comparison
from spd_core.subspace.pipeline import capture
from spd_core.subspace.store import load_capture
from tests import ROOT

DEMO = ROOT / "assets" / "demo"


def test_the_bundle_is_small_and_whole() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) <= 15e6
    assert sorted(path.name for path in (DEMO / "captures").iterdir()) == builtin_names()
    for name in builtin_names():
        analysis = load_capture(DEMO / "captures" / name, recorded=True)
        assert analysis.capability == read_builtin(name), "it was recorded on the capability as it is now"
        assert analysis.provenance.fingerprint == read_builtin(name).fingerprint
        assert analysis.kept_directions == DIRECTIONS
        assert len(analysis.examples) == 50
        for found in analysis.sites.values():
            assert set(found.nulls) == {"shuffled answers", "full-sequence loss", "random directions"}
            for direction in range(DIRECTIONS):
                assert found.shares(direction).sum() == pytest.approx(1, abs=1e-5)


def test_a_few_texts_of_each_are_recorded_and_projecting_changes_the_model() -> None:
    first = [f"{name}-{i}" for name in builtin_names() for i in range(1, PROMPTS + 1)]
    assert comparison.recorded_ids() == sorted([*first, "arithmetic-5"]), "the one more is what the page opens on"
    for name in comparison.recorded_ids():
        found = comparison.load_comparison(name)
        assert [lane.label for lane in found.lanes] == ["Raw", "Projected", "Random subspace"]
        assert found.is_read
        example = read_builtin(found.capability).split("heldout").examples[int(name.rpartition("-")[2]) - 1]
        assert (found.prompt, found.answer) == (example.prompt, example.answer)
        for lane in found.lanes:
            assert np.mean([token.kl for token in lane.tokens]) > 1e-3, "no lane is another one under its name"


@pytest.mark.parametrize("path", sorted(repeats.RECORDED_REPEATS.glob("*.json")), ids=lambda path: path.stem)
def test_what_is_recorded_over_prompts_and_seeds_holds_the_recorded_texts(path: Path) -> None:
    """Each was written at another time, in batches of another size."""
    found = read_repeat(path)
    assert (found.id, found.analysis, len(found.prompts), found.seeds) == (path.stem, path.stem, 8, (0, 1, 2))
    for number in recorded_prompts(found):
        one, place = comparison.load_comparison(f"{path.stem}-{number}"), number - 1
        assert found.belongs_to(one)
        assert [lane.ids for lane in found.comparison(place, 0).lanes] == [lane.ids for lane in one.lanes]


def test_a_table_is_recorded_for_the_capture_that_pages_open_on() -> None:
    assert (repeats.RECORDED_REPEATS / "arithmetic.json").is_file()


@pytest.mark.builtin
def test_the_real_model_writes_the_recorded_text(builtin_lm: Any) -> None:
    """One plain forward pass gives the log-probabilities of the recorded raw lane."""
    found = comparison.load_comparison("arithmetic-1")
    raw = found.lanes[0]
    ids = torch.tensor([builtin_lm.tokenizer(found.read)["input_ids"] + raw.ids])
    with torch.no_grad():
        logp = builtin_lm.model(ids).logits[0].log_softmax(-1)[-len(raw.ids) - 1 : -1]
    recorded = [token.logprob for token in raw.tokens]
    assert recorded == pytest.approx(logp[range(len(raw.ids)), raw.ids].tolist(), abs=2e-3)


@pytest.mark.builtin
def test_the_real_model_gives_the_recorded_numbers(builtin_lm: Any) -> None:
    recorded = load_capture(DEMO / "captures" / "arithmetic")
    again = capture(builtin_lm, read_builtin("arithmetic"), recorded.settings, name="again")
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


def test_a_bundle_is_written_whole_or_not_at_all(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    told: list[float] = []
    written = write_demo(
        tiny_lm("llama"), tmp_path / "demo", lambda at: told.append(at.share), names=["arithmetic"]
    )  # fmt: skip
    assert written == {"arithmetic": str(tmp_path / "demo" / "captures" / "arithmetic")}
    assert told == sorted(told)
    assert told[-1] == 1
    analysis = load_capture(tmp_path / "demo" / "captures" / "arithmetic")
    assert analysis.provenance.examples_requested == 50
    names = sorted(path.stem for path in (tmp_path / "demo" / "texts").iterdir())
    assert names[:PROMPTS] == [f"arithmetic-{i}" for i in range(1, PROMPTS + 1)]
    assert [path.name for path in (tmp_path / "demo" / "repeats").iterdir()] == ["arithmetic.json"]
    assert "torch" in json.loads((tmp_path / "demo" / "demo.json").read_text())["versions"]
    with pytest.raises(StorageError, match="already exists"):
        write_demo(tiny_lm("llama"), tmp_path / "demo", lambda *_: None, names=["arithmetic"])
    with pytest.raises(InputError, match="unknown capability"):
        write_demo(tiny_lm("llama"), tmp_path / "other", lambda *_: None, names=["no-such"])
    assert not (tmp_path / "other").exists()

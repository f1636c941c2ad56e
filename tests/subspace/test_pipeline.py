"""A whole study against stacked gradients, and its files: what is saved is what is read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from spd_core.data.capability import Capability, Example, Settings
from spd_core.data.spans import encode_all
from spd_core.errors import InputError, ModelError, Stopped, StorageError
from spd_core.recipes.capture import CaptureSettings
from spd_core.subspace import store
from spd_core.subspace.analysis import FULL, RANDOM, SHUFFLED, Analysis, nulls_of
from spd_core.subspace.capture import capture_gradients
from spd_core.subspace.gram import decompose
from spd_core.subspace.nulls import shuffled
from spd_core.subspace.pipeline import capture, encoded_examples, with_nulls
from spd_core.subspace.store import load_capture, save_capture
from spd_core.subspace.subspace import fit, random_subspace, subspace_of
from tests.reference import stacked_gradients

KV = ("key", "value")
SETTINGS = CaptureSettings(layers="1,2", examples=7, batch_size=3)


def sums(n: int = 9) -> Capability:
    """Sums of different length, the answer's number under the loss; the last is held out."""
    examples = [Example(id=f"s{i}", prompt="1 + " * i + f"{i}?", answer=f"It is {2 * i}") for i in range(n)]
    return Capability(Settings(capability="sums", spans="number"),
                      (*examples, Example(id="h", split="heldout", prompt="?", answer="1")))  # fmt: skip


@pytest.fixture(scope="module")
def found(double_lm: Callable[[str], Any]) -> Analysis:
    return capture(double_lm("llama"), sums(), SETTINGS, name="sums")


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "phi3", "gemma2"])
@pytest.mark.parametrize("center", [True, False])
def test_equals_stacked_gradients_and_activations(family: str, center: bool, double_lm: Callable[[str], Any]) -> None:
    lm = double_lm(family)
    analysis = capture(lm, sums(), SETTINGS.model_copy(update={"center": center}), name="x")
    assert [e.id for e in analysis.examples] == [f"s{i}" for i in range(6, -1, -1)], "longest first, the first seven"
    for site, mine in analysis.sites.items():
        rows = stacked_gradients(lm.model, analysis.examples, site).numpy()
        activations = torch.cat([_outputs(lm, e.ids, site) for e in analysis.examples]).numpy()
        centred = rows - rows.mean(0) * center
        np.testing.assert_allclose(mine.values, np.linalg.svd(centred, compute_uv=False), rtol=1e-5, atol=1e-9)
        kept = mine.coordinates
        assert kept is not None
        np.testing.assert_allclose(kept.gradient, centred @ mine.vectors, rtol=1e-3, atol=1e-6 * np.abs(rows).max())
        np.testing.assert_allclose(kept.activation, activations @ mine.vectors, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(kept.product, (rows * activations).sum(1), rtol=1e-4, atol=1e-6)
        for rank in (1, 5, site.d_kv):
            u = np.linalg.svd(centred)[2][:rank].T
            lost = np.linalg.norm(activations - activations @ u @ u.T) ** 2 / np.linalg.norm(activations) ** 2
            assert mine.reconstruction_error[rank - 1] == pytest.approx(lost, abs=1e-5)
        for direction in (0, 3):
            share = (centred @ np.linalg.svd(centred)[2][direction]) ** 2 / mine.values[direction] ** 2
            np.testing.assert_allclose(mine.shares(direction), share, rtol=1e-2, atol=1e-5)
            assert mine.shares(direction).sum() == pytest.approx(1, abs=1e-5)


def _outputs(lm: Any, ids: tuple[int, ...], site: Any) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    handle = lm.model.get_submodule(site.module).register_forward_hook(lambda _m, _a, out: seen.append(out))
    with torch.no_grad():
        lm.model(input_ids=torch.tensor([ids]))
    handle.remove()
    return seen[0][0][:, list(site.columns)]


def test_heads_pca_and_supervised_tokens(found: Analysis, double_lm: Callable[[str], Any]) -> None:
    site = next(iter(found.sites))
    mine = found.sites[site]
    rows = stacked_gradients(double_lm("llama").model, found.examples, site).numpy()
    centred = rows - rows.mean(0)
    heads = mine.head_values(site.heads)
    for head, values in enumerate(heads):
        block = centred[:, head * 8 : head * 8 + 8]
        np.testing.assert_allclose(values, np.linalg.svd(block, compute_uv=False), rtol=1e-3, atol=1e-6)
    assert mine.coordinates is not None
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(mine.coordinates.scores[:, 0]), np.abs(u[:, 0] * s[0]), rtol=1e-3, atol=1e-7)
    vh = np.linalg.svd(centred)[2]
    np.testing.assert_allclose(np.abs(mine.coordinates.axes[:, :3]), np.abs(vh[:3] @ mine.vectors[:, :3]), atol=1e-3)
    np.testing.assert_allclose(mine.coordinates.explained, (s**2 / (s**2).sum())[:3], rtol=1e-4)
    assert found.supervised.sum() == found.provenance.supervised_tokens
    assert len(found.supervised) == found.provenance.tokens == len(found.position_of)
    second = found.rows_of(1)
    assert set(found.example_of[second]) == {1}
    assert found.position_of[second][0] == 0


def test_the_subspace_is_the_one_that_fit_gives(found: Analysis, double_lm: Callable[[str], Any]) -> None:
    lm = double_lm("llama")
    direct = fit(capture_gradients(lm, encoded_examples(lm, sums(), SETTINGS), (1, 2)), lm, rank="5")
    mine = subspace_of(found, "5")
    for site in direct.basis:
        torch.testing.assert_close(mine.projector(site), direct.projector(site), rtol=0, atol=1e-4)
    assert mine.provenance.ranks == direct.provenance.ranks
    assert subspace_of(found, "energy:0.5").provenance.rank_rule == "energy:0.5"
    with pytest.raises(InputError, match="layer 1 key: rank 0"):
        subspace_of(found, "0")


def test_a_random_subspace_has_the_same_ranks_and_is_orthonormal(found: Analysis) -> None:
    like = subspace_of(found, "5")
    drawn = random_subspace(like, seed=1)
    for site, basis in drawn.basis.items():
        assert basis.shape == like.basis[site].shape
        torch.testing.assert_close(basis.T @ basis, torch.eye(5), atol=1e-5, rtol=0)
        assert not torch.allclose(drawn.projector(site), random_subspace(like, seed=2).projector(site), atol=1e-2)
        torch.testing.assert_close(drawn.basis[site], random_subspace(like, seed=1).basis[site])
    assert "random" in drawn.provenance.loss


def test_nulls_are_captures_of_their_own(found: Analysis, double_lm: Callable[[str], Any]) -> None:
    lm = double_lm("llama")
    whole = with_nulls(lm, found)
    chosen = sums().split("calibration").limited(7)
    for null, capability, loss in ((SHUFFLED, shuffled(chosen), "aligned"), (FULL, chosen, "full")):
        encoded = encode_all(capability.examples, capability.settings, lm.tokenizer, "raw", loss)  # type: ignore[arg-type]
        for site, gram in capture_gradients(lm, encoded, (1, 2)).grams.items():
            expected = decompose(gram).values.numpy()
            np.testing.assert_allclose(whole.sites[site].nulls[null], expected, rtol=1e-4, atol=1e-8)
    assert set(found.sites[site].nulls) == {RANDOM}, "the analysis itself is unchanged"
    assert nulls_of(capture(lm, sums(), SETTINGS.model_copy(update={"loss": "full"}), name="x")) == (SHUFFLED,)


def test_stopping(double_lm: Callable[[str], Any], found: Analysis) -> None:
    lm, seen = double_lm("llama"), list[int]()
    early = capture(
        lm, sums(), SETTINGS, name="x", tell=lambda at: seen.append(at.done), stop=lambda: bool(seen)
    )  # fmt: skip
    assert [e.id for e in early.examples] == ["s6", "s5", "s4"]
    assert (early.provenance.examples_used, early.provenance.examples_requested) == (3, 7)
    with pytest.raises(Stopped, match="stopped"):
        with_nulls(lm, found, stop=lambda: True)


def test_a_stop_between_layers_keeps_whole_layers(double_lm: Callable[[str], Any], found: Analysis) -> None:
    told: list[str] = []
    fewer = capture(
        double_lm("llama"), sums(), SETTINGS, name="x",
        tell=lambda at: told.append(at.what), stop_spectra=lambda: True,
    )  # fmt: skip
    assert [what for what in told if "spectrum" in what] == [f"Computing the spectrum of layer 1 {kv}" for kv in KV]
    assert fewer.layers == fewer.provenance.layers == [1]
    assert fewer.provenance.examples_used == fewer.provenance.examples_requested == 7
    for site, mine in fewer.sites.items():
        np.testing.assert_array_equal(mine.values, found.sites[site].values)
        assert mine.coordinates is not None
        assert mine.band is not None
    assert with_nulls(double_lm("llama"), fewer).layers == [1], "it is a capture of one layer like any other"


def test_nulls_need_the_same_model(found: Analysis, tiny_lm: Callable[[str], Any]) -> None:
    with pytest.raises(ModelError, match="load the former"):
        with_nulls(tiny_lm("qwen2"), found)


def test_limits_are_kept_and_told(double_lm: Callable[[str], Any]) -> None:
    lm = double_lm("llama")
    none = capture(lm, sums(), SETTINGS, name="x", rows_limit=1000)
    some = capture(lm, sums(), SETTINGS, name="x", kept_limit=4 * 2 * 4 * none.provenance.tokens * 3)
    assert (none.kept_directions, some.kept_directions) == (0, 3)
    site = next(iter(some.sites))
    assert some.sites[site].shares(2).sum() == pytest.approx(1, abs=1e-5), "each kept direction is exact"
    with pytest.raises(InputError, match="direction 4 was not kept for single tokens; choose 1 to 3"):
        some.sites[site].shares(3)
    with pytest.raises(InputError, match="kept no single tokens"):
        none.sites[site].gradient(0)
    assert none.sites[site].band is None
    assert len(none.examples) == 7


# --- files ---------------------------------------------------------------------------------------------------


def test_what_is_saved_is_what_is_read(found: Analysis, tmp_path: Path) -> None:
    save_capture(found, tmp_path / "sums")
    again = load_capture(tmp_path / "sums", recorded=True)
    assert (again.name, again.recorded) == ("sums", True)
    assert again.provenance == found.provenance
    assert again.examples == found.examples
    assert again.capability.fingerprint == found.capability.fingerprint
    for site, mine in found.sites.items():
        theirs = again.sites[site]
        for field in ("values", "vectors", "activation_energy", "band", "halves"):
            np.testing.assert_array_equal(getattr(theirs, field), getattr(mine, field))
        np.testing.assert_array_equal(theirs.nulls[RANDOM], mine.nulls[RANDOM])
        assert theirs.coordinates is not None
        assert mine.coordinates is not None
        np.testing.assert_array_equal(theirs.coordinates.scores, mine.coordinates.scores)
    with pytest.raises(StorageError, match="already exists"):
        save_capture(found, tmp_path / "sums")
    save_capture(found.limited(2), tmp_path / "small")
    assert load_capture(tmp_path / "small").kept_directions == 2


def test_a_capture_that_vanishes_while_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "analysis.json").write_text("{}")

    class Shelf:
        def glob(self, _: str) -> list[Path]:
            return [tmp_path / name / "analysis.json" for name in ("gone", "kept")]

    monkeypatch.setattr(store, "captures_folder", Shelf)
    assert store.saved_captures() == ["kept"]


def _damage(folder: Path, how: str) -> None:
    record = json.loads((folder / "analysis.json").read_text())
    if how == "truncated":
        data = (folder / "analysis.safetensors").read_bytes()
        (folder / "analysis.safetensors").write_bytes(data[: len(data) // 2])
    elif how == "missing":
        (folder / "capability.jsonl").unlink()
    elif how == "newer":
        (folder / "analysis.json").write_text(json.dumps({**record, "format": 99}))
    elif how == "fewer tokens":
        (folder / "analysis.json").write_text(json.dumps({**record, "examples": record["examples"][1:]}))
    elif how == "no examples":
        (folder / "analysis.json").write_text(json.dumps({**record, "examples": []}))
    elif how == "no sites":
        (folder / "analysis.json").write_text(json.dumps({**record, "sites": []}))
    elif how == "a position outside":
        record["examples"][0]["supervised"] = [999]
        (folder / "analysis.json").write_text(json.dumps(record))
    elif how.startswith("other "):
        tensors = load_file(folder / "analysis.safetensors")
        name = next(name for name in tensors if name.endswith(how.removeprefix("other ")))
        save_file({**tensors, name: tensors[name][:-1].copy()}, folder / "analysis.safetensors")
    else:
        (folder / "analysis.json").write_text('{"format": 1}')


@pytest.mark.parametrize(("how", "message"), [
    ("truncated", "no valid capture"), ("missing", "capability.jsonl"), ("newer", "newer SPD Lab"),
    ("fewer tokens", "do not fit"), ("no fields", "no valid capture"), ("no examples", "no example"),
    ("no sites", "no site"), ("a position outside", "do not fit its text"), ("other band", "do not fit"),
    ("other halves", "do not fit"), ("other null/random directions", "do not fit"), ("other activation", "do not fit"),
    ("other explained", "do not fit"),
])  # fmt: skip
def test_damaged_files_are_an_error_with_the_reason(found: Analysis, tmp_path: Path, how: str, message: str) -> None:
    save_capture(found, tmp_path / "sums")
    _damage(tmp_path / "sums", how)
    with pytest.raises(InputError, match=message):
        load_capture(tmp_path / "sums")

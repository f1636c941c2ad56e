"""Which model it is: a folder's whole content, and what was recorded when a sample of it had to do."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spd_core.errors import ModelError
from spd_core.generation.decode import generate
from spd_core.intervention.export import export_folded, export_merged
from spd_core.intervention.projection import Lane, projecting
from spd_core.models import hashes, identity
from spd_core.models.identity import content_hash, content_of, pinned, same_revision, sampled_checksum
from spd_core.models.loading import load
from spd_core.recipes.lanes import Sampling
from spd_core.subspace.capture import capture_gradients
from spd_core.subspace.subspace import Subspace, fit
from tests.intervention.test_adapters import adapter_of, peft_model
from tests.subspace.test_capture import random_examples


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    hashes._remembered.cache_clear()
    return tmp_path / "home"


def subspace_on(lm: Any) -> Subspace:
    return fit(capture_gradients(lm, random_examples(9), (1, 2)), lm, rank="4")


@pytest.fixture
def folder(tiny_lm: Callable[[str], Any], tmp_path: Path) -> Path:
    lm = tiny_lm("llama")
    lm.model.save_pretrained(tmp_path / "base")
    lm.tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def test_a_folded_copy_is_another_model_where_a_sample_of_its_weights_is_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load(str(folder), dtype="float32")
    own = subspace_on(base)
    own.check_model(base)
    adapter = adapter_of(base, peft_model(base), tmp_path / "adapter")
    export_folded(base, Lane(own), tmp_path / "folded")
    fold = load(str(tmp_path / "folded"), dtype="float32")
    sample = {"pieces": 1, "size": 64}  # of a large model, 64 pieces miss as much
    assert sampled_checksum(folder, **sample) == sampled_checksum(tmp_path / "folded", **sample)
    monkeypatch.setattr(identity, "sampled_checksum", lambda path: sampled_checksum(path, **sample))
    assert fold.revision != base.revision
    with pytest.raises(ModelError, match="was captured on .*base.*and the model is .*folded"):
        own.check_model(fold)
    with pytest.raises(ModelError, match="was trained on"):
        adapter.check_model(fold)
    with pytest.raises(ModelError, match="and the model is .*base"):
        subspace_on(fold).check_model(base)
    old = f"sha256:{identity.sampled_checksum(folder)[:16]}"  # as captures of before say it
    before = dataclasses.replace(own, provenance=own.provenance.model_copy(update={"revision": old}))
    before.check_model(base)
    with pytest.raises(ModelError, match=old):
        before.check_model(fold)


def test_neither_takes_what_was_made_on_the_other(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both directions, subspaces and adapters, whole hashes and what was recorded before there were any."""
    sample = {"pieces": 1, "size": 64}
    monkeypatch.setattr(identity, "sampled_checksum", lambda path: sampled_checksum(path, **sample))
    base = load(str(folder), dtype="float32")
    tuned = adapter_of(base, peft_model(base), tmp_path / "of-base")
    export_folded(base, Lane(subspace_on(base)), tmp_path / "folded")
    export_merged(base, tuned, tmp_path / "merged")
    models = {"base": base, **{name: load(str(tmp_path / name), dtype="float32") for name in ("folded", "merged")}}
    assert len({identity.sampled_checksum(Path(lm.name)) for lm in models.values()}) == 1, "a sample cannot tell them"
    for name, lm in models.items():
        subspace = subspace_on(lm)
        adapter = adapter_of(lm, peft_model(lm), tmp_path / f"adapter-{name}")
        sampled = {"revision": f"sha256:{identity.sampled_checksum(folder)[:16]}"}
        before = dataclasses.replace(subspace, provenance=subspace.provenance.model_copy(update=sampled))
        tuned_before = dataclasses.replace(adapter, card=adapter.card.model_copy(update=sampled))
        for other_name, other in models.items():
            for one in (subspace, adapter, before, tuned_before):
                if name == other_name and (one in (subspace, adapter) or name == "base"):
                    one.check_model(other)
                    continue
                with pytest.raises(ModelError, match="load the former"):
                    one.check_model(other)


def test_lanes_of_one_refuse_the_other_before_anything_is_computed(folder: Path, tmp_path: Path) -> None:
    base = load(str(folder), dtype="float32")
    own, tuned = subspace_on(base), adapter_of(base, peft_model(base), tmp_path / "adapter")
    export_folded(base, Lane(own), tmp_path / "folded")
    fold = load(str(tmp_path / "folded"), dtype="float32")
    for lane in (Lane(own), Lane(adapter=tuned)):
        with pytest.raises(ModelError, match="load the former"), projecting(fold, lane):
            pass
        with pytest.raises(ModelError, match="load the former"):
            generate(fold, ["Q"], [lane], Sampling(max_new_tokens=2))
    with pytest.raises(ModelError, match="load the former"):
        export_folded(fold, Lane(own), tmp_path / "twice")
    with pytest.raises(ModelError, match="load the former"):
        export_merged(fold, tuned, tmp_path / "twice")


def test_any_weight_any_setting_and_any_name_counts(folder: Path) -> None:
    before = content_hash(folder)
    assert before == content_hash(folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "rope_theta": 1234.0}))
    after = content_hash(folder)
    assert after != before
    os.rename(folder / "model.safetensors", folder / "other.safetensors")
    assert content_hash(folder) not in (before, after)
    assert content_of("builtin") == content_of("org/model") == ""


def test_a_file_is_read_once_and_again_when_it_changes(folder: Path, home: Path, monkeypatch: Any) -> None:
    before = content_hash(folder)
    assert (home / "hashes.json").is_file()
    hashes._remembered.cache_clear()  # another process
    with monkeypatch.context() as patch:
        patch.setattr(hashes.hashlib, "file_digest", lambda *_: pytest.fail("it is known"))
        assert content_hash(folder) == before
    path = folder / "model.safetensors"
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(bytes(changed))
    os.utime(path, ns=(1, 1))  # same size: its time tells
    assert content_hash(folder) != before
    (home / "hashes.json").write_text("[[1, 2], 3]")
    hashes._remembered.cache_clear()
    assert content_hash(folder) != before


def test_what_is_loaded_says_so(folder: Path, builtin_lm: Any) -> None:
    assert load(str(folder), dtype="float32").revision == f"content:{content_hash(folder)[:16]}"
    assert builtin_lm.revision.startswith("SmolLM2-135M-Instruct@")
    assert pinned(str(folder), "content:12") is None
    assert pinned("builtin", "SmolLM2@x") is None
    assert pinned("org/model", "abc123") == "abc123"
    assert same_revision("abc123", "org/model", "abc123")
    assert not same_revision("sha256:12", "org/model", "abc123")

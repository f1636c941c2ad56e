"""Loading: safetensors only, no remote code, refused before loading when it cannot fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from spd_core.errors import InputError, MemoryLimitError, ModelError
from spd_core.models import device, loading
from spd_core.models import device as memory
from spd_core.models.identity import sampled_checksum
from tests.tiny import FAMILIES, tiny_config, tiny_model


def test_a_local_folder_loads_frozen_and_in_evaluation_mode(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    assert not lm.model.training
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())
    assert lm.revision.startswith("content:")


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c"])
def test_a_missing_path_is_not_asked_of_the_hub(name: str) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        loading.load(name)


def test_pickled_weights_are_refused(tmp_path: Path, tokenizer: Any) -> None:
    model = tiny_model("llama")
    model.config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        loading.load(str(tmp_path))


def test_remote_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("open('ran', 'w').write('yes')")
    settings = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="remote code"):
        loading.load(str(tmp_path))
    assert not Path("ran").exists()


def test_damaged_configuration_and_weights_are_refused(tmp_path: Path, family_folder: Callable[[str], Path]) -> None:
    copy = shutil.copytree(family_folder("llama"), tmp_path / "copy")
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot load"):
        loading.load(str(copy))
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot load"):
        loading.load(str(copy))


def test_what_cannot_fit_is_refused_before_loading(
    family_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "available_memory", lambda device: 1000)
    with pytest.raises(MemoryLimitError, match="GiB"):
        loading.load(str(family_folder("llama")))


def test_a_capture_that_cannot_fit_is_refused_although_the_weights_would(
    family_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(family_folder("llama"))
    wanted = loading.estimate_model(loading.read_config(folder), "float32", batch_size=64)
    monkeypatch.setattr(device, "available_memory", lambda device: (wanted.load + wanted.capture) // 2)
    loading.load(folder, dtype="float32")
    with pytest.raises(MemoryLimitError, match="^capture with "):
        loading.load(folder, dtype="float32", purpose="capture", batch_size=64)


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_counted_exactly(family: str) -> None:
    estimate = memory.estimate_memory(tiny_config(family), 4, (1, 2))
    assert estimate.parameters == sum(parameter.numel() for parameter in tiny_model(family).parameters())
    assert estimate.load == 4 * estimate.parameters
    assert estimate.capture > estimate.load
    assert estimate.generation > estimate.load


def test_memory_estimates_grow_with_what_is_asked() -> None:
    config = tiny_config("llama")
    one = memory.estimate_memory(config, 4, (2,), batch_size=1)
    assert memory.estimate_memory(config, 4, (2,), batch_size=8).capture > one.capture
    assert memory.estimate_memory(config, 4, (0,), batch_size=1).capture > one.capture
    assert memory.estimate_memory(config, 4, (2,), rows=8).generation > one.generation


def test_a_changed_configuration_is_counted_anew() -> None:
    """Of the same class and even the same object: what was counted before is not taken for it."""
    config = tiny_config("llama")
    before = memory.estimate_memory(config, 4, (2,)).parameters
    config.intermediate_size += 1
    assert (
        memory.estimate_memory(config, 4, (2,)).parameters == before + 3 * config.num_hidden_layers * config.hidden_size
    )


def test_dtype_follows_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    assert loading.choose_dtype("auto", cpu) == torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert loading.choose_dtype("auto", cpu) == torch.bfloat16
    assert loading.choose_dtype("float32", cpu) == torch.float32
    with pytest.raises(InputError, match="float16"):
        loading.choose_dtype("float16", cpu)


def test_two_checkpoints_of_one_architecture_have_different_revisions(
    tmp_path: Path, family_folder: Callable[[str], Path]
) -> None:
    copy = shutil.copytree(family_folder("llama"), tmp_path / "copy")
    assert sampled_checksum(copy) == sampled_checksum(family_folder("llama"))
    model = tiny_model("llama")
    with torch.no_grad():
        model.lm_head.weight[3, 3] += 1
    model.save_pretrained(copy)
    assert sampled_checksum(copy) != sampled_checksum(family_folder("llama"))


@pytest.mark.builtin
def test_the_builtin_model_is_known(builtin_lm: Any) -> None:
    card = builtin_lm.card
    assert (card.layers, card.heads, card.kv_heads, card.head_dim, card.d_kv) == (30, 9, 3, 64, 192)
    assert sum(parameter.numel() for parameter in builtin_lm.model.parameters()) == 134_515_008


def test_a_checkpoint_without_some_weights_is_refused(tmp_path: Path, family_folder: Callable[[str], Path]) -> None:
    copy = shutil.copytree(family_folder("llama"), tmp_path / "copy")
    tensors = load_file(copy / "model.safetensors")
    del tensors["model.layers.1.self_attn.k_proj.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"layers\.1\.self_attn\.k_proj"):
        loading.load(str(copy))

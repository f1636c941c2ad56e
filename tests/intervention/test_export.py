"""An exported checkpoint needs nothing of this project and writes what the projected lane writes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer

from spd_core.errors import InputError, StorageError
from spd_core.intervention.export import export_folded, export_merged
from spd_core.intervention.projection import Lane, projecting
from spd_core.recipes.gains import SiteGains
from tests.intervention.test_projection import IDS, logits, subspace_of
from tests.lora import adapter_of, peft_logits, peft_model


@pytest.mark.parametrize("family", ["llama", "qwen2", "phi3", "gpt2", "gpt_neox"])
def test_the_exported_checkpoint_has_the_projected_logits(
    family: str, tmp_path: Path, tiny_lm: Callable[[str], Any]
) -> None:
    lm = tiny_lm(family)
    lane = Lane(subspace_of(lm), strength=0.7)
    before = logits(lm)
    export_folded(lm, lane, tmp_path / "folded")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "folded", use_safetensors=True).eval()
    with projecting(lm, lane), torch.no_grad():
        torch.testing.assert_close(model(IDS).logits, logits(lm), rtol=1e-4, atol=1e-4)
    assert AutoTokenizer.from_pretrained(tmp_path / "folded")("abc").input_ids == lm.tokenizer("abc").input_ids
    assert torch.equal(logits(lm), before), "the model in memory is as it was"
    record = json.loads((tmp_path / "folded" / "spd_export.json").read_text())
    _check_readme(tmp_path / "folded", lm, "keys and values projected into the subspace of")
    assert record["folded"] == {"strength": 0.7, "kinds": ["key", "value"], "layers": [1, 2], "complement": False}


@pytest.mark.parametrize("family", ["llama", "qwen2", "phi3", "gpt2", "gpt_neox"])
def test_a_merged_checkpoint_has_the_logits_of_the_distilled_lane_and_of_peft(
    family: str, tmp_path: Path, tiny_lm: Callable[[str], Any]
) -> None:
    lm = tiny_lm(family)
    reference = peft_model(lm)
    adapter = adapter_of(lm, reference, tmp_path / "adapter")
    before = logits(lm)
    export_merged(lm, adapter, tmp_path / "merged")
    assert torch.equal(logits(lm), before), "the model in memory is as it was"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", use_safetensors=True).eval()
    with projecting(lm, Lane(adapter=adapter)), torch.no_grad():
        torch.testing.assert_close(model(IDS).logits, logits(lm), rtol=1e-4, atol=1e-4)
    theirs = peft_logits(reference.merge_and_unload(), IDS)
    torch.testing.assert_close(peft_logits(model, IDS), theirs, rtol=1e-4, atol=1e-4)
    assert AutoTokenizer.from_pretrained(tmp_path / "merged")("abc").input_ids == lm.tokenizer("abc").input_ids
    record = json.loads((tmp_path / "merged" / "spd_export.json").read_text())
    assert record["command"] == "python -m spd_core export --adapter 20261124-152000-sums-0001/spd --out merged"
    _check_readme(tmp_path / "merged", lm, "the adapter of SPD, self-policy distillation, trained on 8 rows of sums")
    assert record["merged"]["fingerprint"] == adapter.fingerprint
    assert record["merged"]["card"]["arm"] == "spd"
    with pytest.raises(StorageError):
        export_merged(lm, adapter, tmp_path / "merged")


def _check_readme(folder: Path, lm: Any, did: str) -> None:
    card = ModelCard.load(folder / "README.md")
    assert card.data.to_dict() == {
        "library_name": "transformers", "pipeline_tag": "text-generation",
        "tags": ["self-policy-distillation", "spd-lab"],
    }  # fmt: skip
    text = card.text.replace("\\_", "_")
    assert did in text
    assert f"{Path(lm.name).name}, revision {lm.revision}, float32" in text
    assert str(Path(lm.name).parent) not in text + (folder / "spd_export.json").read_text()
    assert "hf upload YOUR-NAME/" in text
    assert "python LLAMA.CPP/convert_hf_to_gguf.py . --outfile model.gguf --outtype f16" in text


def test_a_distilled_lane_is_folded_with_its_adapter(tmp_path: Path, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    lane = Lane(subspace_of(lm), adapter=adapter_of(lm, peft_model(lm), tmp_path / "adapter"))
    export_folded(lm, lane, tmp_path / "both")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "both", use_safetensors=True).eval()
    with projecting(lm, lane):
        torch.testing.assert_close(peft_logits(model, IDS), logits(lm), rtol=1e-4, atol=1e-4)
    assert set(json.loads((tmp_path / "both" / "spd_export.json").read_text())) >= {"folded", "subspace", "merged"}


def test_a_mixed_lane_is_folded_and_says_its_gains(tmp_path: Path, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    gains = SiteGains(layer=2, kind="value", directions=((1, 0.0), (3, 2.0)))
    lane = Lane(subspace_of(lm), strength=0, gains=(gains,))
    export_folded(lm, lane, tmp_path / "mixed")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "mixed", use_safetensors=True).eval()
    with projecting(lm, lane):
        torch.testing.assert_close(peft_logits(model, IDS), logits(lm), rtol=1e-4, atol=1e-4)
    record = json.loads((tmp_path / "mixed" / "spd_export.json").read_text())["folded"]
    assert record["layers"] == [2]
    assert [SiteGains.model_validate(one) for one in record["gains"]] == [gains]
    _check_readme(tmp_path / "mixed", lm, "layer 2 values, d1 × 0, d3 × 2")


def test_raw_lanes_and_existing_folders_are_refused(tmp_path: Path, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    with pytest.raises(InputError, match="nothing to fold"):
        export_folded(lm, Lane(), tmp_path / "x")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("keep")
    with pytest.raises(StorageError):
        export_folded(lm, Lane(subspace_of(lm)), tmp_path / "there")
    assert (tmp_path / "there" / "mine.txt").read_text() == "keep"

"""Adapters against peft, as hooks and as merged weights, alone and side by side; files that peft loads; no trace."""

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from spd_core.distill.training import target_modules
from spd_core.errors import InputError, ModelError
from spd_core.generation.decode import generate
from spd_core.intervention.adapters import (
    CONFIG,
    TENSORS,
    Adapter,
    Delta,
    joined,
    load_adapter,
    merged,
    save_adapter,
)
from spd_core.intervention.projection import Lane, plan_rows, projecting
from spd_core.recipes.lanes import Sampling
from tests.intervention.test_projection import IDS, Int8Linear, logits
from tests.lora import a_card, adapter_of, peft_logits, peft_model
from tests.tiny import FAMILIES

FEW = ["llama", "phi3", "gpt2", "gpt_neox"]


@pytest.mark.parametrize("family", FAMILIES)
def test_lane_and_merged_weights_are_what_peft_computes(
    family: str, tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    lm = tiny_lm(family)
    reference = peft_model(lm)
    adapter = adapter_of(lm, reference, tmp_path)
    before, expected = logits(lm), peft_logits(reference, IDS)
    assert (expected - before).abs().max() > 1e-2, "the adapter must do something"
    with projecting(lm, Lane(adapter=adapter)):
        torch.testing.assert_close(logits(lm), expected, rtol=1e-4, atol=1e-4)
    with merged(lm, adapter) as tuned:
        torch.testing.assert_close(logits(tuned), peft_logits(reference.merge_and_unload(), IDS), rtol=1e-4, atol=1e-4)
        assert tuned.revision == f"{lm.revision}+{adapter.fingerprint[:12]}"
    assert torch.equal(logits(lm), before), "and leave no trace"


@pytest.mark.parametrize("options", [{"use_rslora": True}, {"rank_pattern": {"q_proj": 5}}, {"r": 1, "lora_alpha": 1}])
def test_peft_scales_are_honoured(options: dict[str, Any], tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    reference = peft_model(lm, **options)
    with projecting(lm, Lane(adapter=adapter_of(lm, reference, tmp_path))):
        torch.testing.assert_close(logits(lm), peft_logits(reference, IDS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_lanes_written_together_are_those_of_the_merged_model_alone(
    family: str, tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    """Through the packed weights of a CPU, too: merging must not meet those of the model before."""
    lm = tiny_lm(family)
    adapters = [adapter_of(lm, peft_model(lm, seed=seed), tmp_path / str(seed)) for seed in (0, 1)]
    sampling = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=12, seed=3)
    lanes = [Lane(), *(Lane(adapter=adapter) for adapter in adapters)]
    raw, *tuned = (completion.tokens for completion in generate(lm, ["2 + 2 ="], lanes, sampling))
    assert raw == generate(lm, ["2 + 2 ="], [Lane(), Lane()], sampling)[0].tokens
    assert raw not in tuned
    for adapter, tokens in zip(adapters, tuned, strict=True):
        with merged(lm, adapter) as alone:
            assert generate(alone, ["2 + 2 ="], [Lane(), Lane()], sampling)[1].tokens == tokens
    assert raw == generate(lm, ["2 + 2 ="], [Lane(), Lane()], sampling)[0].tokens


# --- rounds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FEW)
def test_rounds_merge_one_into_the_other_and_join_to_an_adapter_that_peft_loads(
    family: str, tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    from peft import PeftModel

    lm = tiny_lm(family)
    before = logits(lm)
    first = adapter_of(lm, peft_model(lm, seed=0), tmp_path / "1")
    with merged(lm, first) as once:
        # fewer maps and another rank in the second round, so that the sum has to be padded
        targets = target_modules(lm.card)[:1]
        reference = peft_model(once, seed=1, r=5, target_modules=targets)
        second = adapter_of(once, reference, tmp_path / "2", revision=once.revision)
        with merged(once, second) as twice:
            expected = logits(twice)
            assert twice.revision == f"{lm.revision}+{first.fingerprint[:12]}+{second.fingerprint[:12]}"
        torch.testing.assert_close(expected, peft_logits(reference, IDS), rtol=1e-4, atol=1e-4)
    assert torch.equal(logits(lm), before)
    both = joined([written(first, 300, 40), written(second, 500, 60)])
    assert (both.card.rounds, both.card.revision) == (2, lm.revision)
    assert (both.card.written, both.card.taught) == (800, 100), "in both rounds"
    assert joined([written(first, 300, None), second]).card.written is None, "one does not say"
    save_adapter(both, tmp_path / "both", lm.model.config)
    again = load_adapter(tmp_path / "both")
    assert again.fingerprint == both.fingerprint
    assert again.card == both.card
    assert {(len(delta.a), delta.scale) for delta in again.deltas.values()} == {(8, 1.0)}
    with projecting(lm, Lane(adapter=again)):
        torch.testing.assert_close(logits(lm), expected, rtol=1e-4, atol=1e-4)
    loaded = PeftModel.from_pretrained(copy.deepcopy(lm.model), tmp_path / "both").eval()
    torch.testing.assert_close(peft_logits(loaded, IDS), expected, rtol=1e-4, atol=1e-4)
    config = json.loads((tmp_path / "both" / CONFIG).read_text())
    assert config["lora_alpha"] == config["r"] == 8


def written(adapter: Adapter, own: int, taught: int | None) -> Adapter:
    card = adapter.card.model_copy(update={"written": own, "taught": taught})
    return dataclasses.replace(adapter, card=card)


def test_adapters_of_several_bases_have_no_sum(tiny_lm: Callable[[str], Any]) -> None:
    delta = {"x": Delta(torch.ones(1, 2), torch.ones(2, 1), 1.0)}
    one, two = (Adapter(a_card(tiny_lm(name)), delta) for name in ("llama", "qwen2"))
    with pytest.raises(InputError, match="have no sum; join those of one base"):
        joined([one, two])
    with pytest.raises(InputError, match="give at least one"):
        joined([])


def test_a_merge_that_fails_half_way_is_undone(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    adapter = adapter_of(lm, peft_model(lm), tmp_path)
    before = logits(lm)
    last = max(adapter.deltas)
    huge = {**adapter.deltas, last: dataclasses.replace(adapter.deltas[last], scale=1e300)}
    with pytest.raises(ModelError, match=f"{last} gives values that are not finite"), merged(
        lm, Adapter(adapter.card, huge)
    ):  # fmt: skip
        pass
    assert torch.equal(logits(lm), before)
    with pytest.raises(RuntimeError, match="boom"), merged(lm, adapter):
        raise RuntimeError("boom")
    assert torch.equal(logits(lm), before)


# --- what cannot be ------------------------------------------------------------------------------------------


def test_another_model_is_refused_by_name(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm, other = tiny_lm("llama"), tiny_lm("gpt2")
    adapter = adapter_of(lm, peft_model(lm), tmp_path)
    with pytest.raises(ModelError, match=f"trained on .*{lm.revision}.*and the model is .*{other.revision}"):
        plan_rows(other, [Lane(adapter=adapter)])
    with pytest.raises(ModelError, match="and the model is .*another"):
        adapter.check_model(dataclasses.replace(lm, revision="another"))
    narrow = dataclasses.replace(tiny_lm("llama_mqa"), revision=lm.revision)
    with pytest.raises(ModelError, match="k_proj is not as it should be"), merged(narrow, adapter):
        pass
    with pytest.raises(ModelError, match=r"model\.layers.* is not as it should be"):
        adapter.check_model(dataclasses.replace(other, revision=lm.revision))


def test_quantized_maps_are_hooked_and_never_merged(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    adapter = adapter_of(lm, peft_model(lm), tmp_path)
    quantized = dataclasses.replace(lm, model=copy.deepcopy(lm.model))
    attention = quantized.model.model.layers[1].self_attn
    attention.q_proj = Int8Linear(attention.q_proj.weight.data)
    with pytest.raises(ModelError, match=r"q_proj.*quantized"), merged(quantized, adapter):
        pass
    before = logits(quantized)
    with projecting(quantized, Lane(adapter=adapter)):
        assert not torch.equal(logits(quantized), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora is True; only plain LoRA"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is"),
        ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern is"),
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"lora_alpha": None}, "holds no LoRA settings"),
    ],
)
def test_more_than_plain_lora_is_refused(
    change: dict[str, Any], message: str, tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    lm = tiny_lm("llama")
    adapter_of(lm, peft_model(lm), tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**config, **change}))
    with pytest.raises(InputError, match=message):
        load_adapter(tmp_path)


def test_dora_trained_by_peft_is_refused(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    with pytest.raises(InputError, match="only plain LoRA"):
        adapter_of(lm, peft_model(lm, use_dora=True), tmp_path)


def test_missing_and_damaged_files_are_sentences(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    adapter_of(lm, peft_model(lm), tmp_path)
    weights, config = (tmp_path / TENSORS).read_bytes(), (tmp_path / CONFIG).read_text()
    tensors = load_file(tmp_path / TENSORS)
    name = min(tensors)
    for changed in (
        {"lm_head.weight": torch.ones(2, 2), **tensors},
        {key: value for key, value in tensors.items() if key != name},
    ):
        save_file(changed, tmp_path / TENSORS)
        with pytest.raises(InputError, match="no plain LoRA"):
            load_adapter(tmp_path)
    save_file({**tensors, name: tensors[name] * torch.nan}, tmp_path / TENSORS)
    with pytest.raises(InputError, match="not finite; train again with a lower learning rate"):
        load_adapter(tmp_path)
    save_file({**tensors, name: tensors[name][:1].contiguous()}, tmp_path / TENSORS)
    with pytest.raises(InputError, match="do not fit"):
        load_adapter(tmp_path)
    (tmp_path / TENSORS).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match=f"{TENSORS}.*copy the whole folder"):
        load_adapter(tmp_path)
    (tmp_path / TENSORS).unlink()
    with pytest.raises(InputError, match=f"{TENSORS}.*copy the whole folder"):
        load_adapter(tmp_path)
    (tmp_path / TENSORS).write_bytes(weights)
    (tmp_path / CONFIG).write_text(config[: len(config) // 2])
    with pytest.raises(InputError, match=f"{CONFIG} holds no LoRA settings"):
        load_adapter(tmp_path)
    (tmp_path / CONFIG).unlink()
    with pytest.raises(InputError, match=f"cannot read .*{CONFIG}"):
        load_adapter(tmp_path)
    with pytest.raises(InputError, match="no adapter at"):
        load_adapter(tmp_path / "nowhere")


def test_fingerprints_tell_weights_and_scales_apart(tiny_lm: Callable[[str], Any]) -> None:
    card = a_card(tiny_lm("llama"))
    delta = Delta(torch.ones(1, 2), torch.ones(2, 1), 1.0)
    other = (dataclasses.replace(delta, scale=2.0), dataclasses.replace(delta, a=torch.zeros(1, 2)))
    found = [Adapter(card, {path: one}).fingerprint for path in ("x", "y") for one in (delta, *other)]
    assert len(set(found)) == 6
    assert Adapter(card, {"x": dataclasses.replace(delta, a=torch.ones(1, 2))}).fingerprint == found[0]

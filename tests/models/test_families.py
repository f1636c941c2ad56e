"""The sites of every supported family hold exactly what the model itself caches as keys and values."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import DynamicCache
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from spd_core.errors import InputError, ModelError
from spd_core.models.families import WIDEST, Site, card_of, check_family, parse_layers, site_from, site_record
from tests.tiny import FAMILIES

K_NORM = {"qwen3", "gemma3", "olmo2"}


def outputs_and_cache(lm: Any, ids: torch.Tensor) -> tuple[dict[Site, torch.Tensor], DynamicCache]:
    """What each site computes, and the model's own key/value cache."""
    seen: dict[str, torch.Tensor] = {}
    handles = [
        lm.model.get_submodule(path).register_forward_hook(lambda _m, _a, out, path=path: seen.update({path: out}))
        for path in {site.module for site in lm.sites}
    ]
    cache = DynamicCache(config=lm.model.config)
    with torch.no_grad():
        lm.model(input_ids=ids, past_key_values=cache)
    for handle in handles:
        handle.remove()
    return {site: seen[site.module][0][:, list(site.columns)] for site in lm.sites}, cache


@pytest.mark.parametrize("family", FAMILIES)
def test_value_sites_are_the_cached_values(family: str, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    outputs, cache = outputs_and_cache(lm, torch.arange(2, 14)[None])
    assert len(lm.sites) == 2 * lm.card.layers
    for site in lm.sites:
        cached = cache.layers[site.layer].values if site.kind == "value" else cache.layers[site.layer].keys
        side_by_side = cached[0].transpose(0, 1).flatten(1)  # [seq, heads · head_dim]
        assert site.d_kv == side_by_side.shape[1]
        if site.kind == "value":
            torch.testing.assert_close(outputs[site], side_by_side)
        elif family not in K_NORM:  # at position 0 RoPE turns by nothing, so the cached key is the raw one
            torch.testing.assert_close(outputs[site][0], side_by_side[0])


@pytest.mark.parametrize("family", sorted(K_NORM))
def test_key_sites_are_read_before_the_norm(family: str, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    outputs, cache = outputs_and_cache(lm, torch.arange(2, 14)[None])
    for site in (site for site in lm.sites if site.kind == "key"):
        raw = outputs[site][0]
        attention = lm.model.get_submodule(site.module.rsplit(".", 1)[0])
        normed = attention.k_norm(raw if family == "olmo2" else raw.view(site.heads, -1)).flatten()
        torch.testing.assert_close(normed, cache.layers[site.layer].keys[0, :, 0].flatten())


def test_fused_sites_are_named_by_kind(tiny_lm: Callable[[str], Any]) -> None:
    names = [site.name for site in tiny_lm("gpt2").sites[:2]]
    assert names == ["transformer.h.0.attn.c_attn:key", "transformer.h.0.attn.c_attn:value"]
    assert tiny_lm("llama").sites[1].name == "model.layers.0.self_attn.v_proj"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_site_is_read_as_it_was_written(family: str, tiny_lm: Callable[[str], Any]) -> None:
    assert [site_from(site_record(site)) for site in tiny_lm(family).sites] == list(tiny_lm(family).sites)


@pytest.mark.parametrize("columns", [[[0, 10**8]], [[0, 10**8], [10**8, 0]], [[0, WIDEST], [5, 6]], [[0, 1e8]]])
def test_a_file_cannot_claim_columns_that_no_model_has(columns: Any, tiny_lm: Callable[[str], Any]) -> None:
    """A hundred million of them took four gigabytes."""
    record = site_record(tiny_lm("llama").sites[0]) | {"columns": columns}
    with pytest.raises(ValueError, match="columns, where the widest site has 131,072"):
        site_from(record)


@pytest.mark.parametrize(
    ("model_type", "settings", "reason"),
    [
        ("t5", {}, "encoder-decoder"),
        ("deepseek_v3", {}, "latent attention"),
        ("falcon", {}, "not a supported family"),
        ("mamba", {}, "not a supported family"),
    ],
)
def test_other_families_are_refused_by_name(model_type: str, settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as refused:
        check_family(CONFIG_MAPPING[model_type](**settings))
    assert model_type in str(refused.value)


def test_card_of_a_grouped_query_model(tiny_lm: Callable[[str], Any]) -> None:
    card = card_of(tiny_lm("llama").model.config, "x")
    assert (card.layers, card.heads, card.kv_heads, card.head_dim, card.d_kv) == (3, 4, 2, 8, 16)
    assert "before RoPE" in card.key_is_read
    assert "k-norm" in card_of(tiny_lm("qwen3").model.config, "x").key_is_read


@pytest.mark.parametrize("family", FAMILIES)
def test_the_card_names_norm_and_positions_as_the_modules_do(family: str, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    classes = {type(module).__name__ for module in lm.model.get_decoder().modules()}
    assert lm.card.norm.startswith("RMSNorm") == any("RMSNorm" in name for name in classes), classes
    assert lm.card.positions.startswith("RoPE") == any("Rotary" in name for name in classes), classes


@pytest.mark.parametrize(
    ("text", "layers"),
    [("middle,last", (12, 23)), ("all", tuple(range(24))), ("3, 7", (3, 7)), ("7,3,7", (3, 7)), ("last", (23,))],
)
def test_layers(text: str, layers: tuple[int, ...]) -> None:
    assert parse_layers(text, 24) == layers  # 12 and 23 of 24: the paper's own example


@pytest.mark.parametrize("text", ["24", "-1", "", "first", "1,,2", "1.5"])
def test_unknown_layers_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="0 to 23"):
        parse_layers(text, 24)

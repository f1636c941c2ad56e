"""Gemma 3 270M is what its GGUF holds: bit by bit, and against a forward pass that reads the GGUF and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spd_core.errors import InputError
from spd_core.generation.decode import generate
from spd_core.imports import package_folder
from spd_core.intervention.projection import Lane
from spd_core.models.builtin import builtin_folder, builtin_model, is_intact
from spd_core.models.described import describe_model
from spd_core.models.identity import on_the_hub
from spd_core.models.packaged import GEMMA
from spd_core.recipes.lanes import Sampling

LAYERS, HEADS, HEAD_DIM, WINDOW = 18, 4, 256, 512  # Gemma 3 270M; every sixth layer attends to everything
PARAGRAPH = (
    "Rain that falls on hills runs down into streams, and streams join to make rivers. A river carries sand and mud "
    "along with it. Where it meets the sea the water slows, and what it carried sinks to the bottom. Over thousands of "
    "years the mud builds new land, on which plants grow and birds make their nests. "
)


@pytest.fixture(scope="module")
def dense(gemma_lm: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], np.ndarray]:
    """A tensor of the GGUF by llama.cpp's own reader and dequantization, `[out, in]` or `[d]`."""
    gguf = pytest.importorskip("gguf")
    whole = tmp_path_factory.mktemp("gguf") / "model.gguf"
    folders = filter(None, map(package_folder, GEMMA.modules))
    whole.write_bytes(b"".join(path.read_bytes() for folder in folders for path in sorted(folder.glob(GEMMA.pattern))))
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(whole).tensors}
    return lambda name: gguf.quants.dequantize(tensors[name].data, tensors[name].tensor_type)


# --- the conversion ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight"),
        ("model.layers.5.self_attn.k_proj.weight", "blk.5.attn_k.weight"),
        ("model.layers.17.self_attn.v_proj.weight", "blk.17.attn_v.weight"),
        ("model.layers.9.self_attn.o_proj.weight", "blk.9.attn_output.weight"),
        ("model.layers.17.mlp.down_proj.weight", "blk.17.ffn_down.weight"),
    ],
)
def test_weights_are_those_of_the_gguf(gemma_lm: Any, dense: Callable[..., Any], ours: str, theirs: str) -> None:
    np.testing.assert_array_equal(gemma_lm.model.get_parameter(ours).numpy(), dense(theirs))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("model.norm", "output_norm"),
        ("model.layers.3.input_layernorm", "blk.3.attn_norm"),
        ("model.layers.3.self_attn.k_norm", "blk.3.attn_k_norm"),
        ("model.layers.3.post_feedforward_layernorm", "blk.3.post_ffw_norm"),
    ],
)
def test_norms_scale_by_what_the_gguf_holds(gemma_lm: Any, dense: Callable[..., Any], ours: str, theirs: str) -> None:
    """llama.cpp multiplies by its weight, transformers by 1 + its weight: what a norm does is what counts."""
    norm, scale = gemma_lm.model.get_submodule(ours), torch.tensor(dense(f"{theirs}.weight"))
    x = torch.randn(7, len(scale), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(norm(x), x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * scale)


def rms(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    normed: np.ndarray = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * scale
    return normed


def rotated(x: np.ndarray, base: float) -> np.ndarray:
    """RoPE on `[seq, heads, d]`: number i turns with number i + d/2."""
    half = x.shape[-1] // 2
    angle = np.arange(len(x))[:, None] * base ** (-np.arange(half) / half)  # [seq, d/2]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def by_hand(ids: list[int], dense: Callable[[str], np.ndarray]) -> np.ndarray:
    """Logits of the last token by Gemma 3's published architecture, from the GGUF, in float64."""

    def weight(name: str) -> np.ndarray:
        return dense(f"{name}.weight").astype(np.float64)

    embedding = weight("token_embd")
    x = embedding[ids] * np.sqrt(embedding.shape[1])
    distance = np.arange(len(ids))[:, None] - np.arange(len(ids))  # [query, key]
    for layer in range(LAYERS):
        at, everything = f"blk.{layer}", layer % 6 == 5
        base = 1e6 if everything else 1e4
        seen = (distance >= 0) if everything else (distance >= 0) & (distance < WINDOW)
        y = rms(x, weight(f"{at}.attn_norm"))
        q = (y @ weight(f"{at}.attn_q").T).reshape(len(ids), HEADS, HEAD_DIM)
        k, v = y @ weight(f"{at}.attn_k").T, y @ weight(f"{at}.attn_v").T
        q = rotated(rms(q, weight(f"{at}.attn_q_norm")), base)
        k = rotated(rms(k, weight(f"{at}.attn_k_norm"))[:, None], base)[:, 0]
        scores = np.where(seen, np.einsum("qhd,kd->hqk", q, k) / np.sqrt(HEAD_DIM), -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        heard = np.einsum("hqk,kd->qhd", shares, v).reshape(len(ids), -1) @ weight(f"{at}.attn_output").T
        x = x + rms(heard, weight(f"{at}.post_attention_norm"))
        y = rms(x, weight(f"{at}.ffn_norm"))
        gate, up = y @ weight(f"{at}.ffn_gate").T, y @ weight(f"{at}.ffn_up").T
        gelu = gate / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
        x = x + rms((gelu * up) @ weight(f"{at}.ffn_down").T, weight(f"{at}.post_ffw_norm"))
    logits: np.ndarray = embedding @ rms(x[-1], weight("output_norm"))
    return logits


@pytest.mark.parametrize("times", [1, 9])
def test_logits_are_those_of_the_gguf_computed_by_hand(gemma_lm: Any, dense: Callable[..., Any], times: int) -> None:
    """Both bases of RoPE, the window (nine times is longer than it), the scales and the tied head are in them."""
    ids = gemma_lm.tokenizer(PARAGRAPH * times)["input_ids"]
    assert (ids[0], len(ids) > WINDOW) == (2, times == 9), "it begins with <bos>"
    with torch.no_grad():
        found = gemma_lm.model(input_ids=torch.tensor([ids])).logits[0, -1].double().numpy()
    expected = by_hand(ids, dense)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
    assert found.argmax() == expected.argmax()


def test_a_plain_paragraph_is_likely_to_it(gemma_lm: Any) -> None:
    def perplexity(text: str) -> float:
        ids = gemma_lm.tokenizer(text, return_tensors="pt").input_ids
        assert gemma_lm.tokenizer.decode(ids[0], skip_special_tokens=True) == text
        with torch.no_grad():
            return float(gemma_lm.model(input_ids=ids, labels=ids).loss.exp())

    text = PARAGRAPH.strip()
    assert 10 * perplexity(text) < perplexity(" ".join(reversed(text.split())))


def test_what_is_said_before_it_is_unpacked_is_what_it_is(
    gemma_lm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = describe_model("gemma")
    assert is_intact(builtin_folder("gemma"))
    assert not (builtin_folder("gemma") / "packed.gguf").exists()
    assert builtin_model(name="gemma") == unpacked.folder
    card = gemma_lm.card
    assert (card.layers, card.heads, card.kv_heads, card.head_dim, card.d_kv) == (LAYERS, HEADS, 1, HEAD_DIM, HEAD_DIM)
    assert sum(parameter.numel() for parameter in gemma_lm.model.parameters()) == 268_098_176
    assert gemma_lm.revision == "gemma-3-270m@a5fd3b62230a"
    assert on_the_hub("gemma", gemma_lm.revision) == ("google/gemma-3-270m", None)
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setenv("SPD_ACCEPT_TERMS", "other, gemma")
    packed = describe_model("gemma")
    assert packed.folder is None
    assert (packed.card, packed.chats) == (unpacked.card, unpacked.chats)


# --- writing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measured", [False, True])
def test_a_batch_writes_what_transformers_writes(gemma_lm: Any, measured: bool) -> None:
    """Prompts on either side of the window in one batch, packed weights and our cache against `generate` one by one."""
    prompts = ["The capital of France is", PARAGRAPH, PARAGRAPH * 9, "Question: What is 2 + 3?\nAnswer:"]
    found = generate(gemma_lm, prompts, [Lane()], Sampling(temperature=0, max_new_tokens=24), measured=measured)
    for prompt, written in zip(prompts, found, strict=True):
        ids = gemma_lm.tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            expected = gemma_lm.model.generate(ids, max_new_tokens=24, do_sample=False)[0, ids.shape[1] :].tolist()
        assert [*written.tokens, *([written.end] if written.end is not None else [])] == expected


# --- projecting ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def captured(gemma_lm: Any) -> Any:
    """A capture of few examples at the default layers, 9 (sliding) and 17 (everything)."""
    from spd_core.data.catalog import find_capability
    from spd_core.recipes.capture import CaptureSettings
    from spd_core.subspace.pipeline import capture

    return capture(gemma_lm, find_capability("arithmetic"), CaptureSettings(examples=6), name="gemma")


def test_gradients_are_those_of_the_slow_way(gemma_lm: Any, captured: Any) -> None:
    """Singular values of the last layer's values against one example at a time, rows stacked, full logits, SVD."""
    from spd_core.subspace.subspace import subspace_of
    from tests.reference import right_singular_vectors, stacked_gradients

    assert captured.layers == [9, 17]
    site = gemma_lm.sites_at((17,))[1]
    values, vectors = right_singular_vectors(stacked_gradients(gemma_lm.model, captured.examples, site), center=True)
    found = captured.sites[site]
    np.testing.assert_allclose(found.values[:8], values[:8], rtol=1e-3)
    cosines = np.linalg.svd(found.vectors[:, :8].T @ vectors[:, :8].numpy(), compute_uv=False)
    assert cosines.min() > 0.999
    whole, by_head = (subspace_of(captured, "8", per_head=per_head).basis[site] for per_head in (False, True))
    torch.testing.assert_close(
        whole @ whole.T, by_head @ by_head.T, msg="there is one head: a basis for each is the same"
    )


def test_folding_before_the_norm_is_projecting(gemma_lm: Any, captured: Any) -> None:
    from spd_core.intervention.projection import active, folded, plan_rows
    from spd_core.subspace.subspace import subspace_of

    lane = Lane(subspace_of(captured, "128"), strength=0.7)
    ids = torch.tensor([gemma_lm.tokenizer(PARAGRAPH)["input_ids"]])
    with torch.no_grad():
        raw = gemma_lm.model(input_ids=ids).logits
        with active(plan_rows(gemma_lm, [lane])):
            projected = gemma_lm.model(input_ids=ids).logits
        with folded(gemma_lm, lane):
            written = gemma_lm.model(input_ids=ids).logits
        assert torch.equal(gemma_lm.model(input_ids=ids).logits, raw), "nothing is left behind"
    assert (projected - raw).abs().max() > 0.1
    torch.testing.assert_close(written, projected, rtol=0, atol=1e-3 * float(projected.abs().max()))


def test_chat_style_is_refused_with_a_sentence(gemma_lm: Any) -> None:
    from spd_core.data.catalog import find_capability
    from spd_core.recipes.capture import CaptureSettings
    from spd_core.subspace.pipeline import capture

    with pytest.raises(InputError, match="this model has no chat template; use the plain one"):
        capture(gemma_lm, find_capability("arithmetic"), CaptureSettings(examples=2), name="x", style="chat")

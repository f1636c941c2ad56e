"""Coordinates, logit lens and causal check against explicit hooks and hand computations on tiny models."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from spd_core.attribution.causal import causal_check
from spd_core.attribution.lens import LONGEST_TEXT, activations, lens_scores, logit_lenses, random_strengths, read_text
from spd_core.attribution.results import (
    ONLY,
    ONLY_RANDOM,
    RANDOM_REMOVED,
    REMOVED,
    UNCHANGED,
    CausalCheck,
    Lens,
    LensToken,
)
from spd_core.attribution.verdict import causal_verdict, lens_verdict
from spd_core.data.catalog import find_capability
from spd_core.data.spans import Encoded
from spd_core.errors import InputError, ModelError, Stopped
from spd_core.progress import Progress
from spd_core.recipes.capture import CaptureSettings
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.pipeline import capture
from spd_core.subspace.subspace import Subspace, random_subspace
from tests import ROOT
from tests.tiny import FAMILIES

IDS = tuple(range(5, 25))


def direction_of(d_kv: int, seed: int = 3) -> torch.Tensor:
    u = torch.randn(d_kv, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return u / u.norm()


def analysis_of(lm: Any, examples: int = 4) -> Analysis:
    return capture(lm, find_capability("arithmetic"), CaptureSettings(layers="1,2", examples=examples), name="tiny")


# --- any text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_the_columns_of_the_projection(family: str, double_lm: Callable[[str], Any]) -> None:
    lm = double_lm(family)
    seen: dict[str, torch.Tensor] = {}
    handles = [
        lm.model.get_submodule(path).register_forward_hook(lambda _m, _a, out, path=path: seen.update({path: out[0]}))
        for path in {site.module for site in lm.sites}
    ]
    lm.model(input_ids=torch.tensor([IDS]))
    for handle in handles:
        handle.remove()
    found = activations(lm, IDS, lm.sites)
    assert set(found) == set(lm.sites)
    for site, rows in found.items():
        assert rows.shape == (len(IDS), site.d_kv)
        torch.testing.assert_close(rows, seen[site.module].detach()[:, list(site.columns)], rtol=1e-6, atol=1e-8)


def test_coordinates_of_a_text_are_explicit_products(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("qwen2")
    site = lm.sites_at((2,))[1]
    read = read_text(lm, "a <b>\n \u202ex", [site])
    u = direction_of(site.d_kv).numpy()
    rows = activations(lm, read.encoded.ids, [site])[site].numpy()
    np.testing.assert_allclose(read.coordinates(site, u), [row @ u for row in rows], rtol=1e-5)
    assert read.encoded.text == "a <b>\n \u202ex"
    assert len(read.encoded.offsets) == len(read.encoded.ids)
    assert read.encoded.supervised == ()
    assert {0, 1} <= read.special_ids


@pytest.mark.parametrize(("text", "message"), [("", "the text is empty"), ("x" * 300, "has 300 tokens, and at most")])
def test_senseless_texts_are_refused(text: str, message: str, tiny_lm: Callable[[str], Any]) -> None:
    assert LONGEST_TEXT > 300
    with pytest.raises(InputError, match=message):
        read_text(tiny_lm("llama"), text, tiny_lm("llama").sites)


# --- logit lens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "llama_bias", "llama_mqa"])
def test_the_lens_equals_a_hand_computation(family: str, double_lm: Callable[[str], Any]) -> None:
    lm = double_lm(family)
    site = lm.sites_at((1,))[1]
    u = direction_of(site.d_kv)
    weight = lm.model.model.layers[1].self_attn.o_proj.weight.double()  # [hidden, heads · head_dim]
    head_dim, group = lm.card.head_dim, lm.card.heads // lm.card.kv_heads
    residual = sum(
        weight[:, q * head_dim : (q + 1) * head_dim] @ u[q // group * head_dim : (q // group + 1) * head_dim]
        for q in range(lm.card.heads)
    )
    norm = lm.model.model.norm
    normed = residual / (residual.square().mean() + norm.variance_epsilon).sqrt() * norm.weight
    expected = lm.model.lm_head.weight.double() @ normed
    expected -= expected.mean()
    torch.testing.assert_close(
        lens_scores(lm, site, u[None])[0].double(), expected, rtol=1e-5, atol=1e-6
    )  # the norm rounds


@pytest.mark.parametrize("family", ["gemma3", "olmo2"])
def test_what_a_direction_writes_goes_through_the_norm_after_the_attention(
    family: str, double_lm: Callable[[str], Any]
) -> None:
    """Read where it reaches the residual stream: the layer's output less its input, with its MLP's part silenced."""
    lm = double_lm(family)
    layer = lm.model.get_decoder().layers[1]
    norms = [layer.post_attention_layernorm, lm.model.get_decoder().norm]
    generator = torch.Generator().manual_seed(5)
    saved = [norm.weight.detach().clone() for norm in norms]
    try:
        for norm in norms:  # a fresh model's are all alike
            norm.weight.data = torch.rand(norm.weight.shape, generator=generator, dtype=torch.float64) + 0.5
        site = lm.sites_at((1,))[1]
        u = direction_of(site.d_kv)
        heard = u.view(site.heads, -1).repeat_interleave(lm.card.heads // site.heads, 0).flatten()

        def scaled(x: torch.Tensor, norm: Any) -> torch.Tensor:
            eps = getattr(norm, "eps", None) or norm.variance_epsilon
            gain = norm.weight + 1 if family == "gemma3" else norm.weight
            return x / (x.square().mean() + eps).sqrt() * gain

        residual = scaled(layer.self_attn.o_proj.weight.double() @ heard, norms[0])
        expected = lm.model.get_output_embeddings().weight.double() @ scaled(residual, norms[1])
        found = lens_scores(lm, site, u[None])[0].double()
        torch.testing.assert_close(found, expected - expected.mean(), rtol=1e-5, atol=1e-6)
    finally:
        for norm, weight in zip(norms, saved, strict=True):
            norm.weight.data = weight


@pytest.mark.parametrize("family", FAMILIES)
def test_the_lens_works_in_every_family_and_is_odd(family: str, double_lm: Callable[[str], Any]) -> None:
    lm = double_lm(family)
    site = lm.sites_at((2,))[1]
    directions = torch.stack([direction_of(site.d_kv, seed) for seed in range(3)])
    every = lens_scores(lm, site, directions)
    assert every.shape == (3, lm.card.vocabulary)
    torch.testing.assert_close(lens_scores(lm, site, directions[1:2])[0], every[1])
    torch.testing.assert_close(lens_scores(lm, site, -directions), -every)
    scores = every[1]
    assert scores.abs().max() > 0
    assert abs(float(scores.mean())) < 1e-6
    lens = logit_lenses(lm, site, directions.numpy(), top=5, random=(1.0, 2.0))[1]
    assert lens.random == (1.0, 2.0)
    assert lens.largest == pytest.approx(float(every[1].abs().max()))
    assert [token.id for token in lens.promoted] == scores.topk(5).indices.tolist()
    assert lens.suppressed[0].score == pytest.approx(float(scores.min()), rel=1e-6)
    assert lens.promoted[0].score >= lens.promoted[4].score >= lens.suppressed[4].score >= lens.suppressed[0].score


@pytest.mark.parametrize("family", ["gpt2", "phi", "gpt_neox"])
def test_the_lens_is_what_a_value_writes_when_biases_are_gone(family: str, double_lm: Callable[[str], Any]) -> None:
    """One token attends only to itself, so that adding u to its value adds exactly what the lens follows."""
    lm = double_lm(family)
    site = lm.sites_at((2,))[1]
    u = direction_of(site.d_kv)
    attention = lm.model.get_submodule(site.module.rpartition(".")[0])
    outputs = []
    for scale in (0.0, 1.0):

        def add(_m: Any, _a: Any, out: torch.Tensor, scale: float = scale) -> torch.Tensor:
            changed = out.clone()
            changed[..., list(site.columns)] += scale * u
            return changed

        handles = [
            lm.model.get_submodule(site.module).register_forward_hook(add),
            attention.register_forward_hook(lambda _m, _a, out: outputs.append(out[0].detach().flatten())),
        ]
        lm.model(input_ids=torch.tensor([[7]]))
        for handle in handles:
            handle.remove()
    residual = (outputs[1] - outputs[0])[None]
    decoder = lm.model.get_decoder()
    norm = next(getattr(decoder, n) for n in ("ln_f", "final_layernorm", "final_layer_norm") if hasattr(decoder, n))
    head = lm.model.get_output_embeddings()
    expected = ((head(norm(residual)) - head(norm(-residual)))[0] / 2).detach()
    torch.testing.assert_close(lens_scores(lm, site, u[None])[0], expected - expected.mean(), rtol=1e-5, atol=1e-7)


def test_keys_have_no_lens(tiny_lm: Callable[[str], Any]) -> None:
    site = tiny_lm("llama").sites_at((1,))[0]
    with pytest.raises(InputError, match="layer 1 key: keys are not written to the residual stream"):
        logit_lenses(tiny_lm("llama"), site, direction_of(site.d_kv)[None])


# --- causal check --------------------------------------------------------------------------------------------


def slow_logp(lm: Any, examples: Any, site: Any, matrix: torch.Tensor | None) -> dict[tuple[str, int], float]:
    """log p by (example, position), from full logits, one example at a time, the matrix applied by a hook."""

    def change(_m: Any, _a: Any, out: torch.Tensor) -> torch.Tensor:
        if matrix is None:
            return out
        changed = out.clone()
        changed[..., list(site.columns)] = out[..., list(site.columns)] @ matrix.T
        return changed

    handle = lm.model.get_submodule(site.module).register_forward_hook(change)
    found = {}
    for e in examples:
        logp = lm.model(input_ids=torch.tensor([e.ids])).logits[0].double().log_softmax(-1)
        found |= {(e.id, t): float(logp[t - 1, e.ids[t]]) for t in e.supervised}
    handle.remove()
    return found


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("kind", ["key", "value"])
def test_the_causal_check_equals_explicit_hooks(family: str, kind: str, double_lm: Callable[[str], Any]) -> None:
    lm = double_lm(family)
    analysis = analysis_of(lm)
    site = analysis.site(1, kind)
    check = causal_check(lm, analysis, site, 0, batch_size=3)
    u = torch.from_numpy(analysis.sites[site].vectors[:, 0]).double()
    projector = torch.outer(u, u)
    identity = torch.eye(len(u), dtype=torch.float64)
    for name, matrix in ((UNCHANGED, None), (REMOVED, identity - projector), (ONLY, projector)):
        slow = slow_logp(lm, analysis.examples, site, matrix)
        mine = {(check.examples[e].id, int(t)): p for e, t, p in
                zip(check.example, check.position, check.logp[name], strict=True)}  # fmt: skip
        assert mine.keys() == slow.keys()
        for at, logp in slow.items():
            assert mine[at] == pytest.approx(logp, rel=1e-5, abs=1e-7), (name, at)
    assert np.abs(check.change(REMOVED)).max() > 1e-4, "the direction does something at all"
    for control in (RANDOM_REMOVED, ONLY_RANDOM):
        assert not np.allclose(check.change(control), check.change(REMOVED))


@pytest.mark.parametrize("seed", [0, 5])
def test_each_random_direction_is_drawn_and_scored_like_the_own_one(seed: int, double_lm: Callable[[str], Any]) -> None:
    lm = double_lm("llama")
    analysis = analysis_of(lm)
    site = analysis.site(1, "value")
    check = causal_check(lm, analysis, site, 0, seed=seed, draws=3)
    own = Subspace({site: torch.zeros(site.d_kv, 1)}, {}, analysis.provenance)
    identity = torch.eye(site.d_kv, dtype=torch.float64)
    for at in range(3):
        u = random_subspace(own, seed + at).basis[site][:, 0].double()
        for name, matrix in ((RANDOM_REMOVED, identity - torch.outer(u, u)), (ONLY_RANDOM, torch.outer(u, u))):
            slow = slow_logp(lm, analysis.examples, site, matrix)
            expected = [slow[check.examples[e].id, int(t)] for e, t in zip(check.example, check.position, strict=True)]
            np.testing.assert_allclose(check.draws[name][at], expected, rtol=1e-5, atol=1e-6)
            change = np.mean(np.array(expected) - check.logp[UNCHANGED])
            assert check.random_means(name)[at] == pytest.approx(change, rel=1e-3, abs=1e-7)
    assert check.logp[RANDOM_REMOVED] == pytest.approx(check.draws[RANDOM_REMOVED].mean(0))
    with pytest.raises(InputError, match="0 random directions are no control"):
        causal_check(lm, analysis, site, 0, draws=0)


def test_luck_is_as_strong_as_the_strongest_token_of_random_directions(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    site = next(site for site in lm.sites_at((1,)) if site.kind == "value")
    found = random_strengths(lm, site, draws=3, seed=7)
    drawn = torch.randn(3, site.d_kv, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    one_by_one = [float(lens_scores(lm, site, (u / u.norm())[None]).abs().max()) for u in drawn]
    assert found == pytest.approx(one_by_one, abs=1e-4)
    assert random_strengths(lm, site, draws=3, seed=8) != found


@pytest.mark.parametrize(
    ("largest", "random", "says"),
    [
        (-25.3, [16.9, *[20.0] * 18, 50.3], "Direction 1 points towards “over”, “·a.·b”, “∅”, no more strongly than "
         "random directions towards theirs. Its largest score is 25.3 logits, away from “z”; those of 20 random ones "
         "are 16.9 to 50.3: these tokens may be luck."),
        (-57.1, [16.9, *[20.0] * 18, 50.3], "“∅”, more strongly than random directions towards theirs. Its largest "
         "score is 57.1 logits, away from “z”; those"),
        (-15.0, [16.9] * 20, "Its largest score is 20 logits, towards “over”; those of 20 random ones are"),
        (-57.1, [16.9] * 3, "no more strongly than random"),  # too few to tell
        (-57.1, [], "“∅”; whether more strongly than a random one is open."),
    ],
)  # fmt: skip
def test_a_lens_is_said_beside_the_luck_of_random_directions(largest: float, random: list[float], says: str) -> None:
    promoted = tuple(LensToken(at, text, 20.0) for at, text in enumerate(("over", " a. b", "", "fourth")))
    assert says in lens_verdict(Lens(promoted, (LensToken(9, "z", largest),), tuple(random)), "direction 1")


def checked(
    change: float, random: list[float], spread: float = 0.0, kept: float = 0.0, kept_random: list[float] | None = None
) -> CausalCheck:
    """A check of three texts of one loss token each."""
    texts = tuple(Encoded(f"{n}", "", (2,) * 3, ((0, 0),) * 3, (1,)) for n in range(3))
    own = np.array([change - spread, change, change + spread])
    draws = {RANDOM_REMOVED: random, ONLY_RANDOM: kept_random or [-0.1, 0.1]}
    drawn = {name: np.array(means)[:, None] + np.zeros(3) for name, means in draws.items()}
    logp = {UNCHANGED: np.zeros(3), REMOVED: own, ONLY: np.full(3, kept)}
    return CausalCheck(texts, np.arange(3), np.ones(3, np.int64), logp, 3, drawn)


def test_the_band_reaches_as_far_to_both_sides_as_the_farthest_random_direction() -> None:
    # Their mean is 0.2; the farthest, 0.8, is 0.6 away from it.
    assert checked(0, [0.0, 0.0, 0.0, 0.8]).band(REMOVED) == pytest.approx((-0.4, 0.8))
    assert checked(0, [0.0], kept_random=[0.3, 0.5]).band(ONLY) == pytest.approx((0.3, 0.5))


@pytest.mark.parametrize(
    ("check", "says"),
    [
        # The random ones' mean is −0.05, the farthest 0.15 from it: from −0.2 to 0.1.
        (checked(-0.5, [0.1] * 10 + [-0.2] * 10), "Direction 1 matters: without it the loss tokens are less probable. "
         "Removing it lowers log p by 0.5 nats a loss token (95%: −0.5 to −0.5); 20 random directions reach from "
         "−0.2 to +0.1. Keeping only it raises log p by 0 nats, as keeping a random one may (−0.1 to +0.1)."),
        (checked(0.5, [0.1] * 20), "Direction 1 matters: without it the loss tokens are more probable. Removing it "
         "raises log p by 0.5 nats"),
        (checked(-0.5, [0.1] * 18 + [-0.6, 0.7]), "Direction 1 is not shown to matter. Removing it lowers log p by "
         "0.5 nats a loss token (95%: −0.5 to −0.5), which overlaps what 20 random directions do (−0.6 to +0.79)."),
        (checked(0.016, [0.0] * 19 + [0.004], spread=0.03), "(95%: −0.014 to +0.046): beyond all of 20 random "
         "directions, but the interval overlaps their band (−0.0036 to +0.004)."),
        (checked(-0.5, [0.1] * 18), "Whether direction 1 matters is open: 18 random directions are too few."),
        (checked(-0.1, [0.0] * 20, spread=1.0), "Direction 1 is not shown to matter."),
        (checked(-0.1, [-0.4, -0.5] * 10), "Removing direction 1 does less than removing random directions."),
        (checked(0, [0.0] * 20, spread=1, kept=0.093, kept_random=[0.09, 0.1]), "Keeping only it raises log p by "
         "0.093 nats, and so does keeping a random one (+0.09 to +0.1): losing the rest does it."),
        (checked(0, [0.0] * 20, spread=1, kept=0.082, kept_random=[0.09] * 3 + [0.11]), "Keeping only it raises log p "
         "by 0.082 nats, and so does keeping a random one (+0.08 to +0.11, each by more): losing the rest does it."),
        (checked(0, [0.0] * 20, spread=1, kept=-2, kept_random=[-6, -5]), "Keeping only it lowers log p by 2 nats, "
         "outside of what keeping a random one does (−6 to −5)."),
    ],
)  # fmt: skip
def test_a_change_counts_where_its_whole_interval_lies_outside_the_band(check: CausalCheck, says: str) -> None:
    assert says in causal_verdict(check, "direction 1")


def test_a_single_text_has_no_verdict() -> None:
    one = checked(-0.5, [0.0] * 20)
    alone = CausalCheck(one.examples[:1], one.example[:1], one.position[:1], {k: v[:1] for k, v in one.logp.items()}, 1)
    assert "One text tells nothing" in causal_verdict(alone, "direction 1")


def test_the_table_and_the_mean_say_the_same(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    analysis = analysis_of(lm)
    check = causal_check(lm, analysis, analysis.site(2, "value"), 0)
    table = check.table()
    assert len(table) == sum(len(e.supervised) for e in analysis.examples)
    by_id = {e.id: e for e in analysis.examples}
    assert all(by_id[row.example_id].ids[row.position] == row.id for row in table.itertuples())
    np.testing.assert_allclose(table[REMOVED], check.logp[REMOVED] - check.logp[UNCHANGED])
    mean, low, high = check.mean(REMOVED)
    assert mean == pytest.approx(table[REMOVED].mean())
    assert low <= mean <= high
    assert check.mean(REMOVED) == check.mean(REMOVED), "seeded"
    one = causal_check(lm, analysis, analysis.site(2, "value"), 0, analysis.examples[:1])
    assert np.isnan(one.mean(REMOVED)[1:]).all(), "one example tells nothing of the spread"


def test_the_interval_is_of_the_mean_over_tokens() -> None:
    texts = tuple(Encoded(f"{n}", "", (2,) * 9, ((0, 0),) * 9, tuple(range(1, n + 1))) for n in (1, 3, 8))
    example = np.repeat(np.arange(3), (1, 3, 8))
    position = np.concatenate([text.supervised for text in texts])
    changes = {UNCHANGED: np.full(12, -2.0), REMOVED: np.full(12, -3.0), ONLY: np.arange(12) / 10}
    check = CausalCheck(texts, example, position, changes, 3)
    assert check.mean(REMOVED) == pytest.approx((-1, -1, -1)), "texts of different length weigh by their tokens"
    mean, low, high = check.mean(ONLY)
    assert (mean, low, high) == (pytest.approx(2.55), pytest.approx(2.0), pytest.approx(2.75))


@pytest.mark.parametrize("count", [3, 12, 80])
def test_the_interval_is_what_drawing_by_hand_gives(count: int) -> None:
    rng = np.random.default_rng(count)
    tokens = rng.integers(1, 9, count)
    texts = tuple(Encoded(f"{e}", "", (2,) * 9, ((0, 0),) * 9, tuple(range(1, n + 1))) for e, n in enumerate(tokens))
    example = np.repeat(np.arange(count), tokens)
    change = rng.normal(0.3, 1, count)[example] + 0.2 * tokens[example] + rng.normal(0, 0.1, len(example))
    position = np.concatenate([text.supervised for text in texts])
    check = CausalCheck(texts, example, position, {UNCHANGED: 0 * change, REMOVED: change}, count)
    drawn = rng.multinomial(count, [1 / count] * count, 40_000)  # how often each example
    means = (drawn @ np.bincount(example, change, count)) / (drawn @ tokens)
    mean, low, high = check.mean(REMOVED)
    assert mean == pytest.approx(change.mean())
    # A 2.5% point of 1000 draws is known to about 0.09 of their spread.
    np.testing.assert_allclose((low, high), np.quantile(means, [0.025, 0.975]), atol=0.35 * means.std())
    assert count < 80 or (low, high) != check.mean(REMOVED, seed=1)[1:], "other draws"


def test_statistics_are_loaded_when_they_are_asked_for() -> None:
    check = "import spd_core.attribution.results, sys; sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0


def test_the_check_leaves_no_trace(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    analysis = analysis_of(lm)
    ids = torch.tensor([IDS])
    causal_check(lm, analysis, analysis.site(1, "key"), 2)  # the permanent hooks are installed now
    hooks = [len(module._forward_hooks) for module in lm.model.modules()]
    before = lm.model(ids).logits
    causal_check(lm, analysis, analysis.site(1, "value"), 1)
    activations(lm, IDS, lm.sites)
    lens_scores(lm, analysis.site(1, "value"), direction_of(analysis.d_kv)[None])
    with pytest.raises(IndexError):
        activations(lm, (5, 999_999), lm.sites)
    assert torch.equal(lm.model(ids).logits, before)
    assert [len(module._forward_hooks) for module in lm.model.modules()] == hooks


def test_stopping_keeps_whole_batches(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    analysis = analysis_of(lm)
    site, told = analysis.site(1, "key"), list[Progress]()
    check = causal_check(lm, analysis, site, 0, batch_size=1, tell=told.append, stop=lambda: len(told) == 2)
    assert [(at.done, at.total) for at in told] == [(1, 4), (2, 4)]
    assert (len(check.examples), check.requested) == (2, 4)
    assert all(len(logp) == len(check.example) for logp in check.logp.values())
    with pytest.raises(Stopped, match="stopped before the first batch"):
        causal_check(lm, analysis, site, 0, stop=lambda: True)


def test_another_model_and_unknown_directions_are_refused(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    analysis = analysis_of(lm)
    site = analysis.site(1, "key")
    with pytest.raises(InputError, match=f"no direction {site.d_kv + 1}; choose 1 to {site.d_kv}"):
        causal_check(lm, analysis, site, site.d_kv)
    with pytest.raises(ModelError, match="captured on"):
        causal_check(tiny_lm("mistral"), analysis, site, 0)

"""Lanes written and read on tiny models: against `generate`, against float64 by hand, and the snippet executed."""

import contextlib
import copy
import dataclasses
import io
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from spd_core.data.capability import Capability, Example, Settings
from spd_core.errors import InputError, MemoryLimitError, ModelError
from spd_core.generation import read_along, teacher_forcing
from spd_core.generation.compare import ROWS, compare, lanes_of
from spd_core.generation.decode import Completion, generate
from spd_core.generation.report import to_python
from spd_core.generation.teacher_forcing import kl_divergence, prompt_ids, read_lanes, read_row
from spd_core.intervention.adapters import merged
from spd_core.intervention.projection import Lane, projecting
from spd_core.models import device
from spd_core.progress import Progress
from spd_core.recipes.capture import CaptureSettings
from spd_core.recipes.gains import parse_gains
from spd_core.recipes.lanes import RAW, Grid, LaneSpec, Sampling, sweep_specs
from spd_core.storage import runs_folder
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.pipeline import capture
from spd_core.subspace.store import open_capture, save_capture
from tests.lora import adapter_of, peft_model

EXAMPLES = tuple(Example(id=f"e{i}", prompt=f"{i} + 4?", answer=f"It is {i + 4}", spans="number") for i in range(8))
SUMS = Capability(Settings(capability="sums"), EXAMPLES)
HALF, WARM = LaneSpec(rank="8"), Sampling(temperature=1.2, seed=1, max_new_tokens=12)
FULL = LaneSpec(complement=True, rank="4", strength=0.7)


def analysis_of(lm: Any, name: str = "sums") -> Analysis:
    return capture(lm, SUMS, CaptureSettings(layers="1,2"), name=name)


@pytest.fixture(scope="module")
def llama(tiny_lm: Callable[[str], Any]) -> Any:
    """A tiny model that no token ends."""
    lm = tiny_lm("llama")
    model, tokenizer = copy.deepcopy(lm.model), copy.deepcopy(lm.tokenizer)
    model.generation_config.eos_token_id = tokenizer.eos_token = None
    return dataclasses.replace(lm, model=model, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def sums(llama: Any) -> Analysis:
    return analysis_of(llama)


def test_lanes_are_written_as_generate_writes_them(llama: Any, sums: Analysis) -> None:
    specs = [RAW, HALF, HALF.model_copy(update={"of": "random", "seed": 3}), FULL]
    found = compare(llama, sums, "2 + 2?", specs, WARM, answer="4")
    lanes = lanes_of(specs, sums, {})
    expected = generate(llama, ["Question: 2 + 2?\nAnswer:"], lanes, WARM)
    assert [lane.ids for lane in found.lanes] == [c.tokens for c in expected]
    assert [lane.text for lane in found.lanes] == [c.text for c in expected]
    assert [lane.label for lane in found.lanes] == ["Raw", "Projected", "Random subspace", "Complement"]
    assert (found.prompt_tokens, found.answer) == (len("Question: 2 + 2?\nAnswer:"), "4")
    assert found.lanes[1].ranks == dict.fromkeys(["layer 1 key", "layer 1 value", "layer 2 key", "layer 2 value"], 8)
    assert {tuple(lane.spec for lane in found.lanes)} == {tuple(specs)}
    assert all(lane.finish == "length" and lane.seconds > 0 for lane in found.lanes)


def test_divergence_counts_nothing_of_impossible_tokens_and_hides_no_broken_model() -> None:
    p, q = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.25, 0.75, 0.0]])
    found = kl_divergence(p.log(), q.log())
    assert found.item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), abs=1e-6)
    assert kl_divergence(p.log(), torch.tensor([[0.0, 1.0, 0.0]]).log()).item() == math.inf
    assert math.isnan(kl_divergence(torch.full((1, 3), math.nan), q.log()).item())


def test_lanes_of_a_later_batch_draw_noise_of_their_own(llama: Any, sums: Analysis) -> None:
    apart = Sampling(temperature=2.0, top_p=1.0, max_new_tokens=8, shared_randomness=False)
    found = compare(llama, sums, "2 + 2?", [RAW] * (ROWS + 1), apart)
    assert len({tuple(lane.ids) for lane in found.lanes}) == ROWS + 1


@pytest.mark.parametrize("rank", ["half", "8"])
def test_a_raw_lane_is_the_untouched_model(rank: str, llama: Any, sums: Analysis) -> None:
    """Whatever rank its spec carries: raw and projected of the defaults carry the same one."""
    raw, projected = compare(llama, sums, "2 + 2?", [RAW, LaneSpec(rank=rank)], WARM).lanes
    ids = torch.tensor([llama.tokenizer("Question: 2 + 2?\nAnswer:")["input_ids"] + raw.ids])
    with torch.no_grad():
        logp = llama.model(ids).logits[0].log_softmax(-1)[-len(raw.ids) - 1 : -1]
    assert [t.logprob for t in raw.tokens] == pytest.approx(logp[range(len(raw.ids)), raw.ids].tolist(), abs=1e-3)
    assert min(token.kl or 0 for token in (*raw.tokens, *projected.tokens)) > 1e-4


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gemma3", "gpt2", "phi3"])
def test_reading_gives_back_what_writing_recorded(
    family: str, tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also across pieces of the cache, and for sliding windows shorter than the text."""
    monkeypatch.setattr(teacher_forcing, "CHUNK", 7)
    lm = tiny_lm(family)
    lanes = lanes_of([RAW, HALF, FULL], analysis_of(lm), {})
    prompt = "Question: how much is 12 + 30?\nAnswer:"
    for completion in generate(lm, [prompt], lanes, Sampling(temperature=1.2, max_new_tokens=20), measured=True):
        ids = prompt_ids(lm, prompt, True)
        places = read_row(lm, ids, completion.tokens, (completion.lane, lanes[0]))
        assert places is not None
        assert [p.own_logprob for p in places] == pytest.approx(completion.logprobs, abs=1e-3)


def test_kl_and_alternatives_against_float64_by_hand(llama: Any, sums: Analysis) -> None:
    specs = [RAW, HALF, FULL]
    found = compare(llama, sums, "2 + 2?", specs, WARM, alternatives=3)
    lanes = lanes_of(specs, sums, {})
    precise = dataclasses.replace(llama, model=copy.deepcopy(llama.model).double())
    for at, lane in enumerate(found.lanes):
        assert lane.other == (1 if at == 0 else 0)
        logp = {}
        for which, index in (("own", at), ("other", lane.other)):
            ids = prompt_ids(llama, found.read, True) + lane.ids
            with projecting(precise, lanes[index]), torch.no_grad():
                logits = precise.model(torch.tensor([ids])).logits[0]
            logp[which] = logits.log_softmax(-1)[len(ids) - len(lane.ids) - 1 : -1]
        for i, token in enumerate(lane.tokens):
            p, q = logp["own"][i], logp["other"][i]
            by_hand = sum(float(a.exp()) * float(a - b) for a, b in zip(p, q, strict=True))
            assert token.kl == pytest.approx(by_hand, abs=1e-4)
            assert token.kl > 0
            assert token.other_logprob == pytest.approx(float(q[token.id]), abs=1e-3)
            for top, values in ((token.top, p), (token.other_top, q)):
                assert [share for _, share in top] == pytest.approx(values.exp().topk(3).values.tolist(), abs=1e-3)


@pytest.mark.parametrize(
    ("family", "piece"),
    [
        ("llama", 1),
        ("llama", 64),
        *((family, 5) for family in ("llama", "mistral", "gemma2", "gemma3", "gpt2", "phi3")),
    ],
)
def test_what_is_read_while_writing_is_what_is_read_afterwards(
    family: str, piece: int, tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of lanes that end at different times, in two batches, also for sliding windows shorter than the text."""
    monkeypatch.setattr(read_along, "PIECE", piece)
    monkeypatch.setattr("spd_core.generation.compare.ROWS", 4)
    lm = tiny_lm(family)
    lm = dataclasses.replace(lm, model=copy.deepcopy(lm.model))
    lm.model.generation_config.eos_token_id = list(range(1, 16))
    specs = [RAW, HALF, FULL, LaneSpec(rank="2"), LaneSpec(rank="12"), LaneSpec(rank="3", strength=0.5)]
    warm = Sampling(temperature=1.5, seed=3, max_new_tokens=24, shared_randomness=False)
    analysis = analysis_of(lm)
    found = compare(lm, analysis, "how much is 12 + 30?", specs, warm, alternatives=2)
    assert found.is_read
    assert len({len(lane.ids) for lane in found.lanes}) > 1
    unread = found.model_copy(update={"lanes": tuple(lane.unread() for lane in found.lanes)})
    plain = read_lanes(lm, unread, lanes_of(specs, analysis, {}), alternatives=2)
    for lane, expected in zip(found.lanes, plain.lanes, strict=True):
        assert lane.other == expected.other
        for token, other in zip(lane.tokens, expected.tokens, strict=True):
            assert (token.kl, token.other_logprob) == pytest.approx((other.kl, other.other_logprob), abs=1e-3)
            for mine, theirs in ((token.top, other.top), (token.other_top, other.other_top)):
                assert [share for _, share in mine] == pytest.approx([share for _, share in theirs], abs=1e-3)
                assert mine[0][0] == theirs[0][0] or mine[0][1] == pytest.approx(mine[1][1], abs=1e-3)


def test_a_lane_of_strength_zero_has_no_divergence_from_raw(llama: Any, sums: Analysis) -> None:
    raw, zero = compare(llama, sums, "Hi", [RAW, HALF.model_copy(update={"strength": 0.0})], WARM).lanes
    assert raw.ids == zero.ids
    assert [token.kl for token in (*raw.tokens, *zero.tokens)] == pytest.approx([0.0] * 2 * len(raw.ids), abs=1e-6)
    assert [t.other_logprob for t in zero.tokens] == pytest.approx([t.logprob for t in zero.tokens], abs=1e-4)


def test_a_lone_lane_is_read_under_itself(llama: Any, sums: Analysis) -> None:
    (lane,) = compare(llama, sums, "Hi", [HALF], WARM).lanes
    assert lane.other == 0
    assert lane.mean_kl == pytest.approx(0, abs=1e-6)


def test_a_sweep_runs_in_batches_and_gives_what_single_lanes_give(llama: Any, sums: Analysis) -> None:
    grid = Grid(ranks=("2", "4", "half", "12"), strengths=(0.25, 0.5, 1.0))
    specs, seen = sweep_specs(grid, LaneSpec()), []
    greedy = Sampling(temperature=0, max_new_tokens=5)

    def on_step(completions: list[Completion], seconds: list[float]) -> None:
        seen.append(sum(bool(c.finish) for c in completions))

    found = compare(llama, sums, "2 + 2?", specs, greedy, grid=grid, alternatives=0, on_step=on_step)
    assert len(found.lanes) == 13
    assert seen[:6] == [0, 0, 0, 0, 8, 8] if seen[4] == 8 else seen[5] == 8
    for at in (0, 3, 9, 12):
        alone = generate(llama, [found.read], [lanes_of(specs, sums, {})[at]], greedy)[0]
        assert found.lanes[at].ids == alone.tokens
    assert found.lanes[12].spec == LaneSpec(rank="12", strength=1.0)
    assert found.lanes[12].label == "Projected, rank 12, α 1"


def test_stopping_while_writing_keeps_the_texts_and_reads_nothing(llama: Any, sums: Analysis) -> None:
    steps: list[int] = []
    found = compare(
        llama, sums, "Hi", [RAW, HALF], WARM,
        on_step=lambda completions, seconds: steps.append(1), stop=lambda: len(steps) >= 3,
    )  # fmt: skip
    assert [(lane.finish, len(lane.tokens), lane.other) for lane in found.lanes] == [("stopped", 3, None)] * 2
    assert not found.is_read
    lanes = lanes_of([RAW, HALF], sums, {})
    again = read_lanes(llama, found, lanes)
    assert again.is_read
    assert again.reading_seconds > 0


def test_a_stopped_reading_keeps_whole_lanes_and_goes_on_later(llama: Any, sums: Analysis) -> None:
    read: list[Progress] = []
    specs = [RAW, HALF, FULL]
    whole = compare(llama, sums, "Hi", specs, WARM, tell=read.append)
    assert whole.is_read
    assert read == [], "they were read while they were written"
    lanes = lanes_of(specs, sums, {})
    unread = whole.model_copy(update={"lanes": tuple(lane.unread() for lane in whole.lanes)})
    found = read_lanes(llama, unread, lanes, tell=read.append, stop=lambda: len(read) >= 2)
    assert [lane.other for lane in found.lanes] == [1, 0, None]
    again = read_lanes(llama, found, lanes, tell=read.append)
    assert [(at.done, at.total) for at in read] == [(1, 3), (2, 3), (3, 3)]
    assert again.lanes[:2] == found.lanes[:2]


def test_styles_of_the_prompt(llama: Any, sums: Analysis) -> None:
    few = Sampling(max_new_tokens=1)
    for style, text in (
        ("raw", "Question: Hi\nAnswer:"),
        ("chat", "<user>Hi\n<assistant>"),
        ("exact", "Hi"),
    ):
        found = compare(llama, sums, "Hi", [RAW], few, style=style)  # type: ignore[arg-type]
        assert (found.read, found.special_tokens) == (text, style != "chat")


def test_what_cannot_be_is_refused_with_the_value(llama: Any, sums: Analysis, tiny_lm: Callable[[str], Any]) -> None:
    with pytest.raises(InputError, match="prompt is empty"):
        compare(llama, sums, " \n", [RAW], WARM)
    with pytest.raises(InputError, match="tokens long, and the model's context of 256"):
        compare(llama, sums, "x" * 300, [RAW], WARM)
    with pytest.raises(InputError, match="'code' is not on this machine"):
        compare(llama, sums, "Hi", [RAW, LaneSpec(capture="code")], WARM)
    with pytest.raises(InputError, match="rank 99 is outside 1 to 16"):
        compare(llama, sums, "Hi", [LaneSpec(rank="99")], WARM)
    with pytest.raises(ModelError, match="captured on"):
        compare(tiny_lm("qwen2"), sums, "Hi", [HALF], WARM)


def test_what_does_not_fit_is_refused_before_writing(
    llama: Any, sums: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "available_memory", lambda device: 1000)
    with pytest.raises(MemoryLimitError, match="2 lanes of 20 \\+ 12 tokens needs about"):
        compare(llama, sums, "Hi", [RAW, HALF], WARM)


def test_lanes_of_another_capability(llama: Any, sums: Analysis) -> None:
    other = dataclasses.replace(sums, name="other")
    found = compare(llama, sums, "Hi", [RAW, HALF, LaneSpec(rank="4", capture="other")], WARM, others={"other": other})
    assert found.lanes[2].ranks["layer 1 key"] == 4


def test_distilled_lanes_are_written_beside_the_others_and_read(llama: Any, sums: Analysis, tmp_path: Path) -> None:
    one, two = (adapter_of(llama, peft_model(llama, seed=seed), tmp_path / str(seed), arm=arm, run="r1")
                for seed, arm in ((0, "spd"), (1, "psr")))  # fmt: skip
    adapters = {"r1/spd": one, "r1/psr": two}
    specs = [RAW, HALF, *(LaneSpec(kind="distilled", adapter=ref) for ref in adapters),
             HALF.model_copy(update={"adapter": "r1/spd"})]  # fmt: skip
    found = compare(llama, sums, "2 + 2?", specs, WARM, adapters=adapters)
    assert [lane.label for lane in found.lanes] == [
        "Raw", "Projected, not distilled", "Distilled (SPD)", "Distilled (PSR)", "Projected, distilled (SPD)",
    ]  # fmt: skip
    assert found.lanes[0].ids == compare(llama, sums, "2 + 2?", [RAW, HALF], WARM).lanes[0].ids
    facts = found.lanes[2].adapter
    assert facts is not None
    assert (facts.ref, facts.fingerprint, facts.revision) == ("r1/spd", one.fingerprint, llama.revision)
    assert found.lanes[0].adapter is None
    assert found.lanes[2].ranks == {}
    assert found.lanes[4].ranks["layer 1 key"] == 8
    for at, adapter in ((2, one), (3, two)):
        with merged(llama, adapter) as alone:
            (expected,) = generate(alone, [found.read], [Lane()], WARM, measured=True)
            assert found.lanes[at].ids == expected.tokens
            assert [t.logprob for t in found.lanes[at].tokens] == pytest.approx(expected.logprobs, abs=1e-3)
        assert found.lanes[at].other == 0
        assert found.lanes[at].mean_kl > 1e-4
    with pytest.raises(InputError, match="the distilled model 'r1/psr' is not on this machine"):
        compare(llama, sums, "Hi", specs, WARM, adapters={"r1/spd": one})
    elsewhere = dataclasses.replace(one, card=one.card.model_copy(update={"revision": "other"}))
    with pytest.raises(ModelError, match="trained on"):
        compare(llama, sums, "Hi", specs[2:3], WARM, adapters={"r1/spd": elsewhere})


def test_a_mixed_lane_is_written_in_directions_of_whole_sites(llama: Any, sums: Analysis) -> None:
    """Whatever the basis of the capture: direction 1 is the first one of `vectors`, as on all pages."""
    gains = parse_gains("2v_1x0_3x4_1k_1x-2")
    mixed = LaneSpec(rank="8", strength=0, gains=gains)
    by_head = dataclasses.replace(sums, provenance=sums.provenance.model_copy(update={"basis": "per-head"}))
    for analysis in (sums, by_head):
        (lane,) = lanes_of([mixed], analysis, {})
        for site, matrix in lane.maps(llama).items():
            own = next(one for one in gains if (one.layer, one.kind) == (site.layer, site.kind))
            expected = torch.eye(site.d_kv, dtype=torch.float64)
            for number, gain in own.directions:
                u = torch.from_numpy(sums.sites[site].vectors[:, number - 1]).double()
                expected += (gain - 1) * torch.outer(u, u)
            torch.testing.assert_close(matrix, expected, rtol=0, atol=1e-7)
    found = compare(llama, sums, "2 + 2?", [RAW, mixed], WARM)
    assert found.lanes[1].label == "Mixed: layer 1 keys, d1 × −2; layer 2 values, d1 × 0, d3 × 4"
    assert found.lanes[1].mean_kl > 1e-4
    still = LaneSpec(rank="8", strength=0, gains=parse_gains("2v_1x1"))
    same = compare(llama, sums, "2 + 2?", [RAW, still], WARM)
    assert same.lanes[0].ids == same.lanes[1].ids, "gains of 1 change nothing, and the noise is shared"


def test_the_snippet_writes_the_same_texts(
    llama: Any, family_folder: Callable[[str], Path], tiny_lm: Callable[[str], Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    lm = tiny_lm("llama")
    sums, other = analysis_of(lm), analysis_of(lm, "other")
    for analysis in (sums, other):
        save_capture(analysis, tmp_path / "captures" / analysis.name)
    ref = "20261124-152000-sums-0001/spd"
    adapter = adapter_of(lm, peft_model(lm), runs_folder() / ref.replace("/", "/adapters/"))
    specs = [
        RAW, HALF, FULL, LaneSpec(kind="distilled", adapter=ref), LaneSpec(kind="random", rank="8", seed=2),
        LaneSpec(rank="2", capture="other"),
        HALF.model_copy(update={"kinds": ("value",), "layers": (2,)}),
        LaneSpec(rank="8", strength=0, gains=parse_gains("2v_1x0_3x2_1k_2x-1_ox0.5")),
    ]  # fmt: skip
    found = compare(lm, sums, 'say "hi"\n\\ é', specs, WARM, others={"other": other}, style="chat",
                    adapters={ref: adapter})  # fmt: skip
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(to_python(found), "snippet", "exec"), {})
    assert said.getvalue() == "".join(f"--- {lane.label}\n{lane.text}\n" for lane in found.lanes)
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(SystemExit) as end:
        exec(compile(to_python(found), "snippet", "exec"), {})
    assert "no capture 'sums' is saved on this machine" in str(end.value)
    assert f"below {tmp_path / 'elsewhere'}; set SPD_HOME" in str(end.value)


def test_the_snippet_sets_its_threads_before_torch_loads(llama: Any, sums: Analysis) -> None:
    program = to_python(compare(llama, sums, "Hi", [RAW], WARM))
    before, _, _ = program.partition("from spd_core import")
    said = subprocess.run(
        [sys.executable, "-c", f"{before}\nimport sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"],
        env={key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout == "PASSIVE False\n"
    with pytest.raises(InputError, match="no capture 'nowhere' is saved"):
        open_capture("nowhere")

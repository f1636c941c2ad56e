"""Writing against `transformers.generate` with the same batch; more lanes, projecting and reading against one raw lane.

python -m benchmarks.generation [--part peer|lanes|large]
OMP_NUM_THREADS=1 before it measures one thread by its own clock, on a machine that others use, too.
"""

import statistics
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import torch
import typer

from benchmarks.machine import describe, ratios, report, seconds

NAMES = ("Tom", "Elisabeth", "Ann, who has been to the market,")
PROMPTS = [
    f"Question: {NAMES[i % 3]} has {7 ** (i % 5)} apples and buys {i + 5} more. How many apples are there?\nAnswer:"
    for i in range(32)
]
GREEDY = {1: 1.0, 4: 1.3, 16: 1.4, 32: 1.4}
SAMPLED = {16: 1.6, 32: 1.6}
"""How many times as fast as transformers, by rows."""


def main(dtype: str = "float32", new_tokens: int = 32, rounds: int = 5, part: str = "") -> None:
    """Print the ratios; of one part, or of all."""
    from spd_core.models import loading

    print(describe())
    print(f"{new_tokens} tokens, median of {rounds} interleaved rounds\n")
    print("| measure | ratio | target | met |\n|---|---|---|---|")
    lm = loading.load("builtin", dtype=dtype)
    lm.model.generation_config.eos_token_id = None  # every row writes all its tokens
    lm.tokenizer.eos_token = None
    if part in ("", "peer"):
        _against_transformers(lm, new_tokens, rounds)
    if part in ("", "lanes"):
        _lanes(lm, new_tokens, rounds)
    if part in ("", "large"):
        _against_transformers(_large(lm), max(new_tokens // 4, 2), max(rounds // 2, 1), {1: 1.0, 4: 1.0, 16: 1.0}, {})


# --- against transformers ------------------------------------------------------------------------------------


def _against_transformers(
    lm: Any,
    new_tokens: int,
    rounds: int,
    greedy: dict[int, float] = GREEDY,
    sampled: dict[int, float] = SAMPLED,
) -> None:
    peak, bandwidth = _matrix_rate(lm.dtype), _read_rate()
    for temperature, targets in ((0.0, greedy), (0.7, sampled)):
        for rows, target in targets.items():
            _one_batch(lm, rows, temperature, target, new_tokens, rounds, peak, bandwidth)


def _one_batch(
    lm: Any, rows: int, temperature: float, target: float, new_tokens: int, rounds: int, peak: float, bandwidth: float
) -> None:
    from spd_core.generation import decode
    from spd_core.intervention.projection import Lane

    prompts = PROMPTS[:rows]
    sampling = decode.Sampling(temperature=temperature, max_new_tokens=new_tokens)
    texts: dict[str, list[list[int]]] = {}
    steps: dict[str, list[float]] = {"ours": [], "theirs": []}

    def ours() -> float:
        ticks = [seconds()]
        written = decode.generate(
            lm, prompts, [Lane()], sampling, batch_size=rows, on_step=lambda _: ticks.append(seconds())
        )
        return taken("ours", ticks, [one.tokens for one in written])

    def theirs() -> float:
        ticks = [seconds()]
        return taken("theirs", ticks, _transformers(lm, prompts, sampling, lambda: ticks.append(seconds())))

    def taken(who: str, ticks: list[float], written: list[list[int]]) -> float:
        texts[who] = written
        steps[who].append(statistics.median(after - before for before, after in pairwise(ticks[1:])))
        return seconds() - ticks[0]

    ratio = ratios({"ours": ours, "theirs": theirs}, rounds)["theirs"]
    how = "greedy" if temperature == 0 else f"temperature {temperature}, top-p {sampling.top_p}"
    same = sum(mine == other for mine, other in zip(texts["ours"], texts["theirs"], strict=True))
    equal = f", {same} of {rows} texts equal" if temperature == 0 else ""
    report(f"{lm.name}, {rows} rows, {how}: transformers ÷ ours{equal}", ratio, f"≥ {target}", ratio >= target)
    step = statistics.median(steps["ours"])
    alone = statistics.median(b / a for a, b in zip(steps["ours"], steps["theirs"], strict=True))
    weights = sum(parameter.nbytes for parameter in lm.model.parameters())
    work = 2 * rows * weights / lm.dtype.itemsize
    print(
        f"| a step of it, {1000 * step:.0f} ms: {work / step / peak:.0%} of {peak / 1e9:.0f} GFLOP/s, "
        f"{weights / step / bandwidth:.0%} of {bandwidth / 1e9:.0f} GB/s | {alone:.2f} × | | |",
        flush=True,
    )


def _transformers(
    lm: Any, prompts: Sequence[str], sampling: Any, on_step: Callable[[], None] = lambda: None
) -> list[list[int]]:
    """What `model.generate` writes, row by row."""
    from transformers import StoppingCriteriaList

    def told(ids: Any, _scores: Any, **_more: Any) -> Any:
        on_step()
        return torch.zeros(len(ids), dtype=torch.bool)

    lm.tokenizer.padding_side, lm.tokenizer.pad_token_id = "left", 0
    inputs = lm.tokenizer(list(prompts), return_tensors="pt", padding=True)
    how = {"do_sample": False}
    if sampling.temperature:
        how = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    with torch.inference_mode():
        out = lm.model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=sampling.max_new_tokens,
            pad_token_id=0,
            stopping_criteria=StoppingCriteriaList([told]),
            **how,
        )
    written: list[list[int]] = out[:, inputs["input_ids"].shape[1] :].tolist()
    return written


def _best(work: Callable[[], object], times: int = 5) -> float:
    """Fewest seconds of a piece of work."""
    taken = []
    for _ in range(times):
        started = seconds()
        work()
        taken.append(seconds() - started)
    return min(taken)


def _matrix_rate(dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large product."""
    big = torch.randn(2048, 2048).to(dtype)
    return 2 * 2048**3 / _best(lambda: big @ big)


def _read_rate() -> float:
    """Bytes a second of one pass over 256 MiB."""
    long = torch.randn(64 * 2**20)
    return long.nbytes / _best(long.sum)


def _large(lm: Any) -> Any:
    """A model of 0.5B weights, shaped like Qwen2.5-0.5B, untrained: only its speed is of interest."""
    import dataclasses

    from transformers import AutoModelForCausalLM, Qwen2Config

    from spd_core.models.families import card_of, list_sites

    config = Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=lm.dtype).eval().requires_grad_(False)
    model.generation_config.eos_token_id = None
    card = card_of(config, "0.5B")
    return dataclasses.replace(
        lm, model=model, card=card, sites=list_sites(model, card), name="0.5B weights, untrained"
    )


# --- lanes ---------------------------------------------------------------------------------------------------


def _lanes(lm: Any, new_tokens: int, rounds: int) -> None:
    from spd_core.data import catalog, spans
    from spd_core.generation import decode
    from spd_core.intervention.projection import Lane, folded
    from spd_core.subspace import capture, subspace

    found = catalog.find_capability("arithmetic").limited(8)
    encoded = spans.encode_all(found.examples, found.settings, lm.tokenizer)
    space = subspace.fit(capture.capture_gradients(lm, encoded, (15, 29)), lm)
    raw, projected = Lane(), Lane(space, name="projected")
    sampling = decode.Sampling(max_new_tokens=new_tokens)
    four = [raw, projected, Lane(space, complement=True), Lane(space, 0.5)]

    def write(lanes: Sequence[Lane], told: bool = False) -> float:
        """Median seconds of a decoding step (the prompt's own step left out)."""
        ticks = [seconds()]
        decode.generate(lm, PROMPTS[:1], lanes, sampling, measured=told, on_step=lambda _: ticks.append(seconds()))
        return statistics.median(b - a for a, b in pairwise(ticks[1:]))

    def write_folded() -> float:
        with folded(lm, projected):
            return write([raw])

    def plain(lanes: Sequence[Lane]) -> float:
        packed = decode.packed_linears
        decode.packed_linears = lambda *_: nullcontext()
        try:
            return write(lanes)
        finally:
            decode.packed_linears = packed

    works = {
        "raw": lambda: write([raw]),
        "hooks": lambda: write([projected]),
        "folded": write_folded,
        "two": lambda: write([raw, projected]),
        "four": lambda: write(four),
        "six": lambda: write([*four, Lane(space, 0.25), Lane(space, 0.75)]),
        "told": lambda: write([raw], told=True),
        "plain two": lambda: plain([raw, projected]),
    }
    found_ratios = ratios(works, rounds)
    limits = {"hooks": 1.05, "folded": 1.02, "two": 1.25, "four": 1.6, "six": 1.6}
    names = {"hooks": "projected by hooks ÷ raw", "folded": "folded ÷ raw"}
    for name, limit in limits.items():
        said = names.get(name, f"{name} lanes in one batch ÷ one")
        report(said, found_ratios[name], f"≤ {limit}", found_ratios[name] <= limit)
    print(f"\nwith log-probabilities and entropies: {found_ratios['told']:.2f} ×")
    print(f"without packed weights (packing.py), two lanes ÷ one: {found_ratios['plain two']:.2f} ×")


if __name__ == "__main__":
    typer.run(main)

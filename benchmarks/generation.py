"""Cost of projecting and of more lanes, per decoding step, against one raw lane.

python -m benchmarks.generation [--dtype float32|bfloat16]
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise

import typer

from benchmarks.machine import describe, ratios, report

PROMPT = "Question: Tom has 7 apples and buys 5 more. How many apples does he have?\nAnswer:"


def main(dtype: str = "auto", new_tokens: int = 48, rounds: int = 7) -> None:
    """Print the ratios."""
    from spd_core.data import public, spans
    from spd_core.generation import decode
    from spd_core.intervention.projection import Lane, folded
    from spd_core.models import loading, packing
    from spd_core.subspace import capture, subspace

    lm = loading.load("builtin", dtype=dtype)
    lm.model.generation_config.eos_token_id = None  # every lane writes all its tokens
    lm.tokenizer.eos_token = None
    found = public.find_capability("arithmetic").limited(8)
    encoded = spans.encode_all(found.examples, found.settings, lm.tokenizer)
    space = subspace.fit(capture.capture_gradients(lm, encoded, (15, 29)), lm)
    raw, projected = Lane(), Lane(space, name="projected")
    sampling = decode.Sampling(max_new_tokens=new_tokens)

    def write(lanes: Sequence[Lane]) -> float:
        """Median seconds of a decoding step (the prompt's own step left out)."""
        ticks = [time.perf_counter()]
        decode.generate(lm, [PROMPT], lanes, sampling, on_step=lambda _: ticks.append(time.perf_counter()))
        steps = sorted(b - a for a, b in pairwise(ticks[1:]))
        return steps[len(steps) // 2]

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

    print(describe())
    print(f"built-in model in {lm.dtype}, {new_tokens} tokens, median of {rounds} interleaved rounds\n")
    print("| measure | ratio | target | met |\n|---|---|---|---|")
    works = {
        "raw": lambda: write([raw]),
        "hooks": lambda: write([projected]),
        "folded": write_folded,
        "two": lambda: write([raw, projected]),
        "four": lambda: write([raw, projected, Lane(space, complement=True), Lane(space, 0.5)]),
        "plain two": lambda: plain([raw, projected]),
    }
    found_ratios = ratios(works, rounds)
    report("projected by hooks ÷ raw", found_ratios["hooks"], "≤ 1.05", found_ratios["hooks"] <= 1.05)
    report("folded ÷ raw", found_ratios["folded"], "≤ 1.02", found_ratios["folded"] <= 1.02)
    report("two lanes in one batch ÷ one", found_ratios["two"], "≤ 1.25", found_ratios["two"] <= 1.25)
    report("four lanes in one batch ÷ one", found_ratios["four"], "≤ 1.6", found_ratios["four"] <= 1.6)
    if isinstance(packing.packed_linears(lm, 2), nullcontext):
        return
    print(f"\nwithout packed weights (packing.py): two lanes ÷ one {found_ratios['plain two']:.2f} ×")


if __name__ == "__main__":
    typer.run(main)

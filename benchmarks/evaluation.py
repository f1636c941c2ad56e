"""Speed of evaluating 150 items on the built-in model, and what asking again costs.

python -m benchmarks.evaluation [--items 150] [--rounds 3]
"""

import os
import tempfile
import time

import typer

from benchmarks.machine import describe, ratios, report


def main(items: int = 150, rounds: int = 3, batch_size: int = 32) -> None:
    """Print the ratios."""
    from spd_core.data import catalog, spans
    from spd_core.evaluation.answers import Evaluated, evaluate
    from spd_core.evaluation.items import read_set
    from spd_core.intervention.projection import Lane
    from spd_core.models import loading
    from spd_core.recipes.sets import EvalSet
    from spd_core.subspace import capture, subspace

    lm = loading.load("builtin", dtype="float32")
    calibration = catalog.find_capability("arithmetic").limited(8)
    encoded = spans.encode_all(calibration.examples, calibration.settings, lm.tokenizer)
    projected = Lane(subspace.fit(capture.capture_gradients(lm, encoded, (15, 29)), lm), name="projected")

    with tempfile.TemporaryDirectory() as home:
        os.environ["SPD_HOME"] = home
        asked = iter(range(10**6))

        def ask(lane: Lane, size: int, n: int = items, name: str = "") -> tuple[Evaluated, float]:
            """All items anew, unless `name` is a subject that was asked before."""
            wanted = read_set(EvalSet(capability="arithmetic", limit=n))
            started = time.perf_counter()
            found = evaluate(lm, lane, wanted, name or f"subject {next(asked)}", batch_size=size)
            return found, time.perf_counter() - started

        print(describe())
        print(f"built-in model in float32, {items} items of arithmetic, batches of {batch_size}\n")
        print("| measure | value | target | met |\n|---|---|---|---|")
        ask(Lane(), 1, 4)
        first, batched = ask(Lane(), batch_size, name="first")
        _, single = ask(Lane(), 1)
        report("one at a time ÷ batched", single / batched, "≥ 4", single / batched >= 4)
        again, read = ask(Lane(), batch_size, name="first")
        report(
            "asked again: tokens written", again.tokens, "0", again.tokens == 0 and again.records == first.records, ""
        )
        report("asked again ÷ asked first", read / batched, "–", True)
        lm.model.generation_config.eos_token_id = None  # from here on every answer has all its tokens
        lm.tokenizer.eos_token = None
        both = ratios({"raw": lambda: ask(Lane(), batch_size)[1], "projected": lambda: ask(projected, batch_size)[1]},
                      rounds)  # fmt: skip
        report("projected ÷ raw", both["projected"], "≤ 1.05", both["projected"] <= 1.05)


if __name__ == "__main__":
    typer.run(main)

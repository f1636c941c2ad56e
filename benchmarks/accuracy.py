"""Greedy accuracy of a model on the built-in capabilities' held-out items, with 95 % Wilson intervals.

python -m benchmarks.accuracy [--model builtin] [--limit N]
"""

import sys
from typing import Annotated

import typer
from tqdm import tqdm

from benchmarks.machine import describe

NEW_TOKENS = {"number": 32, "letter": 4, "python": 128, "exact": 16}


def main(
    model: str = "builtin",
    dtype: str = "auto",
    style: Annotated[str, typer.Option(help="raw or chat")] = "raw",
    limit: int | None = None,
    capability: str = "",
) -> None:
    """Print a table."""
    from spd_core import capability as capabilities
    from spd_core import evaluation, generation, models, spans, tasks
    from spd_core.projection import Lane

    lm = models.load(model, dtype=dtype)
    print(describe(), "\n")
    print("| capability | right | n | accuracy | 95 % interval |\n|---|---|---|---|---|")
    for name in [capability] if capability else capabilities.builtin_names():
        found = tasks.find_capability(name, split="heldout").limited(limit)
        prompts = [
            spans.generation_prompt(example.prompt, found.settings, style, lm.tokenizer)[0]  # type: ignore[arg-type]
            for example in found.examples
        ]
        sampling = generation.Sampling(temperature=0, max_new_tokens=NEW_TOKENS[found.settings.scorer])
        written: list[generation.Completion] = []
        for start in tqdm(range(0, len(prompts), 16), desc=name, file=sys.stderr):
            written += generation.generate(
                lm, prompts[start : start + 16], [Lane()], sampling, special_tokens=style == "raw", batch_size=16
            )
        right = [
            evaluation.is_correct(example, found.settings, completion.text)
            for example, completion in zip(found.examples, written, strict=True)
        ]
        a = evaluation.accuracy(right)
        print(f"| {name} | {a.correct} | {a.n} | {a.share:.1%} | {a.low:.1%} – {a.high:.1%} |", flush=True)


if __name__ == "__main__":
    typer.run(main)

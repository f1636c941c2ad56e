"""What a run costs, foretold from what this processor does in a second, beside what it then took; and for larger ones.

python -m benchmarks.scale            predicts captures, corpora and training of the built-in model here, then does them
python -m benchmarks.scale --table    7B and 70B, 10⁴ and 10⁶ prompts, 1 to 64 GPUs (from a data sheet, not measured)

All in one thread and in processor time: other people on the machine make it slower, but hardly the ratio.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.machine import describe

LLAMAS = {
    "7B": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 32, "vocab_size": 32000},
    "70B": {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
            "num_key_value_heads": 8, "vocab_size": 32000},
}  # fmt: skip
"""As Llama 2 has them."""
PROMPT, WRITTEN = 150, 256
"""Tokens of a prompt and of a completion in the table; those of GSM8K, about."""


def main(
    table: Annotated[bool, typer.Option("--table", help="larger models and machines; measures nothing")] = False,
    rows: int = 16,
    new_tokens: int = 32,
) -> None:
    """Print what is foretold."""
    if table:
        print_table()
        return
    import torch

    torch.set_num_threads(1)
    print(describe(), "\n")
    compare(rows, new_tokens)


def compare(rows: int, new_tokens: int) -> None:
    """Predict a capture, a corpus and a training of the built-in model, do them, and print both."""
    from spd_core.data import catalog, spans
    from spd_core.distill.train import encode_row, train
    from spd_core.distill.write import planned_rows, write_corpus
    from spd_core.intervention.projection import Lane
    from spd_core.models import loading
    from spd_core.recipes.distill import TrainSettings
    from spd_core.recipes.lanes import Sampling
    from spd_core.runs.scale import Large, Machine, rates_on
    from spd_core.subspace.capture import capture_gradients

    lm = loading.load("builtin", dtype="float32")
    lm.model.generation_config.eos_token_id = None  # every row has all its tokens
    lm.tokenizer.eos_token = None
    found = catalog.find_capability("arithmetic").limited(rows)
    encoded = spans.encode_all(found.examples, found.settings, lm.tokenizer)
    tokens = sum(len(one.ids) for one in encoded.examples) / len(encoded.examples)
    asked = planned_rows(lm, catalog.find_capability("arithmetic", split="train").limited(rows))
    parameters = sum(weight.numel() for weight in lm.model.parameters())
    flops, bandwidth = operations(lm, rows), reading(lm)
    here = Machine(flops=flops, bandwidth=bandwidth, memory=0, itemsize=4, source="measured just now")
    layers = loading.parse_layers("middle,last", lm.card.layers)
    model = Large(card=lm.card, parameters=parameters, lowest=min(layers), memory=0)
    prompt = sum(len(lm.tokenizer(one.prompt)["input_ids"]) for one in asked) / rows
    rates = rates_on(here, model, tokens=tokens, written=new_tokens, rows=rows)
    with tempfile.TemporaryDirectory() as folder:
        path, sampling = Path(folder) / "c.jsonl", Sampling(max_new_tokens=new_tokens)
        captured = timed(lambda: capture_gradients(lm, encoded, layers, batch_size=8))
        written = timed(lambda: write_corpus(lm, asked, Lane(), sampling, path, batch_size=rows))
        corpus = write_corpus(lm, asked, Lane(), sampling, path)
        settings = TrainSettings(epochs=1, batch_size=8, completions=0)
        trained = timed(lambda: train(lm, corpus, settings, Path(folder) / "arm"))
        through = sum(len(encode_row(lm, row, settings.loss_on)["input_ids"]) for row in corpus)
    print(f"products {flops / 1e9:.0f} GFLOP/s, weights read at {bandwidth / 1e9:.1f} GB/s; {parameters / 1e6:.0f} M "
          f"parameters, {tokens:.0f} tokens an example, {prompt:.0f} a prompt, {new_tokens} written\n")  # fmt: skip
    print("| stage | foretold | taken | taken ÷ foretold |\n|---|---|---|---|")
    for name, expected, taken in (
        ("capture", len(encoded.examples) / rates.capture, captured),
        ("corpus", rows * new_tokens / rates.corpus + rows * prompt * 2 * parameters / flops, written),
        ("training", through / rates.train, trained),
    ):
        print(f"| {name} | {expected:.1f} s | {taken:.1f} s | {taken / expected:.2f} × |", flush=True)


def timed(work: Callable[[], Any]) -> float:
    """Seconds of processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def operations(lm: Any, rows: int) -> float:
    """Floating-point operations a second of products with a map of the model, as many tokens as a batch has."""
    import torch

    weight = lm.model.get_submodule(f"{lm.sites[0].module.rsplit('.', 2)[0]}.mlp.down_proj").weight  # [out, in]
    x = torch.randn(32 * rows, weight.shape[1])
    with torch.inference_mode():
        seconds = median(timed(lambda: [x @ weight.T for _ in range(20)]) for _ in range(5)) / 20
    return 2 * x.shape[0] * weight.numel() / seconds


def reading(lm: Any) -> float:
    """Bytes of weights a second, of a single row."""
    import torch

    weight = lm.model.get_output_embeddings().weight  # [vocabulary, hidden]
    x = torch.randn(weight.shape[1], 1)
    with torch.inference_mode():
        seconds = median(timed(lambda: [weight @ x for _ in range(10)]) for _ in range(5)) / 10
    return weight.numel() * weight.element_size() / seconds


def print_table() -> None:
    """Hours, memory and disk of preset `paper` with one arm, on H100s."""
    from transformers import LlamaConfig

    from spd_core.distill.memory import memory_of
    from spd_core.models.device import estimate_memory
    from spd_core.models.families import card_of
    from spd_core.recipes.distill import recipe_from
    from spd_core.runs.costs import Sizes
    from spd_core.runs.scale import H100, Large, at_scale

    print(f"one arm, capture of 50 examples, {WRITTEN} tokens written on each prompt, 256 rows at a time, 1 epoch; "
          f"{H100.source}\n")  # fmt: skip
    print("| model | prompts | GPUs | of a copy | capture | corpus | training | whole | memory a GPU | disk |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, sizes in LLAMAS.items():
        config = LlamaConfig(**sizes, max_position_embeddings=4096)
        card = card_of(config, name)
        recipe = recipe_from({
            "capability": "gsm8k", "arms": ["spd"], "drift": False, "dtype": "bfloat16",
            "corpus": {"max_new_tokens": WRITTEN, "batch_size": 256, "writer": {"kind": "vllm"}},
            "train": {"epochs": 1, "batch_size": 8}, "capture": {"examples": 50},
        })  # fmt: skip
        whole = estimate_memory(config, 2, (card.layers // 2, card.layers - 1), batch_size=1)
        memory = memory_of(config, recipe.model_copy(update={"corpus": recipe.corpus.model_copy(
            update={"batch_size": 1}), "train": recipe.train.model_copy(update={"batch_size": 1})}),
            PROMPT + WRITTEN)  # fmt: skip
        model = Large(card=card, parameters=whole.parameters, lowest=card.layers // 2, memory=memory)
        for prompts in (10**4, 10**6):
            for gpus in (1, 8, 64):
                found = at_scale(
                    recipe, model, Sizes(prompts=prompts, prompt_tokens=PROMPT, examples=50), H100, gpus, rows=256
                )
                if gpus < found.gpus_a_copy:
                    print(f"| {name} | {prompts:,} | {gpus} | needs {found.gpus_a_copy} | | | | | | |")
                    continue
                times = " | ".join(_span(found.seconds[stage]) for stage in ("capture", "corpus", "train"))
                print(f"| {name} | {prompts:,} | {gpus} | {found.gpus_a_copy} | {times} | {_span(found.whole)} | "
                      f"{found.memory / 2**30:.0f} GiB | {found.disk / 1e9:.1f} GB |")  # fmt: skip


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    typer.run(main)

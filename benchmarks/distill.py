"""Speed of writing a corpus and of training on it, against the usual ways, on the built-in model.

python -m benchmarks.distill [--rounds 3] [--rows 24]
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import typer

from benchmarks.machine import describe, ratios, report


def main(rounds: int = 3, rows: int = 24, new_tokens: int = 32) -> None:
    """Print the ratios."""
    from spd_core.data import catalog, spans
    from spd_core.distill import train as distill
    from spd_core.distill.corpus import CorpusRow
    from spd_core.distill.write import planned_rows, write_corpus
    from spd_core.intervention.projection import Lane
    from spd_core.models import loading
    from spd_core.recipes.distill import TrainSettings
    from spd_core.recipes.lanes import Sampling
    from spd_core.subspace import capture, subspace

    lm = loading.load("builtin", dtype="float32")
    calibration = catalog.find_capability("arithmetic").limited(8)
    encoded = spans.encode_all(calibration.examples, calibration.settings, lm.tokenizer)
    projected = Lane(subspace.fit(capture.capture_gradients(lm, encoded, (15, 29)), lm), name="projected")
    asked = planned_rows(lm, catalog.find_capability("arithmetic", split="train").limited(rows))
    sampling = Sampling(max_new_tokens=new_tokens)
    settings = TrainSettings(epochs=1, batch_size=8, completions=0, learning_rate=1e-4)

    def write(lane: Lane, batch_size: int, some: int = rows) -> tuple[list[CorpusRow], float]:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            found = write_corpus(lm, asked[:some], lane, sampling, Path(folder) / "c.jsonl", batch_size=batch_size)
            return found, time.perf_counter() - started

    corpus, _ = write(Lane(), 16)
    real = sum(len(distill.encode_row(lm, row, "prompt_and_completion")["input_ids"]) for row in corpus)

    def train(config: dict[str, Any] | None) -> float:
        """Seconds for the corpus once; ours, or TRL's trainer with a configuration of its own."""
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            if config is None:
                distill.train(lm, corpus, settings, Path(folder))
            else:
                _trl(lm, corpus, settings, folder, config)
            return time.perf_counter() - started

    print(describe())
    print(f"built-in model in float32, {rows} rows, {real} tokens, median of {rounds} interleaved rounds\n")
    print("| measure | ratio | target | met |\n|---|---|---|---|")
    training = ratios({"ours": lambda: train(None), "padded": lambda: train({"pad_to_multiple_of": 256}),
                       "defaults": lambda: train({})}, rounds)  # fmt: skip
    report("training, tokens/s ÷ padded to 256", training["padded"], "≥ 2.5", training["padded"] >= 2.5)
    report("training, tokens/s ÷ TRL's defaults", training["defaults"], "≥ 1.0", training["defaults"] >= 1.0)
    lm.model.generation_config.eos_token_id = None  # from here on every row has all its tokens
    lm.tokenizer.eos_token = None
    writing = ratios({"raw": lambda: write(Lane(), 16)[1], "projected": lambda: write(projected, 16)[1]}, rounds)
    report("corpus, projected ÷ raw", writing["projected"], "≤ 1.05", writing["projected"] <= 1.05)
    few = max(rows // 4, 16)
    batches = ratios({"16": lambda: write(Lane(), 16, few)[1], "1": lambda: write(Lane(), 1, few)[1]}, rounds)
    report("corpus, tokens/s in batches of 16 ÷ of 1", batches["1"], "≥ 4", batches["1"] >= 4)


def _trl(lm: Any, corpus: Sequence[Any], settings: Any, folder: str, config: dict[str, Any]) -> None:
    """TRL's trainer as it comes: its sampler, padding and activation checkpointing; the same rows, LoRA and batch."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    from spd_core.distill.train import encode_row
    from spd_core.distill.training import left_alone, target_modules

    rows = [encode_row(lm, row, settings.loss_on) for row in corpus]
    lora = LoraConfig(r=settings.lora_r, lora_alpha=settings.lora_alpha, lora_dropout=settings.lora_dropout,
                      target_modules=target_modules(lm.card), task_type="CAUSAL_LM")  # fmt: skip
    arguments = SFTConfig(
        output_dir=folder, per_device_train_batch_size=settings.batch_size, num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate, report_to="none", disable_tqdm=True, save_strategy="no",
        use_cpu=lm.device.type == "cpu", bf16=False, **config,
    )  # fmt: skip
    with left_alone(lm), redirect_stdout(sys.stderr):  # it prints its logs
        SFTTrainer(
            lm.model, arguments, train_dataset=Dataset.from_list(rows), processing_class=lm.tokenizer, peft_config=lora
        ).train()


if __name__ == "__main__":
    typer.run(main)

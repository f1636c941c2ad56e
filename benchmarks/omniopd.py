"""A step of OmniOPD against a plain one, its loss's memory by the number of chunks, and what comparing texts costs.

python -m benchmarks.omniopd [--rounds 3] [--rows 4]
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import typer

from benchmarks.machine import describe, ratios, report
from tests.distill.students import levenshtein

MANY = 8
"""Chunks of a rollout beside one, for the memory of the loss."""


def main(rounds: int = 3, rows: int = 4, new_tokens: int = 32, chunk_tokens: int = 8, samples: int = 4) -> None:
    """Print the ratios."""
    from spd_core.models import loading

    lm = loading.load("builtin", dtype="float32")
    lm.model.generation_config.eos_token_id = None  # every rollout has all its tokens, and as many chunks as fit
    lm.tokenizer.eos_token = None
    print(describe())
    print(
        f"built-in model in float32, {rows} rollouts of {new_tokens} tokens, chunks of {chunk_tokens}, {samples} "
        f"continuations each; median of {rounds} interleaved rounds\n"
    )
    print("| measure | ratio | target | met |\n|---|---|---|---|")
    step = _Step(lm, rows, new_tokens, chunk_tokens, samples)
    shares: list[float] = []

    def ours() -> float:
        taken = step.ours(2)
        shares.append(taken["similarity"] / taken["step"])
        return taken["step"]

    ratio = ratios({"ours": ours, "plain": lambda: step.plain(2)}, rounds)["plain"]
    report("a step, one chunk and one continuation at a time ÷ ours", ratio, "≥ 5", ratio >= 5)
    longer = _Step(lm, rows, MANY * chunk_tokens, chunk_tokens, samples)  # as long as so many chunks
    peaks = {chunks: longer.ours(chunks, watched=True)["peak"] for chunks in (1, MANY)}
    flat = peaks[MANY] / peaks[1]
    what = f"memory that the loss keeps and takes, {MANY} chunks a rollout of {MANY * chunk_tokens} tokens ÷ 1"
    report(what, flat, "≤ 1.1", flat <= 1.1)
    share = 100 * max(shares)
    report("comparing texts, of a step", share, "≤ 2", share <= 2, "%")


class _Step:
    """One optimizer step on the same prompts, in two ways."""

    def __init__(self, lm: Any, rows: int, new_tokens: int, chunk_tokens: int, samples: int) -> None:
        from spd_core.data.catalog import find_capability
        from spd_core.data.spans import generation_prompt
        from spd_core.distill.rollouts import AskedRow
        from spd_core.recipes.lanes import Sampling

        found = find_capability("arithmetic", split="train").limited(rows)
        prompts = [generation_prompt(one.prompt, found.settings, "raw", lm.tokenizer)[0] for one in found.examples]
        self.lm, self.chunk_tokens, self.samples = lm, chunk_tokens, samples
        self.rows = [
            AskedRow(at, prompt, True, id=one.id, sample=0, asked=one.prompt)
            for at, (prompt, one) in enumerate(zip(prompts, found.examples, strict=True))
        ]
        self.sampling = Sampling(1.0, 1.0, new_tokens)

    def settings(self, chunks: int) -> Any:
        from spd_core.recipes.on_policy import ChunkSettings

        return ChunkSettings(chunks=chunks, chunk_tokens=self.chunk_tokens, samples=self.samples)

    def ours(self, chunks: int, watched: bool = False) -> dict[str, float]:
        """Seconds of the step and of comparing texts; when `watched`, bytes that the loss has allocated at most."""
        from spd_core.distill import student_trainer, verification
        from spd_core.distill.on_policy import train_on_policy
        from spd_core.distill.rollouts import Learning
        from spd_core.distill.teachers import SelfTeacher
        from spd_core.intervention.projection import Lane
        from spd_core.recipes.distill import TrainSettings

        settings = TrainSettings(epochs=1, batch_size=len(self.rows), lora_dropout=0.0)
        learning = Learning(
            self.rows, self.sampling, 1, chunks=self.settings(chunks), teacher=SelfTeacher(self.lm, Lane())
        )
        taken = {"similarity": 0.0, "step": 0.0, "peak": 0.0}
        with (
            _timed(verification, "similarity", taken, "similarity"),
            _timed(student_trainer.StudentTrainer, "training_step", taken, "step"),
            _allocated(student_trainer.ChunkTrainer, "_compute_loss", taken) if watched else nullcontext(),
            tempfile.TemporaryDirectory() as folder,
        ):
            train_on_policy(self.lm, learning, settings, Path(folder), digest="0" * 64)
        return taken

    def plain(self, chunks: int) -> float:
        """Seconds of the same step by itself: texts by transformers, one at a time, and a loss token by token."""
        import torch
        from peft import LoraConfig, get_peft_model

        from spd_core.distill.chunks import choose_anchors
        from spd_core.distill.training import left_alone, target_modules
        from spd_core.recipes.distill import TrainSettings

        known = TrainSettings()
        lora = LoraConfig(
            r=known.lora_r,
            lora_alpha=known.lora_alpha,
            target_modules=target_modules(self.lm.card),
            task_type="CAUSAL_LM",
        )
        total = torch.zeros(())
        with left_alone(self.lm):
            model = get_peft_model(self.lm.model, lora)
            started = time.perf_counter()
            for row in self.rows:
                prompt = self.lm.tokenizer(row.prompt)["input_ids"]
                written = self._written(model, prompt, self.sampling.max_new_tokens)
                ids = torch.tensor([[*prompt, *written]])
                with torch.no_grad(), model.disable_adapter():
                    held = model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)  # [T, V]
                with torch.no_grad():
                    logp = model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
                anchors = choose_anchors(-(logp.exp() * logp).sum(-1), self.chunk_tokens, chunks)
                with model.disable_adapter():
                    others = {
                        start: [
                            self._written(model, [*prompt, *written[:start]], self.chunk_tokens)
                            for _ in range(self.samples)
                        ]
                        for start in anchors
                    }
                total = total + self._loss(model(ids).logits[0, len(prompt) - 1 : -1], held, written, others)
            (total / (len(self.rows) * self.sampling.max_new_tokens)).backward()
            return time.perf_counter() - started

    def _written(self, model: Any, ids: Sequence[int], tokens: int) -> list[int]:
        import torch

        given = torch.tensor([list(ids)])
        with torch.no_grad():
            found = model.generate(
                input_ids=given, attention_mask=torch.ones_like(given), do_sample=True, top_k=0, max_new_tokens=tokens,
                pad_token_id=0,
            )  # fmt: skip
        written: list[int] = found[0, len(ids) :].tolist()
        return written

    def _loss(self, logits: Any, held: Any, written: Sequence[int], others: dict[int, list[list[int]]]) -> Any:
        decode, known = self.lm.tokenizer.decode, self.settings(1)
        logp, total = logits.log_softmax(-1), 0.0
        inside = {t: start for start in others for t in range(start, start + self.chunk_tokens)}
        weights = {}
        for start, texts in others.items():
            own = decode(written[start : start + self.chunk_tokens])
            k = sum(1 - levenshtein(own, decode(one)) / max(len(own), len(decode(one)), 1) for one in texts)
            prior = sum(logp[t, written[t]] for t in range(start, start + self.chunk_tokens)) / self.chunk_tokens
            weights[start] = (k + known.prior * float(prior.exp())) / (self.samples + known.prior)
        for t, token in enumerate(written):
            if t in inside:
                total = total - weights[inside[t]] * logp[t, token]
            else:
                total = total + known.anchor * (held[t].exp() * (held[t] - logp[t])).sum()
        return total


@contextmanager
def _timed(where: Any, name: str, taken: dict[str, float], as_: str) -> Iterator[None]:
    """Seconds that a function takes are added up while this lasts."""
    plain = getattr(where, name)

    def timed(*given: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return plain(*given, **named)
        finally:
            taken[as_] += time.perf_counter() - started

    setattr(where, name, timed)
    try:
        yield
    finally:
        setattr(where, name, plain)


@contextmanager
def _allocated(where: Any, name: str, taken: dict[str, float]) -> Iterator[None]:
    """Most bytes that torch has allocated in a function's forward and backward pass, over what was there before."""
    import torch

    plain: Callable[..., Any] = getattr(where, name)

    def watched(*given: Any, **named: Any) -> Any:
        with torch.profiler.profile(profile_memory=True) as seen:
            found = plain(*given, **named)
            found[0].backward(retain_graph=True)
        now = most = 0
        for event in sorted(seen.profiler.kineto_results.events(), key=lambda one: one.start_ns()):
            if event.name() == "[memory]":
                now += event.nbytes()
                most = max(most, now)
        given[1].zero_grad()
        taken["peak"] = float(most)
        return found

    setattr(where, name, watched)
    try:
        yield
    finally:
        setattr(where, name, plain)


if __name__ == "__main__":
    typer.run(main)

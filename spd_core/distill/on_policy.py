"""Trains on what the student writes in training: on-policy distillation, white-box, and OmniOPD, by chunks of text.

TRL's `DistillationTrainer` trains; here are its rollouts, by the lab's own decoding, and OmniOPD's loss in place of its
divergence. Knows nothing of runs and arms.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spd_core.distill.audits import AUDITS, Audit, AuditedChunk, audit_means, cut_after
from spd_core.distill.batches import by_length
from spd_core.distill.checkpoints import CHECKPOINTS
from spd_core.distill.chunks import choose_anchors, chunk_loss, chunk_positions, similarity, unaudited
from spd_core.distill.event_files import event_files
from spd_core.distill.logits import divergences, logprobs
from spd_core.distill.saving import with_whole_checkpoints
from spd_core.distill.teachers import Prefix, SelfTeacher, Teacher
from spd_core.distill.training import Trained, checkpoint_of, finish, left_alone, made_card, new_adapter
from spd_core.distill.watch import TrainNews, watch_training
from spd_core.distill.write import PlannedRow
from spd_core.errors import InputError, Stopped
from spd_core.generation.decode import Completion, encoded_prompt, end_tokens, generate
from spd_core.intervention.cards import AdapterCard
from spd_core.intervention.projection import Lane, folded
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop
from spd_core.recipes.distill import TrainSettings
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.on_policy import ChunkSettings
from spd_core.records import append_rows
from spd_core.runs.parallel import share, together

_TEACHERS_NOISE = 2**30
"""Between the seeds of a rollout and those of the teacher: with the same noise the untouched model would write what the
student wrote."""


@dataclass(frozen=True)
class AskedRow(PlannedRow):
    """A prompt that the student writes on, with what was asked, without template."""

    asked: str = field(kw_only=True)


@dataclass(frozen=True)
class Learning:
    """What a student learns from.

    Attributes:
        rows: the prompts.
        rollout: how the student writes.
        divergence: β of TRL's divergence; for `lane` alone.
        lane: the projected self whose probabilities the student is to match; None for OmniOPD.
        chunks: OmniOPD's settings, and `teacher` who writes beside it; None for on-policy distillation.
        seed: of the rollouts' noise.
    """

    rows: Sequence[AskedRow]
    rollout: Sampling
    seed: int
    divergence: float = 1.0
    lane: Lane | None = None
    chunks: ChunkSettings | None = None
    teacher: Teacher | None = None


def train_on_policy(
    lm: LanguageModel,
    learning: Learning,
    settings: TrainSettings,
    folder: Path,
    *,
    digest: str,
    facts: Mapping[str, Any] | None = None,
    beside: Mapping[str, str] | None = None,
    on_news: Callable[[TrainNews], None] | None = None,
    on_epoch: Callable[[TrainNews], None] | None = None,
    on_audits: Callable[[Sequence[Audit]], None] | None = None,
    stop: Stop | None = None,
) -> Trained:
    """Fine-tune a LoRA adapter on the student's own rollouts; `folder` and resuming as of `train.train`.

    A rollout depends on the seed, its prompt's number and the optimizer step alone: not on the batch, nor the process.
    There is a checkpoint after every step. OmniOPD keeps what it looked at in `folder/audits.jsonl`.

    Args:
        digest: sha256 of all that decides what is learned.
        on_audits: told of the audits of each step.

    Raises:
        InputError: no prompt, or a batch that the processes cannot share evenly.
        Stopped: on request, between tokens; every step before is kept.
        TrainingError: a loss that is not finite.
        StorageError: the disk refuses.
    """
    if not learning.rows:
        raise InputError("no prompt is left to write on; take more prompts, or hold out fewer")
    watch = watch_training(lm, on_news, on_epoch, stop)
    with left_alone(lm):
        trainer = _trainer(lm, learning, settings, folder, watch, digest, on_audits, stop)
        for callback in event_files(settings, folder):
            trainer.add_callback(callback)
        checkpoint = checkpoint_of(folder / CHECKPOINTS, digest, False)
        if together().first:
            cut_after(folder / AUDITS, int(checkpoint.rpartition("-")[2]) if checkpoint else 0)

        def card(state: Any) -> AdapterCard:
            return made_card(
                lm,
                settings,
                state,
                rows=len(learning.rows),
                corpus=digest,
                stopped=watch.stopped,
                facts=facts or {},
            )

        return finish(trainer, card, watch, folder, checkpoint, beside or {})


def write_rollouts(
    lm: LanguageModel, rows: Sequence[AskedRow], sampling: Sampling, seed: int, step: int, stop: Stop | None = None
) -> list[Completion]:
    """What the student writes at a step, with the entropy of each token.

    Raises:
        Stopped: on request.
    """
    found: dict[int, Completion] = {}
    for special in (True, False):
        mine = [row for row in rows if row.special == special]
        written = generate(
            lm,
            [row.prompt for row in mine],
            [Lane()],
            sampling,
            special_tokens=special,
            batch_size=max(1, len(mine)),
            numbers=[row.number for row in mine],
            seeds=[rollout_seed(seed, step)] * len(mine),
            measured=True,
            stop=stop,
        )
        found |= {row.number: one for row, one in zip(mine, written, strict=True)}
    if any(one.finish == "stopped" for one in found.values()):
        raise Stopped("stopped on request")
    return [found[row.number] for row in rows]


def rollout_seed(seed: int, step: int) -> int:
    """Of the noise of all rollouts of a step; the prompt's number makes it one of its own."""
    return (seed * 1_000_003 + step * 7919) % 2**30


def _trainer(
    lm: LanguageModel,
    learning: Learning,
    settings: TrainSettings,
    folder: Path,
    watch: Any,
    digest: str,
    on_audits: Callable[[Sequence[Audit]], None] | None,
    stop: Stop | None,
) -> Any:
    from accelerate.utils import gather_object
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import DistillationConfig, DistillationTrainer

    rows, chunks = learning.rows, learning.chunks
    lengths = [len(encoded_prompt(lm, row.prompt, learning.rollout, row.special)) for row in rows]
    config = DistillationConfig(
        output_dir=str(folder / CHECKPOINTS),
        seed=settings.seed,
        data_seed=settings.seed,
        report_to="none",
        per_device_train_batch_size=share(settings.batch_size),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        lr_scheduler_type="cosine",  # to 0, without a warmup: SCHEDULE says so
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        save_strategy="steps",
        save_steps=1,  # a step writes for longer than a checkpoint takes
        save_total_limit=2,
        activation_checkpointing=False,
        bf16=False,
        use_cpu=lm.device.type == "cpu",
        dataloader_pin_memory=False,
        max_completion_length=learning.rollout.max_new_tokens,
        beta=learning.divergence,
    )

    class Trainer(with_whole_checkpoints(DistillationTrainer, digest)):  # type: ignore[misc]
        audits: tuple[Audit, ...] = ()

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return by_length(lengths, settings.batch_size, settings.seed)

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            mine, step, training = [rows[one["row"]] for one in inputs], self.state.global_step + 1, lm.model.training
            lm.model.eval()
            try:
                written = write_rollouts(lm, mine, learning.rollout, learning.seed, step, stop)
                batch = _Batch.of(lm, mine, written, learning.rollout)
                audited = {} if chunks is None else self._audited(batch, step)
            finally:
                lm.model.train(training)
            items = batch.mask.sum() if chunks is None or chunks.divide_by == "tokens" else len(mine)
            told = self._metrics["train"]
            told["completion_length"].append(float(batch.mask.sum()) / len(mine))
            told["clipped"].append(sum(one.finish == "length" for one in written) / len(mine))
            total = self.accelerator.gather(torch.as_tensor(items, device=lm.device)).sum()
            return {**batch.inputs(), **audited, "num_items_in_batch": total}

        # --- OmniOPD -----------------------------------------------------------------------------------------------

        def _audited(self, batch: "_Batch", step: int) -> dict[str, Tensor]:
            """The chunks of a batch, and how much of them the teacher says as well."""
            assert chunks is not None
            assert learning.teacher is not None
            places = batch.anchors(chunks, learning.seed, step)
            prefixes = batch.prefixes(places, _TEACHERS_NOISE + rollout_seed(learning.seed, step), chunks.samples)
            wanted = Sampling(chunks.temperature, chunks.top_p, chunks.chunk_tokens)
            peer = self.accelerator.unwrap_model(self.model)
            with peer.disable_adapter() if isinstance(learning.teacher, SelfTeacher) else nullcontext():
                texts = learning.teacher.write(prefixes, chunks.samples, wanted) if prefixes else []
            own = [batch.chunk(row, start, chunks.chunk_tokens) for row, start in places]
            similar = [[similarity(mine, one) for one in others] for mine, others in zip(own, texts, strict=True)]
            self._begun = batch, step, list(zip(places, own, texts, similar, strict=True))
            starts = torch.full((len(batch.ids), chunks.chunks), -1, dtype=torch.int64)
            k = torch.zeros(starts.shape)
            at = [0] * len(batch.ids)
            for (row, start), found in zip(places, similar, strict=True):
                starts[row, at[row]], k[row, at[row]] = start, sum(found)
                at[row] += 1
            number = torch.arange(len(batch.ids))  # TRL shuffles the rows of a batch
            return {"starts": starts.to(lm.device), "k": k.to(lm.device), "row_of": number.to(lm.device)}

        def _compute_loss(self, student: Any, inputs: dict[str, Any], items: Any) -> tuple[Tensor, Tensor, Tensor]:
            entropy, count = inputs["entropies"].sum(), inputs["completion_mask"].sum()
            if chunks is None:
                loss, _, _ = super()._compute_loss(student, inputs, items)
                return loss, entropy, count
            ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)  # [B, P + T]
            mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
            kept = inputs["completion_ids"].shape[1]
            with torch.no_grad(), student.disable_adapter():
                reference = self._get_last_hidden_state(student, ids, mask, kept)  # [B, T, H]
            hidden = self._get_last_hidden_state(student, ids, mask, kept)
            free = unaudited(inputs["starts"], inputs["completion_mask"], chunks.chunk_tokens)  # [B, T]
            apart = divergences(student, hidden[free], reference[free])  # [free tokens]
            at = chunk_positions(inputs["starts"], chunks.chunk_tokens)
            said = logprobs(student, hidden[at], inputs["completion_ids"][at])  # [K, C]
            own, aims = chunk_loss(said, inputs["k"][inputs["starts"] >= 0], chunks.samples, chunks.prior)
            self._looked = at[0][:, 0], said.detach().mean(1).exp(), aims, free, apart.detach()
            return (own + chunks.anchor * apart.sum()) / items, entropy, count

        def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
            loss = super().compute_loss(model, inputs, *given, **named)
            if chunks is not None:
                self._note(inputs)
            return loss

        def _note(self, inputs: dict[str, Any]) -> None:
            """Keep the audits of all processes, and their means among the step's measures."""
            batch, step, looked = self._begun
            _, prior, aims, free, apart = self._looked
            mean = torch.zeros(free.shape, device=free.device)
            mean[free] = apart.float()
            weights = iter(zip(prior.tolist(), aims.tolist(), strict=True))
            weight_of: dict[tuple[int, int], tuple[float, float]] = {}
            for row, starts in zip(inputs["row_of"].tolist(), inputs["starts"].tolist(), strict=True):
                weight_of |= {(row, start): next(weights) for start in starts if start >= 0}
            kl = {
                row: float(mean[at][free[at]].mean()) if bool(free[at].any()) else None
                for at, row in enumerate(inputs["row_of"].tolist())
            }
            found = batch.audits(step, looked, weight_of, kl)
            every: list[Audit] = gather_object(found)
            told = self._metrics["train"]
            for name, value in audit_means(every).items():
                told[name].append(value)
            if self.accelerator.is_main_process:
                append_rows(folder / AUDITS, every)
                if on_audits is not None:
                    on_audits(every)

    trainer = Trainer(
        lm.model,
        None if learning.lane is None else _folded_copy(lm, learning.lane),
        config,
        train_dataset=Dataset.from_list([{"prompt": row.prompt, "row": at} for at, row in enumerate(rows)]),
        processing_class=lm.tokenizer,
        peft_config=new_adapter(lm, settings),
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which belongs to results
    return trainer


def _folded_copy(lm: LanguageModel, lane: Lane) -> Any:
    """The projected self as a model of its own, the projection folded into its weights."""
    with folded(lm, lane):
        return deepcopy(lm.model).eval().requires_grad_(False)


@dataclass(frozen=True)
class _Batch:
    """Rollouts as tensors, and as what is to be read of them.

    Attributes:
        prompts: ids of each prompt; `ids` of each completion, its end among them.
        entropies: of each token that was written; none for the end.
        mask: [B, T], 1 on a completion's tokens.
    """

    lm: LanguageModel
    rows: Sequence[AskedRow]
    prompts: Sequence[Sequence[int]]
    ids: Sequence[Sequence[int]]
    entropies: Sequence[Sequence[float]]
    mask: Tensor

    @classmethod
    def of(
        cls, lm: LanguageModel, rows: Sequence[AskedRow], written: Sequence[Completion], sampling: Sampling
    ) -> "_Batch":
        """Of what was written on rows."""
        ids = [[*one.tokens, *([one.end] if one.end is not None else [])] for one in written]
        longest = max(len(one) for one in ids)
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids], device=lm.device)
        prompts = [encoded_prompt(lm, row.prompt, sampling, row.special) for row in rows]
        return cls(lm, rows, prompts, ids, [one.entropies for one in written], mask)

    def inputs(self) -> dict[str, Tensor]:
        """As TRL's trainer takes them: prompts padded on the left, completions on the right."""
        pad = min(end_tokens(self.lm))
        width, longest = max(len(one) for one in self.prompts), self.mask.shape[1]
        device = self.lm.device
        return {
            "prompt_ids": torch.tensor([[pad] * (width - len(p)) + list(p) for p in self.prompts], device=device),
            "prompt_mask": torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in self.prompts], device=device),
            "completion_ids": torch.tensor([[*one, *[pad] * (longest - len(one))] for one in self.ids], device=device),
            "completion_mask": self.mask,
            "entropies": torch.tensor([[*h, *[0.0] * (longest - len(h))] for h in self.entropies], device=device),
        }

    def anchors(self, chunks: ChunkSettings, seed: int, step: int) -> list[tuple[int, int]]:
        """(row, start) of every chunk: at the peaks of entropy, or anywhere."""
        places: list[tuple[int, int]] = []
        for at, (row, ids) in enumerate(zip(self.rows, self.ids, strict=True)):
            scores = torch.tensor([*self.entropies[at], *[0.0] * (len(ids) - len(self.entropies[at]))])
            if chunks.select == "random":
                noise = torch.Generator().manual_seed(8191 * row.number + rollout_seed(seed, step))
                scores = torch.rand(len(ids), generator=noise)
            places += [(at, start) for start in choose_anchors(scores, chunks.chunk_tokens, chunks.chunks)]
        return places

    def prefixes(self, places: Sequence[tuple[int, int]], seed: int, samples: int) -> list[Prefix]:
        """What a teacher reads for each chunk: never a token of the chunk."""
        decode = self.lm.tokenizer.decode
        found = []
        for at, start in places:
            row, before = self.rows[at], self.ids[at][:start]
            ids = (*self.prompts[at], *before)
            text, written = decode(ids), decode(before, clean_up_tokenization_spaces=False)
            found.append(Prefix(row.number, seed + samples * start, row.asked, ids, text, written))
        return found

    def chunk(self, row: int, start: int, tokens: int) -> str:
        """The student's own text of a chunk."""
        ids = self.ids[row][start : start + tokens]
        return str(self.lm.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def audits(
        self,
        step: int,
        looked: Sequence[tuple[tuple[int, int], str, Sequence[str], Sequence[float]]],
        weight_of: Mapping[tuple[int, int], tuple[float, float]],
        kl: Mapping[int, float | None],
    ) -> list[Audit]:
        """One for each rollout.

        Args:
            looked: (row, start), own text, the teacher's texts, φ of each.
            weight_of: π̄ and π̂ by (row, start); `kl` by row.
        """
        decode = self.lm.tokenizer.decode
        chunks: dict[int, list[AuditedChunk]] = {at: [] for at in range(len(self.rows))}
        for (row, start), own, others, similar in looked:
            prior, target = weight_of[row, start]
            chunks[row].append(
                AuditedChunk(
                    start=start,
                    own=own,
                    others=tuple(others),
                    similar=tuple(round(one, 6) for one in similar),
                    prior=round(prior, 6),
                    target=round(target, 6),
                )
            )
        return [
            Audit(
                step=step,
                number=row.number,
                prompt=row.asked,
                tokens=tuple(decode([token]) for token in self.ids[at]),
                entropies=tuple(round(one, 4) for one in self.entropies[at]),
                chunks=tuple(chunks[at]),
                divergence=kl[at],
            )
            for at, row in enumerate(self.rows)
        ]

"""TRL's trainer of a student on its own rollouts, by the lab's own decoding or an engine's; and OmniOPD's loss.

Importing it imports TRL. Who is trained on what, and what is kept, is in `on_policy.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from trl import DistillationTrainer

from spd_core.distill.audits import Audit, audit_means
from spd_core.distill.chunks import chunk_loss, chunk_positions, unaudited
from spd_core.distill.logits import divergences, logprobs, measured
from spd_core.distill.rollouts import AskedRow, Learning, Rollouts, write_rollouts
from spd_core.distill.teachers import SelfTeacher
from spd_core.distill.verification import Verified, verify
from spd_core.generation.decode import Completion
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop
from spd_core.records import append_rows
from spd_core.runs.parallel import together


class StudentTrainer(DistillationTrainer):
    """On-policy distillation: the teacher's probabilities on what the student writes.

    Attributes:
        order: the sampler of the prompts.
        stop: asked between tokens.
    """

    def __init__(
        self, lm: LanguageModel, learning: Learning, order: Any, stop: Stop | None, *given: Any, **named: Any
    ) -> None:
        self.lm, self.learning, self.order, self.stop = lm, learning, order, stop
        super().__init__(*given, **named)

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        return self.order

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        learning, step = self.learning, self.state.global_step + 1
        made: list[tuple[Rollouts, dict[str, Tensor]]] = []

        def write() -> None:
            rows = [learning.rows[one["row"]] for one in inputs]
            rollouts = Rollouts.of(self.lm, rows, self._written(rows, step), learning.rollout)
            made.append((rollouts, self._looked_at(rollouts, step)))

        with _reading(self.lm.model):
            together().all_done(write)  # where one process is stopped, or its teacher fails, the others end as well
        rollouts, looked_at = made[0]
        by_rows = learning.chunks is not None and learning.chunks.divide_by == "rows"
        tokens = self.accelerator.gather(rollouts.mask.sum()).sum()
        items = self.accelerator.gather(torch.tensor(len(rollouts.ids), device=self.lm.device)).sum()
        told = self._metrics["train"]
        told["written_tokens"].append(float(tokens))
        told["completion_length"].append(float(rollouts.mask.sum()) / len(rollouts.ids))
        told["clipped"].append(rollouts.cut / len(rollouts.ids))
        return {**rollouts.inputs(), **looked_at, "num_items_in_batch": items if by_rows else tokens}

    def _written(self, rows: Sequence[AskedRow], step: int) -> list[Completion]:
        """What the student writes, here or through an engine; then it is read once here, as nothing but text counts."""
        learning = self.learning
        if learning.engine is None:
            return write_rollouts(self.lm, rows, learning.rollout, learning.seed, step, self.stop)
        student = self.accelerator.unwrap_model(self.model)
        written = learning.engine.write(rows, learning.rollout, learning.seed, step, self.stop, student)
        given = Rollouts.of(self.lm, rows, written, learning.rollout).inputs()
        tokens, which = given["completion_ids"], given["completion_mask"].bool()  # [B, T] each
        ids, mask = (torch.cat([given[f"prompt_{one}"], given[f"completion_{one}"]], 1) for one in ("ids", "mask"))
        with torch.no_grad():
            hidden = self._get_last_hidden_state(student, ids, mask, tokens.shape[1])  # [B, T, H]
            logprobs, entropies = measured(student, hidden[which], tokens[which])
        at, told = 0, [one for row in written for one in row.logprobs]
        for row in written:
            drawn = slice(at, at + len(row.tokens))
            row.logprobs, row.entropies = logprobs[drawn], entropies[drawn]
            at += len(row.tokens) + (row.end is not None)
        learning.engine.check(told, [one for row in written for one in row.logprobs], step)
        return written

    def _looked_at(self, rollouts: Rollouts, step: int) -> dict[str, Tensor]:
        """What the loss needs beside the rollouts themselves."""
        return {}

    def _get_last_hidden_state(self, model: Any, ids: Tensor, mask: Tensor, kept: int, **more: Any) -> Tensor:
        """[B, kept, H] states that predict the last tokens. TRL leaves positions to the model, which would count the
        padding before a prompt where they are learned."""
        inner = model.base_model.model if hasattr(model, "peft_config") else model
        positions = (mask.cumsum(1) - 1).clamp(min=0)  # [B, P + T]
        states = inner.base_model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
        found: Tensor = states.last_hidden_state[:, -kept - 1 : -1]
        return found


class ChunkTrainer(StudentTrainer):
    """OmniOPD: the teacher's text beside chunks of what the student writes.

    Attributes:
        path: of the audits; `on_audits` is told of those of each step.
    """

    def __init__(
        self, *given: Any, path: Path, on_audits: Callable[[Sequence[Audit]], None] | None = None, **named: Any
    ) -> None:
        self.path, self.on_audits = path, on_audits
        super().__init__(*given, **named)

    def _looked_at(self, rollouts: Rollouts, step: int) -> dict[str, Tensor]:
        chunks, teacher = self.learning.chunks, self.learning.teacher
        assert chunks is not None
        assert teacher is not None
        student = self.accelerator.unwrap_model(self.model)
        with student.disable_adapter() if isinstance(teacher, SelfTeacher) else nullcontext():
            self._verified: Verified = verify(rollouts, teacher, chunks, self.learning.seed, step)
        return self._verified.tensors(chunks.chunks)

    def _compute_loss(self, student: Any, inputs: dict[str, Any], items: Any) -> tuple[Tensor, Tensor, Tensor]:
        chunks = self.learning.chunks
        assert chunks is not None
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)  # [B, P + T]
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        kept = inputs["completion_ids"].shape[1]
        with torch.no_grad(), student.disable_adapter(), _reading(student):
            reference = self._get_last_hidden_state(student, ids, mask, kept)  # [B, T, H]
        hidden = self._get_last_hidden_state(student, ids, mask, kept)
        free = unaudited(inputs["starts"], inputs["completion_mask"], chunks.chunk_tokens)  # [B, T]
        apart = divergences(student, hidden[free], reference[free])  # [free tokens]
        at = chunk_positions(inputs["starts"], chunks.chunk_tokens)
        said = logprobs(student, hidden[at], inputs["completion_ids"][at])  # [K, C]
        own, targets = chunk_loss(said, inputs["k"][inputs["starts"] >= 0], chunks.samples, chunks.prior)
        self._learned = said.detach().mean(1).exp(), targets, free, apart.detach().float()
        loss = (own + chunks.anchor * apart.sum()) / items
        return loss, inputs["entropies"].sum(), inputs["drawn"].sum()

    def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
        """TRL's, and what was looked at is kept, with what was learned from it."""
        loss = super().compute_loss(model, inputs, *given, **named)
        every: list[Audit] = gather_object(self._audits(inputs))
        for name, value in audit_means(every).items():
            self._metrics["train"][name].append(value)
        most = self.learning.chunks.chunk_tokens if self.learning.chunks is not None else 0
        texts = [text for audit in every for chunk in audit.chunks for text in chunk.others]
        encoded = self.lm.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        self._metrics["train"]["teacher_tokens"].append(float(sum(min(len(ids), most) for ids in encoded)))
        if self.accelerator.is_main_process:
            append_rows(self.path, every)
            if self.on_audits is not None:
                self.on_audits(every)
        return loss

    def _audits(self, inputs: dict[str, Any]) -> list[Audit]:
        """Of this process, in the order of its rollouts: TRL has shuffled the inputs."""
        prior, targets, free, apart = self._learned
        starts, row_of = inputs["starts"], inputs["row_of"]  # [B, M], [B]
        rows = torch.nonzero(starts >= 0)[:, 0]  # [K], as prior and targets
        places = zip(row_of[rows].tolist(), starts[starts >= 0].tolist(), strict=True)
        weights = dict(zip(places, zip(prior.tolist(), targets.tolist(), strict=True), strict=True))
        sums = torch.zeros(len(free), device=free.device).index_add(0, torch.nonzero(free)[:, 0], apart)
        counts = free.sum(1)
        means = zip(row_of.tolist(), (sums / counts.clamp(min=1)).tolist(), counts.tolist(), strict=True)
        return self._verified.audits(weights, {row: mean if count else None for row, mean, count in means})


@contextmanager
def _reading(model: Any) -> Iterator[None]:
    """The model without dropout; afterwards as it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)

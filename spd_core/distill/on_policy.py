"""Trains on what the student writes in training: on-policy distillation, white-box, and OmniOPD, by chunks of text.

TRL trains (`student_trainer.py`). Knows nothing of runs and arms.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from spd_core.distill.audits import AUDITS, Audit, cut_after
from spd_core.distill.batches import by_length, check_shares
from spd_core.distill.checkpoints import CHECKPOINTS
from spd_core.distill.event_files import event_files
from spd_core.distill.rollouts import Learning
from spd_core.distill.saving import with_whole_checkpoints
from spd_core.distill.training import Trained, checkpoint_of, finish, left_alone, made_card, new_adapter
from spd_core.distill.watch import MEASURES, TrainNews, watch_training
from spd_core.errors import InputError, TrainingError
from spd_core.generation.decode import encoded_prompt
from spd_core.intervention.cards import AdapterCard
from spd_core.intervention.projection import Lane, folded
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop
from spd_core.recipes.distill import TrainSettings
from spd_core.runs.parallel import share, together


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
    check_shares(len(learning.rows), settings.batch_size)

    def enough(state: Any) -> bool:
        most = learning.max_tokens
        return most is not None and _logged(state, "written_tokens") + _logged(state, "teacher_tokens") >= most

    watch = watch_training(lm, on_news, on_epoch, stop, MEASURES, enough)
    with left_alone(lm):
        trainer = _trainer(lm, learning, settings, folder, watch, digest, on_audits, stop)
        for callback in event_files(settings, folder):
            trainer.add_callback(callback)
        checkpoint = checkpoint_of(folder / CHECKPOINTS, digest, False)
        if together().first:
            cut_after(folder / AUDITS, int(checkpoint.rpartition("-")[2]) if checkpoint else 0)

        def card(state: Any) -> AdapterCard:
            tokens = {
                "written": _logged(state, "written_tokens"),
                "taught": _logged(state, "teacher_tokens") if learning.chunks is not None else None,
            }
            return made_card(
                lm,
                settings,
                state,
                rows=len(learning.rows),
                corpus=digest,
                stopped=watch.stopped,
                facts={**(facts or {}), **tokens},
            )

        try:
            return finish(trainer, card, watch, folder, checkpoint, beside or {}, enough)
        except TrainingError:
            if together().first:  # the step that failed is not kept, and neither is what it looked at
                cut_after(folder / AUDITS, trainer.state.global_step - 1)
            raise


def _logged(state: Any, name: str) -> int:
    """What a trainer's steps have logged under a name, in all, also before it was resumed."""
    return round(sum(log.get(name) or 0.0 for log in state.log_history))


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
    from datasets import Dataset
    from transformers import PrinterCallback

    from spd_core.distill.student_trainer import ChunkTrainer, StudentTrainer

    rows, chunked = learning.rows, learning.chunks is not None
    lengths = [len(encoded_prompt(lm, row.prompt, learning.rollout, row.special)) for row in rows]
    kind = with_whole_checkpoints(ChunkTrainer if chunked else StudentTrainer, digest)
    trainer = kind(
        lm,
        learning,
        by_length(lengths, settings.batch_size, settings.seed),
        stop,
        lm.model,
        None if learning.lane is None else _folded_copy(lm, learning.lane),
        _config(lm, learning, settings, folder),
        train_dataset=Dataset.from_list([{"prompt": row.prompt, "row": at} for at, row in enumerate(rows)]),
        processing_class=lm.tokenizer,
        peft_config=new_adapter(lm, settings),
        callbacks=[watch],
        **({"path": folder / AUDITS, "on_audits": on_audits} if chunked else {}),
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which belongs to results
    return trainer


def _config(lm: LanguageModel, learning: Learning, settings: TrainSettings, folder: Path) -> Any:
    from trl import DistillationConfig

    return DistillationConfig(
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


def _folded_copy(lm: LanguageModel, lane: Lane) -> Any:
    """The projected self as a model of its own, the projection folded into its weights."""
    with folded(lm, lane):
        return deepcopy(lm.model).eval().requires_grad_(False)

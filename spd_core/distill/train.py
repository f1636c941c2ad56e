"""Trains: the model's own text becomes a LoRA adapter on the untouched model. TRL trains; nothing here is a loop.

Knows nothing of how the text was written.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spd_core.distill.batches import by_length
from spd_core.distill.checkpoints import CHECKPOINTS, deciding, rows_digest
from spd_core.distill.corpus import CorpusRow
from spd_core.distill.event_files import event_files
from spd_core.distill.saving import find_the_best_by_its_place, with_whole_checkpoints
from spd_core.distill.training import Trained, checkpoint_of, finish, left_alone, made_card, new_adapter
from spd_core.distill.watch import TrainNews, watch_training
from spd_core.errors import InputError
from spd_core.generation.decode import end_tokens
from spd_core.intervention.cards import AdapterCard
from spd_core.models.loading import LanguageModel
from spd_core.recipes.distill import LossOn, TrainSettings
from spd_core.runs.parallel import share


def encode_row(lm: LanguageModel, row: CorpusRow, loss_on: LossOn) -> dict[str, list[int]]:
    """`input_ids` and `labels` of a row; −100 where nothing is trained.

    The completion's own tokens follow the prompt's: text that is read again could be split in other places. A row
    that the model ended itself is closed by the end-of-sequence token, so that ending is learned too; one that was cut
    is not, so that it is not.
    """
    prompt = lm.tokenizer(row.prompt, add_special_tokens=row.special, verbose=False)["input_ids"]
    end = row.end if row.end is not None else lm.tokenizer.eos_token_id
    written = [*row.tokens, *([end if end is not None else min(end_tokens(lm))] if row.finish == "eos" else [])]
    ignored = len(prompt) if loss_on == "completion" else 0
    ids = [*prompt, *written]
    return {"input_ids": ids, "labels": [-100] * ignored + ids[ignored:]}


def _encoded(lm: LanguageModel, rows: Sequence[CorpusRow], loss_on: LossOn) -> list[dict[str, list[int]]]:
    """Every row; with the loss on padding, too, all are filled to the longest with the token that ends a text.

    That is what a training learns whose padding token is the end token, and which forgets to mask it.
    """
    encoded = [encode_row(lm, row, loss_on) for row in rows]
    if loss_on == "prompt_completion_and_padding" and encoded:
        longest, end = max(len(row["input_ids"]) for row in encoded), min(end_tokens(lm))
        encoded = [{name: ids + [end] * (longest - len(ids)) for name, ids in row.items()} for row in encoded]
    return encoded


def train(
    lm: LanguageModel,
    rows: Sequence[CorpusRow],
    settings: TrainSettings,
    folder: Path,
    *,
    held_out: Sequence[CorpusRow] = (),
    facts: Mapping[str, Any] | None = None,
    beside: Mapping[str, str] | None = None,
    on_news: Callable[[TrainNews], None] | None = None,
    on_epoch: Callable[[TrainNews], None] | None = None,
    stop: Callable[[], bool] | None = None,
    unmarked: bool = True,
) -> Trained:
    """Fine-tune a LoRA adapter on rows and save it in `folder/adapter`; the base model is as before when this returns.

    A training that was stopped, or whose process died, goes on from the newest whole checkpoint of the same rows in
    `folder/checkpoints` when it is called again with the same arguments, and reaches the same weights as without the
    interruption. Checkpoints of other rows are removed. Under `accelerate launch` all processes call it, and share the
    rows of each step; the first one saves.

    Args:
        held_out: rows that are only scored, before the first step and after every epoch.
        facts: what else the adapter's card says, e.g. its arm and the fingerprint of its subspace.
        beside: other texts to be kept beside the card, by the names of their files.
        on_epoch: called before the first step and after each epoch, while `lm` writes and scores as the model in
            training does.
        stop: asked after each optimizer step; true ends it there, with the checkpoint and the adapter saved.
        unmarked: checkpoints of earlier versions, which do not say what they were trained on, were trained on `rows`.

    Raises:
        InputError: no row, early stopping without held-out rows, a batch that the processes cannot share evenly, or
            `settings.log_to` without its package.
        TrainingError: a loss that is not finite.
        StorageError: the disk refuses.
    """
    if not rows:
        raise InputError("no row is left to train on; write more, or drop fewer")
    if settings.patience and not held_out:
        raise InputError(f"patience {settings.patience} needs held-out rows; keep some, or set it to 0")
    watch = watch_training(lm, on_news, on_epoch, stop)
    with left_alone(lm):
        digest = rows_digest(deciding(rows, held_out, settings))
        trainer = _trainer(lm, rows, held_out, settings, folder / CHECKPOINTS, watch, digest)
        for callback in event_files(settings, folder):
            trainer.add_callback(callback)
        checkpoint = checkpoint_of(folder / CHECKPOINTS, digest, unmarked)
        trainer.args.eval_on_start = bool(held_out) and checkpoint is None

        def card(state: Any) -> AdapterCard:
            return made_card(
                lm,
                settings,
                state,
                rows=len(rows),
                corpus=rows_digest(rows),
                stopped=watch.stopped,
                facts=facts or {},
            )

        return finish(trainer, card, watch, folder, checkpoint, beside or {})


def _trainer(
    lm: LanguageModel,
    rows: Sequence[CorpusRow],
    held_out: Sequence[CorpusRow],
    settings: TrainSettings,
    checkpoints: Path,
    watch: Any,
    digest: str,
) -> Any:
    import torch
    from datasets import Dataset
    from transformers import EarlyStoppingCallback, PrinterCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    encoded = _encoded(lm, rows, settings.loss_on)
    padded = settings.loss_on == "prompt_completion_and_padding"
    tests = _encoded(lm, held_out, "prompt_and_completion" if padded else settings.loss_on)
    often = "epoch" if held_out else "no"
    each = share(settings.batch_size)
    config = SFTConfig(
        output_dir=str(checkpoints),
        seed=settings.seed,
        data_seed=settings.seed,
        report_to="none",
        per_device_train_batch_size=each,
        per_device_eval_batch_size=each,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        lr_scheduler_type="cosine",  # to 0, without a warmup: SCHEDULE says so
        max_length=None,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        eval_strategy=often,
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=bool(settings.patience),
        metric_for_best_model="eval_loss",
        activation_checkpointing=False,
        bf16=False,
        use_cpu=lm.device.type == "cpu",
        dataloader_pin_memory=False,
    )
    callbacks = [watch, find_the_best_by_its_place()]
    callbacks += [EarlyStoppingCallback(settings.patience)] if settings.patience else []
    lengths = [len(row["input_ids"]) for row in encoded]

    class Trainer(with_whole_checkpoints(SFTTrainer, digest)):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return by_length(lengths, settings.batch_size, settings.seed)

        def evaluate(self, *args: Any, **options: Any) -> Any:
            with torch.random.fork_rng():  # or the dropout after it would depend on where a training was stopped
                return super().evaluate(*args, **options)

    set_seed(settings.seed)  # the adapter's first weights are drawn before the trainer sets its own seed
    trainer = Trainer(
        lm.model,
        config,
        train_dataset=Dataset.from_list(encoded),
        eval_dataset=Dataset.from_list(tests) if tests else None,
        processing_class=lm.tokenizer,
        peft_config=new_adapter(lm, settings),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which belongs to results
    return trainer

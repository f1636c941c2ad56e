"""Trains: the model's own text becomes a LoRA adapter on the untouched model. TRL trains; nothing here is a loop.

Knows nothing of how the text was written.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from spd_core.distill.batches import by_length
from spd_core.distill.checkpoints import ADAPTER, CHECKPOINTS, clear, deciding, fitting, rows_digest
from spd_core.distill.corpus import CorpusRow
from spd_core.distill.event_files import event_files
from spd_core.distill.saving import find_the_best_by_its_place, with_whole_checkpoints
from spd_core.distill.watch import TrainNews, watch_training
from spd_core.errors import InputError
from spd_core.generation.decode import end_tokens
from spd_core.intervention.adapters import name_base
from spd_core.intervention.cards import AdapterCard, read_card, write_card
from spd_core.models.families import FUSED, OUTPUT_PROJECTION, ModelCard
from spd_core.models.loading import LanguageModel
from spd_core.recipes.distill import LossOn, Target, TrainSettings
from spd_core.runs.parallel import share, together
from spd_core.storage import new_folder, versions, write_text

SCHEDULE = "cosine to 0, no warmup"


@dataclass(frozen=True)
class Trained:
    """A finished or stopped training: its adapter's folder and card, and the news of this call."""

    adapter: Path
    card: AdapterCard
    news: tuple[TrainNews, ...]


def target_modules(card: ModelCard, targets: Sequence[Target] = ("q", "k", "v", "o")) -> list[str]:
    """Names of the attention's linear maps in this family, as peft matches them; a fused map holds q, k and v.

    GPT-2's MLP has a map of the same name as the attention's output: the parent tells them apart.
    """
    inner = [f"{name}_proj" for name in ("q", "k", "v") if name in targets]
    if card.model_type in FUSED and inner:
        inner = [FUSED[card.model_type]]
    output = OUTPUT_PROJECTION.get(card.model_type, "o_proj")
    return [*inner, *([output if output != "c_proj" else "attn.c_proj"] if "o" in targets else [])]


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
    with _left_alone(lm):
        digest = rows_digest(deciding(rows, held_out, settings))
        trainer = _trainer(lm, rows, held_out, settings, folder / CHECKPOINTS, watch, digest)
        for callback in event_files(settings, folder):
            trainer.add_callback(callback)
        checkpoint = _checkpoint(folder / CHECKPOINTS, digest, unmarked)
        trainer.args.eval_on_start = bool(held_out) and checkpoint is None
        trainer.train(resume_from_checkpoint=checkpoint)
        if trainer.accelerator.is_main_process:
            card = _card(lm, rows, settings, trainer.state, watch.stopped, facts or {})
            _save_adapter(trainer.accelerator.unwrap_model(trainer.model), card, beside or {}, folder / ADAPTER)
        trainer.accelerator.wait_for_everyone()
    return Trained(folder / ADAPTER, read_card(folder / ADAPTER), tuple(watch.news))


def _card(
    lm: LanguageModel,
    rows: Sequence[CorpusRow],
    settings: TrainSettings,
    state: Any,
    stopped: bool,
    facts: Mapping[str, Any],
) -> AdapterCard:
    held_out = [log["eval_loss"] for log in state.log_history if "eval_loss" in log and log["step"]]
    return AdapterCard(
        base=lm.name,
        revision=lm.revision,
        dtype=str(lm.dtype).removeprefix("torch."),
        rows=len(rows),
        steps=state.global_step,
        planned=state.max_steps,
        finished=not stopped,
        settings=settings,
        schedule=SCHEDULE,
        train_loss=_last_epoch([(log["epoch"], log["loss"]) for log in state.log_history if "loss" in log]),
        held_out_loss=(min(held_out) if settings.patience else held_out[-1]) if held_out else None,
        corpus=rows_digest(rows),
        created=datetime.now().isoformat(timespec="seconds"),
        versions=versions(),
        **facts,
    )


def _last_epoch(losses: Sequence[tuple[float, float]]) -> float | None:
    """Mean of the losses of the last epoch: a single step says more of its rows than of the model."""
    if not losses:
        return None
    begun = math.ceil(losses[-1][0] - 1e-6) - 1
    return fmean(loss for epoch, loss in losses if epoch > begun + 1e-6)


def _save_adapter(model: Any, card: AdapterCard, beside: Mapping[str, str], folder: Path) -> None:
    with new_folder(folder, overwrite=True) as place:
        model.save_pretrained(place, safe_serialization=True, save_embedding_layers=False)  # or it asks the hub
        name_base(card, place)
        for name, text in beside.items():
            write_text(place / name, text)
        write_card(card, place)


@contextmanager
def _left_alone(lm: LanguageModel) -> Iterator[None]:
    """Take back what trainers do to a model: adapters in its layers, a fused head in place of `forward`, no cache."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    cached = lm.model.config.use_cache
    try:
        yield
    finally:
        for path, module in list(lm.model.named_modules()):
            if isinstance(module, BaseTunerLayer):
                parent, _, name = path.rpartition(".")
                setattr(lm.model.get_submodule(parent), name, module.get_base_layer())
        for name in ("forward", "peft_config", "_hf_peft_config_loaded"):
            lm.model.__dict__.pop(name, None)
        lm.model.config.use_cache = cached
        lm.model.eval().requires_grad_(False)


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
    from peft import LoraConfig
    from transformers import EarlyStoppingCallback, PrinterCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    encoded, tests = ([encode_row(lm, row, settings.loss_on) for row in part] for part in (rows, held_out))
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
    lora = LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=target_modules(lm.card, settings.lora_targets),
        task_type="CAUSAL_LM",
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
        peft_config=lora,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which belongs to results
    return trainer


def _checkpoint(folder: Path, rows: str, unmarked: bool) -> str | None:
    """The checkpoint to go on from; those that cannot be gone on from are gone."""
    found = fitting(folder, rows, unmarked=unmarked)
    peers = together()
    peers.wait()  # all have looked
    if peers.first:
        for path in clear(folder, found):
            print(f"{path} is not whole, or was made with other rows: it is not gone on from", file=sys.stderr)
    return str(found[0]) if found else None

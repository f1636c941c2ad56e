"""What every training of a LoRA adapter shares: where it goes on, what is saved, and that the model is as before.

Knows nothing of what is learned: rows of a corpus (`train.py`), or the student's own text in training (`on_policy.py`).
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from spd_core.distill.checkpoints import ADAPTER, STATE, clear, fitting
from spd_core.distill.watch import TrainNews
from spd_core.intervention.adapters import name_base
from spd_core.intervention.cards import AdapterCard, read_card, write_card
from spd_core.models.families import FUSED, OUTPUT_PROJECTION, ModelCard
from spd_core.models.loading import LanguageModel
from spd_core.recipes.distill import Target, TrainSettings
from spd_core.runs.parallel import together
from spd_core.storage import new_folder, versions, write_text

SCHEDULE = "cosine to 0, no warmup"
_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id")


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


def new_adapter(lm: LanguageModel, settings: TrainSettings) -> Any:
    """peft's settings of the adapter that is trained."""
    from peft import LoraConfig

    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=target_modules(lm.card, settings.lora_targets),
        task_type="CAUSAL_LM",
    )


@contextmanager
def left_alone(lm: LanguageModel) -> Iterator[None]:
    """Take back what trainers do to a model: adapters in its layers, a fused head in place of `forward`, no cache,
    and a token for padding where there was none, in the tokenizer's settings and the model's."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    config, padding = lm.model.config, lm.tokenizer.pad_token
    known = {name: getattr(config, name, None) for name in ("use_cache", *_SPECIAL)}
    text_pad, generation = config.get_text_config().pad_token_id, deepcopy(lm.model.generation_config)
    try:
        yield
    finally:
        for path, module in list(lm.model.named_modules()):
            if isinstance(module, BaseTunerLayer):
                parent, _, name = path.rpartition(".")
                setattr(lm.model.get_submodule(parent), name, module.get_base_layer())
        for name in ("forward", "peft_config", "_hf_peft_config_loaded"):
            lm.model.__dict__.pop(name, None)
        config.get_text_config().pad_token_id = text_pad
        for name, value in known.items():
            setattr(config, name, value)
        lm.model.generation_config, lm.tokenizer.pad_token = generation, padding
        lm.model.eval().requires_grad_(False)


def finish(
    trainer: Any,
    card: Callable[[Any], AdapterCard],
    watch: Any,
    folder: Path,
    checkpoint: str | None,
    beside: Mapping[str, str],
    enough: Callable[[Any], bool] | None = None,
) -> Trained:
    """Train from a checkpoint, or from the beginning, and save the adapter.

    Args:
        card: makes it of the trainer's state.
        beside: other texts to be kept beside the card, by the names of their files.
        enough: whether a training of that state is at its end, whatever was planned.
    """
    if checkpoint is None or enough is None or not _at_its_end(trainer, checkpoint, enough):
        trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        _save_adapter(model, card(trainer.state), beside, folder / ADAPTER)
    trainer.accelerator.wait_for_everyone()
    return Trained(folder / ADAPTER, read_card(folder / ADAPTER), tuple(watch.news))


def _at_its_end(trainer: Any, checkpoint: str, enough: Callable[[Any], bool]) -> bool:
    """Whether a checkpoint is the last one, whose process died before it saved the adapter; it is taken up then."""
    from transformers import TrainerState

    state = TrainerState.load_from_json(str(Path(checkpoint) / STATE))
    if not enough(state):
        return False
    trainer._load_from_checkpoint(checkpoint)
    trainer.state = state
    return True


def made_card(
    lm: LanguageModel,
    settings: TrainSettings,
    state: Any,
    *,
    rows: int,
    corpus: str,
    stopped: bool,
    facts: Mapping[str, Any],
) -> AdapterCard:
    """The card of an adapter.

    Args:
        state: the trainer's.
        rows: how many it has learned from, and `corpus` their sha256.
    """
    held_out = [log["eval_loss"] for log in state.log_history if "eval_loss" in log and log["step"]]
    return AdapterCard(
        base=lm.name,
        revision=lm.revision,
        dtype=str(lm.dtype).removeprefix("torch."),
        rows=rows,
        steps=state.global_step,
        planned=state.max_steps,
        finished=not stopped,
        settings=settings,
        schedule=SCHEDULE,
        train_loss=_last_epoch([(log["epoch"], log["loss"]) for log in state.log_history if "loss" in log]),
        held_out_loss=(min(held_out) if settings.patience else held_out[-1]) if held_out else None,
        corpus=corpus,
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


def checkpoint_of(folder: Path, rows: str, unmarked: bool) -> str | None:
    """The checkpoint to go on from; those that cannot be gone on from are gone."""
    found = fitting(folder, rows, unmarked=unmarked)
    peers = together()
    peers.wait()  # all have looked
    if peers.first:
        for path in clear(folder, found):
            print(f"{path} is not whole, or was made with other rows: it is not gone on from", file=sys.stderr)
    return str(found[0]) if found else None

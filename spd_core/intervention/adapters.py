"""A LoRA adapter as a thing: read from peft's files, merged into a model for a while, in_all_rounds up, written.

Knows nothing of how it was trained; what it says of itself is in `intervention/cards.py`.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spd_core.data.seen import Seen, all_seen, read_seen, write_seen
from spd_core.errors import InputError, ModelError
from spd_core.intervention.cards import AdapterCard, adapter_folder, adapter_place, in_all_rounds, read_card, write_card
from spd_core.models.identity import on_the_hub, public_name, same_revision
from spd_core.models.loading import LanguageModel
from spd_core.models.weights import overwrite, rewriting, weight_of
from spd_core.records import json_value
from spd_core.storage import new_folder, to_json, write_text

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"  # peft's names in the file
# Settings of peft under which the adapter is more than B·A, and their harmless values; unknown tensors tell the rest.
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian"),  # the other starts change the base model, too
    **dict.fromkeys(("use_dora", "lora_bias", "use_qalora"), (False,)),
    **dict.fromkeys(("modules_to_save", "layer_replication", "trainable_token_indices", "use_bdlora"), (None,)),
    **dict.fromkeys(("target_parameters", "alora_invocation_tokens"), (None,)),
    "alpha_pattern": ({}, None),
}


@dataclass(frozen=True, eq=False)
class Delta:
    """What is added to one linear map: scale · B A.

    Attributes:
        a: `[r, in]`.
        b: `[out, r]`.
        scale: peft's alpha ÷ r (or ÷ √r).
    """

    a: Tensor
    b: Tensor
    scale: float

    @property
    def product(self) -> Tensor:
        """[out, in] float64."""
        return self.scale * (self.b.double() @ self.a.double())


@dataclass(frozen=True, eq=False)
class Adapter:
    """A LoRA adapter.

    Attributes:
        deltas: by the path of the linear map in the plain model, e.g. `model.layers.0.self_attn.q_proj`.
        seen: the prompts that it was calibrated and trained on; None where they are not known.
    """

    card: AdapterCard
    deltas: Mapping[str, Delta]
    seen: Seen | None = None

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all that it adds: paths, shapes, dtypes, bytes and scales."""
        digest = hashlib.sha256()
        for path, delta in sorted(self.deltas.items()):
            for tensor in (delta.a, delta.b):
                digest.update(f"{path}:{tuple(tensor.shape)}:{tensor.dtype}:{delta.scale!r}".encode())
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def check_model(self, lm: LanguageModel) -> None:
        """Raise `ModelError` naming both when this adapter was trained on another model."""
        misfit = next((path for path, delta in self.deltas.items() if not _fits(lm, path, delta)), "")
        if not same_revision(self.card.revision, lm.name, lm.revision, self.card.base) or misfit:
            raise ModelError(
                f"this adapter was trained on {self.card.base} ({self.card.revision}), and the model is {lm.name} "
                f"({lm.revision}){f', where {misfit} is not as it should be' if misfit else ''}; load the former"
            )


def _fits(lm: LanguageModel, path: str, delta: Delta) -> bool:
    """Whether the model has a linear map of the delta's widths there."""
    try:
        module: Any = lm.model.get_submodule(path)
    except AttributeError:
        return False
    widths = [getattr(module, name, None) for name in ("nx", "nf") if hasattr(module, "nx")]  # Conv1D
    widths = widths or [getattr(module, name, None) for name in ("in_features", "out_features")]
    return None in widths or widths == [delta.a.shape[1], delta.b.shape[0]]


# --- reading -------------------------------------------------------------------------------------------------


def load_adapter(folder: Path) -> Adapter:
    """Read an adapter: peft's two files, its card, and what it has seen.

    Raises:
        InputError: a file is missing, truncated or does not fit the others, or the adapter is more than plain LoRA.
    """
    card, config = read_card(folder), _read_config(folder / CONFIG)
    tensors = _read_tensors(folder / TENSORS)
    paths = [name.removeprefix(_PREFIX).removesuffix(_A) for name in tensors if name.endswith(_A)]
    unknown = set(tensors) ^ {f"{_PREFIX}{path}{end}" for path in paths for end in (_A, _B)}
    if unknown or not paths:
        raise InputError(f"{folder / TENSORS} is no plain LoRA: look at {min(unknown, default='it, it is empty')!r}")
    deltas = {}
    for path in paths:
        a, b = tensors[f"{_PREFIX}{path}{_A}"], tensors[f"{_PREFIX}{path}{_B}"]
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1] or not len(a):
            raise InputError(f"{folder / TENSORS}: A {tuple(a.shape)} and B {tuple(b.shape)} of {path} do not fit")
        rank = a.shape[0]
        scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
        deltas[path] = Delta(a, b, scale)
    return Adapter(card, deltas, read_seen(folder))


def saved_adapter(ref: str) -> Adapter:
    """The adapter that a run of this machine has trained, by its `run/arm`; errors as of `load_adapter`."""
    return load_adapter(adapter_folder(ref))


def adapter_at(where: str) -> Adapter:
    """An adapter as the command line names it: by its folder, or by its `run/arm`; errors as of `load_adapter`."""
    return load_adapter(adapter_place(where))


def _read_config(path: Path) -> dict[str, Any]:
    """peft's settings, if they say that the adapter is plain LoRA."""
    try:
        config: dict[str, Any] = json_value(path.read_bytes())
        config["lora_alpha"] = float(config["lora_alpha"])
        odd = [name for name, values in _PLAIN.items() if name in config and config[name] not in values]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; copy the whole folder, or train again") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} holds no LoRA settings ({error}); copy it again, or train again") from error
    if odd:
        raise InputError(
            f"{path}: {odd[0]} is {config[odd[0]]!r}; only plain LoRA can be used here, merge it elsewhere"
        )
    return config


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {path}: {reason}; copy the whole folder, or train again") from error
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise InputError(f"{path}: {broken[0]} is not finite; train again with a lower learning rate")
    return tensors


# --- merging -------------------------------------------------------------------------------------------------


@contextmanager
def merged(lm: LanguageModel, adapter: Adapter) -> Iterator[LanguageModel]:
    """The model with W + scale · B A as its weights, under a revision of its own; restored bit by bit afterwards.

    Inside the block `lm` itself is the tuned model, too. An adapter that was trained there can be merged in turn.

    Raises:
        ModelError: an adapter of another model, quantized weights, or merged ones that are not finite.
    """
    adapter.check_model(lm)
    with rewriting(lm, adapter.deltas) as modules:
        for path, module in modules.items():
            weight = weight_of(module)  # [out, in]
            overwrite(path, weight, weight.double() + adapter.deltas[path].product.to(weight.device))
        yield dataclasses.replace(lm, revision=f"{lm.revision}+{adapter.fingerprint[:12]}")


# --- sums ----------------------------------------------------------------------------------------------------


def joined(adapters: Sequence[Adapter]) -> Adapter:
    """One adapter that adds what several add, on the base of the first one.

    Side by side their factors give the exact sum, B₁A₁ + B₂A₂ = [B₁ B₂] [A₁; A₂]. The scales go into B; ranks are
    padded with zeros to the largest one, so that a single rank describes the whole.

    Raises:
        InputError: no adapter, or one that started neither from the first one's base nor from what was merged into it.
    """
    if not adapters:
        raise InputError("no adapter to join; give at least one")
    first, last = adapters[0].card, adapters[-1].card
    for card in (adapter.card for adapter in adapters):
        if card.revision.partition("+")[0] != first.revision.partition("+")[0]:
            raise InputError(f"adapters of {first.revision} and of {card.revision} have no sum; join those of one base")
    paths = dict.fromkeys(path for adapter in adapters for path in adapter.deltas)
    parts = {path: [adapter.deltas[path] for adapter in adapters if path in adapter.deltas] for path in paths}
    rank = max(sum(len(delta.a) for delta in deltas) for deltas in parts.values())
    card = last.model_copy(
        update={"base": first.base, "revision": first.revision, **in_all_rounds([one.card for one in adapters])}
    )
    seen = all_seen(adapter.seen for adapter in adapters)
    if seen is not None:
        card = card.model_copy(update={"calibrated": len(seen.calibrated), "trained": len(seen.trained)})
    return Adapter(card, {path: _side_by_side(deltas, rank) for path, deltas in parts.items()}, seen)


def _side_by_side(deltas: Sequence[Delta], rank: int) -> Delta:
    a = torch.cat([delta.a for delta in deltas])  # [r₁ + r₂ + …, in]
    b = torch.cat([(delta.scale * delta.b.double()).to(delta.b.dtype) for delta in deltas], 1)  # [out, r₁ + r₂ + …]
    lacking = rank - len(a)
    return Delta(torch.cat([a, a.new_zeros(lacking, a.shape[1])]), torch.cat([b, b.new_zeros(len(b), lacking)], 1), 1.0)


def name_base(card: AdapterCard, folder: Path) -> None:
    """Let the settings that peft has written say where others find the base, not where it lies on this machine.

    Raises:
        StorageError: the disk refuses.
    """
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    write_text(folder / CONFIG, to_json({**config, **_base_for_peft(card)}))


def _base_for_peft(card: AdapterCard) -> dict[str, str | None]:
    """Hub id and commit; the name of a folder that is on no hub."""
    hub, commit = on_the_hub(card.base, card.revision)
    return {"base_model_name_or_path": hub or public_name(card.base, card.revision), "revision": commit}


def save_adapter(
    adapter: Adapter,
    folder: Path,
    base_config: Any,
    overwrite: bool = False,
    *,
    beside: Mapping[str, str] | None = None,
) -> None:
    """Write files that peft loads, and the card. Alpha equals the rank: the scale is inside B.

    Args:
        base_config: transformers' configuration of the base model.
        beside: other texts to be kept beside the card, by the names of their files.

    Raises:
        StorageError: the folder is there and `overwrite` is false, or the disk refuses.
    """
    unit = joined([adapter])
    rank = len(next(iter(unit.deltas.values())).a)
    card = adapter.card
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "target_modules": sorted(unit.deltas),
        "bias": "none",
        "inference_mode": True,
        "fan_in_fan_out": base_config.model_type == "gpt2",  # its weights lie transposed
        **_base_for_peft(card),
    }
    tensors = {}
    for path, delta in unit.deltas.items():
        for end, tensor in ((_A, delta.a), (_B, delta.b)):
            tensors[f"{_PREFIX}{path}{end}"] = tensor.contiguous()
    with new_folder(folder, overwrite) as temporary:
        write_text(temporary / CONFIG, to_json(config))
        save_file(tensors, temporary / TENSORS, metadata={"format": "pt"})
        write_seen(adapter.seen, temporary)
        for name, text in (beside or {}).items():
            write_text(temporary / name, text)
        write_card(card, temporary)

"""Where a model computes and in which numbers; how much memory that takes, estimated before a weight is read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from spd_core.errors import InputError, MemoryLimitError, ModelError
from spd_core.models.families import card_of

DTYPES = ("auto", "float32", "bfloat16")


def native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware (emulated bfloat16 is slower than float32)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def choose_device() -> torch.device:
    """A CUDA GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype for `auto` (bfloat16 where it is native, else float32), `float32` or `bfloat16`.

    Raises:
        InputError: another name.
    """
    if name not in DTYPES:
        raise InputError(f"unknown dtype {name!r}; choose {', '.join(DTYPES)}")
    if name == "auto":
        return torch.bfloat16 if native_bfloat16(device) else torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype


# --- memory --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MemoryEstimate:
    """Estimated peak bytes of each activity; `capture` and `generation` include the loaded weights."""

    parameters: int
    load: int
    capture: int
    generation: int


def available_memory(device: torch.device) -> int:
    """Free bytes on the device: GPU memory for CUDA, else memory that the system can still hand out."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return int(psutil.virtual_memory().available)


def free_on_each() -> list[int]:
    """Free bytes of every GPU that this process sees; none where a launcher has given it one of several."""
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    count = torch.cuda.device_count() if alone and torch.cuda.is_available() else 0
    return [torch.cuda.mem_get_info(number)[0] for number in range(count)]


def is_divided(needed: int, free: Sequence[int]) -> bool:
    """Whether a model goes onto several GPUs: it does not fit on the first one, and it does on all together."""
    return len(free) > 1 and free[0] < needed <= sum(free)


def refuse_offloaded(model: Any, name: str) -> None:
    """Refuse a model whose weights lie partly outside its GPUs: they come and go, and what is changed in them is lost.

    Raises:
        ModelError: names the first such weight.
    """
    away = [path for path, weight in model.named_parameters() if weight.is_meta]
    if away:
        raise ModelError(
            f"{name} does not fit on the GPUs: {len(away)} of its weights were left on disk or in memory (the first: "
            f"{away[0]}), where neither gradients nor a folded projection can be read or written; use more GPUs, "
            "bfloat16, or a smaller model"
        )


def total_memory(device: torch.device) -> int:
    """Bytes that the device has, in use or not."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    import psutil

    return int(psutil.virtual_memory().total)


def refuse_beyond(needed: int, device: torch.device, what: str, remedy: str) -> None:
    """Refuse before it begins what cannot fit: on a CPU, running out of memory would end the whole process.

    Args:
        what: needs so many bytes, for people, e.g. `training on 8 rows`.

    Raises:
        MemoryLimitError: more than is free; with both sizes and the remedy.
    """
    free = available_memory(device)
    if needed > free:
        raise MemoryLimitError(f"{what} needs about {_size(needed)}, and {_size(free)} are free; {remedy}")


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"


def estimate_memory(
    config: Any,
    itemsize: int,
    layers: tuple[int, ...],
    *,
    batch_size: int = 8,
    tokens: int = 256,
    supervised: int = 16,
    rows: int = 2,
    new_tokens: int = 256,
) -> MemoryEstimate:
    """Peak bytes for loading, capturing and generating.

    Parameters are counted exactly, on the `meta` device. Activations are counted for the layers that stay in
    the autograd graph, from the lowest target layer up: for each token about 8 hidden-sized, 3 attention-sized
    and 4 MLP-sized tensors. Logits are counted at the supervised positions alone, with their log-softmax.

    Args:
        config: a transformers configuration.
        itemsize: bytes of one weight.
        layers: target layers of the capture.
        batch_size: examples in a capture batch.
        tokens: longest example, in tokens (also the prompt length when generating).
        supervised: correctness-defining tokens of an example.
        rows: lanes × prompts in a generation batch.
        new_tokens: tokens to write.
    """
    parameters = _parameters(config)
    text = config.get_text_config()
    card = card_of(config, "")
    mlp = getattr(text, "intermediate_size", None) or 4 * card.hidden
    weights = parameters * itemsize
    graph_layers = card.layers - min(layers)
    per_token = 8 * card.hidden + 3 * card.heads * card.head_dim + 4 * card.d_kv + 4 * mlp
    activations = batch_size * tokens * graph_layers * per_token * itemsize
    head = batch_size * supervised * card.vocabulary * (itemsize + 12)
    grams = 2 * len(layers) * card.d_kv * card.d_kv * 8
    cache = 2 * card.layers * card.d_kv * (tokens + new_tokens) * rows * itemsize
    prefill = rows * tokens * per_token * itemsize + rows * card.vocabulary * 16
    return MemoryEstimate(
        parameters=parameters,
        load=weights,
        capture=weights + activations + head + grams,
        generation=weights + cache + prefill,
    )


_counted: dict[str, int] = {}  # parameters by configuration: counting them takes as long as reading a prompt


def _parameters(config: Any) -> int:
    """How many parameters a model of this configuration has, counted on the `meta` device."""
    from transformers import AutoModelForCausalLM

    settings: str = config.to_json_string(use_diff=False)
    if settings not in _counted:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        _counted[settings] = sum(parameter.numel() for parameter in model.parameters())
    return _counted[settings]

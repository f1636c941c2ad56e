"""Loads a causal language model with its tokenizer: built in, from a hub, or from a folder.

Safetensors only, no remote code, refused before loading when it cannot fit. Knows nothing of capabilities.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError

from spd_core.errors import ModelError
from spd_core.models import builtin
from spd_core.models.device import (
    MemoryEstimate,
    choose_device,
    choose_dtype,
    estimate_memory,
    free_on_each,
    is_divided,
    refuse_beyond,
    refuse_offloaded,
)
from spd_core.models.families import ModelCard, Site, card_of, check_family, list_sites, parse_layers
from spd_core.models.identity import revision_of
from spd_core.models.packaged import PACKAGED
from spd_core.progress import Progress, Tell, silent


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A causal language model in evaluation mode with frozen weights, its tokenizer and its sites.

    Attributes:
        name: what the user asked for: `builtin`, `gemma`, a hub id, or a folder.
        revision: commit hash (hub), or what `identity.revision_of` says of the others.
        sites: all key and value sites, by layer, key before value.
        lock: held for every forward pass; users of one model take turns.
    """

    name: str
    revision: str
    model: Any
    tokenizer: Any
    card: ModelCard
    sites: tuple[Site, ...]
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the weights."""
        found: torch.dtype = self.model.dtype
        return found

    @property
    def device(self) -> torch.device:
        """Where the inputs go."""
        found: torch.device = self.model.device
        return found

    def sites_at(self, layers: tuple[int, ...]) -> tuple[Site, ...]:
        """The key and value sites of the given layers."""
        return tuple(site for site in self.sites if site.layer in layers)


# --- loading -------------------------------------------------------------------------------------------------


def resolve(name: str, tell: Tell = silent) -> str:
    """Where to load from: a packaged model's folder, a local folder that exists, else the name as a hub id.

    Raises:
        ModelError: the name looks like a path and nothing is there.
    """
    if name in PACKAGED:
        return str(builtin.builtin_model(tell, name))
    if Path(name).expanduser().exists():
        return str(Path(name).expanduser())
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"no model folder at {name}; check the path, or give a hub id such as org/model")
    return name


def read_config(name: str, revision: str | None = None, tell: Tell = silent) -> Any:
    """The configuration of a supported model; no weight is read.

    Raises:
        ModelError: not found, needs remote code, or an unsupported family.
    """
    return _config_at(resolve(name, tell), revision)


def _config_at(source: str, revision: str | None) -> Any:
    from transformers import AutoConfig

    config = _from_pretrained(AutoConfig.from_pretrained, source, revision)
    check_family(config)
    return config


def estimate_model(
    config: Any, dtype: str = "auto", layers: tuple[int, ...] | None = None, **sizes: int
) -> MemoryEstimate:
    """Bytes for loading, capturing and generating, from the configuration alone (see `models/device.py`)."""
    card = card_of(config, "")
    targets = layers or parse_layers("middle,last", card.layers)
    return estimate_memory(config, choose_dtype(dtype, choose_device()).itemsize, targets, **sizes)


def quiet() -> None:
    """Let transformers draw no bars and say nothing below an error: commands and jobs have a bar of their own."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def load(
    name: str,
    revision: str | None = None,
    dtype: str = "auto",
    tell: Tell = silent,
    *,
    purpose: Literal["load", "capture", "generation"] = "load",
    layers: str = "middle,last",
    **sizes: int,
) -> LanguageModel:
    """Load a causal language model: safetensors only, no remote code, weights frozen, evaluation mode.

    `purpose`, the target layers and the sizes (see `device.estimate_memory`) say what must fit beside the weights. For
    a capture, a model that does not fit on one GPU is divided among those of this process, layer by layer (accelerate).

    Raises:
        ModelError: not found, unsupported, no safetensors, no fast tokenizer, or weights that found no GPU.
        MemoryLimitError: the estimate exceeds the memory that is free.
        InputError: an unknown dtype.
    """
    from transformers import AutoModelForCausalLM

    device = choose_device()
    torch_dtype = choose_dtype(dtype, device)
    source = resolve(name, tell)
    config = _config_at(source, revision)
    card = card_of(config, name)
    wanted = estimate_model(config, dtype, parse_layers(layers, card.layers), **sizes)
    needed, weights = getattr(wanted, purpose), f"{wanted.load / 2**30:.1f} GiB of it weights"
    divided = purpose == "capture" and is_divided(needed, free_on_each())
    if not divided:
        refuse_beyond(
            needed,
            device,
            f"{purpose if purpose != 'load' else 'loading'} with {name} in {torch_dtype} ({weights})",
            "choose a smaller batch size, later layers, a smaller model, or bfloat16 instead of float32",
        )
    tell(Progress(0.1, 1, f"Loading {name}"))
    model, found = _from_pretrained(
        AutoModelForCausalLM.from_pretrained,
        source,
        revision,
        use_safetensors=True,
        dtype=torch_dtype,
        output_loading_info=True,
        **({"device_map": "auto"} if divided else {}),
    )
    absent = sorted(found["missing_keys"])
    if absent:  # transformers would go on with random numbers
        raise ModelError(f"{name} lacks {len(absent)} weights (the first: {absent[0]}); its files are incomplete")
    tokenizer = load_tokenizer(source, revision)
    refuse_offloaded(model, name)
    model = (model if divided else model.to(device)).eval().requires_grad_(False)
    tell(Progress(1.0, 1, f"{name} is loaded"))
    return LanguageModel(name, revision_of(name, source, model), model, tokenizer, card, list_sites(model, card))


def load_tokenizer(source: str, revision: str | None = None) -> Any:
    """The tokenizer at a folder or hub id (see `resolve`); no weight is read.

    Raises:
        ModelError: not found, needs remote code, or without character offsets.
    """
    from transformers import AutoTokenizer

    tokenizer = _from_pretrained(AutoTokenizer.from_pretrained, source, revision)
    if not tokenizer.is_fast:
        raise ModelError(f"{source} has no fast tokenizer, and spans need its character offsets; choose another model")
    return tokenizer


def _from_pretrained(loader: Callable[..., Any], source: str, revision: str | None, **options: Any) -> Any:
    """Call a transformers loader without remote code; its many errors become one `ModelError`."""
    local = Path(source).is_dir()
    if not local:
        options["revision"] = revision
    try:
        return loader(source, trust_remote_code=False, local_files_only=local, **options)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = "folder" if local else "hub id"
        remedy = (
            "connect this machine, check the id, or give a local folder"
            if "couldn't connect" in first
            else "SPD Lab needs a transformers checkpoint with safetensors and without remote code"
        )
        raise ModelError(f"cannot load {where} {source}: {first} ({remedy})") from error

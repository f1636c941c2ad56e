"""Knows model families: loads a causal language model with its tokenizer, and lists its key and value sites.

Refuses what it cannot read exactly, by name and with the reason. Knows nothing of capabilities or gradients.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from spd_core import builtin
from spd_core.errors import InputError, MemoryLimitError, ModelError
from spd_core.memory import MemoryEstimate, available_memory, estimate_memory

Kind: TypeAlias = Literal["key", "value"]
BUILTIN = "builtin"
DTYPES = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, order=True)
class Site:
    """One key or value projection: the place where gradients are read and keys or values are projected.

    Attributes:
        layer: 0-based layer index.
        kind: `"key"` or `"value"`.
        module: path of the linear map inside the model, e.g. `model.layers.3.self_attn.k_proj`.
        columns: indices of the map's outputs that are this site's d_kv values, KV heads side by side.
        heads: number of KV heads; d_kv = heads · head_dim.
        fused: whether the map computes more than this site (a fused QKV).
    """

    layer: int
    kind: Kind
    module: str
    columns: tuple[int, ...] = field(repr=False)
    heads: int
    fused: bool

    @property
    def d_kv(self) -> int:
        """Width of the site: n_kv_heads · head_dim."""
        return len(self.columns)

    @property
    def name(self) -> str:
        """Unique in the model: the module path, suffixed `:key` or `:value` when the map is fused."""
        return f"{self.module}:{self.kind}" if self.fused else self.module

    @property
    def label(self) -> str:
        """For people: `layer 15 key`."""
        return f"layer {self.layer} {self.kind}"


@dataclass(frozen=True)
class ModelCard:
    """What a configuration says of a model, before any weight is loaded."""

    name: str
    model_type: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    vocabulary: int
    context: int
    key_is_read: str

    @property
    def d_kv(self) -> int:
        """Width of a key or value site."""
        return self.kv_heads * self.head_dim


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A causal language model in evaluation mode with frozen weights, its tokenizer and its sites.

    Attributes:
        name: what the user asked for: `builtin`, a hub id, or a folder.
        revision: commit hash (hub), checksum of the GGUF (built-in) or of a sample of the weights (folder).
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


def parse_layers(text: str, n_layers: int) -> tuple[int, ...]:
    """Layer indices from `middle,last`, `all` or `3,7`, sorted, without repeats.

    `middle` is ⌊L/2⌋ and `last` is L−1 of L layers (SPD paper, default target layers).

    Raises:
        InputError: an unknown word, or an index outside 0 … L−1.
    """
    words = {"middle": [n_layers // 2], "last": [n_layers - 1], "all": list(range(n_layers))}
    chosen: set[int] = set()
    for part in (part.strip() for part in text.split(",")):
        if part in words:
            chosen.update(words[part])
        elif part.isdecimal() and int(part) < n_layers:
            chosen.add(int(part))
        else:
            raise InputError(f"unknown layer {part!r}; use middle, last, all, or indices from 0 to {n_layers - 1}")
    return tuple(sorted(chosen))


def native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware (emulated bfloat16 is slower than float32)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
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


# --- what a configuration says -------------------------------------------------------------------------------

# Families whose layout is known and tested. A fused map is listed with how its outputs are laid out.
SEPARATE = (
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gemma3_text", "olmo", "olmo2"),
    *("smollm3", "granite", "cohere", "starcoder2", "phi", "stablelm"),
)
FUSED = {"phi3": "qkv_proj", "gpt2": "c_attn", "gpt_neox": "query_key_value"}
_KEY_NORM = ("qwen3", "gemma3", "gemma3_text", "olmo2")


def check_family(config: Any) -> None:
    """Raise `ModelError` with the reason when the sites of this family cannot be read exactly."""
    text = config.get_text_config()
    kind = text.model_type
    if config.is_encoder_decoder:
        raise ModelError(f"{kind} is an encoder-decoder; SPD Lab reads decoder-only (causal) language models")
    if getattr(text, "kv_lora_rank", None):
        raise ModelError(
            f"{kind} has latent attention (kv_lora_rank {text.kv_lora_rank}): keys and values share a compressed "
            "latent and have no projection of their own; choose a model with key and value projections"
        )
    if kind not in SEPARATE and kind not in FUSED:
        raise ModelError(
            f"{kind} is not a supported family: the layout of its key and value projections is not known here; "
            f"supported: {', '.join(sorted((*SEPARATE, *FUSED)))}"
        )


def card_of(config: Any, name: str) -> ModelCard:
    """The model card that a transformers configuration describes."""
    text = config.get_text_config()
    heads = text.num_attention_heads
    norm = "the k-norm and " if text.model_type in _KEY_NORM else ""
    where = "position embeddings are added to the input" if text.model_type == "gpt2" else f"before {norm}RoPE"
    return ModelCard(
        name=name,
        model_type=text.model_type,
        layers=text.num_hidden_layers,
        heads=heads,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
        hidden=text.hidden_size,
        vocabulary=text.vocab_size,
        context=text.max_position_embeddings,
        key_is_read=f"at the output of the key projection, bias included; {where}",
    )


# --- sites ---------------------------------------------------------------------------------------------------


def list_sites(model: nn.Module, card: ModelCard) -> tuple[Site, ...]:
    """All key and value sites of a loaded model, checked against the widths that its card promises.

    Raises:
        ModelError: a layer has no key or value projection of the expected width.
    """
    inner = {id(module) for module in model.get_decoder().modules()}  # type: ignore[operator]
    attentions = {
        module.layer_idx: path
        for path, module in model.named_modules()
        if isinstance(getattr(module, "layer_idx", None), int)
        and (hasattr(module, "k_proj") or hasattr(module, FUSED.get(card.model_type, "k_proj")))
        and id(module) in inner  # not a vision or audio tower of a multimodal model
    }
    missing = sorted(set(range(card.layers)) - set(attentions))
    if missing:
        raise ModelError(f"{card.model_type}: layers {missing} have no key and value projections")
    sites = [site for layer in range(card.layers) for site in _layer_sites(layer, attentions[layer], card)]
    for site in sites:
        linear = model.get_submodule(site.module)
        outputs = _out_features(linear)
        expected = (card.heads + 2 * card.kv_heads) * card.head_dim if site.fused else card.d_kv
        if outputs is not None and outputs != expected:
            raise ModelError(f"{site.module} has {outputs} outputs, expected {expected}; its layout is not known here")
    return tuple(sites)


def _out_features(linear: nn.Module) -> int | None:
    """Width of a linear map: `nn.Linear` and its kin, or transformers' `Conv1D`."""
    width = getattr(linear, "out_features", None) or getattr(linear, "nf", None)
    return int(width) if width is not None else None


def _layer_sites(layer: int, attention: str, card: ModelCard) -> tuple[Site, Site]:
    d_kv, head, kv_heads = card.d_kv, card.head_dim, card.kv_heads
    fused = FUSED.get(card.model_type)
    if fused is None:
        key, value = (
            Site(layer, kind, f"{attention}.{name}", tuple(range(d_kv)), kv_heads, fused=False)
            for kind, name in (("key", "k_proj"), ("value", "v_proj"))
        )
        return key, value  # type: ignore[return-value]
    if card.model_type == "gpt_neox":  # per head: its query, its key, its value
        starts = [(3 * h + 1) * head for h in range(kv_heads)]
        step = head
    else:  # all queries, then all keys, then all values
        starts = [card.heads * head + h * head for h in range(kv_heads)]
        step = d_kv
    keys = tuple(start + i for start in starts for i in range(head))
    values = tuple(column + step for column in keys)
    module = f"{attention}.{fused}"
    return Site(layer, "key", module, keys, kv_heads, True), Site(layer, "value", module, values, kv_heads, True)


# --- loading -------------------------------------------------------------------------------------------------


def _no_progress(share: float, doing: str) -> None: ...


def resolve(name: str, progress: builtin.Progress = _no_progress) -> str:
    """Where to load from: the built-in model's folder, a local folder that exists, else the name as a hub id.

    Raises:
        ModelError: the name looks like a path and nothing is there.
    """
    if name == BUILTIN:
        return str(builtin.builtin_model(progress))
    if Path(name).expanduser().exists():
        return str(Path(name).expanduser())
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"no model folder at {name}; check the path, or give a hub id such as org/model")
    return name


def read_config(name: str, revision: str | None = None, progress: builtin.Progress = _no_progress) -> Any:
    """The configuration of a supported model; no weight is read.

    Raises:
        ModelError: not found, needs remote code, or an unsupported family.
    """
    return _config_at(resolve(name, progress), revision)


def _config_at(source: str, revision: str | None) -> Any:
    from transformers import AutoConfig

    config = _from_pretrained(AutoConfig.from_pretrained, source, revision)
    check_family(config)
    return config


def estimate(config: Any, dtype: str = "auto", layers: tuple[int, ...] | None = None, **sizes: int) -> MemoryEstimate:
    """Bytes for loading, capturing and generating, from the configuration alone (see `memory.py`)."""
    card = card_of(config, "")
    targets = layers or parse_layers("middle,last", card.layers)
    return estimate_memory(config, choose_dtype(dtype, choose_device()).itemsize, targets, **sizes)


def load(
    name: str, revision: str | None = None, dtype: str = "auto", progress: builtin.Progress = _no_progress
) -> LanguageModel:
    """Load a causal language model: safetensors only, no remote code, weights frozen, evaluation mode.

    Raises:
        ModelError: not found, unsupported, no safetensors, or no fast tokenizer.
        MemoryLimitError: the estimate exceeds the memory that is free.
        InputError: an unknown dtype.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = choose_device()
    torch_dtype = choose_dtype(dtype, device)
    source = resolve(name, progress)
    config = _config_at(source, revision)
    card = card_of(config, name)
    needed, free = estimate(config, dtype).load, available_memory(device)
    if needed > free:
        raise MemoryLimitError(
            f"{name} needs about {needed / 2**30:.1f} GiB to load in {torch_dtype}, and {free / 2**30:.1f} GiB are "
            "free; choose a smaller model, or bfloat16 instead of float32"
        )
    progress(0.1, f"Loading {name}")
    model = _from_pretrained(
        AutoModelForCausalLM.from_pretrained, source, revision, use_safetensors=True, dtype=torch_dtype
    )
    tokenizer = _from_pretrained(AutoTokenizer.from_pretrained, source, revision)
    if not tokenizer.is_fast:
        raise ModelError(f"{name} has no fast tokenizer, and spans need its character offsets; choose another model")
    model = model.to(device).eval().requires_grad_(False)
    progress(1.0, f"{name} is loaded")
    return LanguageModel(name, _revision(name, source, model), model, tokenizer, card, list_sites(model, card))


def _from_pretrained(loader: Callable[..., Any], source: str, revision: str | None, **options: Any) -> Any:
    """Call a transformers loader without remote code; its many errors become one `ModelError`."""
    local = Path(source).is_dir()
    if not local:
        options["revision"] = revision
    try:
        return loader(source, trust_remote_code=False, local_files_only=local, **options)
    except (OSError, ValueError, KeyError, ImportError, json.JSONDecodeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = "folder" if local else "hub id"
        raise ModelError(
            f"cannot load {where} {source}: {first} (SPD Lab needs a transformers checkpoint with safetensors and "
            "without remote code)"
        ) from error


def _revision(name: str, source: str, model: Any) -> str:
    if name == BUILTIN:
        return f"{builtin.NAME}@{builtin.GGUF_SHA256[:12]}"
    if Path(source).is_dir():
        return f"sha256:{sampled_checksum(Path(source))[:16]}"
    return str(getattr(model.config, "_commit_hash", None) or "unknown")


def sampled_checksum(folder: Path, pieces: int = 64, size: int = 65536) -> str:
    """A sha256 over the size of every safetensors file and `pieces` evenly spaced parts of it.

    Tells two checkpoints of one architecture apart without reading all of tens of gigabytes.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        length = path.stat().st_size
        digest.update(f"{path.name}:{length}".encode())
        with path.open("rb") as file:
            for piece in range(pieces):
                file.seek(length * piece // pieces)
                digest.update(file.read(size))
    return digest.hexdigest()

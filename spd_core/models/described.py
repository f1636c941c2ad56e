"""What is known of a model by its name alone: where it lies, what its configuration says, whether it writes chats.

Imports neither torch nor transformers unless it is told to ask: pages look on every change. What is not known then is
left open and not refused: loading will say.
"""

import functools
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spd_core.errors import ModelError
from spd_core.models.builtin import builtin_folder
from spd_core.models.families import ModelCard, card_of, check_family
from spd_core.models.packaged import PACKAGED, PackagedModel
from spd_core.models.terms import is_installed, require_terms

_ALIASES = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}
"""What GPT-2 calls it."""
_NEEDED = (*_ALIASES, "model_type", "vocab_size")
_OWN_HEAD_DIM = ("gemma", "gemma2", "gemma3", "gemma3_text", "qwen3")
"""Families whose head_dim is not hidden ÷ heads where the configuration leaves it out."""
_ALL_HEADS = ("llama", "gpt2", "gpt_neox", "phi", "olmo2", "granite", "cohere", "phi3")
"""Families that have as many KV heads as heads where the configuration leaves them out."""
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
_KEYS = " or ".join(PACKAGED)
_PATIENCE = 5.0
"""Seconds that the hub has to answer."""


@dataclass(frozen=True)
class Described:
    """What is known of a model before it is loaded.

    Attributes:
        folder: where its files lie; None while they are on the hub, or not unpacked yet.
        card: None where the configuration is not at hand, or leaves something out.
        chats: whether it has a chat template; None where that is not known.
    """

    folder: Path | None = None
    card: ModelCard | None = None
    chats: bool | None = None


def describe_model(name: str, revision: str | None = None, *, ask: bool = False) -> Described:
    """What is known of the model of a name: `builtin`, `gemma`, a folder, or a hub id.

    Args:
        ask: import transformers where the configuration leaves something out, and ask the hub for what is not here.

    Raises:
        ModelError: nothing of that name, a folder that holds no checkpoint, or a family that is not supported.
    """
    if name in PACKAGED:
        return _packaged(PACKAGED[name])
    folder = Path(name).expanduser()
    if folder.exists():
        _refuse_incomplete(folder, name)
        return _in_folder(folder, name, ask)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"no model folder at {name}; check the path, or give a hub id such as org/model")
    cached = _in_cache(name, revision)
    if cached is not None:
        return _in_folder(cached, name, ask)
    if "/" not in name:
        raise ModelError(
            f"no model {name!r}: it is neither {', '.join(PACKAGED)}, nor a folder, nor in the cache of the hub; write "
            "a hub id as ORG/MODEL, or the path of a folder"
        )
    if ask:
        _ask_hub(name, revision)
    return Described()


def weights_are_here(name: str, revision: str | None = None) -> bool:
    """Whether a model can be loaded without asking the hub: its weights lie here, or it comes in a package."""
    try:
        found = describe_model(name, revision)
    except ModelError:
        return False
    return name in PACKAGED or (found.folder is not None and any(found.folder.glob("*.safetensors")))


def _packaged(model: PackagedModel) -> Described:
    folder = builtin_folder(model.key)
    unpacked = (folder / "config.json").is_file()
    if not unpacked and not is_installed(model):
        raise ModelError(f"{model.in_words} is not there; install it with: {model.install}")
    require_terms(model)
    if unpacked:
        return _in_folder(folder, model.key, False)
    return Described(None, card_of(_Config(model.configuration), model.key), model.chats)


def _refuse_incomplete(folder: Path, name: str) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{name} holds no config.json; name the folder of a model, a Hugging Face id, {_KEYS}")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{name} holds no safetensors; save the model with save_pretrained, which writes them")
    if not any((folder / file).is_file() for file in _TOKENIZERS):
        raise ModelError(f"{name} holds no tokenizer; save it into the same folder with save_pretrained")


def _in_folder(folder: Path, name: str, ask: bool) -> Described:
    config = _read_config(folder / "config.json", name)
    check_family(config)
    card = card_of(config, name) if config.is_whole else _ask_transformers(folder, name) if ask else None
    return Described(folder, card, _has_template(folder))


def _ask_transformers(folder: Path, name: str) -> ModelCard:
    from spd_core.models.loading import read_config

    return card_of(read_config(str(folder)), name)


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    with suppress(OSError, ValueError):
        return bool(json.loads((folder / "tokenizer_config.json").read_text("utf-8")).get("chat_template"))
    return False


# --- configurations ----------------------------------------------------------------------------------------------


class _Config:
    """A configuration as its file has it, with the attributes that `families.card_of` looks at."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self.is_encoder_decoder = bool(settings.get("is_encoder_decoder", False))

    def get_text_config(self) -> "_Config":
        """The part about text, where the model also sees or hears."""
        inner = self._settings.get("text_config")
        return _Config(inner) if isinstance(inner, Mapping) else self

    @property
    def is_whole(self) -> bool:
        """Whether it says all that a card needs: transformers knows what a family takes otherwise, this does not."""
        text = self.get_text_config()
        kind = getattr(text, "model_type", "")
        heads = getattr(text, "num_key_value_heads", None) or kind in _ALL_HEADS
        width = getattr(text, "head_dim", None) or kind not in _OWN_HEAD_DIM
        return bool(heads and width) and all(isinstance(getattr(text, name, None), str | int) for name in _NEEDED)

    def __getattr__(self, name: str) -> Any:
        settings = self.__dict__["_settings"]
        for known in (name, _ALIASES.get(name, name)):
            if known in settings:
                return settings[known]
        raise AttributeError(name)


def _read_config(path: Path, name: str) -> _Config:
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"the configuration of {name} cannot be read ({error}); download or export it again"
        ) from error


@functools.lru_cache(maxsize=32)
def _parsed(path: Path, changed: int) -> _Config:
    found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, dict) or not isinstance(found.get("model_type"), str):
        raise ValueError("it names no model_type")
    return _Config(found)


# --- the hub -----------------------------------------------------------------------------------------------------


def _in_cache(name: str, revision: str | None) -> Path | None:
    """Where the hub's files of a model lie on this machine; None where they do not."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError as error:
        raise ModelError(f"{name!r} is no hub id; write ORG/MODEL, the path of a folder, {_KEYS}") from error
    return Path(found).parent if isinstance(found, str) else None


def _ask_hub(name: str, revision: str | None) -> None:
    """Refuse what the hub does not have; where it cannot be asked, nothing is refused."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        HfApi().model_info(name, revision=revision, timeout=_PATIENCE)
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"the hub has no model {name!r} that this machine may read; check the id, or log in: hf auth login"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            f"{name} has no revision {revision!r}; name a branch, a tag or a commit, or leave it empty"
        ) from error
    except Exception:  # offline, slow, a proxy's page, in the words of several libraries: it is not known, then
        return

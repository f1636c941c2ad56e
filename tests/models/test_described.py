"""What is known of a model by its name: the same as transformers says, before it is there; and what is refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from transformers import AutoConfig

from spd_core.errors import ModelError
from spd_core.models import builtin, described
from spd_core.models.described import describe_model
from spd_core.models.families import card_of
from tests import ROOT
from tests.tiny import FAMILIES, byte_tokenizer, tiny_config


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], Path]:
    """A folder with a family's configuration, and empty files where weights and tokenizer would be."""

    def save(family: str) -> Path:
        folder = tmp_path / family
        tiny_config(family).save_pretrained(folder)
        (folder / "model.safetensors").touch()
        (folder / "tokenizer.json").touch()
        return folder

    return save


@pytest.mark.parametrize("family", FAMILIES)
def test_the_card_is_that_of_transformers(family: str, saved: Callable[[str], Path]) -> None:
    folder = saved(family)
    assert describe_model(str(folder)).card == card_of(AutoConfig.from_pretrained(folder), str(folder))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_configuration_leaves_out_is_not_guessed(family: str, saved: Callable[[str], Path]) -> None:
    """Either it is what transformers takes, or it is left open; asked, it is what transformers says."""
    folder = saved(family)
    path = folder / "config.json"
    whole = json.loads(path.read_text())
    for name in ("head_dim", "num_key_value_heads", "max_position_embeddings", "n_positions", "vocab_size"):
        if name not in whole:
            continue
        path.write_text(json.dumps({key: value for key, value in whole.items() if key != name}))
        described._parsed.cache_clear()
        truth = card_of(AutoConfig.from_pretrained(folder), str(folder))
        assert describe_model(str(folder)).card in (None, truth), name
        assert describe_model(str(folder), ask=True).card == truth, name


@pytest.mark.builtin
def test_the_built_in_model_is_known_before_it_is_unpacked(
    spd_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = builtin.builtin_model()
    unpacked = describe_model("builtin")
    assert unpacked.folder == folder
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    assert describe_model("builtin").folder is None
    assert (describe_model("builtin").card, describe_model("builtin").chats) == (unpacked.card, unpacked.chats)


def test_nothing_heavy_is_imported() -> None:
    check = (
        "import sys; from spd_core.models.described import describe_model; "
        "assert describe_model('builtin').card.layers == 30; describe_model('org/model'); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0


def test_whether_a_folder_has_a_chat_template(saved: Callable[[str], Path]) -> None:
    folder = saved("llama")
    assert describe_model(str(folder)).chats is False
    byte_tokenizer().save_pretrained(folder)
    assert describe_model(str(folder)).chats is True


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/nowhere/model", "no model folder at /nowhere/model; check the path"),
        ("a/b/c", "no model folder at a/b/c"),
        ("buitlin", "no model 'buitlin': it is neither builtin, gemma, nor a folder, nor in the cache"),
        ("org/two words", "'org/two words' is no hub id; write ORG/MODEL"),
    ],
)
def test_a_plainly_unknown_name_is_refused_without_asking(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        describe_model(name)


@pytest.mark.parametrize(
    ("missing", "said"),
    [("config.json", "holds no config.json"), ("model.safetensors", "holds no safetensors"),
     ("tokenizer.json", "holds no tokenizer")],
)  # fmt: skip
def test_an_incomplete_folder_says_what_it_lacks(missing: str, said: str, saved: Callable[[str], Path]) -> None:
    folder = saved("llama")
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=said):
        describe_model(str(folder))


@pytest.mark.parametrize(
    ("config", "said"),
    [("{", "cannot be read"), ("[]", "names no model_type"), ('{"model_type": "t5"}', "t5 is not a supported family"),
     ('{"model_type": "t5", "is_encoder_decoder": true}', "encoder-decoder"),
     ('{"model_type": "deepseek_v3", "kv_lora_rank": 512}', "latent attention")],
)  # fmt: skip
def test_a_configuration_that_cannot_be_used(config: str, said: str, saved: Callable[[str], Path]) -> None:
    folder = saved("llama")
    (folder / "config.json").write_text(config)
    with pytest.raises(ModelError, match=said):
        describe_model(str(folder))


# --- the hub -----------------------------------------------------------------------------------------------------


def hub(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> list[str]:
    asked: list[str] = []

    def model_info(_self: Any, name: str, **_options: Any) -> None:
        asked.append(name)
        if error is not None:
            raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    return asked


def of_the_hub(kind: type[Exception]) -> Exception:
    return kind.__new__(kind)  # what it is made of changes from version to version


def test_the_hub_is_asked_only_when_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch, of_the_hub(RepositoryNotFoundError))
    assert describe_model("org/model").card is None
    assert asked == []
    with pytest.raises(ModelError, match="the hub has no model 'org/model'"):
        describe_model("org/model", ask=True)
    hub(monkeypatch, of_the_hub(RevisionNotFoundError))
    with pytest.raises(ModelError, match="org/model has no revision 'v9'"):
        describe_model("org/model", "v9", ask=True)


@pytest.mark.parametrize("error", [None, OSError("offline"), TimeoutError("slow")])
def test_offline_nothing_is_refused_that_cannot_be_known(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, error)
    assert describe_model("org/model", ask=True).card is None


def test_what_is_in_the_cache_of_the_hub_is_known(
    saved: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache" / "models--org--model"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("c" * 40)
    shutil.copytree(saved("llama"), cache / "snapshots" / ("c" * 40))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    found = describe_model("org/model")
    assert found.card is not None
    assert (found.card.layers, found.card.d_kv, found.card.name) == (3, 16, "org/model")

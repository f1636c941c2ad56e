"""The model card beside an adapter: what hubs read of it, and what a hostile name cannot do to it."""

import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id

from spd_core.errors import InputError
from spd_core.intervention.cards import AdapterCard, TrainingData, portable_files, read_card, write_card
from spd_core.intervention.model_cards import readme_of_checkpoint, upload_name
from spd_core.models.packaged import GEMMA
from spd_core.models.terms import is_installed
from tests.lora import a_card

HOSTILE = "a\n---\nlicense: mit\n---\n| x | "
HOSTILE += "<script>alert(1)</script> {{ 7 * 7 }} {% if %} \u202e [l](http://x) `c` \"q\" 'q' #"


def cells(text: str) -> list[list[str]]:
    """The table's cells, split where a bar is not escaped."""
    return [[cell.strip().replace("\\|", "|") for cell in line.replace("\\|", "\0").strip("| ").split(" | ")]
            for line in text.splitlines() if line.startswith("| ") and not line.startswith("| |")]  # fmt: skip


def test_the_card_says_what_is_known(tmp_path: Path) -> None:
    commit = "3c1a0e52"
    data = TrainingData(name="sums", split="train", prompts=48, held_out=8, fingerprint="f1", examples=30,
                        calibration="ca1")  # fmt: skip
    card = a_card(None, base="org/model-1", revision=commit, subspace="5ab", corpus="c0a", rounds=2, data=data,
                  capability="/home/me/sums.jsonl", schedule="cosine to 0, no warmup", train_loss=0.5,
                  held_out_loss=0.25, command="python -m spd_core distill recipe.json")  # fmt: skip
    write_card(card, tmp_path)
    found = ModelCard.load(tmp_path / "README.md")
    assert found.data.to_dict() == {
        "base_model": "org/model-1", "base_model_relation": "adapter", "library_name": "peft",
        "tags": ["lora", "self-policy-distillation", "spd-lab"],
    }  # fmt: skip
    assert found.text.strip().splitlines()[:16] == [
        "A LoRA adapter that was trained on text of its own base model, by SPD Lab.",
        "",
        "| | |",
        "|---|---|",
        "| Base | org/model-1, revision 3c1a0e52, float32 |",
        "| Arm | SPD, self-policy distillation |",
        "| Capability | sums |",
        "| Data | 48 train prompts of sums, sha256 f1, 8 of them held out; captured from 30 examples, sha256 ca1 |",
        "| Subspace (sha256) | 5ab |",
        "| Corpus (sha256) | c0a |",
        "| Trained | 8 rows, 5 of 5 steps, rounds: 2 |",
        "| Learning rate | 1e-05, cosine to 0, no warmup |",
        "| LoRA | r 8, alpha 8, dropout 0.05, on q, k, v, o |",
        "| Loss | train 0.5000 nats, held out 0.2500 nats |",
        "| Command | python -m spd\\_core distill recipe.json |",
        "| Versions | python 3 |",
    ]
    assert "hf upload YOUR-NAME/model-1-sums-spd .\n" in found.text
    assert read_card(tmp_path) == card


@pytest.mark.parametrize(
    ("base", "revision", "hub"),
    [
        ("builtin", "SmolLM2-135M-Instruct@b179c9523d0e", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("gemma", "gemma-3-270m@a5fd3b62230a", "google/gemma-3-270m"),
        ("org/model-1", "3c1a0e52", "org/model-1"),
        ("gpt2", "607a30d7", "gpt2"),
        ("/home/me/models/mine", "content:0123456789abcdef", ""),
        ("models/mine", "content:0123456789abcdef", ""),
        ("org/model-1", "3c1a0e52+77aa", ""),
    ],
)
def test_a_hub_takes_the_metadata_and_finds_the_base(base: str, revision: str, hub: str, tmp_path: Path) -> None:
    """As far as that can be known without the hub: its own library reads it, and the base is the id of a repository."""
    card = a_card(None, base=base, revision=revision, capability="/home/me/sums.jsonl")
    write_card(card, tmp_path)
    text = (tmp_path / "README.md").read_text()
    found = ModelCard(text).data
    assert (found.base_model or "") == hub
    if hub:
        validate_repo_id(hub)
    validate_repo_id(f"YOUR-NAME/{upload_name(card)}")
    assert re.search(rf"^hf upload YOUR-NAME/{re.escape(upload_name(card))} \.$", text, re.MULTILINE)
    assert "/home/me" not in text
    assert found.license == {"builtin": "apache-2.0", "gemma": "gemma"}.get(base)


def test_what_leaves_this_machine_names_no_place_on_it(tmp_path: Path) -> None:
    card = a_card(
        None, base="/home/me/models/mine", revision="content:0123456789abcdef", capability="/home/me/sums.jsonl"
    )
    write_card(card, tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    files = portable_files(tmp_path)
    assert set(files) == {"README.md", "adapter_model.safetensors", "card.json"}
    assert not any(b"/home/me" in content for content in files.values())
    assert files["adapter_model.safetensors"] == b"weights"
    told = AdapterCard.model_validate_json(files["card.json"])
    assert (told.base, told.revision, told.capability) == ("mine", "content:0123456789abcdef", "sums")
    assert read_card(tmp_path).base == "/home/me/models/mine", "here it is still found"


def test_what_is_made_of_gemma_goes_with_the_notice_that_its_terms_want(tmp_path: Path) -> None:
    write_card(a_card(None, base="gemma", revision="gemma-3-270m@a5fd3b62230a"), tmp_path)
    notice = "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"
    files = portable_files(tmp_path)
    assert notice in files["NOTICE"].decode()
    assert "modified" in files["NOTICE"].decode()
    assert f"| Terms | {notice}. This is a modified version. |" in files["README.md"].decode()
    assert ("TERMS.txt" in files) == is_installed(GEMMA)
    assert "| Terms |" not in readme_of_checkpoint("builtin", "r", "float32", "folded", {}, "name")
    assert "NOTICE" not in portable_files_of_builtin(tmp_path / "other")


def portable_files_of_builtin(folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    write_card(a_card(None, base="builtin", revision="r"), folder)
    return portable_files(folder)


def test_a_card_of_before_still_opens(tmp_path: Path) -> None:
    known = a_card(None, base="builtin", revision="r").model_dump(mode="json")
    old = {name: value for name, value in known.items()
           if name not in ("data", "schedule", "command", "calibrated", "trained")}  # fmt: skip
    (tmp_path / "card.json").write_text(json.dumps({**old, "format": 1}))
    found = read_card(tmp_path)
    assert (found.data, found.schedule, found.command, found.trained) == (None, "", "", None)
    write_card(found, tmp_path)
    assert "| Command |" not in (tmp_path / "README.md").read_text(), "what is not known is left out"
    (tmp_path / "card.json").write_text(json.dumps({**old, "format": 3}))
    with pytest.raises(InputError, match=r"newer SPD Lab \(format 3\)"):
        read_card(tmp_path)


@pytest.mark.parametrize("name", [HOSTILE, "yes", "1.0", "a: b", "# c", "{}", "&x", "\u00e9\u4e2d", "a\rb", "x" * 300])
def test_any_name_is_text_alone(name: str, tmp_path: Path) -> None:
    write_card(a_card(None, base=name, revision=name, capability=name, corpus="c0a"), tmp_path)
    found = ModelCard.load(tmp_path / "README.md")
    hub = {"base_model": name, "base_model_relation": "adapter"} if name in ("yes", "1.0", "x" * 96) else {}
    assert found.data.to_dict() == {
        **hub, "library_name": "peft", "tags": ["lora", "self-policy-distillation", "spd-lab"],
    }  # fmt: skip
    facts, _, commands = found.text.partition("In this folder")
    rows = cells(facts)
    assert [len(row) for row in rows] == [2] * 9, "one line and two cells a fact"
    assert not re.search(r"(?<!\\)[<>*`\[\]]|\u202e|\n---", facts), "every mark is escaped"
    assert re.fullmatch(r"hf upload YOUR-NAME/[A-Za-z0-9.-]+ \.", commands.split("```sh\n")[1].splitlines()[0])
    assert (tmp_path / "README.md").read_text().startswith("---\n")

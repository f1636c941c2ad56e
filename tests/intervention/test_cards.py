"""The model card beside an adapter: what hubs read of it, and what a hostile name cannot do to it."""

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from spd_core.intervention.cards import read_card, write_card
from tests.lora import a_card

HOSTILE = "a\n---\nlicense: mit\n---\n| x | "
HOSTILE += "<script>alert(1)</script> {{ 7 * 7 }} {% if %} \u202e [l](http://x) `c` \"q\" 'q' #"


def cells(text: str) -> list[list[str]]:
    """The table's cells, split where a bar is not escaped."""
    return [[cell.strip().replace("\\|", "|") for cell in line.replace("\\|", "\0").strip("| ").split(" | ")]
            for line in text.splitlines() if line.startswith("| ") and not line.startswith("| |")]  # fmt: skip


def test_the_card_says_what_is_known(tmp_path: Path) -> None:
    card = a_card(None, base="org/model-1", revision="main", subspace="5ab", corpus="c0a", rounds=2)
    write_card(card, tmp_path)
    found = ModelCard.load(tmp_path / "README.md")
    assert found.data.to_dict() == {
        "base_model": "org/model-1", "library_name": "peft", "tags": ["lora", "self-policy-distillation"],
    }  # fmt: skip
    assert found.text.strip().splitlines() == [
        "A LoRA adapter that was trained on text of its own base model, by SPD Lab.",
        "",
        "| | |",
        "|---|---|",
        "| Base | org/model-1, revision main, float32 |",
        "| Arm | SPD, self-policy distillation |",
        "| Capability | sums |",
        "| Subspace (sha256) | 5ab |",
        "| Corpus (sha256) | c0a |",
        "| Trained | 8 rows, 5 of 5 steps, rounds: 2, learning rate 1e-05 |",
    ]
    assert read_card(tmp_path) == card


@pytest.mark.parametrize("name", [HOSTILE, "yes", "1.0", "a: b", "# c", "{}", "&x", "\u00e9\u4e2d", "a\rb", "x" * 300])
def test_any_name_is_text_alone(name: str, tmp_path: Path) -> None:
    write_card(a_card(None, base=name, revision=name, capability=name, corpus="c0a"), tmp_path)
    found = ModelCard.load(tmp_path / "README.md")
    assert found.data.to_dict() == {
        "base_model": name, "library_name": "peft", "tags": ["lora", "self-policy-distillation"],
    }  # fmt: skip
    rows = cells(found.text)
    assert [len(row) for row in rows] == [2] * 6, "one line and two cells a fact"
    assert not re.search(r"(?<!\\)[<>*`\[\]]|\u202e|\n---", found.text), "every mark is escaped"
    assert (tmp_path / "README.md").read_text().startswith("---\n")

"""What tests of distillations train on."""

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capability file: 6 calibration, 10 training and 4 held-out examples."""
    rows: list[dict[str, str]] = [{"capability": "counting", "template": "Q: {prompt}", "spans": "number"}]
    for split, n in (("calibration", 6), ("train", 10), ("heldout", 4)):
        for i in range(n):
            rows.append({"id": f"{split}{i}", "split": split, "prompt": f"{split} {i} " + "and more " * (i % 4),
                         "answer": f"it is {i}"})  # fmt: skip
    path = tmp_path_factory.mktemp("capability") / "counting.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path

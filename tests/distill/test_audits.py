"""The record of what was looked at: what is read of it while it is written, and after a kill."""

import math
from pathlib import Path
from typing import Any

import pytest

from spd_core.distill.audits import Audit, AuditedChunk, audit_means, cut_after, read_audits
from spd_core.errors import InputError
from spd_core.records import append_rows


def chunk(start: int = 0, **changes: Any) -> AuditedChunk:
    known: dict[str, Any] = {"own": "ab", "others": ("ab", "xy"), "similar": (1.0, 0.0), "prior": 0.25, "target": 0.5}
    return AuditedChunk(start=start, **{**known, **changes})


def audit(step: int = 1, number: int = 0, *chunks: AuditedChunk, divergence: float | None = 0.5) -> Audit:
    return Audit(
        step=step, number=number, prompt="p", tokens=("a", "b"), entropies=(1.0, 0.5), chunks=chunks,
        divergence=divergence,
    )  # fmt: skip


def test_what_is_written_is_read_in_order_of_steps_and_prompts(tmp_path: Path) -> None:
    path = tmp_path / "audits.jsonl"
    assert read_audits(path) == []
    rows = [audit(2, 7), audit(1, 9, chunk()), audit(1, 3, chunk(), chunk(4)), audit(2, 1, divergence=None)]
    append_rows(path, rows[:2])
    append_rows(path, rows[2:])
    assert read_audits(path) == [rows[2], rows[1], rows[3], rows[0]]


def test_a_line_that_a_kill_has_cut_off_is_left_out_and_later_steps_are_written_again(tmp_path: Path) -> None:
    path = tmp_path / "audits.jsonl"
    append_rows(path, [audit(1), audit(2), audit(3)])
    with path.open("a") as file:
        file.write('{"step": 4, "num')
    assert [one.step for one in read_audits(path)] == [1, 2, 3], "while it is being written"
    cut_after(path, 2)
    append_rows(path, [audit(3)])
    assert [one.step for one in read_audits(path)] == [1, 2, 3]
    cut_after(path, 0)
    assert read_audits(path) == []
    cut_after(tmp_path / "none.jsonl", 0)
    assert not (tmp_path / "none.jsonl").exists()


def test_a_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "audits.jsonl"
    append_rows(path, [audit(1), audit(2)])
    path.write_text(path.read_text().replace('"step":1', '"step":"first"').replace('"step": 1', '"step": "first"'))
    with pytest.raises(InputError, match="audits"):
        read_audits(path)


def test_means_by_hand() -> None:
    found = audit_means(
        [
            audit(1, 0, chunk(), chunk(4, others=("ab",) * 2, similar=(1.0, 1.0), prior=0.75, target=1.0)),
            audit(1, 1, divergence=None),
            audit(1, 2, chunk(similar=(0.0, 0.0), target=0.0), divergence=0.1),
            audit(1, 3, divergence=0.3),
        ]
    )
    assert found == pytest.approx(
        {
            "chunks": 3 / 4,
            "unaudited": 2 / 4,
            "target": (0.5 + 1 + 0) / 3,
            "prior": (0.25 + 0.75 + 0.25) / 3,
            "agreement": (0.5 + 1 + 0) / 3,
            "interior": 1 / 3,
            "divergence": (0.5 + 0.1 + 0.3) / 3,
            "teacher_texts": 6.0,
        }
    )


def test_without_a_chunk_the_names_are_the_same() -> None:
    """Or processes that gather them would wait for each other."""
    none, some = audit_means([audit(divergence=None)]), audit_means([audit(1, 0, chunk())])
    assert none.keys() == some.keys()
    assert {name for name, value in none.items() if math.isnan(value)} == {
        "target", "prior", "agreement", "interior", "divergence",
    }  # fmt: skip

"""The recorded audits can be recorded again: the same way with the real model, small."""

from pathlib import Path
from typing import Any

import pytest

from spd_core.cli.demo_audits import CAPABILITY, CHUNKS, PROMPTS, SAMPLING, audited
from spd_core.data.capability import read_builtin
from spd_core.distill.recorded_audits import RECORDED_AUDITS, read_recorded_training, save_recorded_training
from spd_core.errors import InputError
from spd_core.progress import silent
from spd_core.recipes.distill import TrainSettings
from spd_core.subspace.store import load_capture
from tests import ROOT


def test_the_recorded_ones_are_of_the_first_prompts_and_these_settings() -> None:
    found = read_recorded_training(RECORDED_AUDITS / CAPABILITY)
    asked = {audit.number: audit.prompt for audit in found.audits}
    first = read_builtin(CAPABILITY).split("train").examples[:PROMPTS]
    assert asked == {at: one.prompt for at, one in enumerate(first)}
    assert found.settings.chunks == CHUNKS
    assert max(len(audit.tokens) for audit in found.audits) <= SAMPLING.max_new_tokens


@pytest.mark.builtin
@pytest.mark.slow
def test_a_training_is_recorded_and_read_again(builtin_lm: Any, tmp_path: Path) -> None:
    analysis = load_capture(ROOT / "assets" / "demo" / "captures" / CAPABILITY)
    found = audited(builtin_lm, analysis, silent, TrainSettings(epochs=1, batch_size=2, completions=0), prompts=2)
    assert [(audit.step, audit.number) for audit in found.audits] == [(1, 0), (1, 1)]
    assert all(len(chunk.others) == CHUNKS.samples for audit in found.audits for chunk in audit.chunks)
    save_recorded_training(found, tmp_path / "audits")
    assert read_recorded_training(tmp_path / "audits") == found


def test_a_damaged_recording_says_what_helps(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="install SPD Lab anew"):
        read_recorded_training(tmp_path)

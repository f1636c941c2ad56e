"""An adapter is called after its arm and its run, in the words of the list of runs."""

from pathlib import Path

import pytest

from app.runs.adapters import adapter_label
from app.runs.listed import run_label
from spd_core.recipes.distill import recipe_from
from spd_core.runs import queue
from tests.lora import a_card


def test_title_and_time_are_those_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setattr(queue, "start_next", lambda: [])
    run = queue.create(recipe_from({"preset": "quick", "capability": "arithmetic"}), "hotter\u202e sampling")
    card = a_card(
        None,
        base="builtin",
        revision="r",
        run=run.id,
        arm="spd",
        capability="arithmetic",
        created="2001-01-01T00:00:00",
    )
    label = adapter_label(card.ref, card)
    when = run.record.created.replace("T", " ")
    assert label == f"SPD · hotter⟨U+202E⟩ sampling · arithmetic · {when}"
    assert all(part in run_label(run.record) for part in ("hotter⟨U+202E⟩ sampling", when))


def test_without_its_run_or_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    card = a_card(
        None,
        base="builtin",
        revision="r",
        run="20261124-152000-a",
        arm="psr",
        capability="arithmetic",
        created="2026-11-24T15:20:00",
    )
    assert adapter_label(card.ref, card) == "PSR · arithmetic · 2026-11-24 15:20:00"
    assert adapter_label("20261124-152000-a/spd", None) == "SPD · 20261124-152000-a (not there)"

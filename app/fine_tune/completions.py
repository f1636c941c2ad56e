"""What the model in training went on to write after a few prompts, epoch by epoch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from app.ui.tables import table_html
from app.ui.widgets import caption
from spd_core.recipes.distill import short_name
from spd_core.runs.events import Sample
from spd_core.runs.view import RunView
from spd_core.templates import render
from spd_core.text import opening, shown

if TYPE_CHECKING:
    from spd_core.runs.folder import Run

THE_SAME = "↑ the same"
"""Stands for a completion that is the one before, word for word."""


def panel(run: "Run", view: RunView) -> None:
    """A table for each prompt."""
    if not view.samples:
        caption("After each epoch, the model in training continues a few prompts; they appear here.")
        return
    caption("What each arm's model went on to write after a few prompts, greedily, while it was trained.")
    several = run.record.distillation.rounds > 1
    for prompt in sorted({sample.prompt for sample in view.samples}):
        st.html(render("text.html", parts=[(prompt, False)]))
        written = [sample for sample in view.samples if sample.prompt == prompt]
        rows = completion_rows(written, several_rounds=several)
        st.html(table_html(rows, f"Completions after each epoch: {opening(prompt, 60)}"))


def completion_rows(samples: Sequence[Sample], *, several_rounds: bool) -> list[dict[str, str]]:
    """What arms wrote after one prompt, a row for each epoch; what was written before, too, is not repeated."""
    last: dict[str, str] = {}
    rows: dict[tuple[int, float], dict[str, str]] = {}
    for sample in sorted(samples, key=lambda one: (one.round, one.epoch)):
        arm, text = short_name(sample.arm), _without_blank_lines(sample.completion)
        when = f"after epoch {sample.epoch:g}" if sample.epoch else "before"
        first = {"Round": str(sample.round), "When": when} if several_rounds else {"When": when}
        row = rows.setdefault((sample.round, sample.epoch), first | dict.fromkeys(_arms_of(samples), ""))
        row[arm] = THE_SAME if last.get(arm) == text else text
        last[arm] = text
    return list(rows.values())


def _arms_of(samples: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(short_name(sample.arm) for sample in samples))


def _without_blank_lines(text: str) -> str:
    return shown("\n".join(line for line in text.strip().splitlines() if line.strip()))

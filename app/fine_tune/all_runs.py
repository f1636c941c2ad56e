"""The list of all distillations: what stands in a row, settings in a few words, and several beside each other."""

from collections.abc import Sequence

import streamlit as st

from app.fine_tune import compare
from app.runs.all_runs import ListedRun, RunKind, events_of, run_label, run_title, size_on_disk, state_in_words
from app.runs.form import arm_names
from app.ui import session
from app.ui.widgets import caption, counted, distinct_labels, duration
from spd_core.models.families import BUILTIN
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.recipes.presets import PRESETS
from spd_core.text import opening


def _row(one: ListedRun) -> dict[str, str]:
    record = one.run.record
    recipe, worked = record.distillation, events_of(one).worked
    return {
        "Run": opening(run_title(record), 80),
        "Capability": recipe.capability,
        "Model": "built-in" if recipe.model == BUILTIN else recipe.model,
        "Arms": arm_names(recipe.arms),
        "Settings": settings_in_words(recipe),
        "State": state_in_words(one.status),
        "Created": record.created.replace("T", " "),
        "Worked": duration(worked) if worked else "–",
        "On disk": size_on_disk(one),
    }


def settings_in_words(recipe: Recipe) -> str:
    """Settings in a few words, after the preset that they are."""
    corpus, train = recipe.corpus, recipe.train
    prompts = counted(corpus.prompts, "prompt") if corpus.prompts else "all prompts"
    facts = [
        prompts,
        f"{corpus.max_new_tokens} new tokens",
        counted(train.epochs, "epoch"),
        f"lr {train.learning_rate:g}",
    ]
    facts += [counted(recipe.rounds, "round")] if recipe.rounds > 1 else []
    return "".join(f"{name}: " for name in PRESETS if _is_preset(recipe, name)) + ", ".join(facts)


def _is_preset(recipe: Recipe, name: str) -> bool:
    preset = recipe_from({"preset": name, "capability": recipe.capability})
    return (preset.capture, preset.corpus, preset.train) == (recipe.capture, recipe.corpus, recipe.train)


def _compare(listed: Sequence[ListedRun]) -> None:
    """Two to four runs: settings that differ, their losses."""
    st.markdown("##### Compare runs")
    known = {one.run.id: one for one in listed}
    name = distinct_labels(tuple(known), lambda id: run_label(known[id].run.record))
    chosen = st.multiselect(
        "Runs to compare",
        tuple(known),
        key=session.RUNS_COMPARED,
        persist_state="session",
        format_func=name,
        max_selections=4,
        placeholder="Choose two to four",
    )
    picked = [known[id] for id in chosen if id in known]
    if len(picked) < 2:
        caption("Choose at least two: settings that differ, losses and their last values are shown.")
        return
    names = [name(one.run.id) for one in picked]
    compare.panel([one.run.record for one in picked], dict(zip(names, map(events_of, picked), strict=True)))


DISTILLATIONS = RunKind(
    Recipe,
    "run",
    session.RUN,
    session.RUNS_LIST,
    "There is no run yet. Start one under **New run**; every run is kept here.",
    "Title, capability, model, arm, state or notes",
    "with its adapters",
    _row,
    _compare,
)

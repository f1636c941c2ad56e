"""The list of all distillations: what stands in a row, settings in a few words, and several beside each other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.fine_tune import compare
from app.runs.form import arm_names
from app.runs.listed import ListedRun, RunKind, events_of, run_title
from app.ui import session
from app.ui.widgets import counted, distinct_labels
from spd_core.evaluation.training_verdict import LEADS
from spd_core.models.families import BUILTIN
from spd_core.recipes.distill import ArmName, Recipe, recipe_from, short_name
from spd_core.recipes.presets import PRESETS
from spd_core.runs.record import RunRecord
from spd_core.runs.view import RunView
from spd_core.text import opening, shown


def _row(one: ListedRun) -> dict[str, Any]:
    recipe, view = one.run.record.distillation, events_of(one)
    found = {arm: results_of(view, arm) for arm in recipe.arms}
    changes = [result.change for result in found.values() if result.change is not None]
    return {
        "Held-out loss": _of_the_first({arm: result.losses for arm, result in found.items()}),
        "Held-out right": _of_the_first({arm: result.scores for arm, result in found.items()}),
        "Best change": min(changes, default=None),
        "Arms": arm_names(recipe.arms),
        "Capability": shown(recipe.capability),
        "Model": "built-in" if recipe.model == BUILTIN else shown(recipe.model),
        "Settings": settings_in_words(recipe),
    }


def _of_the_first(said: Mapping[ArmName, str]) -> str | None:
    """Of SPD, or else of the first arm of which something is known: the run's own page has them all."""
    known = {arm: words for arm, words in said.items() if words}
    lead = LEADS if LEADS in known else next(iter(known), None)
    return f"{short_name(lead)} {known[lead]}" if lead is not None else None


_COLUMNS: Mapping[str, Any] = {
    "Run": st.column_config.TextColumn(width=180),
    "Arms": st.column_config.TextColumn(width=175),
    "Best change": st.column_config.NumberColumn(
        format="%+.3f", width=95, help="Of the held-out loss, in nats a token, from step 0 to the end: the best arm's."
    ),
    "Held-out loss": st.column_config.TextColumn(
        width=140, help="Of SPD, or else the first arm, at step 0 and at the end of its last round, on its own text."
    ),
    "Held-out right": st.column_config.TextColumn(
        width=120, help="Held-out prompts answered rightly by the same arm, before and after."
    ),
    "Capability": st.column_config.TextColumn(width=110),
    "Settings": st.column_config.TextColumn(width=300),
}


@dataclass(frozen=True)
class ArmResults:
    """What an arm's last round has changed, on held-out prompts.

    Attributes:
        change: of the loss, in nats a token, first to last; None where it was not told twice.
        losses, scores: both, in words; empty where they were not told.
    """

    change: float | None
    losses: str
    scores: str


def results_of(view: RunView, arm: str) -> ArmResults:
    """What has become of an arm so far."""
    rounds = [round_ for name, round_ in view.curves if name == arm]
    if not rounds:
        return ArmResults(None, "", "")
    curve = view.curves[arm, max(rounds)]
    losses, scored = curve.held_out, curve.scored
    told = len(losses) > 1
    return ArmResults(
        losses[-1][2] - losses[0][2] if told else None,
        f"{losses[0][2]:.2f} → {losses[-1][2]:.2f}" if told else "",
        f"{scored[0][2]} → {scored[-1][2]} of {scored[-1][3]}" if len(scored) > 1 else "",
    )


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
    """Two to four runs that were selected in the list: settings that differ, their losses."""
    known = {one.run.id: one for one in listed}
    picked = [known[id] for id in st.session_state.get(session.RUNS_COMPARED, ()) if id in known]
    if len(picked) < 2:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"##### {len(picked)} runs beside each other")
        st.button("Close", icon=":material/close:", on_click=st.session_state.pop, args=(session.RUNS_COMPARED, None))
    records = [one.run.record for one in picked]
    compare.panel(records, dict(zip(_told_apart(records), map(events_of, picked), strict=True)))


def _told_apart(records: Sequence[RunRecord]) -> list[str]:
    """Each run's title; where several are called the same, with when it was made."""
    titles = {one.id: opening(run_title(one), 40) for one in records}
    often = Counter(titles.values())
    made = {one.id: "" if often[titles[one.id]] == 1 else f" · {one.created.replace('T', ' ')}" for one in records}
    return list(map(distinct_labels(tuple(titles), lambda id: titles[id] + made[id]), titles))


DISTILLATIONS = RunKind(
    Recipe,
    "run",
    session.RUN,
    session.RUNS_LIST,
    "There is no run yet. Start one under **New run**; every run is kept here.",
    "Title, capability, model, arm, state, notes or tag",
    "with all adapters",
    _row,
    _COLUMNS,
    ("Capability", "Model", "Settings"),
    _compare,
    session.RUNS_COMPARED,
)

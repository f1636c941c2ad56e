"""All runs on this machine: search, open, delete, and compare two to four of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from app import run_charts
from app.exports import to_csv
from app.recipe_form import arm_names
from app.ribbons import table_html
from app.run_panel import duration
from app.run_view import RunView
from app.widgets import chart, counted, deletion, download, failure, is_dark, plain, small, told_apart
from spd_core import runs
from spd_core.errors import InputError, SpdError
from spd_core.families import BUILTIN
from spd_core.recipes import PRESETS, Recipe, recipe_from
from spd_core.report import opening
from spd_core.run_files import Damaged, Run, all_runs, size_of
from spd_core.run_records import RunRecord, State, Status

SEARCH, CHOSEN, COMPARED = "runs_search", "runs_chosen", "runs_compared"
DAMAGED, AXIS = "runs_damaged", "runs_axis"
SHOWN = 25
"""Rows of the table; older runs are found by searching."""
_BUSY = ("starting", "running")
_STATES: dict[State, str] = {"done": "finished", "review": "waits for review"}


@dataclass(frozen=True)
class Listed:
    """A run and how it stands."""

    run: Run
    status: Status


# --- what there is -----------------------------------------------------------------------------------------------


def all_runs_panel(open_run: Callable[[str], None]) -> None:
    """Everything about the runs on this machine; `open_run` turns to the run of a name, and is used as a callback."""
    try:
        listed, damaged = _listed()
    except InputError as error:
        failure("The runs cannot be listed:", str(error))
        return
    if not listed and not damaged:
        small("There is no run yet. Start one under **New run**; every run is kept here.")
    if listed:
        hint = "Title, capability, model, arm, state or notes"
        query = st.text_input("Search", key=SEARCH, persist_state="session", width=620, placeholder=hint) or ""
        found = [one for one in listed if matches(one.run, one.status, query)]
        _table(found, len(listed), query)
        if found:
            _one(found, open_run)
    _damaged(damaged)
    if len(listed) > 1:
        _compare(listed)


def _listed() -> tuple[list[Listed], list[Damaged]]:
    """All runs, the newest first, and the directories that cannot be read."""
    listed, damaged = [], []
    for run in all_runs():
        if isinstance(run, Damaged):
            damaged.append(run)
            continue
        try:
            listed.append(Listed(run, runs.status_of(run)))
        except InputError as error:  # damaged between two looks
            damaged.append(Damaged(run.id, str(error)))
    return listed, damaged


def matches(run: Run, status: Status, query: str) -> bool:
    """Whether every word of the query stands in what a run is called, was asked, how it stands, or its notes."""
    words = query.casefold().split()
    if not words:
        return True
    recipe = run.record.recipe
    try:
        notes = run.notes()
    except InputError:
        notes = ""
    arms = " ".join(recipe.arms)
    text = " ".join((run.id, run.record.title, recipe.capability, recipe.model, arms, arm_names(recipe.arms),
                     status.state, said_state(status), notes)).casefold()  # fmt: skip
    return all(word in text for word in words)


def said_state(status: Status) -> str:
    """A state in words."""
    return _STATES.get(status.state, status.state)


def title(record: RunRecord) -> str:
    """What a run is called."""
    return record.title or record.recipe.capability


def label(record: RunRecord) -> str:
    """A run in a list to choose from: when, what, which arms."""
    when = record.created.replace("T", " ")
    return f"{when} · {opening(title(record), 60)} · {arm_names(record.recipe.arms)}"


def summary(recipe: Recipe) -> str:
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


# --- what is read of each, once ----------------------------------------------------------------------------------


def _stamp(one: Listed) -> tuple[float, float]:
    """Changes with every beat of a run at work, and with its state."""
    return one.status.since, one.run.last_beat()


@st.cache_resource(max_entries=200, show_spinner=False)
def _view(_run: Run, folder: str, stamp: tuple[float, float]) -> RunView:
    """What a run has told; to be read only."""
    view = RunView()
    said = _run.events()
    view.take(said.events, said.damaged)
    return view


@st.cache_data(max_entries=1000, ttl=60, show_spinner=False)
def _size(folder: str, stamp: tuple[float, float]) -> int:
    return size_of(Path(folder))


def _told(one: Listed) -> RunView:
    """The same; nothing where its events cannot be read."""
    try:
        return _view(one.run, str(one.run.folder), _stamp(one))
    except InputError:
        return RunView()


def mib(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 2**20:,.1f} MiB"


# --- the table ---------------------------------------------------------------------------------------------------


def _table(found: Sequence[Listed], known: int, query: str) -> None:
    """The newest of those found; drawn again by itself while one of them waits or works."""
    if not found:
        small(f"None of {counted(known, 'run')} matches {plain(repr(query))}.")
        return
    rows = found[:SHOWN]
    changing = any(one.status.state in (*_BUSY, "queued") for one in rows)

    @st.fragment(run_every=5.0 if changing else None)
    def draw() -> None:
        try:
            now = [Listed(one.run, runs.status_of(one.run)) for one in rows]
        except InputError:  # one was deleted elsewhere, or is damaged: the whole list is drawn anew
            st.rerun()
        if [one.status.state for one in now] != [one.status.state for one in rows]:
            st.rerun()
        st.html(table_html([_row(one) for one in now], "Runs, the newest first"))

    draw()
    if len(found) > SHOWN:
        small(f"The newest {SHOWN} of {len(found)}; search to find older ones.")


def _row(one: Listed) -> dict[str, str]:
    record = one.run.record
    recipe, worked = record.recipe, _told(one).worked
    return {
        "Run": opening(title(record), 80),
        "Capability": recipe.capability,
        "Model": "built-in" if recipe.model == BUILTIN else recipe.model,
        "Arms": arm_names(recipe.arms),
        "Settings": summary(recipe),
        "State": said_state(one.status),
        "Created": record.created.replace("T", " "),
        "Worked": duration(worked) if worked else "–",
        "On disk": mib(_size(str(one.run.folder), _stamp(one))),
    }


def _one(found: Sequence[Listed], open_run: Callable[[str], None]) -> None:
    """Choose one run, to open or to delete it."""
    known = {one.run.id: one for one in found}
    chosen = st.selectbox(
        f"{counted(len(found), 'run')}, the newest first", tuple(known), key=CHOSEN, persist_state="session",
        format_func=told_apart(tuple(known), lambda id: label(known[id].run.record)), width=620,
    )  # fmt: skip
    one = known.get(chosen, found[0])
    row = st.container(horizontal=True)
    row.button("Open run", icon=":material/folder_open:", on_click=open_run, args=(one.run.id,))
    what = f"{label(one.run.record)}, {mib(_size(str(one.run.folder), _stamp(one)))} with its adapters"
    deletion("Delete run", what, row, delete=lambda: _delete(one.run), disabled=one.status.state in _BUSY)


def _damaged(damaged: Sequence[Damaged]) -> None:
    if not damaged:
        return
    st.warning(f"{counted(len(damaged), 'damaged run')} cannot be read.", icon=":material/warning:")
    st.html(table_html([{"Directory": one.id, "What is wrong": one.reason} for one in damaged], "Damaged runs"))
    known = {one.id: one for one in damaged}
    chosen = st.selectbox("Damaged run", tuple(known), key=DAMAGED, format_func=lambda id: opening(id, 60), width=620)
    one = known.get(chosen, damaged[0])
    deletion("Delete damaged run", opening(one.id, 60), st.container(horizontal=True), delete=lambda: _delete(one),
             disabled=False)  # fmt: skip


def _delete(run: Run | Damaged) -> None:
    try:
        freed = runs.delete(run)
    except SpdError as error:
        failure("It was not deleted:", str(error))
        return
    st.toast(f"Deleted; {mib(freed)} are free again.")
    st.rerun()


# --- several runs beside each other ------------------------------------------------------------------------------


def _compare(listed: Sequence[Listed]) -> None:
    """Two to four runs: settings that differ, their losses."""
    st.markdown("##### Compare runs")
    known = {one.run.id: one for one in listed}
    name = told_apart(tuple(known), lambda id: label(known[id].run.record))
    chosen = st.multiselect("Runs to compare", tuple(known), key=COMPARED, persist_state="session", format_func=name,
                            max_selections=4, placeholder="Choose two to four")  # fmt: skip
    picked = [known[id] for id in chosen if id in known]
    if len(picked) < 2:
        small("Choose at least two: settings that differ, losses and their last values are shown.")
        return
    names = [name(one.run.id) for one in picked]
    rows = differing([one.run.record for one in picked], names)
    if rows:
        st.html(table_html(rows, "Settings that differ"))
    else:
        small("All were asked for with the same settings, on the same versions.")
    views = {name: _told(one) for name, one in zip(names, picked, strict=True)}
    curves: run_charts.Views = {name: view.curves for name, view in views.items()}
    if not any(curves.values()):
        small("None of them has trained yet.")
        return
    axes: tuple[run_charts.Axis, ...] = ("step", "epoch")
    by = st.segmented_control("Along x", axes, default="step", required=True, key=AXIS)
    chart(run_charts.losses(curves, is_dark(), by), key="chart_runs_losses", alt=run_charts.losses_alt(curves))
    small("How to read this: colour and dash are the arm, the shape of the marks is the run. Thin lines are the rows "
          "of each step, thick ones the held-out rows. Each arm is scored on its own text, so a lower line of another "
          "arm is no better model.")  # fmt: skip
    st.html(table_html(run_charts.finals_table(views), "Last losses, in nats per token"))
    download("Losses of these runs as CSV", lambda: to_csv(run_charts.losses_table(curves)), "runs-losses.csv")


def differing(records: Sequence[RunRecord], names: Sequence[str]) -> list[dict[str, str]]:
    """Settings and versions that are not the same in all runs, a column a run; `names` are all different."""
    settings = [_flat({**record.recipe.model_dump(mode="json"), "version": record.versions}) for record in records]
    rows = []
    for name in dict.fromkeys(name for one in settings for name in one):
        values = [one.get(name, "–") for one in settings]
        if len(set(values)) > 1:
            rows.append({"Setting": name, **dict(zip(names, values, strict=True))})
    return rows


def _flat(settings: dict[str, Any], before: str = "") -> dict[str, str]:
    """`{"train.epochs": "5", …}`: groups drawn apart, values in words."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{name}.")
        else:
            words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            found[before + name] = "–" if value is None else words
    return found

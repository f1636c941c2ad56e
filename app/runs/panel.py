"""One run on the page: how it stands, what it does now, its curves, its adapters, and what can be done with it."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast, get_args

import streamlit as st

from app.fine_tune import charts, corpora
from app.fine_tune.adapters import adapters
from app.runs import recipe_form
from app.ui import session
from app.ui.tables import table_html, to_csv
from app.ui.widgets import chart, deletion, download, failure, is_dark, plain, small
from spd_core.errors import InputError, SpdError
from spd_core.generation.report import shown
from spd_core.intervention.cards import short_name
from spd_core.runs import queue
from spd_core.runs.folder import open_run
from spd_core.runs.view import RunView, describe_stage, eta, overall, tokens_per_second

if TYPE_CHECKING:
    from spd_core.runs.folder import Damaged, Run
    from spd_core.runs.record import Status

_View = TypeVar("_View", bound=RunView)
LIVE = ("queued", "starting", "running")
_BADGES = {
    "queued": ":gray-badge[:material/hourglass_empty: queued]",
    "starting": ":blue-badge[:material/play_circle: starting]",
    "running": ":blue-badge[:material/play_circle: running]",
    "review": ":orange-badge[:material/rate_review: waits for your review]",
    "done": ":green-badge[:material/check_circle: finished]",
    "stopped": ":gray-badge[:material/stop_circle: stopped]",
    "failed": ":red-badge[:material/error: failed]",
    "lost": ":red-badge[:material/link_off: lost]",
}
CURVES, CORPORA, SAMPLES, DRIFT, LOG, ABOUT = "Curves", "Corpora", "Completions", "Drift", "Log", "Command and notes"


# --- which run ---------------------------------------------------------------------------------------------------


def chosen(key: str = session.RUN) -> str:
    """Name of the run that is shown; empty for none. Each page has its own, under a URL key of its own."""
    state = st.session_state
    if key not in state:  # the first run of a session
        state[key] = st.query_params.get(key, "")
    name: str = state[key]
    if name and st.query_params.get(key) != name:
        st.query_params[key] = name
    return name


def choose(name: str, key: str = session.RUN) -> None:
    """Show this run from now on; none for an empty name."""
    st.session_state[key] = name
    if not name:
        st.query_params.pop(key, None)


def watched(run: "Run", kind: type[_View]) -> _View:
    """What the run has told so far; only what is new is read."""
    state, key = st.session_state, f"watched_{kind.__name__}"
    id, offset, view = state.get(key, ("", 0, None))
    if id != run.id:
        offset, view = 0, kind()
    said = run.events(offset)
    view.take(said.events, said.damaged)
    state[key] = (run.id, said.offset, view)
    return cast(_View, view)


# --- the panel ---------------------------------------------------------------------------------------------------


def panel(name: str, to_form: Callable[[], None]) -> None:
    """Everything of one run; while it works, drawn again every second and a half."""
    try:
        run = open_run(name)
        recipe, status = run.record.distillation, queue.status_of(run)
    except InputError as error:
        failure("This run cannot be opened:", str(error))
        return
    live = status.state in LIVE

    def clone() -> None:
        recipe_form.load(recipe)
        to_form()

    @st.fragment(run_every=1.5 if live else None)
    def draw() -> None:
        try:
            now, view = queue.status_of(run), watched(run, RunView)
        except InputError as error:
            failure("This run cannot be read:", str(error))
            return
        if (now.state in LIVE) != live or (now.state == "review") != (status.state == "review"):
            st.rerun()
        head(run, now, recipe_form.arm_names(recipe.arms))
        _progress(run, now, view)
        actions(run, now, clone)
        _parts(run, now, view)

    draw()


def head(run: "Run", status: "Status", parts: str) -> None:
    """Title, state and what was asked, `parts` among it; why it ended, where that has to be said."""
    record, recipe = run.record, run.record.recipe
    st.markdown(f"#### {plain(shown(record.title or recipe.capability))} {_BADGES[status.state]}")
    model = "the built-in model" if recipe.model == "builtin" else recipe.model
    where = "" if record.launcher == "local" else f" · launched with {record.launcher}"
    said = f"{parts} · {model} · created {record.created.replace('T', ' ')}{where}"
    small(plain(f"{recipe.capability} · {said}" if record.title else said))
    if status.state == "failed":
        failure("It failed:", status.reason)
    elif status.state in ("lost", "stopped") and status.reason:
        st.warning(plain(status.reason[:1].upper() + status.reason[1:]), icon=":material/info:")


def _progress(run: "Run", status: "Status", view: RunView) -> None:
    done, planned = overall(view, run.record.distillation)
    what = f"Step {min(done + 1, planned)} of {planned}: {describe_stage(view)}"
    progress(status, what, done / max(planned, 1), tokens_per_second(view), eta(view))


def progress(status: "Status", what: str, share: float, speed: float | None, left: float | None) -> None:
    """What a waiting or working run does now, how fast (tokens a second), and seconds to the end of the step."""
    if status.state == "queued":
        st.info("It waits for its turn: one run works at a time. You can close this page.", icon=":material/queue:")
        return
    if status.state not in LIVE:
        return
    facts = [what, *([f"{speed:.0f} tokens/s"] if speed else [])]
    facts += [f"about {duration(left)} to the end of this step"] if left is not None else []
    st.progress(min(share, 1.0), text=plain(" · ".join(facts)))
    small("It works in a process of its own: you can close this page, or the app, and come back.")


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


# --- what can be done ---------------------------------------------------------------------------------------------


def _try(action: Callable[[], object]) -> None:
    """A button's work; what goes wrong is told by the page that comes after."""
    try:
        action()
    except SpdError as error:
        st.session_state[session.RUN_TROUBLE] = str(error)


def actions(run: "Run", status: "Status", clone: Callable[[], None], key: str = session.RUN) -> None:
    """Stop, kill, resume, clone (a callback), delete: what the state allows. `key` is where the page keeps its run."""
    trouble = st.session_state.pop(session.RUN_TROUBLE, "")
    if trouble:
        failure("That did not work:", trouble)
    if status.state == "review":
        st.info("The corpora are written. Look at them below, reject what should not be trained on, then go on.",
                icon=":material/rate_review:")  # fmt: skip
    row = st.container(horizontal=True, vertical_alignment="center")
    if status.state in LIVE and run.asked_to_stop():
        waited = max(0.0, time.time() - run.asked_at())
        row.button("Stopping after this step…", disabled=True, icon=":material/stop_circle:")
        row.button("Kill it now", on_click=_try, args=(lambda: queue.kill(run),), icon=":material/dangerous:",
                   help=f"It is killed by itself {queue.GRACE:.0f} s after it was asked ({waited:.0f} s ago). What it "
                   "has finished stays.")  # fmt: skip
    elif status.state in LIVE:
        row.button("Stop this run", on_click=_try, args=(lambda: queue.stop(run),), icon=":material/stop_circle:",
                   help="It ends at its next step, and keeps everything; resume goes on from there.")  # fmt: skip
    elif status.state == "review":
        row.button("Train on these corpora", type="primary", on_click=_try, args=(lambda: queue.approve(run),))
    elif status.state in ("stopped", "failed", "lost"):
        row.button("Resume", type="primary", on_click=_try, args=(lambda: queue.resume(run),), icon=":material/resume:",
                   help="Goes on where it stood, to the same result as if it had not stopped.")  # fmt: skip
    if row.button("Clone with changes", on_click=clone, icon=":material/content_copy:"):
        st.rerun()  # the whole page, and not this fragment alone
    if status.state not in LIVE:
        title = f"{shown(run.record.title or run.record.recipe.capability)} of {run.record.created.replace('T', ' ')}"
        deletion("Delete this run", title, row, delete=lambda: delete(run, key), disabled=False)


def delete(run: "Run | Damaged", key: str) -> None:
    """Delete a run that somebody has confirmed; the page that shows it under `key` turns away from it."""
    try:
        freed = queue.delete(run)
    except SpdError as error:
        failure("It was not deleted:", str(error))
        return
    if st.session_state.get(key) == run.id:
        choose("", key)
    st.toast(f"Deleted; {freed / 2**20:,.1f} MiB are free again.")
    st.rerun()


# --- what it has made ----------------------------------------------------------------------------------------------


def _parts(run: "Run", status: "Status", view: RunView) -> None:
    adapters(run, view)
    parts = [CURVES, CORPORA, SAMPLES, DRIFT, LOG, ABOUT]
    first = CORPORA if status.state == "review" else CURVES
    part = st.segmented_control(
        "Shown", parts, default=first, required=True, key=session.RUN_PART, bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    if part == CORPORA:
        corpora.panel(run, open_to_change=not view.done and status.state not in ("starting", "running"))
    elif part == SAMPLES:
        _samples(view)
    elif part == DRIFT:
        _drift(run, view)
    elif part == LOG:
        log(run)
    elif part == ABOUT:
        about(run)
    else:
        _curves(run, view)


def _curves(run: "Run", view: RunView) -> None:
    if not view.curves:
        small("The losses of all arms appear here with the first training step.")
        return
    curves = {"": view.curves}
    axis = st.segmented_control("Along x", get_args(charts.Axis), default="step", required=True,
                                key=session.LOSS_AXIS, bind="query-params")  # fmt: skip
    by: charts.Axis = "epoch" if axis == "epoch" else "step"
    chart(charts.losses(curves, is_dark(), by), key="chart_losses", alt=charts.losses_alt(curves))
    small(
        "How to read this: thin lines are the loss of each step's rows, thick ones with marks that of the held-out "
        "rows. Each arm is scored on its own text, so a lower line does not make an arm the better model."
    )
    with st.expander("As a table", key="losses_table", on_change="rerun") as twin:
        if twin.open:  # it can have thousands of rows
            st.html(table_html(charts.losses_table(curves), "Losses, in nats per token"))
    download("Losses as CSV", lambda: to_csv(charts.losses_table(curves)), f"{run.id}-losses.csv")
    if view.damaged:
        small(f"{view.damaged} lines of its events are damaged, and left out here.")


def _samples(view: RunView) -> None:
    if not view.samples:
        small("After each epoch, the model in training continues a few prompts; they appear here.")
        return
    rows = [
        {"Arm": short_name(sample.arm), "Round": str(sample.round), "Epoch": f"{sample.epoch:g}",
         "Prompt": shown(sample.prompt), "Completion": shown(sample.completion)}
        for sample in reversed(view.samples)
    ]  # fmt: skip
    st.html(table_html(rows, "Completions after each epoch, greedy, the newest first"))


def _drift(run: "Run", view: RunView) -> None:
    if not view.drifts:
        asked = run.record.distillation.drift
        small("Measured when an arm is trained." if asked else "This run does not measure it; see its settings.")
        return
    chart(charts.drift(view.drifts, is_dark()), key="chart_drift", alt=charts.drift_alt(view.drifts))
    small(
        "How to read this: the mean cos² of the principal angles between the capability subspace of the trained model "
        "and that of the untouched one. 1: nothing has turned; the mark of chance: as far apart as two random ones."
    )
    table = charts.drift_table(view.drifts)
    with st.expander("As a table"):
        st.html(table_html(table, "Overlap with the untouched model's subspace"))
    download("Drift as CSV", lambda: to_csv(table), f"{run.id}-drift.csv")


def log(run: "Run") -> None:
    """The end of what its job printed."""
    st.code("\n".join(run.log().splitlines()[-30:]) or "Nothing was printed yet.", language=None, wrap_lines=True)
    download("Whole log", lambda: run.log(2**24).encode(), f"{run.id}.txt")


def about(run: "Run") -> None:
    """Its command, its recipe as a file, notes, versions."""
    small("The command that carries it out:")
    st.code(run.record.command, language=None, wrap_lines=True)
    recipe = run.record.recipe
    download("Recipe as JSON", lambda: recipe_form.to_file(recipe), f"{run.id}-recipe.json",
             help=f"python -m spd_core {queue.COMMANDS[recipe.kind]} reads it, and so does this page.")  # fmt: skip
    notes = st.text_area("Notes", run.notes(), key=f"{session.RUN_NOTES}_{run.id}", height=100,
                         placeholder="What you want to remember of this run")  # fmt: skip
    st.button("Save the notes", disabled=notes == run.notes(), on_click=_try,
              args=(lambda: run.set_notes(notes or ""),))  # fmt: skip
    versions = ", ".join(f"{name} {version}" for name, version in run.record.versions.items())
    small(f"Versions: {plain(versions)}. Everything lies in {plain(str(run.folder))}")

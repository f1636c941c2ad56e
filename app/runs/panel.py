"""What is the same of a run on both pages: how it stands, what can be done with it, its log, command and notes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast

import streamlit as st

from app.ui import session
from app.ui.widgets import caption, counted, delete_button, duration, escaped, failure
from spd_core.errors import InputError, SpdError
from spd_core.evaluation.references import references_to
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs import queue, states
from spd_core.runs.folder import Damaged, Run, all_runs, open_run, recorded_runs
from spd_core.runs.record import RunRecord, Status
from spd_core.runs.states import LIVE
from spd_core.runs.view import RunView
from spd_core.text import shown

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

_Recipe = TypeVar("_Recipe")
_View = TypeVar("_View", bound=RunView)
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


_RECORDED_BADGE = ":gray-badge[:material/inventory_2: recorded]"


# --- which run ---------------------------------------------------------------------------------------------------


def chosen_run(key: str = session.RUN) -> str:
    """Name of the run that is shown; empty for none. Each page has its own, under a URL key of its own."""
    state = st.session_state
    if key not in state:  # the first run of a session
        state[key] = st.query_params.get(key, "")
    name: str = state[key]
    if name and st.query_params.get(key) != name:
        st.query_params[key] = name
    return name


def choose_run(name: str, key: str = session.RUN) -> None:
    """Show this run from now on; none for an empty name."""
    st.session_state[key] = name
    if not name:
        st.query_params.pop(key, None)


def recorded_while_alone(kind: type[Recipe] | type[EvaluationRecipe]) -> str:
    """Name of the run of a kind that comes with SPD Lab, as long as none was made here; empty otherwise."""
    try:
        own = any(isinstance(run, Run) and isinstance(run.record.recipe, kind) for run in all_runs())
    except InputError:  # the list says so
        return ""
    return "" if own else next((run.id for run in recorded_runs() if isinstance(run.record.recipe, kind)), "")


# --- drawn again while it works -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShownRun(Generic[_Recipe]):
    """A run, its recipe, and how it stood when the page was drawn."""

    run: Run
    recipe: _Recipe
    status: Status


def open_shown(name: str, noun: str, recipe_of: Callable[[RunRecord], _Recipe]) -> ShownRun[_Recipe] | None:
    """The run of a name; None, with the reason on the page, when it cannot be opened or is of another kind."""
    try:
        run = open_run(name)
        return ShownRun(run, recipe_of(run.record), states.status_of(run))
    except InputError as error:
        failure(f"This {noun} cannot be opened:", str(error))
        return None


def redraw_while_live(
    shown_run: ShownRun[_Recipe], noun: str, view_type: type[_View], draw: Callable[[Status, _View], None]
) -> None:
    """Call `draw` with what the run has told; while it works, every second and a half, and the page when it ends."""
    run, live = shown_run.run, shown_run.status.state in LIVE

    @st.fragment(run_every=1.5 if live else None)
    def tick() -> None:
        try:
            status, view = states.status_of(run), _events_so_far(run, view_type)
        except InputError as error:
            failure(f"This {noun} cannot be read:", str(error))
            return
        if (status.state in LIVE) != live:
            st.rerun()
        draw(status, view)

    tick()


def _events_so_far(run: Run, view_type: type[_View]) -> _View:
    """What the run has told; only what is new is read."""
    state, key = st.session_state, f"{session.WATCHED_RUN}_{view_type.__name__}"
    id, offset, view = state.get(key, ("", 0, None))
    if id != run.id:
        offset, view = 0, view_type()
    news = run.events(offset)
    view.take(news.events, news.damaged)
    state[key] = (run.id, news.offset, view)
    return cast(_View, view)


# --- how it stands ------------------------------------------------------------------------------------------------


def run_header(run: Run, status: Status, parts: str) -> None:
    """Title, state and what was asked, `parts` among it; why it ended, where that has to be said."""
    record, recipe = run.record, run.record.recipe
    badge = _RECORDED_BADGE if run.recorded else _BADGES[status.state]
    st.markdown(f"#### {escaped(shown(record.title or recipe.capability))} {badge}")
    model = "the built-in model" if recipe.model == "builtin" else recipe.model
    where = "" if record.launcher == "local" else f" · launched with {record.launcher}"
    said = f"{parts} · {model} · created {record.created.replace('T', ' ')}{where}"
    said += f" · {status.reason}" if status.state == "stopped" and status.reason else ""
    caption(escaped(f"{recipe.capability} · {said}" if record.title else said))
    if run.recorded:
        caption(
            "Real results that come with SPD Lab, without the weights: nothing is loaded. **Clone with changes** makes "
            "a run of your own of it."
        )
    if status.state == "failed":
        failure("It failed:", status.reason)
    elif status.state == "lost" and status.reason:
        st.warning(escaped(status.reason[:1].upper() + status.reason[1:]), icon=":material/info:")


def run_progress(
    status: Status, what: str, share: float, speed: float | None, left: float | None, whole: float | None = None
) -> None:
    """What a waiting or working run does now, how fast (tokens a second), and seconds to the end of the step and of
    the `whole` run."""
    if status.state == "queued":
        st.info("It waits for its turn: one run works at a time. You can close this page.", icon=":material/queue:")
        return
    if status.state not in LIVE:
        return
    facts = [what, *([f"{speed:.0f} tokens/s"] if speed else [])]
    facts += [f"about {duration(whole)} left"] if whole is not None else []
    facts += [f"{duration(left)} of it to the end of this stage"] if left is not None and whole is not None else []
    facts += [f"about {duration(left)} to the end of this stage"] if left is not None and whole is None else []
    st.progress(min(share, 1.0), text=escaped(" · ".join(facts)))
    caption("It works in a process of its own: you can close this page, or the app, and come back.")


# --- what can be done ---------------------------------------------------------------------------------------------


def try_it(action: Callable[[], object]) -> None:
    """A button's work; what goes wrong is told by the page that comes after."""
    try:
        action()
    except SpdError as error:
        st.session_state[session.RUN_TROUBLE] = str(error)


@dataclass(frozen=True)
class GoOn:
    """The button that lets a run go on which waits for review.

    Attributes:
        refusal: why it cannot be pressed; empty where it can.
    """

    label: str
    action: Callable[[], object]
    refusal: str = ""


def run_actions(
    run: Run,
    status: Status,
    clone: Callable[[], None],
    key: str = session.RUN,
    go_on: GoOn | None = None,
    more: Callable[["DeltaGenerator"], None] | None = None,
) -> None:
    """Stop, kill, resume, clone (a callback), delete: what the state allows, in one row.

    Args:
        key: where the page keeps its run.
        more: draws what else can be done with this run, after what comes next and before the rest.
    """
    trouble = st.session_state.pop(session.RUN_TROUBLE, "")
    if trouble:
        failure("That did not work:", trouble)
    if status.state == "review":
        st.info(
            "The corpora are written. Look at them below, reject what should not be trained on, then go on.",
            icon=":material/rate_review:",
        )
        if go_on is not None and go_on.refusal:
            st.warning(escaped(go_on.refusal), icon=":material/block:")
    row = st.container(horizontal=True, vertical_alignment="center")
    if status.needs_other_settings:
        _clone_button(row, clone, "primary")
    _next_step(run, status, row, go_on)
    if more is not None:
        more(row)
    if not status.needs_other_settings:
        _clone_button(row, clone, "primary" if run.recorded and more is None else "secondary")
    if status.state not in LIVE and not run.recorded:
        title = f"{shown(run.record.title or run.record.recipe.capability)} of {run.record.created.replace('T', ' ')}"
        delete_button(
            "Delete this run",
            title,
            row,
            delete=lambda: delete_run(run, key),
            disabled=False,
            warn=lambda: said_of_references([run]),
        )


def _clone_button(row: "DeltaGenerator", clone: Callable[[], None], look: Literal["primary", "secondary"]) -> None:
    if row.button("Clone with changes", type=look, on_click=clone, icon=":material/content_copy:"):
        st.rerun()  # the whole page, and not this fragment alone


def _next_step(run: Run, status: Status, row: "DeltaGenerator", go_on: GoOn | None) -> None:
    """How it ends or goes on: stop, kill, go on after a review, resume."""
    if status.state in LIVE and run.asked_to_stop():
        waited = max(0.0, time.time() - run.asked_at())
        row.button("Stopping after this step…", disabled=True, icon=":material/stop_circle:")
        row.button(
            "Kill it now",
            on_click=try_it,
            args=(lambda: queue.kill(run),),
            icon=":material/dangerous:",
            help=f"It is killed by itself {queue.GRACE:.0f} s after it was asked ({waited:.0f} s ago). What it "
            "has finished stays.",
        )
    elif status.state in LIVE:
        row.button(
            "Stop this run",
            on_click=try_it,
            args=(lambda: queue.stop(run),),
            icon=":material/stop_circle:",
            help="It ends at its next step, and keeps everything; resume goes on from there.",
        )
    elif go_on is not None:
        row.button(
            go_on.label,
            type="primary",
            on_click=try_it,
            args=(go_on.action,),
            disabled=bool(go_on.refusal),
            key=session.GO_ON,
        )
    elif status.state in ("stopped", "failed", "lost"):
        row.button(
            "Resume",
            type="secondary" if status.needs_other_settings else "primary",
            on_click=try_it,
            args=(lambda: queue.resume(run),),
            icon=":material/resume:",
            help="Goes on where it stood, to the same result as if it had not stopped.",
        )


def said_of_references(runs: Sequence[Run]) -> str:
    """What would point at nothing without these runs; empty where nothing refers to them."""
    try:
        found = references_to([run.id for run in runs])
    except InputError:  # the list says so
        return ""
    titles = ", ".join(shown(one.record.title or one.record.recipe.capability) for one in found.runs[:3])
    more = f" and {len(found.runs) - 3} more" if len(found.runs) > 3 else ""
    parts = [f"{counted(len(found.runs), 'evaluation')} ({titles}{more})"] * bool(found.runs)
    parts += [f"{counted(found.texts, 'saved text')} of Side by side"] * bool(found.texts)
    if not parts:
        return ""
    return (
        f"{' and '.join(parts)} used adapters or captures of it: what was answered and written stays, but cannot be "
        "asked again, nor opened with what wrote it."
    )


def delete_run(run: Run | Damaged, key: str) -> None:
    """Delete a run that somebody has confirmed; the page that shows it under `key` turns away from it."""
    try:
        freed = queue.delete(run)
    except SpdError as error:
        failure("It was not deleted:", str(error))
        return
    if st.session_state.get(key) == run.id:
        choose_run("", key)
    st.toast(f"Deleted; {freed / 2**20:,.1f} MiB are free again.")
    st.rerun()

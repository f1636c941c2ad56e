"""What is the same of a run on both pages: which one is open, and how it stands; `actions` has what can be done."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import streamlit as st

from app.ui import links, session
from app.ui.widgets import caption, duration, escaped, failure
from spd_core.errors import InputError
from spd_core.models.packaged import PACKAGED
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs import states
from spd_core.runs.folder import Run, all_runs, open_run, recorded_runs
from spd_core.runs.record import RunRecord, Status
from spd_core.runs.states import LIVE
from spd_core.runs.view import RunView
from spd_core.text import shown

if TYPE_CHECKING:
    pass

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
    links.take_linked(key)
    name: str = st.session_state.get(key, "")
    if name:
        links.write_linked({key: name})
    return name


def choose_run(name: str, key: str = session.RUN) -> None:
    """Show this run from now on; none for an empty name."""
    st.session_state[key] = name
    if not name:
        links.write_linked({key: ""})


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
    model = PACKAGED[recipe.model].in_words if recipe.model in PACKAGED else recipe.model
    where = "" if record.launcher == "local" else f" · launched with {record.launcher}"
    said = f"{parts} · {model} · created {record.created.replace('T', ' ')}{where}"
    said += f" · {status.reason}" if status.state == "stopped" and status.reason else ""
    origin = ". Real results that come with SPD Lab, without the weights: nothing is loaded." if run.recorded else ""
    caption(escaped((f"{recipe.capability} · {said}" if record.title else said) + origin))
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

"""What works now, on every page: runs of this machine and jobs of this session, how far they are, and the way there.

Drawn again by itself every two seconds while something works, and not at all where nothing does. Imports no torch.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

from app.jobs.job import Job
from app.ui import launch, session
from app.ui.widgets import duration
from spd_core.errors import InputError
from spd_core.evaluation.progress import EvaluationView, describe, finished_cells, steps
from spd_core.evaluation.remaining import evaluation_left, expected_of
from spd_core.recipes.distill import Recipe
from spd_core.runs.at_work import AtWork, runs_at_work
from spd_core.runs.folder import Run, open_run
from spd_core.runs.remaining import Expected, share_of, time_left
from spd_core.runs.view import RunView, describe_stage, overall
from spd_core.templates import render

_RUNS_EVERY, _JOBS_EVERY = 2.0, 1.0
_MOST = 4
"""Lines; the rest is counted."""


@dataclass(frozen=True)
class Line:
    """One thing that works.

    Attributes:
        share: how much is done, 0 to 1; None for what waits.
        left: seconds to the end of it all; None where that is not known.
        page: where it can be looked at, with `run` open there.
        run_key, part_key: under which that page keeps the run that it shows, and its part.
    """

    key: str
    what: str
    name: str
    doing: str
    share: float | None
    left: float | None
    page: Path
    run: str = ""
    run_key: str = ""
    part_key: str = ""
    part: str = ""

    @property
    def announced(self) -> str:
        """What a screen reader hears when it changes: no numbers that change all the time."""
        return f"{self.what} {self.name}: {self.doing.partition(':')[0]}"


# --- the strip ---------------------------------------------------------------------------------------------------


def strip(shows: tuple[str, ...] = (), shown_run: str = "") -> None:
    """A line for everything that works, and a button that leads there.

    Args:
        shows: keys of jobs whose progress the page shows by itself.
        shown_run: the run that the page shows by itself.
    """
    if not session.running_jobs() and not _runs():
        return

    @st.fragment(run_every=_JOBS_EVERY if session.running_jobs() else _RUNS_EVERY)
    def tick() -> None:
        jobs, runs = session.running_jobs(), _runs()
        if set(jobs) != set(begun) or not (jobs or runs):
            st.rerun()  # a whole run, so that the page takes up a result, and the ticking ends
        for job in jobs.values():
            job.seen()
        _draw([*_of_jobs(jobs, shows), *(_of_run(one) for one in runs if one.run.id != shown_run)])

    begun = session.running_jobs()
    tick()


def leave_for(page: Path | None) -> None:
    """Go to the page that somebody has chosen in the strip, unless it is this one (`page`)."""
    launch.take_over()
    chosen = st.session_state.pop(session.GO_TO, None)
    if chosen is not None and chosen != page:
        st.switch_page(chosen, query_params={})  # without it, Streamlit refuses to leave what its address is bound to


def _draw(lines: list[Line]) -> None:
    if not lines:
        return
    with st.container(key="at_work", border=True, gap="small"):
        for line in lines[:_MOST]:
            with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"at_work_{line.key}"):
                st.html(_html(line), width="stretch")
                if st.button(
                    "Open",
                    type="tertiary",
                    key=f"{session.AT_WORK}_{line.key}",
                    icon=":material/arrow_forward:",
                    help=f"Go to {line.what.lower()} {line.name}",
                    on_click=_choose,
                    args=(line,),
                ):
                    st.rerun()
        if len(lines) > _MOST:
            st.html(f"<span class='spd-work-more'>and {len(lines) - _MOST} more</span>")
        st.html(render("announced.html", said="; ".join(line.announced for line in lines[:_MOST])))


def _html(line: Line) -> str:
    share = None if line.share is None else min(99, int(100 * line.share))
    left = "" if line.left is None else f"about {duration(line.left)} left"
    return render("at_work.html", what=line.what, called=line.name, doing=line.doing, share=share, left=left)


def _choose(line: Line) -> None:
    """Have a run open on its page, and go there; for callbacks."""
    st.session_state[session.GO_TO] = line.page
    if line.run:
        st.session_state[line.run_key] = line.run
        session.turn_to(line.part_key, line.part)


# --- jobs of this session ------------------------------------------------------------------------------------------


def _of_jobs(jobs: Mapping[str, Job[Any, Any]], shows: tuple[str, ...]) -> list[Line]:
    return [
        Line(key, _JOBS[key][0], "", job.phase, job.share, None, _JOBS[key][1])
        for key, job in jobs.items()
        if key not in shows
    ]


_JOBS = {
    session.CAPTURE_JOB: ("Capturing gradients", session.HOME),
    session.NULLS_JOB: ("Capturing null spectra", session.SPECTRUM),
    session.CONTRAST_JOB: ("Making a contrast", session.SPECTRUM),
    session.EFFECTS_JOB: ("Projecting each site alone", session.SPECTRUM),
    session.WRITE_JOB: ("Writing lanes", session.SIDE_BY_SIDE),
    session.REPEAT_JOB: ("Repeating over prompts and seeds", session.SIDE_BY_SIDE),
    session.READ_JOB: ("Reading a text", session.ATTRIBUTIONS),
    session.LENS_JOB: ("Computing the logit lens", session.ATTRIBUTIONS),
    session.CHECK_JOB: ("Running the causal check", session.ATTRIBUTIONS),
    session.RIGHT_JOB: ("Reading the calibration texts", session.ATTRIBUTIONS),
    session.REPLAY_JOB: ("Computing numbers again", session.LIBRARY),
    session.EXPORT_JOB: ("Writing a checkpoint", session.FINE_TUNE),
    session.MARKS_JOB: ("Running the tests of a corpus", session.FINE_TUNE),
}


# --- runs of this machine ------------------------------------------------------------------------------------------


def _runs() -> list[AtWork]:
    try:
        return runs_at_work()
    except InputError:  # the lists of runs say what is wrong with their folder
        return []


def _of_run(one: AtWork) -> Line:
    run, tunes = one.run, isinstance(one.run.record.recipe, Recipe)
    doing, share, left = _how_far(one)
    return Line(
        run.id,
        "Fine-tuning" if tunes else "Evaluating",
        run.record.title or run.record.recipe.capability,
        doing,
        share,
        left,
        session.FINE_TUNE if tunes else session.EVALUATION,
        run.id,
        session.RUN if tunes else session.EVALUATION_RUN,
        session.RUNS_VIEW if tunes else session.EVALUATIONS_VIEW,
        session.THIS_RUN if tunes else session.THIS_EVALUATION,
    )


def _how_far(one: AtWork) -> tuple[str, float | None, float | None]:
    if one.place:
        return f"waits for its turn: place {one.place} in the queue", None, None
    if one.run.asked_to_stop():
        return "stopping after this step", 0.0, None
    try:
        return _watched(str(one.run.folder)).look(one.run)
    except InputError:  # its page says what is wrong
        return "its events cannot be read", 0.0, None


@dataclass
class Watched:
    """What a run at work has told so far; only what is new is read. Shared by all sessions, who take turns."""

    view: EvaluationView = field(default_factory=EvaluationView)
    offset: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, run: Run) -> tuple[str, float, float | None]:
        """What it does, how much of it is done, and the seconds to its end."""
        with self.lock:
            news = run.events(self.offset)
            self.view.take(news.events, news.damaged)
            self.offset = news.offset
            return how_far(run, self.view)


def how_far(run: Run, view: RunView) -> tuple[str, float, float | None]:
    """What a run does by what it has told, how much of it is done, 0 to 1, and the seconds to its end."""
    recipe, expected = run.record.recipe, _expected(str(run.folder), run.id)
    if isinstance(recipe, Recipe):
        left, (done, planned) = time_left(view, recipe, expected), overall(view, recipe)
        return describe_stage(view), share_of(view.worked, left, done, planned), left
    assert isinstance(view, EvaluationView)
    left = evaluation_left(view, recipe, run.folder, expected)
    done, planned = steps(view, recipe, finished_cells(recipe, run.folder))
    return describe(view, recipe), share_of(view.worked, left, done, planned), left


@st.cache_resource(max_entries=8, show_spinner=False)
def _watched(folder: str) -> Watched:
    return Watched()


@st.cache_data(max_entries=64, show_spinner=False)
def _expected(folder: str, id: str) -> Expected | None:
    """What its pieces take by what was measured before it; asked once."""
    return expected_of(open_run(id).record.recipe)

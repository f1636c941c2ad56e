"""Side by side over prompts and seeds: a button, what it will take, and then the table, the intervals and all texts."""

import math
from functools import partial
from typing import TYPE_CHECKING, cast

import streamlit as st

from app.jobs.requests import RepeatRequest, WriteRequest
from app.side_by_side import repeat_charts, repeat_text
from app.side_by_side.estimate import repeat_estimate
from app.side_by_side.results import reading_request
from app.ui import launch, session
from app.ui.progress import show_progress
from app.ui.recorded_texts import recorded_for, repeat_for
from app.ui.tables import table_html, to_csv
from app.ui.verdict import draw_verdict
from app.ui.widgets import caption, chart, counted, delete_button, download, escaped, failure, is_dark
from spd_core.errors import InputError, SpdError
from spd_core.evaluation.opening_sample import choice_sentence
from spd_core.evaluation.repeat_plan import PROMPTS, SEEDS, prompts_from, seeds_of
from spd_core.evaluation.repeat_verdict import repeat_verdict
from spd_core.evaluation.repeats import RECORDED_REPEATS, Repeat, remove_repeat, repeat_files, text_lines, text_rows
from spd_core.generation.comparison import Comparison

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from app.jobs.job import Job

MOST_PROMPTS, MOST_SEEDS = 50, 50
_FIGURES = "Intervals as a picture, and every text to open"


def repeat_of(result: Comparison) -> Repeat | None:
    """The newest repeat that a result belongs to: this session's, a saved one, or a recorded one."""
    job = _job()
    if job is not None and job.result is not None and job.result.belongs_to(result):
        return job.result
    return repeat_for(result)


def repeated_in_short(found: Repeat | None) -> str:
    """The first sentence of what is shown over prompts and seeds; empty where nothing was repeated."""
    said = "" if found is None else repeat_verdict(found)
    return said.partition(". ")[0].rstrip(".") + "." if said else ""


def how_chosen(result: Comparison, found: Repeat | None) -> str:
    """Why the page opens on this recorded result; empty of others."""
    first = recorded_for(result.analysis) if result.recorded else None
    return choice_sentence(found) if found is not None and first is not None and first.id == result.id else ""


def _job() -> "Job[Repeat, None] | None":
    return cast("Job[Repeat, None] | None", session.job(session.REPEAT_JOB))


def repeat_panel(result: Comparison, found: Repeat | None) -> None:
    """How often each lane is right, differs and stops over prompts and seeds; and the button that finds out."""
    st.subheader("Over prompts and seeds", anchor=False)
    job = _job()
    if result.grid is not None:
        caption("A sweep is not repeated. Use a cell's rank and strength for lanes, generate, and repeat those.")
        return
    if job is not None and job.running:
        show_progress(job, "Stop repeating")
    elif job is not None and job.error:
        failure("Nothing was counted:", job.error)
    elif job is not None and job.notice and job.result is found:
        st.warning(f"The table is {escaped(job.notice)}", icon=":material/save:")
    if found is not None:
        _table(result, found)
    if job is None or not job.running:
        _offer(result, found)


def _offer(result: Comparison, found: Repeat | None) -> None:
    """The button, with how many prompts and seeds, and what that will take."""
    try:
        request = reading_request(result)
    except InputError as error:
        caption(f"It cannot be repeated: {escaped(str(error))}")
        return
    there = len(prompts_from(request.analysis.capability, request.prompt, MOST_PROMPTS)[1])
    greedy = request.sampling.greedy
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        button = st.container(width="content")
        prompts = st.number_input(
            "Prompts", 1, MOST_PROMPTS, PROMPTS, key=session.REPEAT_PROMPTS, width=110, disabled=there < 2,
            persist_state="session",
        )  # fmt: skip
        seeds = st.number_input(
            "Seeds", 1, MOST_SEEDS, SEEDS, key=session.REPEAT_SEEDS, width=110, disabled=greedy, persist_state="session"
        )
    prompts = min(session.clamped(prompts, 1, MOST_PROMPTS), max(there, 1))
    counts = prompts, len(seeds_of(request.sampling, session.clamped(seeds, 1, MOST_SEEDS)))
    refused = launch.refused_writing(request, math.prod(counts))
    if refused:
        caption(f"It cannot be repeated: {escaped(refused)}")
    if button.button(
        "Repeat over prompts × seeds",
        icon=":material/repeat:",
        type="secondary" if found is not None else "primary",
        help="Writes the same lanes after other prompts and with other seeds, scores them, and counts.",
        disabled=bool(refused) or (greedy and there < 2),
    ):
        launch.start_repeating(RepeatRequest(request, result.revision, *counts))
        st.rerun()
    _plan(request, counts, there)


def _plan(request: WriteRequest, counts: tuple[int, int], there: int) -> None:
    """What will be written, and how long it takes."""
    prompts, seeds = counts
    if request.sampling.greedy and there < 2:
        caption("Greedy writes the same text every time, and this prompt has no others beside it: nothing to repeat.")
        return
    line, source = repeat_estimate(request, prompts * seeds)
    said = (
        f"{counted(prompts, 'prompt')} × {counted(seeds, 'seed')} × {counted(len(request.specs), 'lane')}, with the "
        f"settings of the texts above, at most {counted(request.sampling.max_new_tokens, 'token')} each: {line}."
    )
    split, _ = prompts_from(request.analysis.capability, request.prompt, 1)
    if not there:
        said += " Your own prompt has no others beside it, so it is repeated over seeds alone."
    elif split == "calibration":
        said += " These prompts took part in the capture."
    if request.sampling.greedy:
        said += " Greedy writes the same text with every seed, so there is one."
    st.markdown(f":small[{said}]", help=source)


def _table(result: Comparison, found: Repeat) -> None:
    draw_verdict(repeat_verdict(found))
    st.html(table_html(repeat_charts.lane_rows(found), "Each lane over prompts and seeds"))
    _how_to_read(found)
    job = _job()
    fresh = job is not None and job.result is found
    # Drawn only while they are open: plotly takes the browser longer than all else on this page.
    with st.expander(_FIGURES, expanded=fresh, key=session.REPEAT_OPEN, on_change="rerun") as figures:
        if figures.open:
            _figures(result, found)
    row = st.container(horizontal=True)
    with row:
        download("Texts as CSV", lambda: to_csv(list(text_rows(found))), f"repeat-{found.id}.csv")
        download("Texts as JSON lines", lambda: text_lines(found).encode(), f"repeat-{found.id}.jsonl")
    own = any(path.stem == found.id for path in repeat_files() if path.parent != RECORDED_REPEATS)
    if own:
        delete_button(
            "Delete table",
            f"the table of {found.created.replace('T', ' ')}",
            row,
            delete=partial(_delete, found.id),
            disabled=False,
        )


def _figures(result: Comparison, found: Repeat) -> None:
    """Every share with its interval, and every text as a mark that opens it."""
    place = repeat_text.chosen_place(found) or found.place_of(result)
    left, right = st.columns((2, 3), gap="large")
    with left:
        chart(
            _shares(found.id, found, is_dark()),
            key=f"chart_repeat_shares_{found.id}",
            alt="Shares of texts with 95% intervals, a dot for each lane; the table above has the numbers.",
        )
    with right:
        chart(
            _matrix(found.id, found, place, is_dark()),
            key=f"chart_repeat_matrix_{found.id}_{place}",
            alt=repeat_charts.matrix_alt(found),
            pick=repeat_text.choose_text,
        )
    repeat_text.read_text(found)


@st.cache_resource(max_entries=20, show_spinner=False)
def _shares(id: str, _found: Repeat, dark: bool) -> "Figure":
    """Built once for a table, which never changes: plotly takes longer to check a figure than the page to draw."""
    return repeat_charts.shares_figure(_found, dark=dark)


@st.cache_resource(max_entries=20, show_spinner=False)
def _matrix(id: str, _found: Repeat, place: tuple[int, int] | None, dark: bool) -> "Figure":
    return repeat_charts.matrix(_found, place, dark=dark)


def _delete(name: str) -> None:
    job = _job()
    if job is not None and job.result is not None and job.result.id == name:
        del st.session_state[session.REPEAT_JOB]
    try:
        remove_repeat(name)
    except SpdError as error:
        failure("It was not deleted:", str(error))
        return
    st.rerun()


def _how_to_read(found: Repeat) -> None:
    prompts, seeds = len(found.prompts), len(found.seeds)
    if found.table.unit == "prompt":
        over = f"the {prompts} prompts: seeds of one prompt are no independent evidence, so they are averaged first"
    else:
        over = f"the {counted(seeds, 'seed')} of this one prompt, and speak of no other"
    split = {"heldout": "held-out ", "calibration": "calibration ", "train": "training "}.get(found.split, "")
    tokens = counted(found.tokens, "token")
    unknown = (
        " Right answers are not counted: only running code, which SPD_ALLOW_CODE=1 allows, or a likelihood could tell."
        if found.table.rows[0].right is None and found.prompts[0].answer is not None
        else ""
    )
    caption(
        f"**How to read this:** {counted(prompts, f'{split}prompt')}, seeds {found.seeds[0]} to {found.seeds[-1]}; "
        f"95% intervals are over {over}. {tokens} in {found.seconds:.0f} s, written {found.created.replace('T', ' ')}."
        f"{escaped(unknown)}"
    )

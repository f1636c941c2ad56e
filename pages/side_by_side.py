"""Side by side: what does projecting do to the text?"""

from typing import TYPE_CHECKING

import streamlit as st

from app.jobs.requests import WriteRequest
from app.side_by_side import agreement, history, lane_pickers, mixing_desk, prompt_pickers, repeating, results
from app.side_by_side.estimate import say_estimate
from app.side_by_side.lanes import SWEEP
from app.ui import launch, session
from app.ui.header import header
from app.ui.recorded_texts import recorded_for
from app.ui.verdict import draw_verdict
from app.ui.widgets import counted, empty_page, escaped, failure
from spd_core.errors import InputError
from spd_core.generation import report
from spd_core.generation.verdict import comparison_verdict
from spd_core.recipes.gains import gains_in_words
from spd_core.recipes.lanes import sweep_specs

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis


def pick(analysis: "Analysis", prompt: str, answer: str | None) -> WriteRequest | None:
    """All settings, in a drawer; None with the reason on the page when they cannot be used."""
    with st.expander(
        "Lanes, projection and sampling", icon=":material/tune:", key=session.SETTINGS_OPEN, on_change="rerun"
    ):
        style, mode = prompt_pickers.pick_mode()
        lanes = st.container()
        left, right = st.columns(2, gap="large")
        with left:
            base = lane_pickers.pick_base(analysis)
        with right:
            sampling = prompt_pickers.pick_sampling()
    try:
        with lanes:
            grid = lane_pickers.pick_grid(analysis) if mode == SWEEP else None
            specs = lane_pickers.pick_specs(analysis, base) if grid is None else tuple(sweep_specs(grid, base))
        others = lane_pickers.open_others(specs)
    except InputError as error:
        failure("These lanes cannot be written:", str(error))
        return None
    mixing_desk.say_lost_mix()
    key = session.model_key(analysis)
    return WriteRequest(analysis, key, specs, prompt, style, sampling, others, answer, grid)


def settings_line(request: WriteRequest) -> str:
    """What Generate will write, in a line, escaped."""
    projected = [spec for spec in request.specs if spec.projects and not spec.gains]
    base = f" · {lane_pickers.lane_in_words(projected[0], request.grid is not None)}" if projected else ""
    mix = next((f" · mixed: {escaped(gains_in_words(spec.gains))}" for spec in request.specs if spec.mixed), "")
    return f"{counted(len(request.specs), 'lane')}{base}{mix} · {escaped(report.sampling_line(request.sampling))}"


analysis = header("Side by side", "What does projecting do to the text?", shows=(session.WRITE_JOB, session.REPEAT_JOB))
if analysis is None:
    empty_page("A raw and a projected completion appear here, side by side.")
else:
    result = history.shown_result(analysis)
    verdict = st.container()
    example = prompt_pickers.pick_task(analysis)
    left, right = st.columns((3, 2), gap="medium", vertical_alignment="bottom")
    with left:
        prompt, answer = prompt_pickers.pick_prompt(example)
    buttons = right.container(horizontal=True, vertical_alignment="center")
    told = right.container()
    request = pick(analysis, prompt, answer)
    if result is None:
        result = recorded_for(analysis.name, prompt)
    job = session.job(session.WRITE_JOB)
    if job is not None and job.stop_asked:
        job.join(0.5)  # it ends within a step: then this run shows what is there already
    running = job is not None and job.running
    with buttons:
        if job is not None and running:
            st.button(
                "Stopping…" if job.stop_asked else "Stop generating",
                on_click=job.stop,
                disabled=job.stop_asked,
                icon=":material/stop_circle:",
            )
        elif st.button("Generate", type="primary", shortcut="Ctrl+Enter", disabled=request is None) and request:
            launch.start_writing(request)
            st.rerun()
        with st.popover("History", icon=":material/history:", key=session.HISTORY_OPEN, on_change="rerun") as past:
            if past.open:  # its labels are read from every result
                history.pick_result(result)
    if request is not None:
        told.markdown(f":small[{settings_line(request)}]", help=report.noise_sentence(request.sampling))
        with told:
            say_estimate(request)
    if job is not None and running:
        results.live_lanes(job)
    else:
        if job is not None and job.error:
            failure("Nothing was written:", job.error)
        if job is not None and job.notice:
            st.warning(f"The result is {escaped(job.notice)}", icon=":material/save:")
        if result is not None:
            right_answers = results.right_answers(result)
            found = repeating.repeat_of(result)
            with verdict:
                draw_verdict(comparison_verdict(result, right_answers, repeating.repeated_in_short(found)))
            agreement.agreement_panel(result)
            results.result_panel(result, request, right_answers)
            repeating.repeat_panel(result, found)
        elif job is None or not job.error:
            st.info("Press **Generate**: a raw and a projected completion appear here, side by side.")

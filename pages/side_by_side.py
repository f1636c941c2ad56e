"""Side by side: what does projecting do to the text?"""

import streamlit as st

from app.reports.buttons import side_by_side_report
from app.side_by_side import agreement, history, prompt_pickers, repeating, results
from app.side_by_side.estimate import say_request
from app.side_by_side.settings import pick_request
from app.ui import launch, session
from app.ui.header import header
from app.ui.recorded_texts import recorded_for
from app.ui.verdict import draw_verdict
from app.ui.widgets import empty_page, escaped, failure
from spd_core.generation.verdict import comparison_verdict

analysis = header("Side by side", "What does projecting do to the text?", shows=(session.WRITE_JOB, session.REPEAT_JOB))
if analysis is None:
    empty_page("A raw and a projected completion appear here, side by side.")
else:
    result = history.shown_result(analysis)
    verdict = st.container()
    example = prompt_pickers.pick_task(analysis)
    left, right = st.columns((3, 2), gap="medium", vertical_alignment="top")
    with left:
        prompt, answer = prompt_pickers.pick_prompt(example)
    buttons = right.container(horizontal=True, vertical_alignment="center")
    told = right.container()
    request = pick_request(analysis, prompt, answer)
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
        with told:
            say_request(request)
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
            results.result_panel(result, request, right_answers, repeating.how_chosen(result, found))
            repeating.repeat_panel(result, found)
            side_by_side_report(result, right_answers, found)
        elif job is None or not job.error:
            st.info("Press **Generate**: a raw and a projected completion appear here, side by side.")

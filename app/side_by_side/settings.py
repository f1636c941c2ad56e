"""The drawer of Side by side: what is to be written, and how; and the same in a line."""

from typing import TYPE_CHECKING

import streamlit as st

from app.jobs.requests import WriteRequest
from app.side_by_side import lane_pickers, mixing_desk, prompt_pickers
from app.side_by_side.lanes import SWEEP
from app.ui import launch, session
from app.ui.widgets import counted, escaped, failure
from spd_core.errors import InputError
from spd_core.generation import report
from spd_core.recipes.gains import gains_in_words
from spd_core.recipes.lanes import sweep_specs

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis


def pick_request(analysis: "Analysis", prompt: str, answer: str | None) -> WriteRequest | None:
    """All settings, in a drawer; None with the reason on the page when they cannot be used.

    The browser builds what lies in a closed expander, but not what lies in a closed popover: until the drawer opens,
    its widgets lie in one, where they have their values and cost nothing.
    """
    drawer = st.expander(
        "Lanes, projection and sampling", icon=":material/tune:", key=session.SETTINGS_OPEN, on_change="rerun"
    )
    with drawer if drawer.open else drawer.popover("Opens with the drawer"):
        style, mode = prompt_pickers.pick_mode()
        lanes = st.container()
        left, right = st.columns(2, gap="large")
        with left:
            base = lane_pickers.pick_base(analysis, sweep=mode == SWEEP)
        with right:
            sampling = prompt_pickers.pick_sampling()
    try:
        with lanes:
            grid = lane_pickers.pick_grid(analysis) if mode == SWEEP else None
            specs = lane_pickers.pick_specs(analysis, base) if grid is None else tuple(sweep_specs(grid, base))
        others = lane_pickers.open_others(specs)
    except InputError as error:
        with lanes if drawer.open else st.container():  # a closed drawer would hide it
            failure("These lanes cannot be written:", str(error))
        return None
    mixing_desk.say_lost_mix()
    key = session.model_key(analysis)
    request = WriteRequest(analysis, key, specs, prompt, style, sampling, others, answer, grid)
    if refused := launch.refused_writing(request):
        failure("These lanes are not written:", refused)
        return None
    return request


def settings_line(request: WriteRequest) -> str:
    """What Generate will write, in a line, escaped."""
    projected = [spec for spec in request.specs if spec.projects and not spec.gains]
    base = f" · {lane_pickers.lane_in_words(projected[0], request.grid is not None)}" if projected else ""
    mix = next((f" · mixed: {escaped(gains_in_words(spec.gains))}" for spec in request.specs if spec.mixed), "")
    lanes = counted(len(request.specs), "lane")
    if request.grid is not None:
        lanes = f"raw and {counted(len(request.specs) - 1, 'cell')}"
    return f"{lanes}{base}{mix} · {escaped(report.sampling_line(request.sampling))}"

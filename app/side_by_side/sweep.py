"""The map of a sweep, and which of its cells is shown."""

import streamlit as st

from app.side_by_side import sweep_chart
from app.side_by_side.lane_pickers import take_cell
from app.ui import session
from app.ui.links import write_linked
from app.ui.widgets import caption, chart, is_dark
from spd_core.generation.comparison import Comparison


def pick_cell(comparison: Comparison) -> int:
    """The map of a sweep; returns the chosen cell's lane."""
    measure = st.pills(
        "Cells show",
        sweep_chart.MEASURES,
        default=sweep_chart.LIKELIHOOD,
        required=True,
        key=session.MEASURE,
        bind="query-params",
    )
    measure = measure if measure in sweep_chart.MEASURES else sweep_chart.LIKELIHOOD
    last = len(comparison.lanes) - 1
    if session.CELL not in st.session_state and (linked := st.query_params.get(session.CELL, "")).isdecimal():
        st.session_state[session.CELL] = int(linked[:9])
    chosen = session.clamped(st.session_state.get(session.CELL, last), 1, last)
    write_linked({session.CELL: str(chosen)})
    chart(
        sweep_chart.sweep_map(comparison, measure, chosen, dark=is_dark()),
        key=f"chart_sweep_{comparison.id}_{chosen}_{measure}",
        pick=lambda cell: st.session_state.update({session.CELL: session.clamped(cell, 1, last)}),
        alt=f"Map of the sweep, rank by strength: {measure}. The list below has the same cells.",
    )
    caption(
        "**How to read this:** a cell is one projected text. Click it to read that text below, beside raw: the "
        "higher its log-probability under raw, the later its first divergence and the smaller its KL, the less the "
        "projection changes."
    )
    st.session_state[session.CELL_SHOWN] = chosen

    def choose() -> None:
        st.session_state[session.CELL] = st.session_state[session.CELL_SHOWN]

    st.selectbox(
        "Cell shown below, beside raw",
        range(1, last + 1),
        key=session.CELL_SHOWN,
        on_change=choose,
        format_func=lambda at: (
            f"{comparison.lanes[at].label}: {sweep_chart.cell_text(comparison.lanes[at], comparison, measure)}"
        ),
    )
    st.button(
        "Use its rank and strength for lanes",
        icon=":material/splitscreen_right:",
        on_click=take_cell,
        args=(comparison.lanes[chosen].spec,),
        help="Then add controls, and generate.",
    )
    return chosen

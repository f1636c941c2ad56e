"""A result token by token: the likeliest tokens at one place, and curves along the text with their table."""

import streamlit as st

from app.side_by_side import ribbons
from app.ui import session
from app.ui.tables import table_html, to_csv
from app.ui.widgets import caption, chart, download, is_dark
from spd_core.generation.comparison import Comparison


def pick_place(comparison: Comparison) -> None:
    """The likeliest tokens of every lane at one place, as a table."""
    longest = max(len(lane.tokens) for lane in comparison.lanes)
    if not longest:
        return
    place = session.clamped(st.session_state.get(session.PLACE, 0), 0, longest - 1)
    st.session_state[session.PLACE_SHOWN] = place + 1

    def choose() -> None:
        st.session_state[session.PLACE] = st.session_state[session.PLACE_SHOWN] - 1

    st.number_input(f"Token, 1 to {longest}", 1, longest, key=session.PLACE_SHOWN, width=170, on_change=choose)
    st.html(table_html(ribbons.tokens_at_place(comparison, place), f"Token {place + 1} in every lane"))


def draw_curves(comparison: Comparison) -> None:
    """Log-probability, entropy and KL of every token, as curves and as a table."""
    rows = ribbons.token_rows(comparison)
    if not rows:
        caption("No token was written.")
        return
    chart(
        ribbons.token_curves(comparison, dark=is_dark()),
        key="chart_curves",
        alt="Log-probability, entropy and KL of every token, a line for each lane; the table below has the numbers.",
    )
    st.dataframe(rows, hide_index=True, alt="Every token with its numbers, in nats")
    download("Table as CSV", lambda: to_csv(rows), f"curves-{comparison.id}.csv")
